/* Warpers of sampling and its noise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "worker/engine/sampling.h"

enum { COUNT = 5 };

static struct generation_settings settings_make(void)
{
    return (struct generation_settings){.temperature = 1, .top_p = 1, .typical_p = 1};
}

/* Probabilities 0.5, 0.2, 0.15, 0.1, 0.05. */
static void fill(struct candidate *c)
{
    static const float p[COUNT] = {0.5f, 0.2f, 0.15f, 0.1f, 0.05f};
    for (int32_t i = 0; i < COUNT; i++)
        c[i] = (struct candidate){i, logf(p[i])};
}

static size_t warp(const struct generation_settings *s, size_t keep_min)
{
    struct candidate c[COUNT];
    fill(c);
    return sampling_warp(s, c, COUNT, keep_min);
}

static void test_each_warper_keeps_what_it_should(void **state)
{
    (void)state;
    struct generation_settings s = settings_make();
    assert_int_equal(warp(&s, 1), COUNT);
    s.top_k = 2;
    assert_int_equal(warp(&s, 1), 2);
    assert_int_equal(warp(&s, 3), 3);
    s = settings_make();
    s.top_p = 0.6;
    assert_int_equal(warp(&s, 1), 2);
    s.top_p = 0.0;
    assert_int_equal(warp(&s, 1), 1);
    s = settings_make();
    s.min_p = 0.25;
    assert_int_equal(warp(&s, 1), 3);
}

static void test_typical_prefers_the_expected_surprise(void **state)
{
    (void)state;
    struct generation_settings s = settings_make();
    struct candidate c[COUNT];
    s.typical_p = 0.15;
    fill(c);
    /* Entropy is 1.333 nats: 0.2 (1.61) is nearest, and 0.5 (0.69) is not kept. */
    assert_int_equal(sampling_warp(&s, c, COUNT, 1), 1);
    assert_int_equal(c[0].id, 1);
}

static void test_banned_candidates_are_dropped(void **state)
{
    (void)state;
    struct generation_settings s = settings_make();
    struct candidate c[] = {{1, -0.5f}, {2, -INFINITY}, {3, -INFINITY}};
    assert_int_equal(sampling_warp(&s, c, 3, 1), 1);
}

static void test_draws_follow_the_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    struct candidate c[COUNT];
    int hits[COUNT] = {0};
    fill(c);
    for (uint64_t i = 0; i < DRAWS; i++)
        hits[sampling_draw(c, COUNT, sampling_uniform(9, i, 0))]++;
    for (int i = 0; i < COUNT; i++) /* five standard deviations */
        assert_true(fabs(hits[i] - DRAWS * exp((double)c[i].score)) < 5 * sqrt(DRAWS * 0.25));
    assert_int_equal(sampling_draw(c, COUNT, 0.0), 0);
    assert_int_equal(sampling_draw(c, COUNT, 0.999999), COUNT - 1);
}

static void test_noise_is_named_by_seed_and_sample(void **state)
{
    (void)state;
    const int32_t a[] = {1, 2, 3}, b[] = {1, 2, 4};
    assert_true(sampling_key(1, a, 3) == sampling_key(1, a, 3));
    assert_true(sampling_key(1, a, 3) != sampling_key(2, a, 3));
    assert_true(sampling_key(1, a, 3) != sampling_key(1, b, 3));
    assert_true(sampling_key(1, a, 3) != sampling_key(1, a, 2));
    for (uint64_t i = 0; i < 1000; i++) {
        double u = sampling_uniform(i, i, i);
        assert_true(u > 0 && u < 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_warper_keeps_what_it_should),
        cmocka_unit_test(test_typical_prefers_the_expected_surprise),
        cmocka_unit_test(test_banned_candidates_are_dropped),
        cmocka_unit_test(test_draws_follow_the_distribution),
        cmocka_unit_test(test_noise_is_named_by_seed_and_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
