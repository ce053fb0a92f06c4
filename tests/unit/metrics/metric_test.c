/* The list of metrics, samples without a value, and the metrics that have no reference implementation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/metrics/metric.h"

static struct metric_sample sample(const char *prediction, const char *reference, const char *source)
{
    return (struct metric_sample){prediction, strlen(prediction), reference,
        reference ? strlen(reference) : 0, source, source ? strlen(source) : 0};
}

static void assert_close(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-12))
        fail_msg("%.17g is not %.17g", value, expected);
}

static void lists_are_parsed(void **state)
{
    (void)state;
    const struct metric *metrics[3];
    size_t count;
    struct error err = {0};
    assert_true(metric_list_parse(" rouge, bleu ,rouge", metrics, 3, &count, &err));
    assert_int_equal(count, 2);
    assert_string_equal(metrics[0]->name, "rouge");
    assert_string_equal(metrics[1]->name, "bleu");
    assert_false(metric_list_parse("rouge,blue", metrics, 3, &count, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    assert_non_null(strstr(err.message, "'blue'"));
    assert_non_null(strstr(err.hint, "token_length"));
    assert_false(metric_list_parse("", metrics, 3, &count, &err));
    assert_false(metric_list_parse("rouge,", metrics, 3, &count, &err));
    assert_false(metric_list_parse("rouge,bleu,chrf,ter", metrics, 3, &count, &err));
    assert_int_equal(err.code, ERROR_TOO_LARGE);
}

static void every_metric_is_described(void **state)
{
    (void)state;
    for (const struct metric *const *m = metric_all(); *m; m++) {
        assert_ptr_equal(metric_find((*m)->name), *m);
        size_t keys = 0;
        while ((*m)->keys[keys])
            keys++;
        assert_int_equal(keys, (*m)->key_count);
    }
    assert_null(metric_find("rouge1"));
}

static void missing_texts_are_errors(void **state)
{
    (void)state;
    struct metric_sample s = sample("a", NULL, NULL);
    for (const struct metric *const *m = metric_all(); *m; m++) {
        double values[8];
        struct error err = {0};
        bool needs = (*m)->needs_reference || (*m)->needs_source;
        if (!(*m)->score)
            continue;
        assert_int_equal((*m)->score(&s, values, &err), !needs);
        assert_int_equal(err.code, needs ? ERROR_INVALID : ERROR_NONE);
    }
}

/* Values are finite on whatever bytes come, or there is none. */
static void bytes_are_survived(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\xff", "a\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf",
        "a b c", "\xe2\x84\xaa\xc4\xb0", "'", "``", ". . . .", "\"", "d'ye", "x."};
    size_t count = sizeof texts / sizeof *texts;
    for (const struct metric *const *m = metric_all(); *m; m++)
        for (size_t i = 0; i < count * count; i++) {
            struct metric_sample s = sample(texts[i / count], texts[i % count], texts[i % count]);
            double values[8];
            struct error err = {0};
            if (!(*m)->score)
                continue;
            if (!(*m)->score(&s, values, &err)) {
                assert_true(err.message[0] != '\0');
                continue;
            }
            for (size_t k = 0; k < (*m)->key_count; k++)
                assert_true(isfinite(values[k]));
        }
}

static void bleu_without_tokens_has_no_value(void **state)
{
    (void)state;
    double value;
    struct error err = {0};
    struct metric_sample s = sample(" ", "a", NULL);
    assert_false(metric_find("bleu")->score(&s, &value, &err));
    assert_non_null(strstr(err.message, "prediction"));
    s = sample("a", "", NULL);
    assert_false(metric_find("bleu")->score(&s, &value, &err));
    assert_non_null(strstr(err.message, "reference"));
}

static void exact_match_compares_bytes(void **state)
{
    (void)state;
    double value;
    struct metric_sample s = sample("a b", "a b", NULL);
    assert_true(metric_find("exact_match")->score(&s, &value, NULL));
    assert_close(value, 1);
    s = sample("a b", "a b ", NULL);
    assert_true(metric_find("exact_match")->score(&s, &value, NULL));
    assert_close(value, 0);
}

