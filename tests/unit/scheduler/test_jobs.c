/* A job's life seen from outside: what remains, how it ends, why it waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "recorder.h"

static void assert_waiting(const struct recorder *recorder, const char *job, const char *reason)
{
    struct scheduler_job_progress progress = progress_of(recorder, job);
    assert_string_equal(progress.waiting, reason);
}

static size_t last(const struct recorder *recorder)
{
    assert_true(recorder->lease_count > 0);
    return recorder->lease_count - 1;
}

static void test_only_what_remains_is_leased(void **state)
{
    struct recorder recorder;
    const struct scheduler_range remaining[] = {{2, 3}, {7, 1}, {90, 10}};
    const struct scheduler_job_spec spec = {
        .id = JOB_A, .model = "org/model", .sample_count = 100, .remaining = remaining, .remaining_count = 3};
    uint64_t leased = 0;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add_spec(&recorder, &spec);
    assert_int_equal(progress_of(&recorder, JOB_A).done, 86);
    recorder_run(&recorder);
    assert_false(progress_of(&recorder, JOB_A).failed);
    for (size_t i = 0; i < recorder.lease_count; i++) {
        const struct lease *lease = &recorder.leases[i];
        for (uint64_t k = 0; k < 100; k++) {
            bool remains = (k >= 2 && k < 5) || k == 7 || k >= 90;
            assert_true(remains || !lease_contains(lease, k));
        }
        leased += lease->samples;
        lease_finish(&recorder, i, 1.0);
        recorder_run(&recorder);
    }
    assert_int_equal(leased, 14);
    assert_int_equal(recorder.endings[0].outcome, SCHEDULER_SUCCEEDED);
    recorder_close(&recorder);
}

static void test_a_job_starts_with_its_first_lease_once(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    assert_false(progress_of(&recorder, JOB_A).started);
    recorder_join(&recorder, WORKER_1, 3);
    recorder_run(&recorder);
    lease_finish(&recorder, 0, 1.0);
    recorder_run(&recorder);
    assert_true(progress_of(&recorder, JOB_A).started);
    assert_int_equal(recorder.started_count, 1);
    recorder_close(&recorder);
}

static void test_a_job_is_over_only_when_all_is_committed(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_run(&recorder);
    const struct lease lease = recorder.leases[0];
    scheduler_task_sent(recorder.scheduler, JOB_A, lease.task_id, lease.attempt, recorder.now_ms);
    recorder_pass(&recorder, 60000);
    assert_int_equal(recorder.ending_count, 0);
    lease_commit(&recorder, &lease);
    recorder_run(&recorder);
    assert_int_equal(recorder.ending_count, 1);
    assert_false(recorder.endings[0].has_reason);
    scheduler_task_done(recorder.scheduler, JOB_A, lease.task_id, lease.attempt, 1.0, recorder.now_ms);
    scheduler_check(recorder.scheduler);
    recorder_close(&recorder);
}

static void test_an_ended_job_is_forgotten_and_can_be_added_again(void **state)
{
    struct recorder recorder;
    struct scheduler_job_progress progress;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 10, 1);
    recorder_run(&recorder);
    const struct lease old = recorder.leases[0];
    assert_true(scheduler_job_cancel(recorder.scheduler, JOB_A, NULL));
    assert_false(scheduler_job_progress(recorder.scheduler, JOB_A, recorder.now_ms, &progress));
    assert_false(scheduler_job_cancel(recorder.scheduler, JOB_A, NULL));
    recorder_add(&recorder, JOB_A, NULL, 10, 1);
    recorder_run(&recorder);
    assert_int_equal(recorder.revocation_count, 1);
    assert_int_equal(recorder.revocations[0].attempt, old.attempt);
    assert_true(recorder.leases[1].attempt > old.attempt);
    assert_int_equal(recorder.ending_count, 1);
    recorder_close(&recorder);
}

static void test_a_job_that_is_failed_from_outside_says_why(void **state)
{
    struct recorder recorder;
    struct error reason = {0};
    (void)state;
    error_set(&reason, ERROR_NOT_FOUND, "the dataset is gone");
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    assert_true(scheduler_job_fail(recorder.scheduler, JOB_A, &reason));
    assert_false(scheduler_job_fail(recorder.scheduler, JOB_A, &reason));
    recorder_run(&recorder);
    assert_int_equal(recorder.revocation_count, 2);
    assert_string_equal(recorder.revocations[0].reason, "the dataset is gone");
    assert_int_equal(recorder.endings[0].outcome, SCHEDULER_FAILED);
    assert_int_equal(recorder.endings[0].reason.code, ERROR_NOT_FOUND);
    recorder_close(&recorder);
}

static void test_a_cancelled_job_frees_its_slots_for_the_next(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    recorder_add(&recorder, JOB_B, NULL, 100, 1);
    assert_true(scheduler_job_cancel(recorder.scheduler, JOB_A, "no longer wanted"));
    recorder_run(&recorder);
    assert_int_equal(open_leases(&recorder, WORKER_1, JOB_A), 0);
    assert_int_equal(open_leases(&recorder, WORKER_1, JOB_B), 2);
    recorder_close(&recorder);
}

static void test_no_job_times_out_while_paused(void **state)
{
    struct recorder recorder;
    const struct scheduler_job_spec spec = {
        .id = JOB_A, .model = "org/model", .sample_count = 10, .timeout_ms = 5000};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add_spec(&recorder, &spec);
    recorder_run(&recorder);
    scheduler_pause(recorder.scheduler, true);
    recorder_pass(&recorder, 20000);
    assert_int_equal(recorder.ending_count, 0);
    scheduler_pause(recorder.scheduler, false);
    recorder_pass(&recorder, 250);
    assert_int_equal(recorder.ending_count, 1);
    assert_int_equal(recorder.endings[0].outcome, SCHEDULER_FAILED);
    assert_int_equal(recorder.revocation_count, 1);
    recorder_close(&recorder);
}

static void test_events_ask_for_a_run(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    size_t before = recorder.wakes;
    recorder_join(&recorder, WORKER_1, 1);
    assert_true(recorder.wakes > before);
    before = recorder.wakes;
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    assert_true(recorder.wakes > before);
    recorder_run(&recorder);
    before = recorder.wakes;
    lease_finish(&recorder, 0, 1.0);
    assert_true(recorder.wakes > before);
    before = recorder.wakes;
    recorder_lose(&recorder, WORKER_1, true);
    assert_true(recorder.wakes > before);
    before = recorder.wakes;
    assert_true(scheduler_job_cancel(recorder.scheduler, JOB_A, NULL));
    assert_true(recorder.wakes > before);
    recorder_close(&recorder);
}

static void test_progress_counts_add_up(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    lease_finish(&recorder, 0, 1.0);
    struct scheduler_job_progress progress = progress_of(&recorder, JOB_A);
    struct scheduler_counts counts = counts_of(&recorder);
    assert_int_equal(progress.total, 100);
    assert_int_equal(progress.done, 8);
    assert_int_equal(progress.leased, 8);
    assert_int_equal(progress.tasks, 1);
    assert_int_equal(counts.samples_remaining, 84);
    assert_int_equal(counts.samples_leased, 8);
    assert_int_equal(counts.samples_committed, 8);
    assert_int_equal(counts.tasks_assigned, 2);
    assert_int_equal(counts.tasks_done, 1);
    recorder_close(&recorder);
}

/* ---- why it waits ---- */

