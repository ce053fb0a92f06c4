/* What the engine does with inputs at the edges: nothing, unknown ids, too long, endless, too little memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/parity/subject.h"

static struct outcome run(const struct subject *s, json_t *ids, const char *overrides)
{
    struct outcome outcome;
    struct generation_settings settings;
    json_t *object = json_loads(overrides, 0, NULL);
    settings_make(s, object, &settings);
    subject_submit(s, ids, &settings, &outcome);
    subject_finish(s);
    engine_settings_free(&settings);
    json_decref(object);
    json_decref(ids);
    return outcome;
}

static json_t *repeated(int id, size_t count)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(ids, json_integer(id));
    return ids;
}

static void test_empty_input_reads_the_end_token(void **state)
{
    (void)state;
    struct subject s;
    subject_open(&s, "bart-0", NULL);
    struct outcome nothing = run(&s, json_array(), "{\"max_new_tokens\": 6}");
    int end = (int)json_integer_value(json_object_get(model_generation_config(s.model), "eos_token_id"));
    struct outcome only_end = run(&s, repeated(end, 1), "{\"max_new_tokens\": 6}");
    assert_int_equal(nothing.prompt_tokens, 1);
    assert_int_equal(nothing.counts[0], only_end.counts[0]);
    assert_memory_equal(nothing.ids[0], only_end.ids[0], nothing.counts[0] * sizeof(int32_t));
    subject_close(&s);
}

static void test_empty_prompt_begins_with_the_first_token(void **state)
{
    (void)state;
    struct subject s;
    subject_open(&s, "llama-0", NULL);
    struct outcome outcome = run(&s, json_array(), "{\"max_new_tokens\": 3, \"bos_token_id\": 1}");
    assert_int_equal(outcome.prompt_tokens, 1);
    assert_true(outcome.counts[0] > 0);
    subject_close(&s);
}

static void test_unknown_only_input_is_read_as_it_is(void **state)
{
    (void)state;
    struct subject s;
    subject_open(&s, "t5-0", NULL);
    struct outcome outcome = run(&s, repeated(2, 30), "{\"max_new_tokens\": 5}");
    assert_int_not_equal(outcome.reason, FINISH_ERROR);
    assert_int_equal(outcome.prompt_tokens, 30);
    subject_close(&s);
}

static void test_long_input_is_cut_and_keeps_its_end_token(void **state)
{
    (void)state;
    struct subject s;
    subject_open(&s, "bart-0", NULL);
    int end = (int)json_integer_value(json_object_get(model_generation_config(s.model), "eos_token_id"));
    size_t longest = engine_input_tokens_max(s.engine);
    json_t *ids = repeated(5, longest + 40), *cut = repeated(5, longest - 1);
    json_array_append_new(ids, json_integer(end));
    json_array_append_new(cut, json_integer(end));
    struct outcome a = run(&s, ids, "{\"max_new_tokens\": 4}"), b = run(&s, cut, "{\"max_new_tokens\": 4}");
    assert_true(a.truncated);
    assert_false(b.truncated);
    assert_int_equal(a.prompt_tokens, longest);
    assert_memory_equal(a.token_scores[0], b.token_scores[0], a.counts[0] * sizeof(float));
    subject_close(&s);
}

static void test_long_prompt_leaves_room_for_new_tokens(void **state)
{
    (void)state;
    struct subject s;
    subject_open(&s, "gpt2-0", NULL);
    size_t longest = engine_input_tokens_max(s.engine);
    struct outcome outcome =
        run(&s, repeated(5, longest * 2), "{\"max_new_tokens\": 8, \"min_new_tokens\": 8}");
    assert_true(outcome.truncated);
    assert_int_equal(outcome.prompt_tokens, longest - 8);
    assert_int_equal(outcome.counts[0], 8);
    subject_close(&s);
}

static void test_endless_generation_ends_at_the_models_length(void **state)
{
    (void)state;
    struct subject s;
    subject_open(&s, "bart-1", NULL);
    struct outcome outcome = run(&s, repeated(5, 4),
        "{\"num_beams\": 1, \"max_new_tokens\": 100000, \"eos_token_id\": null, \"forced_eos_token_id\": "
        "null}");
    assert_int_equal(outcome.reason, FINISH_LENGTH);
    assert_int_equal(outcome.counts[0], 63); /* 64 positions, the start token's among them */
    subject_close(&s);
}

static void test_no_room_for_a_token_ends_at_once(void **state)
{
    (void)state;
    struct subject s;
    subject_open(&s, "bart-1", NULL);
    struct outcome outcome = run(&s, repeated(5, 4), "{\"max_new_tokens\": 0}");
    assert_int_equal(outcome.reason, FINISH_LENGTH);
    assert_int_equal(outcome.counts[0], 0);
    subject_close(&s);
}

