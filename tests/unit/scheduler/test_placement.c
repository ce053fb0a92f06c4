/* Who gets what, one promise after the other. */
#include "bench.h"

static void test_requirements_decide_who_can(void **state)
{
    struct bench *bench = *state;
    static const char *const unknown[] = {"comet"};
    struct scheduler_job_spec scheme = job_spec(1, 1), metric = job_spec(2, 1), bare = job_spec(3, 1);
    scheme.model = "mistral://large";
    metric.metrics = unknown;
    metric.metric_count = 1;
    bare.model = "org/name"; /* no scheme: the hub */
    join(bench, 1, 4);
    add(bench, scheme);
    add(bench, metric);
    add(bench, bare);
    run(bench);
    assert_int_equal(bench->assigned_count, 1);
    assert_string_equal(bench->assigned[0].job, uuid('a', 3));
    assert_string_equal(progress(bench, 1).waiting, "no connected worker can run mistral:// models");
    assert_string_equal(progress(bench, 2).waiting, "no connected worker can score comet");
}

static void test_shares_follow_weights(void **state)
{
    struct bench *bench = *state;
    struct scheduler_job_spec light = job_spec(1, 100000), heavy = job_spec(2, 100000);
    uint64_t samples[3] = {0};
    heavy.weight = 3;
    join(bench, 1, 1);
    add(bench, light);
    add(bench, heavy);
    for (int i = 0; i < 400; i++) {
        run(bench);
        struct assigned task = bench->assigned[0];
        samples[strcmp(task.job, uuid('a', 1)) == 0 ? 1 : 2] += task.count;
        commit(bench, &task);
        done(bench, &task, (double)task.count / 4);
        beat(bench, 1, NULL);
    }
    assert_in_range(samples[2] * 100 / samples[1], 240, 360);
}

static void test_interactive_goes_first(void **state)
{
    struct bench *bench = *state;
    struct scheduler_job_spec urgent = job_spec(2, 10);
    urgent.interactive = true;
    add(bench, job_spec(1, 1000));
    add(bench, urgent);
    join(bench, 1, 1);
    run(bench);
    assert_string_equal(bench->assigned[0].job, uuid('a', 2));
}

static void test_a_loaded_model_draws_its_job(void **state)
{
    struct bench *bench = *state;
    struct scheduler_job_spec a = job_spec(1, 1000), b = job_spec(2, 1000);
    static const char *const loaded_b[] = {"hf://b"};
    a.model = "hf://a";
    b.model = "hf://b";
    join(bench, 1, 1);
    assert_true(
        scheduler_worker_heartbeat(bench->scheduler, uuid('b', 1), NULL, 0, loaded_b, 1, bench->now_ms));
    add(bench, a);
    add(bench, b);
    run(bench);
    assert_string_equal(bench->assigned[0].job, uuid('a', 2));
}

static void test_a_draining_worker_gets_nothing(void **state)
{
    struct bench *bench = *state;
    join(bench, 1, 1);
    assert_true(scheduler_worker_drain(bench->scheduler, uuid('b', 1), true));
    add(bench, job_spec(1, 10));
    run(bench);
    assert_int_equal(bench->assigned_count, 0);
    assert_string_equal(progress(bench, 1).waiting, "every worker that could run it is draining");
    assert_true(scheduler_worker_drain(bench->scheduler, uuid('b', 1), false));
    run(bench);
    assert_int_equal(bench->assigned_count, 1);
    assert_false(scheduler_worker_drain(bench->scheduler, uuid('b', 2), true));
}

static void test_nothing_is_assigned_while_paused(void **state)
{
    struct bench *bench = *state;
    join(bench, 1, 1);
    add(bench, job_spec(1, 10));
    scheduler_pause(bench->scheduler, true);
    run(bench);
    assert_int_equal(bench->assigned_count, 0);
    scheduler_pause(bench->scheduler, false);
    run(bench);
    assert_int_equal(bench->assigned_count, 1);
}

static void test_bad_workers_are_refused(void **state)
{
    struct bench *bench = *state;
    struct error err = {0};
    struct scheduler_worker_spec spec = {.id = "x"};
    assert_false(scheduler_worker_join(bench->scheduler, &spec, 0, &err));
    spec.id = uuid('b', 1);
    assert_false(scheduler_worker_join(bench->scheduler, &spec, 0, &err));
    assert_int_equal(err.code, ERROR_INVALID);
}

/* Ten million samples cost what their tasks cost. */
static void test_ten_million_samples_hold_no_memory_each(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 10000000));
    join(bench, 1, 1);
    for (int i = 0; i < 300; i++) {
        run(bench);
        struct assigned task = bench->assigned[0];
        commit(bench, &task);
        done(bench, &task, 0.001);
        beat(bench, 1, NULL);
    }
    struct scheduler_counts counts;
    scheduler_counts(bench->scheduler, &counts);
    assert_int_equal(counts.samples_remaining + counts.samples_committed + counts.samples_leased, 10000000);
    assert_true(counts.samples_committed > 250000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_requirements_decide_who_can),
        TEST(test_shares_follow_weights),
        TEST(test_interactive_goes_first),
        TEST(test_a_loaded_model_draws_its_job),
        TEST(test_a_draining_worker_gets_nothing),
        TEST(test_nothing_is_assigned_while_paused),
        TEST(test_bad_workers_are_refused),
        TEST(test_ten_million_samples_hold_no_memory_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
