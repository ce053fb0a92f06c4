/* Beam search, greedy and sampling over scripted candidates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "worker/engine/search.h"

enum { END = 2, WIDTH_MAX = 4 };
static int32_t ends[] = {END};

static struct generation_settings settings_make(int32_t beams)
{
    return (struct generation_settings){.num_beams = beams,
        .num_return_sequences = 1,
        .length_penalty = 1,
        .temperature = 1,
        .top_p = 1,
        .typical_p = 1,
        .eos_token_ids = ends,
        .eos_token_count = 1};
}

static void open_search(struct search *s, const struct generation_settings *settings, size_t max_length)
{
    struct error err = {0};
    const int32_t start[] = {0};
    struct generation_limits limits = {.max_length = max_length};
    assert_true(search_open(s, settings, limits, start, 1, 42, &err));
}

static void test_greedy_takes_the_best_until_the_end(void **state)
{
    (void)state;
    struct search s;
    struct generation_settings g = settings_make(1);
    size_t count;
    open_search(&s, &g, 10);
    assert_int_equal(search_candidates_wanted(&s, 100), 1);
    search_advance(&s, (struct candidate[]){{7, -0.5f}}, 1);
    assert_false(s.done);
    search_advance(&s, (struct candidate[]){{END, -0.25f}}, 1);
    assert_true(s.done);
    const struct hypothesis *h = search_results(&s, &count);
    assert_int_equal(count, 1);
    assert_int_equal(h->count, 3);
    assert_int_equal(h->ids[1], 7);
    assert_int_equal(h->reason, FINISH_EOS);
    assert_true(h->score == -0.75f);
    search_close(&s);
}

static void test_greedy_ends_at_the_longest_length(void **state)
{
    (void)state;
    struct search s;
    struct generation_settings g = settings_make(1);
    size_t count;
    open_search(&s, &g, 2);
    search_advance(&s, (struct candidate[]){{7, -0.5f}}, 1);
    assert_true(s.done);
    assert_int_equal(search_results(&s, &count)->reason, FINISH_LENGTH);
    search_close(&s);
}

/* A step of two beams with the same four candidates each. */
static void step(struct search *s, const struct candidate *c)
{
    struct candidate both[8];
    memcpy(both, c, 4 * sizeof *c);
    memcpy(both + 4, c, 4 * sizeof *c);
    search_advance(s, both, 4);
}

static void test_only_the_first_beam_starts(void **state)
{
    (void)state;
    struct search s;
    struct generation_settings g = settings_make(2);
    open_search(&s, &g, 10);
    assert_int_equal(search_candidates_wanted(&s, 100), 4);
    step(&s, (struct candidate[]){{5, -0.1f}, {6, -0.2f}, {7, -3}, {8, -4}});
    assert_int_equal(s.live[0].ids[1], 5);
    assert_int_equal(s.live[1].ids[1], 6);
    assert_int_equal(s.live[1].parent, 0);
    search_close(&s);
}

static void test_ended_beams_become_results_and_others_go_on(void **state)
{
    (void)state;
    struct search s;
    struct generation_settings g = settings_make(2);
    g.early_stopping = EARLY_STOPPING_TRUE;
    g.num_return_sequences = 2;
    size_t count;
    open_search(&s, &g, 10);
    step(&s, (struct candidate[]){{END, -0.1f}, {6, -0.2f}, {7, -3}, {8, -4}});
    assert_int_equal(s.finished_count, 1);
    assert_int_equal(s.live[0].ids[1], 6);
    assert_int_equal(s.live[1].ids[1], 7);
    assert_false(s.done);
    step(&s, (struct candidate[]){{END, -0.1f}, {6, -0.2f}, {7, -3}, {8, -4}});
    assert_true(s.done); /* two results, and early_stopping */
    const struct hypothesis *h = search_results(&s, &count);
    assert_int_equal(count, 2);
    assert_true(h[0].score >= h[1].score);
    assert_int_equal(h[0].count, 2);                /* -0.1 / 1 */
    assert_true(fabsf(h[1].score + 0.15f) < 1e-6f); /* (-0.2 - 0.1) / 2 */
    search_close(&s);
}

