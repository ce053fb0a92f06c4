/* Logits processors as sparse edits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/engine/processors.h"

enum { VOCABULARY = 50 };

struct fixture {
    struct generation_settings settings;
    struct generation_limits limits;
    struct edits edits;
};

static struct fixture fixture_make(void)
{
    static int32_t ends[] = {2};
    return (struct fixture){.settings = {.repetition_penalty = 1,
                                .forced_bos_token_id = -1,
                                .forced_eos_token_id = -1,
                                .eos_token_ids = ends,
                                .eos_token_count = 1},
        .limits = {.max_length = 20}};
}

static void apply(struct fixture *f, const int32_t *ids, size_t count, size_t prompt_count)
{
    struct sequence_view view = {ids, count, prompt_count};
    struct error err = {0};
    f->edits.count = 0;
    assert_true(processors_apply(&f->settings, &f->limits, &view, VOCABULARY, 3, &f->edits, &err));
    for (size_t i = 0; i < f->edits.count; i++)
        assert_int_equal(f->edits.items[i].row, 3);
}

static bool has(const struct fixture *f, enum edit_kind kind, int32_t id)
{
    for (size_t i = 0; i < f->edits.count; i++)
        if (f->edits.items[i].kind == kind && f->edits.items[i].id == id)
            return true;
    return false;
}

static void test_nothing_asked_is_nothing_done(void **state)
{
    (void)state;
    struct fixture f = fixture_make();
    apply(&f, (int32_t[]){2, 5, 5}, 3, 1);
    assert_int_equal(f.edits.count, 0);
    edits_free(&f.edits);
}

static void test_repeated_ngrams_are_banned(void **state)
{
    (void)state;
    struct fixture f = fixture_make();
    f.settings.no_repeat_ngram_size = 2;
    apply(&f, (int32_t[]){2, 7, 8, 7}, 4, 1);
    assert_int_equal(f.edits.count, 1);
    assert_true(has(&f, EDIT_BAN, 8));
    f.settings.no_repeat_ngram_size = 1; /* every id that was there */
    apply(&f, (int32_t[]){2, 7, 8, 7}, 4, 1);
    assert_int_equal(f.edits.count, 3);
    f.settings.no_repeat_ngram_size = 3;
    apply(&f, (int32_t[]){2, 7}, 2, 1);
    assert_int_equal(f.edits.count, 0);
    apply(&f, (int32_t[]){5, 6, 7, 5, 6}, 5, 1);
    assert_int_equal(f.edits.count, 1);
    assert_true(has(&f, EDIT_BAN, 7));
    edits_free(&f.edits);
}

static void test_minimum_length_bans_the_end(void **state)
{
    (void)state;
    struct fixture f = fixture_make();
    f.limits.min_length = 4;
    apply(&f, (int32_t[]){9, 7, 8}, 3, 1);
    assert_true(has(&f, EDIT_BAN, 2));
    apply(&f, (int32_t[]){9, 7, 8, 8}, 4, 1);
    assert_int_equal(f.edits.count, 0);
    edits_free(&f.edits);
}

static void test_forced_tokens_leave_one(void **state)
{
    (void)state;
    struct fixture f = fixture_make();
    f.settings.forced_bos_token_id = 0;
    f.settings.forced_eos_token_id = 2;
    f.settings.no_repeat_ngram_size = 1;
    apply(&f, (int32_t[]){2}, 1, 1);
    assert_int_equal(f.edits.count, 1);
    assert_true(has(&f, EDIT_ONLY, 0));
    f.limits.max_length = 4;
    apply(&f, (int32_t[]){2, 0, 5}, 3, 1);
    assert_int_equal(f.edits.count, 1);
    assert_true(has(&f, EDIT_ONLY, 2));
    edits_free(&f.edits);
}