static void test_banning_everything_is_an_error(void **state)
{
    (void)state;
    struct subject s;
    subject_open(&s, "bart-1", NULL);
    json_t *object = json_pack("{si so}", "max_new_tokens", 4, "suppress_tokens", json_array());
    for (size_t i = 0; i < engine_vocabulary_size(s.engine); i++)
        json_array_append_new(json_object_get(object, "suppress_tokens"), json_integer((json_int_t)i));
    char *overrides = json_dumps(object, 0);
    struct outcome outcome = run(&s, repeated(5, 4), overrides);
    assert_int_equal(outcome.reason, FINISH_ERROR);
    assert_int_equal(outcome.error.code, ERROR_INVALID);
    free(overrides);
    json_decref(object);
    subject_close(&s);
}

static void assert_refused(
    const struct subject *s, const int32_t *ids, size_t count, const char *overrides, enum error_code code)
{
    struct outcome outcome = {0};
    struct generation_settings settings;
    struct error err = {0};
    json_t *object = json_loads(overrides, 0, NULL);
    settings_make(s, object, &settings);
    struct generation_request request = {
        .ids = ids, .count = count, .settings = &settings, .context = &outcome};
    assert_int_equal(engine_submit(s->engine, &request, &err), 0);
    assert_int_equal(err.code, code);
    engine_settings_free(&settings);
    json_decref(object);
}

static void test_requests_that_cannot_be_met_are_refused(void **state)
{
    (void)state;
    struct subject s;
    const int32_t fine[] = {5, 6}, strange[] = {5, 100000}, negative[] = {-3};
    subject_open(&s, "bart-1", &(struct engine_options){.memory_bytes_max = 6 << 20});
    assert_refused(&s, strange, 2, "{}", ERROR_INVALID);
    assert_refused(&s, negative, 1, "{}", ERROR_INVALID);
    assert_refused(&s, fine, 2, "{\"num_beams\": 1, \"num_return_sequences\": 2}", ERROR_INVALID);
    assert_refused(&s, fine, 2, "{\"num_beams\": 2, \"num_return_sequences\": 3}", ERROR_INVALID);
    assert_refused(&s, fine, 2, "{\"num_beams\": 100}", ERROR_INVALID);
    assert_refused(&s, fine, 2, "{\"forced_bos_token_id\": 5000}", ERROR_INVALID);
    assert_refused(&s, fine, 2, "{\"stop_strings\": [\"x\"]}", ERROR_INVALID);
    subject_close(&s);
}

static void test_a_model_that_does_not_fit_says_both_figures(void **state)
{
    (void)state;
    struct subject s;
    struct engine *engine;
    struct error err = {0};
    subject_open(&s, "bart-1", NULL);
    struct engine_options options = {.memory_bytes_max = 1 << 10};
    assert_false(engine_open(s.backend, s.model, &options, &engine, &err));
    assert_int_equal(err.code, ERROR_MEMORY);
    assert_non_null(strstr(err.message, "MiB"));
    subject_close(&s);
}

static void test_a_sample_that_cannot_fit_is_refused(void **state)
{
    (void)state;
    struct subject s;
    struct engine_options options = {.memory_bytes_max = 0};
    struct engine *small;
    struct error err = {0};
    const int32_t ids[] = {5, 6};
    subject_open(&s, "t5-0", NULL);
    options.memory_bytes_max = 5 << 20;
    if (!engine_open(s.backend, s.model, &options, &small, &err))
        fail_msg("%s", err.message);
    struct generation_settings settings;
    assert_true(engine_settings_from_model(s.model, NULL, &settings, &err));
    settings.max_new_tokens = 1 << 20;
    struct generation_request request = {.ids = ids, .count = 2, .settings = &settings};
    assert_int_equal(engine_submit(small, &request, &err), 0);
    assert_int_equal(err.code, ERROR_MEMORY);
    engine_settings_free(&settings);
    engine_close(small);
    subject_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_input_reads_the_end_token),
        cmocka_unit_test(test_empty_prompt_begins_with_the_first_token),
        cmocka_unit_test(test_unknown_only_input_is_read_as_it_is),
        cmocka_unit_test(test_long_input_is_cut_and_keeps_its_end_token),
        cmocka_unit_test(test_long_prompt_leaves_room_for_new_tokens),
        cmocka_unit_test(test_endless_generation_ends_at_the_models_length),
        cmocka_unit_test(test_no_room_for_a_token_ends_at_once),
        cmocka_unit_test(test_banning_everything_is_an_error),
        cmocka_unit_test(test_requests_that_cannot_be_met_are_refused),
        cmocka_unit_test(test_a_model_that_does_not_fit_says_both_figures),
        cmocka_unit_test(test_a_sample_that_cannot_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
