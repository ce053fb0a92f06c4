/* What a failure does, by its kind; what blames nobody; what counts once. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "recorder.h"

static size_t last(const struct recorder *recorder)
{
    assert_true(recorder->lease_count > 0);
    return recorder->lease_count - 1;
}

static void test_memory_sends_the_samples_to_another_device(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 3, 1);
    recorder_run(&recorder);
    recorder_join(&recorder, WORKER_2, 1);
    lease_fail(&recorder, 0, ERROR_MEMORY, "3 GB more are needed");
    while (!recorder.ending_count) {
        recorder_run(&recorder);
        if (recorder.ending_count)
            break;
        assert_string_equal(recorder.leases[last(&recorder)].worker, WORKER_2);
        lease_finish(&recorder, last(&recorder), 1.0);
    }
    assert_int_equal(recorder.endings[0].outcome, SCHEDULER_SUCCEEDED);
    assert_int_equal(recorder.given_up_count, 0);
    recorder_close(&recorder);
}

static void test_memory_bars_the_model_not_the_device(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_join(&recorder, WORKER_2, 1);
    recorder_add(&recorder, JOB_A, "org/large", 100, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_MEMORY, "too large");
    recorder_add(&recorder, JOB_B, "org/small", 100, 1);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 3);
    assert_string_equal(recorder.leases[2].job, JOB_B);
    assert_string_equal(recorder.leases[2].worker, recorder.leases[0].worker);
    recorder_close(&recorder);
}

static void test_a_model_that_fitted_nowhere_can_be_tried_again(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_MEMORY, "too large");
    recorder_run(&recorder);
    assert_int_equal(recorder.endings[0].outcome, SCHEDULER_FAILED);
    recorder_add(&recorder, JOB_B, NULL, 100, 1); /* with other settings, perhaps */
    recorder_run(&recorder);
    assert_int_equal(open_leases(&recorder, WORKER_1, JOB_B), 1);
    recorder_close(&recorder);
}

static void test_unavailable_is_tried_elsewhere_first(void **state)
{
    struct recorder recorder;
    char failed[SCHEDULER_ID_BYTES];
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_join(&recorder, WORKER_2, 1);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_run(&recorder);
    memcpy(failed, recorder.leases[0].worker, sizeof failed);
    lease_fail(&recorder, 0, ERROR_UNAVAILABLE, "no route");
    recorder_pass(&recorder, 499);
    assert_int_equal(recorder.lease_count, 1); /* it waits */
    recorder_pass(&recorder, 500);
    assert_int_equal(recorder.lease_count, 2);
    assert_string_not_equal(recorder.leases[1].worker, failed);
    recorder_close(&recorder);
}

static void test_a_result_between_two_outages_starts_the_count_again(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.outages_max = 2, .backoff_max_ms = 500});
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    for (int i = 0; i < 20; i++) {
        recorder_pass(&recorder, 1000);
        if (i % 2)
            lease_finish(&recorder, last(&recorder), 1.0);
        else
            lease_fail(&recorder, last(&recorder), ERROR_UNAVAILABLE, "no route");
    }
    recorder_pass(&recorder, 1000);
    assert_int_equal(recorder.ending_count, 0);
    lease_fail(&recorder, last(&recorder), ERROR_UNAVAILABLE, "no route");
    recorder_pass(&recorder, 1000);
    lease_fail(&recorder, last(&recorder), ERROR_UNAVAILABLE, "still no route");
    recorder_run(&recorder);
    assert_int_equal(recorder.ending_count, 1);
    assert_int_equal(recorder.endings[0].outcome, SCHEDULER_FAILED);
    assert_int_equal(recorder.endings[0].reason.code, ERROR_UNAVAILABLE);
    assert_string_equal(recorder.endings[0].reason.message, "still no route");
    recorder_close(&recorder);
}

