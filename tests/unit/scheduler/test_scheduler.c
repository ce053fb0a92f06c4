/* The scheduler's promises one by one, on a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/scheduler/scheduler.h"

enum { EVENTS_MAX = 512, LEASE_MS = 1000 };

struct assigned {
    char worker[SCHEDULER_ID_BYTES], job[SCHEDULER_ID_BYTES], device[32];
    uint64_t task_id, attempt, first, count;
};

/* Everything that was decided since the test last looked. */
struct bench {
    struct scheduler *scheduler;
    uint64_t now_ms;
    struct assigned assigned[EVENTS_MAX];
    size_t assigned_count, revoked, started, finished, given_up;
    uint64_t given_up_index;
    enum scheduler_outcome outcome;
    struct error reason;
};

static void on_wake(void *context)
{
    (void)context;
}

static void on_assign(void *context, const struct scheduler_assignment *a)
{
    struct bench *bench = context;
    assert_true(bench->assigned_count < EVENTS_MAX);
    struct assigned *to = &bench->assigned[bench->assigned_count++];
    snprintf(to->worker, sizeof to->worker, "%s", a->worker_id);
    snprintf(to->job, sizeof to->job, "%s", a->job_id);
    snprintf(to->device, sizeof to->device, "%s", a->device);
    to->task_id = a->task_id;
    to->attempt = a->attempt;
    to->first = a->ranges[0].first;
    to->count = a->sample_count;
}

static void on_revoke(void *context, const char *worker_id, const char *job_id, uint64_t task_id,
    uint64_t attempt, const char *reason)
{
    (void)worker_id, (void)job_id, (void)task_id, (void)attempt;
    assert_true(*reason);
    ((struct bench *)context)->revoked++;
}

static void on_give_up(void *context, const char *job_id, uint64_t index, const struct error *reason)
{
    struct bench *bench = context;
    (void)job_id;
    assert_true(reason->code);
    bench->given_up++;
    bench->given_up_index = index;
}

static void on_started(void *context, const char *job_id)
{
    (void)job_id;
    ((struct bench *)context)->started++;
}

static void on_finished(
    void *context, const char *job_id, enum scheduler_outcome outcome, const struct error *reason)
{
    struct bench *bench = context;
    (void)job_id;
    bench->finished++;
    bench->outcome = outcome;
    bench->reason = reason ? *reason : (struct error){0};
}

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    const struct scheduler_decisions decisions = {
        bench, on_wake, on_assign, on_revoke, on_give_up, on_started, on_finished};
    const struct scheduler_options options = {.lease_ms = LEASE_MS, .backoff_ms = 100, .outages_max = 3};
    bench->scheduler = scheduler_open(&options, &decisions);
    bench->now_ms = 100000;
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    scheduler_check(bench->scheduler);
    scheduler_close(bench->scheduler);
    free(bench);
    return 0;
}

static void run(struct bench *bench)
{
    bench->assigned_count = bench->revoked = bench->finished = bench->given_up = bench->started = 0;
    scheduler_run(bench->scheduler, bench->now_ms);
    scheduler_check(bench->scheduler);
}

static const char *uuid(char kind, int number)
{
    static char texts[16][SCHEDULER_ID_BYTES];
    static int next;
    char *text = texts[next++ % 16];
    snprintf(text, SCHEDULER_ID_BYTES, "%c0000000-0000-4000-8000-%012d", kind, number);
    return text;
}

static struct scheduler_job_spec job_spec(int number, uint64_t samples)
{
    return (struct scheduler_job_spec){.id = uuid('a', number), .model = "hf://m", .sample_count = samples};
}

static void add(struct bench *bench, struct scheduler_job_spec spec)
{
    struct error err = {0};
    if (!scheduler_job_add(bench->scheduler, &spec, bench->now_ms, &err))
        fail_msg("%s", err.message);
}

static void join_holding(
    struct bench *bench, int number, uint32_t slots, const struct scheduler_held *held, size_t held_count)
{
    const struct scheduler_device device = {"cpu", slots};
    static const char *const schemes[] = {"hf", "sim"};
    static const char *const metrics[] = {"rouge"};
    const struct scheduler_worker_spec spec = {.id = uuid('b', number),
        .devices = &device,
        .device_count = 1,
        .schemes = schemes,
        .scheme_count = 2,
        .metrics = metrics,
        .metric_count = 1,
        .held = held,
        .held_count = held_count};
    struct error err = {0};
    if (!scheduler_worker_join(bench->scheduler, &spec, bench->now_ms, &err))
        fail_msg("%s", err.message);
}

static void join(struct bench *bench, int number, uint32_t slots)
{
    join_holding(bench, number, slots, NULL, 0);
}

static void commit(struct bench *bench, const struct assigned *task)
{
    for (uint64_t i = task->first; i < task->first + task->count; i++)
        assert_int_equal(
            scheduler_results_committed(bench->scheduler, task->job, task->task_id, &i, 1, 0, bench->now_ms),
            1);
}

static void done(struct bench *bench, const struct assigned *task, double seconds)
{
    scheduler_task_done(bench->scheduler, task->job, task->task_id, task->attempt, seconds, bench->now_ms);
}

static void fail_task(struct bench *bench, const struct assigned *task, enum error_code code)
{
    struct error reason = {0};
    error_set(&reason, code, "because");
    scheduler_task_failed(bench->scheduler, task->job, task->task_id, task->attempt, &reason, bench->now_ms);
}

static void beat(struct bench *bench, int number, const struct assigned *task)
{
    const struct scheduler_held held = {
        task ? task->job : "", task ? task->task_id : 0, task ? task->attempt : 0};
    assert_true(scheduler_worker_heartbeat(
        bench->scheduler, uuid('b', number), &held, task != NULL, NULL, 0, bench->now_ms));
}

static struct scheduler_job_progress progress(const struct bench *bench, int number)
{
    struct scheduler_job_progress out = {0};
    assert_true(scheduler_job_progress(bench->scheduler, uuid('a', number), bench->now_ms, &out));
    return out;
}

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

/* ---- who gets what ---- */

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

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

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
