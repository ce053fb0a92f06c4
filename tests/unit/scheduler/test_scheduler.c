/* The scheduler's promises one by one, on a clock that the test moves. */
#include "bench.h"

/* ---- the plain way ---- */

static void test_a_job_runs_to_its_end(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 20));
    run(bench);
    assert_int_equal(bench->assigned_count, 0);
    assert_string_equal(progress(bench, 1).waiting, "no worker is connected");
    join(bench, 1, 1);
    uint64_t samples = 0;
    size_t started = 0;
    for (run(bench); bench->assigned_count; run(bench)) {
        struct assigned task = bench->assigned[0];
        started += bench->started;
        assert_int_equal(bench->assigned_count, 1);
        samples += task.count;
        commit(bench, &task);
        done(bench, &task, 1.0);
    }
    assert_int_equal(samples, 20);
    assert_int_equal(started, 1);
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->outcome, SCHEDULER_SUCCEEDED);
}

static void test_an_empty_remainder_ends_at_once(void **state)
{
    struct bench *bench = *state;
    struct scheduler_job_spec spec = job_spec(1, 20);
    spec.all_done = true;
    add(bench, spec);
    run(bench);
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->outcome, SCHEDULER_SUCCEEDED);
}

static void test_bad_jobs_are_refused(void **state)
{
    struct bench *bench = *state;
    struct error err = {0};
    const struct scheduler_range overlap[] = {{0, 5}, {4, 2}}, beyond[] = {{8, 3}},
                                 huge[] = {{1, UINT64_MAX}};
    struct scheduler_job_spec spec = job_spec(1, 10);
    spec.remaining = overlap;
    spec.remaining_count = 2;
    assert_false(scheduler_job_add(bench->scheduler, &spec, 0, &err));
    spec.remaining = beyond;
    spec.remaining_count = 1;
    assert_false(scheduler_job_add(bench->scheduler, &spec, 0, &err));
    spec.remaining = huge;
    assert_false(scheduler_job_add(bench->scheduler, &spec, 0, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    spec = job_spec(1, 10);
    spec.id = "short";
    assert_false(scheduler_job_add(bench->scheduler, &spec, 0, &err));
    add(bench, job_spec(2, 1));
    spec = job_spec(2, 1);
    assert_false(scheduler_job_add(bench->scheduler, &spec, 0, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
}

static void test_a_second_result_counts_once(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 100));
    join(bench, 1, 1);
    run(bench);
    struct assigned task = bench->assigned[0];
    uint64_t sample = task.first, other = 99, twice[] = {3, 3};
    assert_int_equal(
        scheduler_results_committed(bench->scheduler, task.job, task.task_id, &sample, 1, 0, 0), 1);
    assert_int_equal(
        scheduler_results_committed(bench->scheduler, task.job, task.task_id, &sample, 1, 0, 0), 0);
    assert_int_equal(scheduler_results_committed(bench->scheduler, task.job, 0, &other, 1, 1, 0), 1);
    assert_int_equal(scheduler_results_committed(bench->scheduler, task.job, 0, twice, 2, 0, 0), 1);
    assert_int_equal(progress(bench, 1).done, 3);
    assert_int_equal(progress(bench, 1).failed, 1);
    assert_int_equal(scheduler_results_committed(bench->scheduler, uuid('a', 9), 0, twice, 2, 0, 0), 0);
}

static void test_tasks_grow_to_their_target_and_shrink_at_the_end(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 5000));
    join(bench, 1, 1);
    uint64_t largest = 0, last = 0;
    for (run(bench); bench->assigned_count; run(bench)) {
        struct assigned task = bench->assigned[0];
        largest = task.count > largest ? task.count : largest;
        last = task.count;
        commit(bench, &task);
        done(bench, &task, (double)task.count / 100.0); /* 100 a second: 200 are two seconds' worth */
    }
    assert_in_range(largest, 195, 205);
    assert_int_equal(last, 1);
}

/* ---- leases ---- */