static void test_never_stopping_waits_for_what_a_longer_one_may_reach(void **state)
{
    (void)state;
    for (int never = 0; never < 2; never++) {
        struct search s;
        struct generation_settings g = settings_make(2);
        g.early_stopping = never ? EARLY_STOPPING_NEVER : EARLY_STOPPING_FALSE;
        open_search(&s, &g, 50);
        step(&s, (struct candidate[]){{END, -1.0f}, {6, -1.1f}, {7, -3}, {8, -4}});
        step(&s, (struct candidate[]){{END, -0.5f}, {6, -4.0f}, {7, -5}, {8, -6}});
        /* Results score -1 and -0.8; the best open beam has -5.1, over 2 tokens or, hoping, over 49. */
        assert_int_equal(s.finished_count, 2);
        assert_int_equal(s.done, !never);
        search_close(&s);
    }
}

static void test_a_ended_candidate_beyond_the_beams_is_no_result(void **state)
{
    (void)state;
    struct search s;
    struct generation_settings g = settings_make(2);
    open_search(&s, &g, 10);
    step(&s, (struct candidate[]){{5, -0.1f}, {6, -0.2f}, {END, -0.3f}, {8, -4}});
    assert_int_equal(s.finished_count, 0);
    search_close(&s);
}

static void test_all_beams_end_at_the_longest_length(void **state)
{
    (void)state;
    struct search s;
    struct generation_settings g = settings_make(2);
    g.num_return_sequences = 2;
    size_t count;
    open_search(&s, &g, 2);
    step(&s, (struct candidate[]){{5, -0.1f}, {6, -0.2f}, {7, -0.3f}, {8, -4}});
    assert_true(s.done);
    const struct hypothesis *h = search_results(&s, &count);
    assert_int_equal(count, 2);
    assert_int_equal(h[0].ids[1], 5);
    assert_int_equal(h[1].reason, FINISH_LENGTH);
    search_close(&s);
}

static void test_nothing_finite_is_stuck(void **state)
{
    (void)state;
    struct search s;
    struct generation_settings g = settings_make(1);
    open_search(&s, &g, 10);
    search_advance(&s, (struct candidate[]){{7, -INFINITY}}, 1);
    assert_true(s.done && s.stuck);
    search_close(&s);
    g = settings_make(2);
    open_search(&s, &g, 10);
    step(&s, (struct candidate[]){{5, -INFINITY}, {6, -INFINITY}, {7, -INFINITY}, {8, -INFINITY}});
    assert_true(s.done && s.stuck);
    search_close(&s);
}

static bool stop_at_nine(void *context, const int32_t *generated, size_t count)
{
    (void)context;
    return generated[count - 1] == 9;
}

static void test_stop_strings_end_a_beam(void **state)
{
    (void)state;
    struct search s;
    struct generation_settings g = settings_make(1);
    size_t count;
    open_search(&s, &g, 10);
    s.stop = stop_at_nine;
    search_advance(&s, (struct candidate[]){{9, -0.5f}}, 1);
    assert_true(s.done);
    assert_int_equal(search_results(&s, &count)->reason, FINISH_STOP_STRING);
    search_close(&s);
}

static void test_chains_draw_on_their_own(void **state)
{
    (void)state;
    struct search s;
    struct generation_settings g = settings_make(1);
    g.do_sample = true;
    g.num_return_sequences = WIDTH_MAX;
    g.top_k = 0;
    open_search(&s, &g, 30);
    bool differ = false;
    while (!s.done) {
        struct candidate c[WIDTH_MAX * 3];
        size_t n = 0;
        for (size_t i = 0; i < s.width; i++)
            for (int32_t id = 5; id < 8 && !s.live[i].finished; id++)
                c[n++] = (struct candidate){id, -1.0986f};
        search_advance(&s, c, 3);
    }
    for (size_t i = 1; i < s.width; i++)
        differ |= memcmp(s.live[i].ids, s.live[0].ids, 30 * sizeof(int32_t)) != 0;
    assert_true(differ);
    assert_int_equal(s.live[0].count, 30);
    search_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_takes_the_best_until_the_end),
        cmocka_unit_test(test_greedy_ends_at_the_longest_length),
        cmocka_unit_test(test_only_the_first_beam_starts),
        cmocka_unit_test(test_ended_beams_become_results_and_others_go_on),
        cmocka_unit_test(test_never_stopping_waits_for_what_a_longer_one_may_reach),
        cmocka_unit_test(test_a_ended_candidate_beyond_the_beams_is_no_result),
        cmocka_unit_test(test_all_beams_end_at_the_longest_length),
        cmocka_unit_test(test_nothing_finite_is_stuck),
        cmocka_unit_test(test_stop_strings_end_a_beam),
        cmocka_unit_test(test_chains_draw_on_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
