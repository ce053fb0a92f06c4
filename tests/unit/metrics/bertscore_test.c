#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/metrics/bertscore.h"

static const int32_t IDS[] = {0, 7, 2};

static bool match(float *prediction, size_t prediction_tokens, float *reference, double *values)
{
    struct error err = {0};
    const int32_t empty[] = {0, 2};
    const struct bertscore_text p = {prediction_tokens == 2 ? empty : IDS, prediction, prediction_tokens};
    const struct bertscore_text r = {IDS, reference, 3};
    return bertscore_match(&p, &r, 2, values, &err);
}

/* Three tokens of two dimensions: special, word, special. */
static void a_word_is_matched_with_its_nearest_token(void **state)
{
    (void)state;
    float prediction[] = {1, 0, 3, 4, 0, 1};
    float reference[] = {-1, 0, 2, 0, 0, -1};
    double values[BERTSCORE_VALUES];
    assert_true(match(prediction, 3, reference, values));
    assert_true(fabs(values[0] - 0.6) < 1e-6); /* (3, 4) / 5 and (1, 0) */
    assert_true(fabs(values[1] - 1.0) < 1e-6); /* (1, 0) and the first special token */
    assert_true(fabs(values[2] - 0.75) < 1e-6);
}

static void texts_without_words_score_nothing(void **state)
{
    (void)state;
    float empty[] = {1, 0, 0, 1}, word[] = {1, 0, 1, 1, 0, 1};
    double values[BERTSCORE_VALUES] = {1, 1, 1};
    assert_true(match(empty, 2, word, values));
    assert_true(values[0] == 0 && values[1] == 0 && values[2] == 0);
}

static void states_of_nothing_but_zeros_give_numbers(void **state)
{
    (void)state;
    float zeros[6] = {0}, word[] = {1, 0, 1, 1, 0, 1};
    double values[BERTSCORE_VALUES];
    assert_true(match(zeros, 3, word, values));
    for (int i = 0; i < BERTSCORE_VALUES; i++)
        assert_true(isfinite(values[i]));
}

static void special_tokens_within_a_text_weigh_nothing(void **state)
{
    (void)state;
    const int32_t with_end[] = {0, 7, 2, 2}, ends_only[] = {0, 2, 2};
    float states[] = {1, 0, 3, 4, 0, 1, 0, 1}, word[] = {-1, 0, 2, 0, 0, -1};
    double values[BERTSCORE_VALUES];
    struct error err = {0};
    const struct bertscore_text r = {IDS, word, 3};
    assert_true(bertscore_match(&(struct bertscore_text){with_end, states, 4}, &r, 2, values, &err));
    assert_true(fabs(values[0] - 0.6) < 1e-6);
    assert_false(bertscore_match(&(struct bertscore_text){ends_only, states, 3}, &r, 2, values, &err));
    assert_int_equal(err.code, ERROR_INVALID);
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
        cmocka_unit_test(special_tokens_within_a_text_weigh_nothing),
        cmocka_unit_test(usual_encoders_have_a_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