static void test_a_silent_worker_is_lost_and_its_samples_go_on(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 8));
    join(bench, 1, 1);
    run(bench);
    struct assigned task = bench->assigned[0];
    bench->now_ms += LEASE_MS + 1;
    run(bench);
    assert_int_equal(progress(bench, 1).leased, 0);
    assert_false(scheduler_task_open(bench->scheduler, task.job, task.task_id, task.attempt));
    assert_false(scheduler_worker_heartbeat(bench->scheduler, uuid('b', 1), NULL, 0, NULL, 0, bench->now_ms));
    join(bench, 2, 1);
    bench->now_ms += 200; /* past the backoff */
    run(bench);
    assert_int_equal(bench->assigned_count, 1);
    assert_true(bench->assigned[0].attempt > task.attempt);
}

static void test_heartbeats_keep_a_lease(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 4));
    join(bench, 1, 1);
    run(bench);
    struct assigned task = bench->assigned[0];
    for (int i = 0; i < 20; i++) {
        bench->now_ms += LEASE_MS / 2;
        beat(bench, 1, &task);
        run(bench);
        assert_int_equal(bench->revoked, 0);
    }
    assert_true(scheduler_task_open(bench->scheduler, task.job, task.task_id, task.attempt));
    /* A worker that lives but does not list it loses it. */
    for (int i = 0; i < 10; i++) {
        bench->now_ms += LEASE_MS / 2;
        beat(bench, 1, NULL);
        scheduler_run(bench->scheduler, bench->now_ms);
    }
    assert_false(scheduler_task_open(bench->scheduler, task.job, task.task_id, task.attempt));
}

static void test_an_attempt_it_does_not_own_is_revoked(void **state)
{
    struct bench *bench = *state;
    join(bench, 1, 1);
    struct assigned stranger = {.task_id = 77, .attempt = 1};
    snprintf(stranger.job, sizeof stranger.job, "%s", uuid('a', 5));
    beat(bench, 1, &stranger);
    run(bench);
    assert_int_equal(bench->revoked, 1);
}

static void test_all_sent_frees_the_slot_and_survives_the_worker(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 40));
    join(bench, 1, 1);
    run(bench);
    struct assigned task = bench->assigned[0];
    scheduler_task_sent(bench->scheduler, task.job, task.task_id, task.attempt, bench->now_ms);
    run(bench);
    assert_int_equal(bench->assigned_count, 1); /* the next one already */
    scheduler_worker_lost(bench->scheduler, uuid('b', 1), false, bench->now_ms);
    run(bench);
    assert_true(scheduler_task_open(bench->scheduler, task.job, task.task_id, task.attempt));
    commit(bench, &task);
    done(bench, &task, 1.0);
    assert_int_equal(progress(bench, 1).done, task.count);
    assert_int_equal(progress(bench, 1).tasks, 0);
}

static void test_a_reconnected_worker_keeps_what_it_holds(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 100));
    join(bench, 1, 2);
    run(bench);
    assert_int_equal(bench->assigned_count, 2);
    struct assigned kept = bench->assigned[0], lost = bench->assigned[1];
    const struct scheduler_held held = {kept.job, kept.task_id, kept.attempt};
    join_holding(bench, 1, 2, &held, 1);
    assert_true(scheduler_task_open(bench->scheduler, kept.job, kept.task_id, kept.attempt));
    assert_false(scheduler_task_open(bench->scheduler, lost.job, lost.task_id, lost.attempt));
    run(bench);
    assert_int_equal(bench->assigned_count, 1);
    assert_int_equal(bench->assigned[0].first, lost.first);
}

static void test_a_new_coordinator_adopts_a_held_task(void **state)
{
    struct bench *bench = *state;
    const struct scheduler_range remaining[] = {{2, 3}, {10, 90}};
    struct scheduler_job_spec spec = job_spec(1, 100);
    spec.remaining = remaining;
    spec.remaining_count = 2;
    add(bench, spec);
    const uint64_t task_id = UINT64_C(0) << SCHEDULER_SPAN_BITS | 12; /* samples 0 to 11 */
    const struct scheduler_held held[] = {
        {uuid('a', 1), task_id, 5}, {uuid('a', 1), UINT64_C(5) << SCHEDULER_SPAN_BITS | 3, 6}};
    join_holding(bench, 1, 1, held, 2);
    assert_true(scheduler_task_open(bench->scheduler, uuid('a', 1), task_id, 5));
    assert_int_equal(progress(bench, 1).leased, 5); /* 2, 3, 4, 10, 11 */
    run(bench);
    assert_int_equal(bench->revoked, 1); /* 5 to 7 are done already */
    assert_int_equal(bench->assigned_count, 0);
}