static void test_a_running_job_waits_for_nothing(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    assert_waiting(&recorder, JOB_A, "");
    recorder_close(&recorder);
}

static void test_waiting_names_what_is_missing(void **state)
{
    struct recorder recorder;
    const char *const metrics[] = {"exact_match", "unheard_of"};
    const struct scheduler_job_spec metric = {
        .id = JOB_A, .model = "org/model", .sample_count = 1, .metrics = metrics, .metric_count = 2};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_add_spec(&recorder, &metric);
    recorder_add(&recorder, JOB_B, "mistral://large", 1, 1);
    assert_waiting(&recorder, JOB_A, "no worker is connected");
    recorder_join(&recorder, WORKER_1, 1);
    recorder_run(&recorder);
    assert_waiting(&recorder, JOB_A, "no connected worker can score unheard_of");
    assert_waiting(&recorder, JOB_B, "no connected worker can run mistral:// models");
    recorder_close(&recorder);
}

static void test_waiting_for_a_worker_that_has_it_all(void **state)
{
    struct recorder recorder;
    const struct scheduler_device device = {.name = "cpu", .slots = 1};
    const char *const schemes[] = {"openai"}, *const metrics[] = {"exact_match"};
    const struct scheduler_worker_spec spec = {
        .id = WORKER_2, .devices = &device, .device_count = 1, .schemes = schemes, .scheme_count = 1};
    const struct scheduler_job_spec job = {
        .id = JOB_A, .model = "openai://x", .sample_count = 1, .metrics = metrics, .metric_count = 1};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    assert_true(scheduler_worker_join(recorder.scheduler, &spec, recorder.now_ms, NULL));
    recorder_add_spec(&recorder, &job);
    recorder_run(&recorder);
    assert_waiting(&recorder, JOB_A, "no connected worker has everything it needs");
    recorder_close(&recorder);
}

static void test_waiting_for_a_slot(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    recorder_add(&recorder, JOB_B, NULL, 100, 1);
    recorder_run(&recorder);
    assert_waiting(&recorder, JOB_B, "every slot that could run it is taken");
    recorder_close(&recorder);
}

