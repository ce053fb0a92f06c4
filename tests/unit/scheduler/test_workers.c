/* Workers come, go, come back, and tell what they hold: what of it is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "recorder.h"

enum { LEASE_MS = 10000 };

static bool join_holding(
    struct recorder *recorder, const char *worker, const struct scheduler_held *held, size_t held_count)
{
    const struct scheduler_device device = {.name = "cpu", .slots = 2};
    const char *const schemes[] = {"hf"};
    const struct scheduler_worker_spec spec = {.id = worker,
        .devices = &device,
        .device_count = 1,
        .schemes = schemes,
        .scheme_count = 1,
        .held = held,
        .held_count = held_count};
    bool joined = scheduler_worker_join(recorder->scheduler, &spec, recorder->now_ms, NULL);
    scheduler_check(recorder->scheduler);
    return joined;
}

static struct scheduler_held held_of(const struct lease *lease)
{
    return (struct scheduler_held){lease->job, lease->task_id, lease->attempt};
}

static bool is_open(const struct recorder *recorder, const struct lease *lease)
{
    return scheduler_task_open(recorder->scheduler, lease->job, lease->task_id, lease->attempt);
}

/* ---- leases ---- */

static void test_renewed_leases_stay(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    recorder_pass(&recorder, 100 * LEASE_MS);
    assert_int_equal(recorder.lease_count, 2);
    assert_int_equal(recorder.revocation_count, 0);
    assert_int_equal(counts_of(&recorder).leases_expired, 0);
    recorder_close(&recorder);
}

static void test_a_lease_that_is_no_longer_listed_ends_and_is_leased_again(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    recorder_pass(&recorder, LEASE_MS);
    recorder.leases[0].over = true; /* forgotten by the worker, which goes on listing the other */
    recorder_pass(&recorder, LEASE_MS - 500);
    assert_int_equal(recorder.revocation_count, 0);
    recorder_pass(&recorder, 2000);
    assert_int_equal(recorder.revocation_count, 1);
    assert_int_equal(recorder.revocations[0].attempt, recorder.leases[0].attempt);
    assert_string_equal(recorder.revocations[0].worker, WORKER_1);
    assert_true(is_open(&recorder, &recorder.leases[1]));
    assert_int_equal(counts_of(&recorder).leases_expired, 1);
    lease_finish(&recorder, recorder.lease_count - 1, 1.0);
    recorder_run(&recorder);
    assert_true(lease_of(&recorder, JOB_A, recorder.leases[0].ranges[0].first) != SIZE_MAX);
    recorder_close(&recorder);
}

static void test_a_new_lease_may_be_on_its_way_for_longer(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    recorder.leases[0].over = true; /* never arrived: never listed */
    recorder_pass(&recorder, 3 * LEASE_MS - 500);
    assert_int_equal(recorder.revocation_count, 0);
    recorder_pass(&recorder, 1500);
    assert_int_equal(recorder.revocation_count, 1);
    recorder_close(&recorder);
}

static void test_a_silent_worker_is_forgotten(void **state)
{
    struct recorder recorder;
    struct scheduler_worker_load load;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    recorder_beat(&recorder);
    recorder.now_ms += LEASE_MS;
    recorder_run(&recorder);
    assert_int_equal(counts_of(&recorder).workers, 1);
    recorder.now_ms += 100;
    recorder_run(&recorder);
    assert_int_equal(counts_of(&recorder).workers, 0);
    assert_int_equal(counts_of(&recorder).leases_expired, 2);
    assert_int_equal(progress_of(&recorder, JOB_A).leased, 0);
    assert_false(scheduler_worker_load(recorder.scheduler, WORKER_1, recorder.now_ms, &load));
    assert_false(scheduler_worker_heartbeat(recorder.scheduler, WORKER_1, NULL, 0, NULL, 0, recorder.now_ms));
    recorder_close(&recorder);
}

static void test_what_was_sent_needs_no_lease(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 8, 1);
    recorder_run(&recorder);
    const struct lease lease = recorder.leases[0];
    scheduler_task_sent(recorder.scheduler, JOB_A, lease.task_id, lease.attempt, recorder.now_ms);
    recorder.leases[0].over = true; /* no longer listed; the store is slow */
    recorder_pass(&recorder, 10 * LEASE_MS);
    assert_true(is_open(&recorder, &lease));
    assert_int_equal(recorder.revocation_count, 0);
    recorder_close(&recorder);
}