/* ---- failures ---- */

static void test_a_wrong_model_fails_the_job_fast(void **state)
{
    const enum error_code codes[] = {
        ERROR_INVALID, ERROR_NOT_FOUND, ERROR_DENIED, ERROR_UNSUPPORTED, ERROR_TOO_LARGE};
    struct bench *bench = *state;
    join(bench, 1, 2);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        add(bench, job_spec((int)i, 100));
        run(bench);
        assert_int_equal(bench->assigned_count, 2);
        fail_task(bench, &bench->assigned[0], codes[i]);
        run(bench);
        assert_int_equal(bench->finished, 1);
        assert_int_equal(bench->revoked, 1); /* the other slot's */
        assert_int_equal(bench->outcome, SCHEDULER_FAILED);
        assert_string_equal(bench->reason.message, "because");
    }
}

static void test_memory_bars_the_device_and_the_last_one_fails_the_job(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 100));
    join(bench, 1, 1);
    join(bench, 2, 1);
    run(bench);
    struct assigned first = bench->assigned[0], second = bench->assigned[1];
    fail_task(bench, &first, ERROR_MEMORY);
    run(bench);
    assert_int_equal(bench->assigned_count, 0);
    assert_int_equal(bench->finished, 0);
    fail_task(bench, &second, ERROR_MEMORY);
    run(bench);
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->reason.code, ERROR_MEMORY);
}

static void test_outages_back_off_and_end_after_some(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 100));
    join(bench, 1, 2);
    run(bench);
    struct assigned one = bench->assigned[0], two = bench->assigned[1];
    fail_task(bench, &one, ERROR_UNAVAILABLE);
    fail_task(bench, &two, ERROR_UNAVAILABLE); /* the same outage: counted once */
    run(bench);
    assert_int_equal(bench->assigned_count, 0);
    assert_string_equal(progress(bench, 1).waiting, "to be tried again after: because");
    size_t rounds = 1;
    while (!bench->finished && rounds < 10) {
        bench->now_ms += 900;
        beat(bench, 1, NULL);
        run(bench);
        if (!bench->assigned_count)
            continue;
        struct assigned task = bench->assigned[0], other = bench->assigned[1];
        fail_task(bench, &task, ERROR_UNAVAILABLE);
        fail_task(bench, &other, ERROR_UNAVAILABLE);
        rounds++;
        run(bench);
    }
    assert_int_equal(rounds, 3);
    assert_int_equal(bench->outcome, SCHEDULER_FAILED);
}

static void test_a_guilty_sample_is_isolated_and_the_rest_succeeds(void **state)
{
    struct bench *bench = *state;
    const uint64_t guilty = 5;
    uint64_t failures = 0;
    add(bench, job_spec(1, 64));
    join(bench, 1, 1);
    for (int step = 0; step < 200 && !bench->finished; step++) {
        bench->now_ms += 500;
        beat(bench, 1, NULL);
        run(bench);
        if (bench->given_up) {
            assert_int_equal(bench->given_up_index, guilty);
            scheduler_results_committed(
                bench->scheduler, uuid('a', 1), 0, &bench->given_up_index, 1, 1, bench->now_ms);
        }
        if (!bench->assigned_count)
            continue;
        struct assigned task = bench->assigned[0];
        if (guilty >= task.first && guilty < task.first + task.count) {
            failures++;
            fail_task(bench, &task, ERROR_INTERNAL);
        } else {
            commit(bench, &task);
            done(bench, &task, 1.0);
        }
    }
    assert_int_equal(bench->finished, 1);
    assert_int_equal(bench->outcome, SCHEDULER_SUCCEEDED);
    assert_in_range(failures, 3, 6);
}

static void test_a_clean_goodbye_suspects_nobody(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 1));
    for (int i = 0; i < 20; i++) {
        join(bench, i, 1);
        run(bench);
        assert_int_equal(bench->assigned_count, 1);
        scheduler_worker_lost(bench->scheduler, uuid('b', i), true, bench->now_ms);
        run(bench);
        assert_int_equal(bench->given_up, 0);
    }
}