static void test_an_old_failure_is_not_a_reason_to_wait(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_UNAVAILABLE, "no route");
    assert_waiting(&recorder, JOB_A, "to be tried again after: no route");
    recorder_pass(&recorder, 1000);
    assert_waiting(&recorder, JOB_A, "");
    lease_finish(&recorder, last(&recorder), 2.0);
    const struct scheduler_job_spec interactive = {
        .id = JOB_B, .model = "org/model", .sample_count = 100, .interactive = true};
    recorder_add_spec(&recorder, &interactive);
    recorder_run(&recorder);
    assert_string_equal(recorder.leases[last(&recorder)].job, JOB_B);
    assert_waiting(&recorder, JOB_A, "every slot that could run it is taken");
    recorder_close(&recorder);
}

static void test_waiting_after_an_assignment_that_was_not_sent(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_run(&recorder);
    scheduler_task_returned(
        recorder.scheduler, JOB_A, recorder.leases[0].task_id, recorder.leases[0].attempt, recorder.now_ms);
    assert_waiting(&recorder, JOB_A, "to be tried again after: its samples could not be sent to a worker");
    recorder_close(&recorder);
}

static void test_waiting_while_suspects_rest(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_INTERNAL, "bug");
    assert_waiting(&recorder, JOB_A, "to be tried again after: bug");
    recorder_close(&recorder);
}

static void test_waiting_for_a_worker_of_its_own(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_INTERNAL, "bug");
    recorder_add(&recorder, JOB_B, NULL, 100, 1);
    recorder_run(&recorder);
    recorder_pass(&recorder, 1000);
    lease_finish(&recorder, lease_of(&recorder, JOB_B, 0), 1.0);
    recorder_run(&recorder);
    assert_waiting(
        &recorder, JOB_A, "to be tried again on a worker of its own, once one is idle, after: bug");
    recorder_close(&recorder);
}

static void test_waiting_for_its_last_errors_to_be_written(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.attempts_max = 1});
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_INTERNAL, "bug");
    recorder_run(&recorder);
    assert_int_equal(recorder.given_up_count, 1);
    assert_waiting(&recorder, JOB_A, "the errors of its last samples are being written");
    recorder_commit_given_up(&recorder, 0);
    recorder_run(&recorder);
    assert_int_equal(recorder.endings[0].outcome, SCHEDULER_SUCCEEDED);
    recorder_close(&recorder);
}

static void test_waiting_for_a_device_with_more_memory(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    recorder_join(&recorder, WORKER_2, 1);
    lease_fail(&recorder, 0, ERROR_MEMORY, "3 GB more are needed");
    recorder_lose(&recorder, WORKER_2, true);
    recorder_run(&recorder);
    assert_int_equal(recorder.ending_count, 0);
    assert_waiting(&recorder, JOB_A, "its model does not fit into the memory of any connected worker");
    recorder_close(&recorder);
}

static void test_waiting_while_paused_or_draining(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    assert_true(scheduler_worker_drain(recorder.scheduler, WORKER_1, true));
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    assert_waiting(&recorder, JOB_A, "every worker that could run it is draining");
    scheduler_pause(recorder.scheduler, true);
    assert_waiting(&recorder, JOB_A, "assigning is paused: Postgres does not answer");
    recorder_close(&recorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_remains_is_leased),
        cmocka_unit_test(test_a_job_starts_with_its_first_lease_once),
        cmocka_unit_test(test_a_job_is_over_only_when_all_is_committed),
        cmocka_unit_test(test_an_ended_job_is_forgotten_and_can_be_added_again),
        cmocka_unit_test(test_a_job_that_is_failed_from_outside_says_why),
        cmocka_unit_test(test_a_cancelled_job_frees_its_slots_for_the_next),
        cmocka_unit_test(test_no_job_times_out_while_paused),
        cmocka_unit_test(test_events_ask_for_a_run),
        cmocka_unit_test(test_progress_counts_add_up),
        cmocka_unit_test(test_a_running_job_waits_for_nothing),
        cmocka_unit_test(test_waiting_names_what_is_missing),
        cmocka_unit_test(test_waiting_for_a_worker_that_has_it_all),
        cmocka_unit_test(test_waiting_for_a_slot),
        cmocka_unit_test(test_an_old_failure_is_not_a_reason_to_wait),
        cmocka_unit_test(test_waiting_after_an_assignment_that_was_not_sent),
        cmocka_unit_test(test_waiting_while_suspects_rest),
        cmocka_unit_test(test_waiting_for_a_worker_of_its_own),
        cmocka_unit_test(test_waiting_for_its_last_errors_to_be_written),
        cmocka_unit_test(test_waiting_for_a_device_with_more_memory),
        cmocka_unit_test(test_waiting_while_paused_or_draining),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
