/* A sample's tokens and scores are the same, bit for bit, alone and in any batch: random mixes of samples
 * with different settings that join and leave at random steps, under random batch and memory limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/parity/subject.h"

enum { KINDS = 7, MIXES = 80, MIX_MAX = 12 };

static const char *const settings_of_kind[KINDS] = {
    "{\"num_beams\": 1, \"max_new_tokens\": 10}",
    "{\"num_beams\": 4, \"max_new_tokens\": 9, \"length_penalty\": 2.0, \"num_return_sequences\": 3}",
    "{\"num_beams\": 2, \"max_new_tokens\": 7, \"early_stopping\": true, \"no_repeat_ngram_size\": 2}",
    "{\"do_sample\": true, \"num_return_sequences\": 2, \"max_new_tokens\": 8, \"seed\": 3, \"top_k\": 0}",
    "{\"do_sample\": true, \"num_beams\": 3, \"max_new_tokens\": 6, \"seed\": 5}",
    "{\"num_beams\": 1, \"max_new_tokens\": 20, \"min_new_tokens\": 18, \"repetition_penalty\": 1.2}",
    "{\"num_beams\": 1, \"max_new_tokens\": 5, \"frequency_penalty\": 0.5, \"presence_penalty\": 0.2}",
};

/* Prompts with long common beginnings too: they share pages. */
static json_t *input_of_kind(int kind, size_t vocabulary)
{
    json_t *ids = json_array();
    int length = kind % 2 ? 40 - kind : 5 + 7 * kind;
    for (int i = 0; i < length; i++) {
        int value = i < 20 && kind >= 3 ? 5 + i : 4 + (i * 31 + kind * 17) % ((int)vocabulary - 6);
        json_array_append_new(ids, json_integer(value));
    }
    return ids;
}

struct fixture {
    struct subject subject;
    struct generation_settings settings[KINDS];
    json_t *inputs[KINDS];
    struct outcome alone[KINDS];
};

static void fixture_open(struct fixture *f, const char *name, const struct engine_options *options)
{
    subject_open(&f->subject, name, options);
    for (int k = 0; k < KINDS; k++) {
        json_t *overrides = json_loads(settings_of_kind[k], 0, NULL);
        settings_make(&f->subject, overrides, &f->settings[k]);
        json_decref(overrides);
        f->inputs[k] = input_of_kind(k, engine_vocabulary_size(f->subject.engine));
    }
}

static void fixture_close(struct fixture *f)
{
    for (int k = 0; k < KINDS; k++) {
        engine_settings_free(&f->settings[k]);
        json_decref(f->inputs[k]);
    }
    subject_close(&f->subject);
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->calls, 1);
    assert_int_equal(b->calls, 1);
    assert_int_equal(a->sequence_count, b->sequence_count);
    for (size_t i = 0; i < a->sequence_count; i++) {
        assert_int_equal(a->counts[i], b->counts[i]);
        assert_memory_equal(a->ids[i], b->ids[i], a->counts[i] * sizeof a->ids[i][0]);
        assert_memory_equal(
            a->token_scores[i], b->token_scores[i], a->counts[i] * sizeof a->token_scores[i][0]);
        assert_memory_equal(&a->scores[i], &b->scores[i], sizeof a->scores[i]);
    }
}

static void run_mixes(const char *name, unsigned seed)
{
    struct fixture *f = calloc(1, sizeof *f), *alone = calloc(1, sizeof *alone);
    struct outcome *outcomes = calloc(MIX_MAX, sizeof *outcomes);
    fixture_open(alone, name, NULL);
    for (int k = 0; k < KINDS; k++) {
        subject_submit(&alone->subject, alone->inputs[k], &alone->settings[k], &alone->alone[k]);
        subject_finish(&alone->subject);
        assert_int_not_equal(alone->alone[k].reason, FINISH_ERROR);
    }
    srand(seed);
    for (int mix = 0; mix < MIXES; mix++) {
        int count = 1 + rand() % MIX_MAX, kinds[MIX_MAX];
        if (mix % 10 == 0) { /* new limits: from a batch of one to as many as there are */
            if (mix > 0)
                fixture_close(f);
            struct engine_options options = {
                .batch_max = (size_t)(rand() % 8), .memory_bytes_max = (size_t)(24 + rand() % 64) << 20};
            fixture_open(f, name, &options);
        }
        for (int i = 0; i < count; i++) {
            kinds[i] = rand() % KINDS;
            subject_submit(&f->subject, f->inputs[kinds[i]], &f->settings[kinds[i]], &outcomes[i]);
            for (int steps = rand() % 4; steps > 0; steps--)
                engine_step(f->subject.engine);
        }
        subject_finish(&f->subject);
        for (int i = 0; i < count; i++)
            assert_same(&alone->alone[kinds[i]], &outcomes[i]);
    }
    fixture_close(f);
    fixture_close(alone);
    free(f);
    free(alone);
    free(outcomes);
}

static void test_bart_mixes(void **state)
{
    (void)state;
    run_mixes("bart-0", 1);
}

static void test_t5_mixes(void **state)
{
    (void)state;
    run_mixes("t5-1", 2);
}