static void test_a_clean_goodbye_gives_everything_back_undivided(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    recorder_lose(&recorder, WORKER_1, true);
    recorder_join(&recorder, WORKER_2, 2);
    recorder_run(&recorder); /* at once */
    assert_int_equal(recorder.lease_count, 4);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(recorder.leases[2 + i].task_id, recorder.leases[i].task_id);
    assert_int_equal(counts_of(&recorder).leases_expired, 0);
    recorder_close(&recorder);
}

static void test_losing_a_stranger_does_nothing(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    scheduler_worker_lost(recorder.scheduler, STRANGER, false, recorder.now_ms);
    scheduler_check(recorder.scheduler);
    assert_int_equal(counts_of(&recorder).workers, 0);
    recorder_close(&recorder);
}

/* ---- what a worker says that it holds ---- */

static void test_a_heartbeat_with_anothers_task_is_revoked(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_join(&recorder, WORKER_2, 1);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    const struct lease *lease = &recorder.leases[0];
    const struct scheduler_held held = held_of(lease);
    const char *thief = strcmp(lease->worker, WORKER_1) == 0 ? WORKER_2 : WORKER_1;
    assert_true(scheduler_worker_heartbeat(recorder.scheduler, thief, &held, 1, NULL, 0, recorder.now_ms));
    recorder_run(&recorder);
    assert_int_equal(recorder.revocation_count, 1);
    assert_string_equal(recorder.revocations[0].worker, thief);
    assert_true(is_open(&recorder, lease)); /* with its owner */
    recorder_close(&recorder);
}

static void test_a_heartbeat_with_an_old_attempt_is_revoked(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 8, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, 0, ERROR_CANCELLED, "partition");
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 2);
    const struct scheduler_held both[] = {held_of(&recorder.leases[0]), held_of(&recorder.leases[1])};
    assert_true(scheduler_worker_heartbeat(recorder.scheduler, WORKER_1, both, 2, NULL, 0, recorder.now_ms));
    recorder_run(&recorder);
    assert_int_equal(recorder.revocation_count, 1);
    assert_int_equal(recorder.revocations[0].attempt, recorder.leases[0].attempt);
    assert_true(is_open(&recorder, &recorder.leases[1]));
    recorder_close(&recorder);
}

static void test_a_worker_that_comes_back_after_its_lease_keeps_what_nobody_else_got(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    recorder.now_ms += LEASE_MS + 100;
    recorder_run(&recorder); /* nobody is there to take them */
    assert_false(is_open(&recorder, &recorder.leases[0]));
    const struct scheduler_held held[] = {held_of(&recorder.leases[0]), held_of(&recorder.leases[1])};
    assert_true(join_holding(&recorder, WORKER_1, held, 2));
    assert_true(is_open(&recorder, &recorder.leases[0]));
    assert_true(is_open(&recorder, &recorder.leases[1]));
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 2); /* its slots are taken */
    assert_int_equal(recorder.revocation_count, 0);
    recorder_close(&recorder);
}

static void test_a_worker_that_comes_back_too_late_is_told_to_stop(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_run(&recorder);
    const struct lease old = recorder.leases[0];
    recorder_lose(&recorder, WORKER_1, false);
    recorder_join(&recorder, WORKER_2, 1);
    recorder_pass(&recorder, 1000); /* leased there */
    assert_int_equal(open_leases(&recorder, WORKER_2, NULL), 1);
    const struct scheduler_held held = held_of(&old);
    assert_true(join_holding(&recorder, WORKER_1, &held, 1));
    recorder_run(&recorder);
    assert_int_equal(recorder.revocation_count, 1);
    assert_string_equal(recorder.revocations[0].worker, WORKER_1);
    assert_int_equal(recorder.revocations[0].attempt, old.attempt);
    recorder_close(&recorder);
}