static void test_errors_between_outages_do_not_start_the_count_again(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.outages_max = 2});
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, last(&recorder), ERROR_UNAVAILABLE, "no route");
    recorder_pass(&recorder, 1000);
    const struct lease *lease = &recorder.leases[last(&recorder)];
    assert_int_equal(scheduler_results_committed(recorder.scheduler, JOB_A, lease->task_id,
                         &lease->ranges[0].first, 1, 1, recorder.now_ms),
        1);
    lease_fail(&recorder, last(&recorder), ERROR_UNAVAILABLE, "no route");
    recorder_run(&recorder);
    assert_int_equal(recorder.ending_count, 1);
    recorder_close(&recorder);
}

static void test_outages_wait_longer_each_time_up_to_the_limit(void **state)
{
    struct recorder recorder;
    const uint64_t waits_ms[] = {500, 1000, 2000, 3000, 3000};
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.backoff_ms = 500, .backoff_max_ms = 3000});
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_run(&recorder);
    for (size_t i = 0; i < sizeof waits_ms / sizeof *waits_ms; i++) {
        lease_fail(&recorder, last(&recorder), ERROR_UNAVAILABLE, "no route");
        recorder_pass(&recorder, waits_ms[i] - 1);
        assert_int_equal(recorder.lease_count, i + 1);
        recorder_pass(&recorder, 1);
        assert_int_equal(recorder.lease_count, i + 2);
    }
    recorder_close(&recorder);
}

static void test_cancelled_attempts_blame_nobody(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 16, 1);
    for (int i = 0; i < 20; i++) {
        recorder_run(&recorder);
        assert_int_equal(recorder.leases[last(&recorder)].samples, 8); /* nor are they divided */
        lease_fail(&recorder, last(&recorder), ERROR_CANCELLED, "stopping");
    }
    assert_int_equal(recorder.given_up_count, 0);
    assert_int_equal(progress_of(&recorder, JOB_A).done, 0);
    recorder_close(&recorder);
}

static void test_what_an_old_attempt_says_changes_nothing(void **state)
{
    struct recorder recorder;
    struct error reason = {0};
    (void)state;
    error_set(&reason, ERROR_INVALID, "too late");
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 16, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_CANCELLED, "stopping");
    recorder_run(&recorder);
    const struct lease old = recorder.leases[0], now = recorder.leases[1];
    assert_int_equal(old.task_id, now.task_id);
    assert_true(now.attempt > old.attempt);
    scheduler_task_failed(recorder.scheduler, JOB_A, old.task_id, old.attempt, &reason, recorder.now_ms);
    scheduler_task_done(recorder.scheduler, JOB_A, old.task_id, old.attempt, 1.0, recorder.now_ms);
    scheduler_task_sent(recorder.scheduler, JOB_A, old.task_id, old.attempt, recorder.now_ms);
    scheduler_task_cut(recorder.scheduler, JOB_A, old.task_id, old.attempt, 0);
    scheduler_task_returned(recorder.scheduler, JOB_A, old.task_id, old.attempt, recorder.now_ms);
    scheduler_check(recorder.scheduler);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 2);
    assert_int_equal(recorder.ending_count, 0);
    assert_true(scheduler_task_open(recorder.scheduler, JOB_A, now.task_id, now.attempt));
    recorder_close(&recorder);
}

static void test_late_results_of_an_ended_lease_are_taken_once(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 16, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_CANCELLED, "partition");
    recorder_run(&recorder); /* leased again, the same samples */
    lease_commit(&recorder, &recorder.leases[0]);
    assert_int_equal(progress_of(&recorder, JOB_A).done, 8);
    lease_finish(&recorder, 1, 1.0); /* each of them a duplicate */
    assert_int_equal(progress_of(&recorder, JOB_A).done, 8);
    assert_int_equal(counts_of(&recorder).duplicates, 8);
    assert_int_equal(counts_of(&recorder).samples_committed, 8);
    recorder_close(&recorder);
}