static void test_bad_words_need_their_beginning(void **state)
{
    (void)state;
    struct fixture f = fixture_make();
    int32_t pair[] = {4, 5, -1}, single[] = {6, -1}, end[] = {2, -1}, *words[] = {pair, single, end};
    f.settings.bad_words = words;
    f.settings.bad_words_count = 3;
    apply(&f, (int32_t[]){9, 4}, 2, 1);
    assert_true(has(&f, EDIT_BAN, 5) && has(&f, EDIT_BAN, 6));
    assert_false(has(&f, EDIT_BAN, 2)); /* an end token is never a bad word */
    apply(&f, (int32_t[]){9, 3}, 2, 1);
    assert_int_equal(f.edits.count, 1);
    edits_free(&f.edits);
}

static void test_penalties_count_once_or_by_frequency(void **state)
{
    (void)state;
    struct fixture f = fixture_make();
    f.settings.repetition_penalty = 1.5;
    f.settings.frequency_penalty = 0.5;
    f.settings.presence_penalty = 0.25;
    apply(&f, (int32_t[]){9, 9, 7, 7, 7}, 5, 2);
    assert_int_equal(f.edits.count, 3);
    assert_true(has(&f, EDIT_PENALTY, 9) && has(&f, EDIT_PENALTY, 7) && !has(&f, EDIT_ADD, 9));
    assert_non_null(f.edits.items);
    assert_int_equal(f.edits.items[0].kind, EDIT_PENALTY); /* 7: the penalty comes before the addition */
    assert_int_equal(f.edits.items[1].kind, EDIT_ADD);
    assert_true(f.edits.items[1].value == -1.75f);
    edits_free(&f.edits);
}

static void test_ids_outside_the_vocabulary_are_left_out(void **state)
{
    (void)state;
    struct fixture f = fixture_make();
    int32_t suppressed[] = {3, VOCABULARY, 1000};
    f.settings.suppress_tokens = suppressed;
    f.settings.suppress_count = 3;
    apply(&f, (int32_t[]){9}, 1, 1);
    assert_int_equal(f.edits.count, 1);
    edits_free(&f.edits);
}

static void test_begin_suppression_is_for_the_first_token(void **state)
{
    (void)state;
    struct fixture f = fixture_make();
    int32_t suppressed[] = {3};
    f.settings.begin_suppress_tokens = suppressed;
    f.settings.begin_suppress_count = 1;
    apply(&f, (int32_t[]){9}, 1, 1);
    assert_true(has(&f, EDIT_BAN, 3));
    apply(&f, (int32_t[]){9, 8}, 2, 1);
    assert_int_equal(f.edits.count, 0);
    edits_free(&f.edits);
}

static void test_limits_resolve_as_generate_does(void **state)
{
    (void)state;
    struct generation_settings s = {
        .max_new_tokens = -1, .min_new_tokens = -1, .max_length = -1, .min_length = -1};
    assert_int_equal(generation_limits_resolve(&s, 7, 1000).max_length, 27);
    assert_int_equal(generation_limits_resolve(&s, 7, 15).max_length, 15);
    s.max_length = 40;
    assert_int_equal(generation_limits_resolve(&s, 7, 15).max_length, 40);
    s.max_new_tokens = 5;
    assert_int_equal(generation_limits_resolve(&s, 7, 15).max_length, 12);
    s.min_length = 9;
    assert_int_equal(generation_limits_resolve(&s, 7, 15).min_length, 9);
    s.min_new_tokens = 4;
    assert_int_equal(generation_limits_resolve(&s, 7, 15).min_length, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_asked_is_nothing_done),
        cmocka_unit_test(test_repeated_ngrams_are_banned),
        cmocka_unit_test(test_minimum_length_bans_the_end),
        cmocka_unit_test(test_forced_tokens_leave_one),
        cmocka_unit_test(test_bad_words_need_their_beginning),
        cmocka_unit_test(test_penalties_count_once_or_by_frequency),
        cmocka_unit_test(test_ids_outside_the_vocabulary_are_left_out),
        cmocka_unit_test(test_begin_suppression_is_for_the_first_token),
        cmocka_unit_test(test_limits_resolve_as_generate_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