static void test_an_undelivered_assignment_suspects_nobody(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 1));
    join(bench, 1, 1);
    for (int i = 0; i < 20; i++) {
        run(bench);
        assert_int_equal(bench->assigned_count, 1);
        struct assigned task = bench->assigned[0];
        scheduler_task_returned(bench->scheduler, task.job, task.task_id, task.attempt, bench->now_ms);
        run(bench);
        assert_int_equal(bench->assigned_count, 0);
        bench->now_ms += 200;
        beat(bench, 1, NULL);
    }
    assert_int_equal(bench->given_up, 0);
}

static void test_an_end_without_results_is_a_failure(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 1));
    join(bench, 1, 1);
    size_t tries = 0;
    while (!bench->given_up && tries < 10) {
        run(bench);
        if (bench->assigned_count) {
            struct assigned task = bench->assigned[0];
            done(bench, &task, 1.0);
            tries++;
        }
        bench->now_ms += 500;
        beat(bench, 1, NULL);
    }
    assert_int_equal(tries, 3);
}

static void test_a_cut_assignment_gives_the_rest_back(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 100));
    join(bench, 1, 1);
    run(bench);
    struct assigned task = bench->assigned[0];
    assert_int_equal(task.count, 8);
    scheduler_task_cut(bench->scheduler, task.job, task.task_id, task.attempt, 3);
    assert_int_equal(progress(bench, 1).leased, 3);
    task.count = 3;
    commit(bench, &task);
    done(bench, &task, 1.0);
    run(bench);
    assert_int_equal(bench->assigned[0].first, 3);
}

/* ---- ends ---- */

static void test_cancel_revokes_and_stops(void **state)
{
    struct bench *bench = *state;
    add(bench, job_spec(1, 100));
    join(bench, 1, 2);
    run(bench);
    assert_true(scheduler_job_cancel(bench->scheduler, uuid('a', 1), "changed my mind"));
    assert_false(scheduler_job_cancel(bench->scheduler, uuid('a', 1), NULL));
    run(bench);
    assert_int_equal(bench->revoked, 2);
    assert_int_equal(bench->outcome, SCHEDULER_STOPPED);
    assert_string_equal(bench->reason.message, "changed my mind");
}

static void test_a_job_overdue_fails(void **state)
{
    struct bench *bench = *state;
    struct scheduler_job_spec spec = job_spec(1, 100);
    spec.timeout_ms = 5000;
    add(bench, spec);
    bench->now_ms += 60000; /* waiting for a worker does not count */
    run(bench);
    assert_int_equal(bench->finished, 0);
    join(bench, 1, 1);
    run(bench);
    struct assigned task = bench->assigned[0];
    for (int i = 0; i < 12 && !bench->finished; i++) {
        bench->now_ms += 500;
        beat(bench, 1, &task);
        run(bench);
    }
    assert_int_equal(bench->outcome, SCHEDULER_FAILED);
    assert_non_null(strstr(bench->reason.message, "within its 5 seconds"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_job_runs_to_its_end),
        TEST(test_an_empty_remainder_ends_at_once),
        TEST(test_bad_jobs_are_refused),
        TEST(test_a_second_result_counts_once),
        TEST(test_tasks_grow_to_their_target_and_shrink_at_the_end),
        TEST(test_a_silent_worker_is_lost_and_its_samples_go_on),
        TEST(test_heartbeats_keep_a_lease),
        TEST(test_an_attempt_it_does_not_own_is_revoked),
        TEST(test_all_sent_frees_the_slot_and_survives_the_worker),
        TEST(test_a_reconnected_worker_keeps_what_it_holds),
        TEST(test_a_new_coordinator_adopts_a_held_task),
        TEST(test_a_wrong_model_fails_the_job_fast),
        TEST(test_memory_bars_the_device_and_the_last_one_fails_the_job),
        TEST(test_outages_back_off_and_end_after_some),
        TEST(test_a_guilty_sample_is_isolated_and_the_rest_succeeds),
        TEST(test_a_clean_goodbye_suspects_nobody),
        TEST(test_an_undelivered_assignment_suspects_nobody),
        TEST(test_an_end_without_results_is_a_failure),
        TEST(test_a_cut_assignment_gives_the_rest_back),
        TEST(test_cancel_revokes_and_stops),
        TEST(test_a_job_overdue_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