static void test_a_late_result_saves_a_sample_that_was_given_up(void **state)
{
    struct recorder recorder;
    const uint64_t sample = 0;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.attempts_max = 1});
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_INTERNAL, "bug");
    recorder_run(&recorder);
    assert_int_equal(recorder.given_up_count, 1);
    assert_string_equal(recorder.given_up[0].reason.message, "bug");
    assert_int_equal(recorder.ending_count, 0); /* its error is not written yet */
    assert_int_equal(
        scheduler_results_committed(recorder.scheduler, JOB_A, 0, &sample, 1, 0, recorder.now_ms), 1);
    recorder_run(&recorder);
    assert_int_equal(recorder.ending_count, 1);
    assert_int_equal(
        scheduler_results_committed(recorder.scheduler, JOB_A, 0, &sample, 1, 1, recorder.now_ms), 0);
    recorder_close(&recorder);
}

static void test_indexes_beyond_the_job_count_for_nothing(void **state)
{
    struct recorder recorder;
    const uint64_t wild[] = {16, UINT64_MAX, UINT64_C(1) << 44};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 16, 1);
    recorder_run(&recorder);
    assert_int_equal(scheduler_results_committed(
                         recorder.scheduler, JOB_A, recorder.leases[0].task_id, wild, 3, 3, recorder.now_ms),
        0);
    scheduler_check(recorder.scheduler);
    assert_int_equal(progress_of(&recorder, JOB_A).failed, 0);
    recorder_close(&recorder);
}

static void test_a_cut_task_owes_only_what_was_sent(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 64, 1);
    recorder_run(&recorder);
    const struct lease first = recorder.leases[0];
    scheduler_task_cut(recorder.scheduler, JOB_A, first.task_id, first.attempt, first.ranges[0].first);
    scheduler_check(recorder.scheduler);
    assert_int_equal(progress_of(&recorder, JOB_A).leased, recorder.leases[1].samples);
    scheduler_task_returned(recorder.scheduler, JOB_A, first.task_id, first.attempt, recorder.now_ms);
    recorder_pass(&recorder, 1000);
    assert_int_not_equal(lease_of(&recorder, JOB_A, first.ranges[0].first), SIZE_MAX);
    assert_int_equal(recorder.given_up_count, 0);
    recorder_close(&recorder);
}

static void test_results_before_the_failure_are_kept(void **state)
{
    struct recorder recorder;
    const uint64_t done[] = {0, 1, 2, 3, 4, 5};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 16, 1);
    recorder_run(&recorder);
    assert_int_equal(scheduler_results_committed(
                         recorder.scheduler, JOB_A, recorder.leases[0].task_id, done, 6, 0, recorder.now_ms),
        6);
    lease_fail(&recorder, 0, ERROR_INTERNAL, "bug");
    recorder_pass(&recorder, 1000);
    for (size_t i = 1; i < recorder.lease_count; i++)
        for (uint64_t k = 0; k < 6; k++)
            assert_false(lease_contains(&recorder.leases[i], k));
    assert_int_equal(progress_of(&recorder, JOB_A).done, 6);
    recorder_close(&recorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_sends_the_samples_to_another_device),
        cmocka_unit_test(test_memory_bars_the_model_not_the_device),
        cmocka_unit_test(test_a_model_that_fitted_nowhere_can_be_tried_again),
        cmocka_unit_test(test_unavailable_is_tried_elsewhere_first),
        cmocka_unit_test(test_a_result_between_two_outages_starts_the_count_again),
        cmocka_unit_test(test_errors_between_outages_do_not_start_the_count_again),
        cmocka_unit_test(test_outages_wait_longer_each_time_up_to_the_limit),
        cmocka_unit_test(test_cancelled_attempts_blame_nobody),
        cmocka_unit_test(test_what_an_old_attempt_says_changes_nothing),
        cmocka_unit_test(test_late_results_of_an_ended_lease_are_taken_once),
        cmocka_unit_test(test_a_late_result_saves_a_sample_that_was_given_up),
        cmocka_unit_test(test_indexes_beyond_the_job_count_for_nothing),
        cmocka_unit_test(test_a_cut_task_owes_only_what_was_sent),
        cmocka_unit_test(test_results_before_the_failure_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
