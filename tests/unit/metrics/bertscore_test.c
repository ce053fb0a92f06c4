#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/metrics/bertscore.h"

/* Three tokens of two dimensions: special, word, special. */
static void a_word_is_matched_with_its_nearest_token(void **state)
{
    (void)state;
    float prediction[] = {1, 0, 3, 4, 0, 1};
    float reference[] = {-1, 0, 2, 0, 0, -1};
    double values[BERTSCORE_VALUES];
    bertscore_match(prediction, 3, reference, 3, 2, values);
    assert_true(fabs(values[0] - 0.6) < 1e-6); /* (3, 4) / 5 and (1, 0) */
    assert_true(fabs(values[1] - 1.0) < 1e-6); /* (1, 0) and the first special token */
    assert_true(fabs(values[2] - 0.75) < 1e-6);
}

static void texts_without_words_score_nothing(void **state)
{
    (void)state;
    float empty[] = {1, 0, 0, 1}, word[] = {1, 0, 1, 1, 0, 1};
    double values[BERTSCORE_VALUES] = {1, 1, 1};
    bertscore_match(empty, 2, word, 3, 2, values);
    assert_true(values[0] == 0 && values[1] == 0 && values[2] == 0);
}

static void states_of_nothing_but_zeros_give_numbers(void **state)
{
    (void)state;
    float zeros[6] = {0}, word[] = {1, 0, 1, 1, 0, 1};
    double values[BERTSCORE_VALUES];
    bertscore_match(zeros, 3, word, 3, 2, values);
    for (int i = 0; i < BERTSCORE_VALUES; i++)
        assert_true(isfinite(values[i]));
}

static void usual_encoders_have_a_layer(void **state)
{
    (void)state;
    assert_int_equal(bertscore_default_layer("hf://FacebookAI/roberta-large"), 17);
    assert_int_equal(bertscore_default_layer("hf://FacebookAI/roberta-large@main"), 17);
    assert_int_equal(bertscore_default_layer("file:///models/bert-base-uncased"), 9);
    assert_int_equal(bertscore_default_layer("hf://microsoft/deberta-v3-large"), 12);
    assert_int_equal(bertscore_default_layer("hf://someone/distilroberta-large"), -1);
    assert_int_equal(bertscore_default_layer("roberta-large"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_is_matched_with_its_nearest_token),
        cmocka_unit_test(texts_without_words_score_nothing),
        cmocka_unit_test(states_of_nothing_but_zeros_give_numbers),
        cmocka_unit_test(usual_encoders_have_a_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