static void test_a_restarted_coordinator_goes_on_with_held_tasks(void **state)
{
    struct recorder before, after;
    struct scheduler_held held[2];
    struct lease leases[2];
    (void)state;
    recorder_open(&before, NULL);
    recorder_join(&before, WORKER_1, 2);
    recorder_add(&before, JOB_A, NULL, 20, 1);
    recorder_run(&before);
    for (size_t i = 0; i < 2; i++) {
        leases[i] = before.leases[i];
        held[i] = held_of(&leases[i]);
    }
    recorder_open(&after, &(struct scheduler_options){.attempt_base = 1000000});
    recorder_add(&after, JOB_A, NULL, 20, 1);
    assert_true(join_holding(&after, WORKER_1, held, 2));
    assert_true(progress_of(&after, JOB_A).started);
    assert_int_equal(progress_of(&after, JOB_A).leased, leases[0].samples + leases[1].samples);
    recorder_run(&after);
    assert_int_equal(after.lease_count, 0);
    for (size_t i = 0; i < 2; i++) {
        lease_commit(&after, &leases[i]);
        scheduler_task_done(after.scheduler, JOB_A, leases[i].task_id, leases[i].attempt, 1.0, after.now_ms);
    }
    recorder_run(&after);
    assert_true(after.lease_count > 0);
    for (size_t i = 0; i < after.lease_count; i++) {
        assert_true(after.leases[i].attempt > 1000000);
        assert_false(lease_contains(&after.leases[i], 0));
    }
    assert_int_equal(counts_of(&after).duplicates, 0);
    recorder_close(&after);
    recorder_close(&before);
}

static void test_an_adopted_task_is_not_blamed_for_samples_it_never_had(void **state)
{
    struct recorder recorder;
    const struct scheduler_held held = {JOB_A, UINT64_C(0) << SCHEDULER_SPAN_BITS | 12, 5};
    const uint64_t had[] = {0, 1, 2, 3, 4, 5, 6, 7}; /* of the twelve: the rest was cut off */
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    assert_true(join_holding(&recorder, WORKER_1, &held, 1));
    assert_int_equal(progress_of(&recorder, JOB_A).leased, 12);
    assert_int_equal(
        scheduler_results_committed(recorder.scheduler, JOB_A, held.task_id, had, 8, 0, recorder.now_ms), 8);
    scheduler_task_done(recorder.scheduler, JOB_A, held.task_id, 5, 4.0, recorder.now_ms);
    recorder_run(&recorder);
    size_t next = lease_of(&recorder, JOB_A, 8); /* at once, with others */
    assert_int_not_equal(next, SIZE_MAX);
    assert_int_equal(recorder.leases[next].samples, 4); /* two a second: what it had, not what was guessed */
    assert_true(lease_contains(&recorder.leases[next], 11));
    recorder_close(&recorder);
}

static void test_the_same_range_is_adopted_from_one_worker_only(void **state)
{
    struct recorder recorder;
    const struct scheduler_held first = {JOB_A, UINT64_C(0) << SCHEDULER_SPAN_BITS | 8, 5},
                                second = {JOB_A, UINT64_C(0) << SCHEDULER_SPAN_BITS | 8, 6};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    assert_true(join_holding(&recorder, WORKER_1, &first, 1));
    assert_true(join_holding(&recorder, WORKER_2, &second, 1));
    recorder_run(&recorder);
    assert_int_equal(recorder.revocation_count, 1);
    assert_string_equal(recorder.revocations[0].worker, WORKER_2);
    assert_true(scheduler_task_open(recorder.scheduler, JOB_A, first.task_id, 5));
    recorder_close(&recorder);
}

static void test_nonsense_that_a_worker_claims_to_hold_is_revoked(void **state)
{
    struct recorder recorder;
    const struct scheduler_held held[] = {
        {JOB_B, 8, 1},                                        /* no such job */
        {JOB_A, 0, 2},                                        /* no samples */
        {JOB_A, UINT64_MAX, 3},                               /* far beyond */
        {JOB_A, UINT64_C(100) << SCHEDULER_SPAN_BITS | 8, 4}, /* just beyond */
        {"", 8, 5},
    };
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    assert_true(join_holding(&recorder, WORKER_1, held, 5));
    recorder_run(&recorder);
    assert_int_equal(recorder.revocation_count, 5);
    assert_int_equal(open_leases(&recorder, WORKER_1, JOB_A), 2); /* both slots are free for work */
    recorder_close(&recorder);
}

static void test_a_claim_reaching_past_the_end_holds_what_there_is(void **state)
{
    struct recorder recorder;
    const struct scheduler_held held = {JOB_A, UINT64_C(96) << SCHEDULER_SPAN_BITS | 1000, 1};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    assert_true(join_holding(&recorder, WORKER_1, &held, 1));
    assert_int_equal(progress_of(&recorder, JOB_A).leased, 4);
    recorder_close(&recorder);
}