static void length_counts_words_and_characters(void **state)
{
    (void)state;
    double values[2];
    struct metric_sample s = sample("Caf\xc3\xa9, d\xc3\xa9j\xc3\xa0 vu!", NULL, NULL);
    assert_true(metric_find("length")->score(&s, values, NULL));
    assert_close(values[0], 3);
    assert_close(values[1], 14);
}

static void compression_is_source_by_prediction(void **state)
{
    (void)state;
    double value;
    struct error err = {0};
    struct metric_sample s = sample("one two", NULL, "one, two; three. FOUR five");
    assert_true(metric_find("compression_ratio")->score(&s, &value, &err));
    assert_close(value, 2.5);
    s = sample("...", NULL, "one");
    assert_false(metric_find("compression_ratio")->score(&s, &value, &err));
}

static void copied_ngrams_ignore_case_and_marks(void **state)
{
    (void)state;
    double values[4];
    struct metric_sample s = sample("The cat sat. On the hat", NULL, "the CAT, sat on a mat");
    assert_true(metric_find("copied_ngrams")->score(&s, values, NULL));
    assert_close(values[0], 5.0 / 6);
    assert_close(values[1], 3.0 / 5);
    assert_close(values[2], 2.0 / 4);
    assert_close(values[3], 1.0 / 3);
    s = sample("cat", NULL, "");
    assert_true(metric_find("copied_ngrams")->score(&s, values, NULL));
    assert_close(values[0], 0);
    assert_close(values[3], 0);
}

/* The paths that ordinary texts do not take: many words of the bit rows, frequent words, cut backtracking. */
static void long_texts_agree_with_a_plain_table(void **state)
{
    (void)state;
    enum { WORDS = 3000, KINDS = 7 };
    static char prediction[WORDS * 2];
    static char reference[WORDS * 2];
    static uint16_t table[WORDS + 1][WORDS + 1];
    uint32_t seed = 1;
    for (size_t i = 0; i < WORDS; i++) {
        seed = seed * 1664525u + 1013904223u;
        prediction[2 * i] = (char)('a' + (seed >> 16) % KINDS);
        prediction[2 * i + 1] = i % 700 == 0 ? '\n' : ' ';
        seed = seed * 1664525u + 1013904223u;
        reference[2 * i] = (char)('a' + (seed >> 16) % KINDS);
        reference[2 * i + 1] = ' ';
    }
    for (size_t i = 1; i <= WORDS; i++)
        for (size_t j = 1; j <= WORDS; j++) {
            uint16_t up = table[i - 1][j];
            uint16_t left = table[i][j - 1];
            table[i][j] = reference[2 * i - 2] == prediction[2 * j - 2] ? table[i - 1][j - 1] + 1
                          : up > left                                   ? up
                                                                        : left;
        }
    struct metric_sample s = {prediction, sizeof prediction, reference, sizeof reference, NULL, 0};
    double values[4];
    assert_true(metric_find("rouge")->score(&s, values, NULL));
    assert_close(values[2], (double)table[WORDS][WORDS] / WORDS);
    assert_true(values[3] > values[2] && values[3] <= values[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_parsed),
        cmocka_unit_test(every_metric_is_described),
        cmocka_unit_test(missing_texts_are_errors),
        cmocka_unit_test(bytes_are_survived),
        cmocka_unit_test(bleu_without_tokens_has_no_value),
        cmocka_unit_test(exact_match_compares_bytes),
        cmocka_unit_test(length_counts_words_and_characters),
        cmocka_unit_test(compression_is_source_by_prediction),
        cmocka_unit_test(copied_ngrams_ignore_case_and_marks),
        cmocka_unit_test(long_texts_agree_with_a_plain_table),
    };
    setenv("LUMIGRID_SHARE", TEST_BINARY_DIR "/worker", 1);
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
