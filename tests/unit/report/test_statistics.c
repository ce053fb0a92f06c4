#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "coordinator/report/statistics.h"

static json_t *golden;

static int load_golden(void **state)
{
    (void)state;
    golden = json_load_file(TEST_SOURCE_DIR "/tests/golden/statistics/golden.json", 0, NULL);
    return golden ? 0 : -1;
}

static int drop_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

static double number(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%.17g is not within %g of %.17g", value, tolerance, expected);
}

static double *doubles(const json_t *list, size_t *count)
{
    *count = json_array_size(list);
    double *values = malloc((*count + 1) * sizeof(*values));
    for (size_t i = 0; i < *count; i++)
        values[i] = json_number_value(json_array_get(list, i));
    return values;
}

static void intervals_and_p_equal_numpy_on_the_same_resamples(void **state)
{
    (void)state;
    size_t i, count;
    json_t *one;
    json_array_foreach(json_object_get(golden, "intervals"), i, one)
    {
        double *values = doubles(json_object_get(one, "values"), &count);
        const json_t *exact = json_object_get(one, "exact");
        struct statistics_interval interval;
        struct statistics_pair pair;
        assert_true(statistics_mean_interval(values, count, &interval));
        assert_true(statistics_paired(values, count, &pair));
        assert_near(interval.mean, number(exact, "mean"), 1e-12);
        assert_near(interval.low, number(exact, "low"), 1e-12);
        assert_near(interval.high, number(exact, "high"), 1e-12);
        assert_near(pair.difference.low, interval.low, 0);
        assert_near(pair.p, number(exact, "p"), 1e-12);
        free(values);
    }
}

static void intervals_agree_with_scipy_within_the_noise_of_resampling(void **state)
{
    (void)state;
    size_t i, count;
    json_t *one;
    json_array_foreach(json_object_get(golden, "intervals"), i, one)
    {
        double *values = doubles(json_object_get(one, "values"), &count);
        const json_t *scipy = json_object_get(one, "scipy");
        struct statistics_interval interval;
        assert_true(statistics_mean_interval(values, count, &interval));
        double noise = 0.05 * (number(scipy, "high") - number(scipy, "low"));
        assert_near(interval.low, number(scipy, "low"), noise);
        assert_near(interval.high, number(scipy, "high"), noise);
        free(values);
    }
}

static void p_is_close_to_the_paired_t_test(void **state)
{
    (void)state;
    size_t i, count;
    json_t *one;
    json_array_foreach(json_object_get(golden, "intervals"), i, one)
    {
        double *values = doubles(json_object_get(one, "values"), &count);
        struct statistics_pair pair;
        assert_true(statistics_paired(values, count, &pair));
        assert_near(pair.p, number(json_object_get(one, "scipy"), "p"), 0.03);
        assert_true(pair.p > 0);
        free(values);
    }
}

static void holm_corrects_step_by_step(void **state)
{
    (void)state;
    size_t i, count, same;
    json_t *one;
    json_array_foreach(json_object_get(golden, "holm"), i, one)
    {
        double *p = doubles(json_object_get(one, "p"), &count);
        double *expected = doubles(json_object_get(one, "corrected"), &same);
        double corrected[8];
        assert_true(count == same && count <= 8);
        statistics_holm(p, count, corrected);
        for (size_t k = 0; k < count; k++)
            assert_near(corrected[k], expected[k], 1e-15);
        free(p);
        free(expected);
    }
}

static void correlation_equals_scipy_and_is_nan_for_a_constant(void **state)
{
    (void)state;
    size_t count, same;
    const json_t *one = json_object_get(golden, "correlation");
    double *a = doubles(json_object_get(one, "a"), &count), *b = doubles(json_object_get(one, "b"), &same);
    assert_near(statistics_correlation(a, b, count), number(one, "r"), 1e-12);
    for (size_t i = 0; i < count; i++)
        a[i] = 3;
    assert_true(isnan(statistics_correlation(a, b, count)));
    free(a);
    free(b);
}

static void a_pair_counts_wins_ties_and_losses(void **state)
{
    (void)state;
    const double differences[] = {0.5, 0, -0.25, 0.125, 0};
    struct statistics_pair pair;
    assert_true(statistics_paired(differences, 5, &pair));
    assert_int_equal(pair.wins, 2);
    assert_int_equal(pair.ties, 2);
    assert_int_equal(pair.losses, 1);
}

static void equal_models_are_not_told_apart(void **state)
{
    (void)state;
    const double differences[40] = {0};
    struct statistics_pair pair;
    assert_true(statistics_paired(differences, 40, &pair));
    assert_near(pair.p, 1, 0);
    assert_near(pair.difference.high, 0, 0);
}

static void one_value_has_an_interval_of_no_width(void **state)
{
    (void)state;
    const double one = 0.25;
    struct statistics_interval interval;
    assert_true(statistics_mean_interval(&one, 1, &interval));
    assert_near(interval.low, 0.25, 0);
    assert_near(interval.high, 0.25, 0);
}

static void large_samples_use_the_normal_approximation(void **state)
{
    (void)state;
    enum { COUNT = 40000 };
    double *values = malloc(COUNT * sizeof(*values));
    for (size_t i = 0; i < COUNT; i++)
        values[i] = i % 2 ? 1.0 : 0.0;
    struct statistics_interval interval;
    assert_int_equal(statistics_resamples(COUNT), 0);
    assert_true(statistics_mean_interval(values, COUNT, &interval));
    /* standard error of a fair coin: sqrt(n/4/(n-1)/n) scaled by 1.96 */
    double half = 1.959963984540054 * sqrt(0.25 * COUNT / (COUNT - 1.0) / COUNT);
    assert_near(interval.high - interval.mean, half, 1e-12);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_and_p_equal_numpy_on_the_same_resamples),
        cmocka_unit_test(intervals_agree_with_scipy_within_the_noise_of_resampling),
        cmocka_unit_test(p_is_close_to_the_paired_t_test),
        cmocka_unit_test(holm_corrects_step_by_step),
        cmocka_unit_test(correlation_equals_scipy_and_is_nan_for_a_constant),
        cmocka_unit_test(a_pair_counts_wins_ties_and_losses),
        cmocka_unit_test(equal_models_are_not_told_apart),
        cmocka_unit_test(one_value_has_an_interval_of_no_width),
        cmocka_unit_test(large_samples_use_the_normal_approximation),
    };
    return cmocka_run_group_tests(tests, load_golden, drop_golden);
}