static void test_a_second_hello_does_not_double_the_worker(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    assert_true(join_holding(&recorder, WORKER_1, NULL, 0));
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    const struct scheduler_held held[] = {held_of(&recorder.leases[0]), held_of(&recorder.leases[1])};
    struct scheduler_worker_load load;
    assert_true(scheduler_worker_drain(recorder.scheduler, WORKER_1, true));
    assert_true(join_holding(&recorder, WORKER_1, held, 2));
    assert_true(scheduler_worker_load(recorder.scheduler, WORKER_1, recorder.now_ms, &load));
    assert_false(load.draining); /* whoever drained it says so again */
    recorder_run(&recorder);
    assert_int_equal(counts_of(&recorder).workers, 1);
    assert_int_equal(counts_of(&recorder).slots, 2);
    assert_int_equal(recorder.lease_count, 2);
    recorder_close(&recorder);
}

static void test_what_was_sent_before_a_second_hello_awaits_its_commit(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    assert_true(join_holding(&recorder, WORKER_1, NULL, 0));
    recorder_add(&recorder, JOB_A, NULL, 8, 1);
    recorder_run(&recorder);
    const struct lease sent = recorder.leases[0];
    scheduler_task_sent(recorder.scheduler, JOB_A, sent.task_id, sent.attempt, recorder.now_ms);
    assert_true(join_holding(&recorder, WORKER_1, NULL, 0)); /* acknowledged: no longer held */
    assert_true(is_open(&recorder, &sent));
    recorder_run(&recorder);
    for (size_t i = 1; i < recorder.lease_count; i++)
        assert_false(lease_contains(&recorder.leases[i], sent.ranges[0].first));
    recorder_close(&recorder);
}

/* ---- devices for models of certain schemes ---- */

static void test_a_device_that_lists_schemes_runs_these_only_and_no_other_device_does(void **state)
{
    static const char *const hosted[] = {"oai"}, *const schemes[] = {"hf", "oai"};
    const struct scheduler_device devices[] = {
        {.name = "cpu", .slots = 1}, {.name = "hosted", .slots = 3, .schemes = hosted, .scheme_count = 1}};
    const struct scheduler_worker_spec spec = {
        .id = WORKER_1, .devices = devices, .device_count = 2, .schemes = schemes, .scheme_count = 2};
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    assert_true(scheduler_worker_join(recorder.scheduler, &spec, recorder.now_ms, NULL));
    recorder_add(&recorder, JOB_A, "hf://org/model", 1000, 1);
    recorder_add(&recorder, JOB_B, "oai://model", 1000, 1);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 4);
    for (size_t i = 0; i < recorder.lease_count; i++)
        assert_string_equal(
            recorder.leases[i].device, strcmp(recorder.leases[i].job, JOB_A) == 0 ? "cpu" : "hosted");
    recorder_close(&recorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_renewed_leases_stay),
        cmocka_unit_test(test_a_device_that_lists_schemes_runs_these_only_and_no_other_device_does),
        cmocka_unit_test(test_a_lease_that_is_no_longer_listed_ends_and_is_leased_again),
        cmocka_unit_test(test_a_new_lease_may_be_on_its_way_for_longer),
        cmocka_unit_test(test_a_silent_worker_is_forgotten),
        cmocka_unit_test(test_what_was_sent_needs_no_lease),
        cmocka_unit_test(test_a_clean_goodbye_gives_everything_back_undivided),
        cmocka_unit_test(test_losing_a_stranger_does_nothing),
        cmocka_unit_test(test_a_heartbeat_with_anothers_task_is_revoked),
        cmocka_unit_test(test_a_heartbeat_with_an_old_attempt_is_revoked),
        cmocka_unit_test(test_a_worker_that_comes_back_after_its_lease_keeps_what_nobody_else_got),
        cmocka_unit_test(test_a_worker_that_comes_back_too_late_is_told_to_stop),
        cmocka_unit_test(test_a_restarted_coordinator_goes_on_with_held_tasks),
        cmocka_unit_test(test_an_adopted_task_is_not_blamed_for_samples_it_never_had),
        cmocka_unit_test(test_the_same_range_is_adopted_from_one_worker_only),
        cmocka_unit_test(test_nonsense_that_a_worker_claims_to_hold_is_revoked),
        cmocka_unit_test(test_a_claim_reaching_past_the_end_holds_what_there_is),
        cmocka_unit_test(test_a_second_hello_does_not_double_the_worker),
        cmocka_unit_test(test_what_was_sent_before_a_second_hello_awaits_its_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