static void test_llama_mixes(void **state)
{
    (void)state;
    run_mixes("llama-1", 3);
}

static void test_cancelled_samples_leave_others_alone(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof *f);
    struct outcome *outcomes = calloc(6, sizeof *outcomes);
    uint64_t handles[6];
    fixture_open(f, "bart-1", NULL);
    subject_submit(&f->subject, f->inputs[1], &f->settings[1], &f->alone[1]);
    subject_finish(&f->subject);
    for (int i = 0; i < 6; i++)
        handles[i] = subject_submit(&f->subject, f->inputs[1], &f->settings[1], &outcomes[i]);
    engine_cancel(f->subject.engine, handles[5]); /* still queued */
    engine_step(f->subject.engine);
    engine_cancel(f->subject.engine, handles[0]); /* live */
    engine_cancel(f->subject.engine, handles[0]); /* gone: nothing happens */
    subject_finish(&f->subject);
    assert_int_equal(outcomes[0].reason, FINISH_CANCELLED);
    assert_int_equal(outcomes[5].reason, FINISH_CANCELLED);
    for (int i = 1; i < 5; i++)
        assert_same(&f->alone[1], &outcomes[i]);
    assert_int_equal(outcomes[0].calls, 1);
    assert_int_equal(engine_step(f->subject.engine), 0);
    fixture_close(f);
    free(f);
    free(outcomes);
}

static void test_live_samples_are_dropped_at_close(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof *f);
    struct outcome *outcomes = calloc(3, sizeof *outcomes);
    fixture_open(f, "llama-0", &(struct engine_options){.batch_max = 2, .memory_bytes_max = 64 << 20});
    for (int i = 0; i < 3; i++)
        subject_submit(&f->subject, f->inputs[5], &f->settings[5], &outcomes[i]);
    assert_int_equal(engine_step(f->subject.engine), 3);
    fixture_close(f); /* two live, one queued: no callback, no leak */
    for (int i = 0; i < 3; i++)
        assert_int_equal(outcomes[i].calls, 0);
    free(f);
    free(outcomes);
}

static void test_streamed_tokens_are_the_output(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof *f);
    fixture_open(f, "llama-0", NULL);
    subject_submit(&f->subject, f->inputs[0], &f->settings[0], &f->alone[0]);
    subject_finish(&f->subject);
    assert_int_equal(f->alone[0].streamed, f->alone[0].counts[0]);
    assert_memory_equal(
        f->alone[0].ids[0], f->alone[0].ids[SEQUENCES_MAX - 1], f->alone[0].counts[0] * sizeof(int32_t));
    fixture_close(f);
    free(f);
}

/* A device whose memory runs out in some steps: samples start anew in smaller batches, and end as they would
 * have. */
static struct {
    const struct backend_ops *ops;
    struct backend_ops failing;
    int calls, failures;
} shortage;

static bool sync_with_shortages(struct backend *b, struct error *err)
{
    static const int failing_calls[] = {2, 5};
    shortage.calls++;
    for (size_t i = 0; i < sizeof failing_calls / sizeof *failing_calls; i++)
        if (shortage.calls == failing_calls[i]) {
            shortage.failures++;
            return error_set(err, ERROR_MEMORY, "out of memory, as the test has it");
        }
    return shortage.ops->sync(b, err);
}

static void test_batches_shrink_when_memory_runs_out(void **state)
{
    (void)state;
    static const char *const names[] = {"bart-0", "llama-1"};
    for (size_t m = 0; m < sizeof names / sizeof *names; m++) {
        struct fixture *f = calloc(1, sizeof *f);
        struct outcome *outcomes = calloc(KINDS, sizeof *outcomes);
        fixture_open(f, names[m], NULL);
        for (int k = 0; k < KINDS; k++) {
            subject_submit(&f->subject, f->inputs[k], &f->settings[k], &f->alone[k]);
            subject_finish(&f->subject);
        }
        shortage.ops = f->subject.backend->ops;
        shortage.failing = *shortage.ops;
        shortage.failing.sync = sync_with_shortages;
        shortage.calls = shortage.failures = 0;
        f->subject.backend->ops = &shortage.failing;
        for (int k = 0; k < KINDS; k++)
            subject_submit(&f->subject, f->inputs[k], &f->settings[k], &outcomes[k]);
        subject_finish(&f->subject);
        for (int k = 0; k < KINDS; k++) {
            assert_same(&f->alone[k], &outcomes[k]);
            assert_int_equal(f->alone[k].streamed, outcomes[k].streamed);
        }
        assert_int_equal(shortage.failures, 2);
        f->subject.backend->ops = shortage.ops;
        fixture_close(f);
        free(f);
        free(outcomes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bart_mixes),
        cmocka_unit_test(test_t5_mixes),
        cmocka_unit_test(test_llama_mixes),
        cmocka_unit_test(test_batches_shrink_when_memory_runs_out),
        cmocka_unit_test(test_cancelled_samples_leave_others_alone),
        cmocka_unit_test(test_live_samples_are_dropped_at_close),
        cmocka_unit_test(test_streamed_tokens_are_the_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
