/* A scheduler on a clock that the test moves, everything it decides kept to be looked at; and short words for
 * its events. Included by the tests of its promises. */
#ifndef LUMIGRID_TESTS_SCHEDULER_BENCH_H
#define LUMIGRID_TESTS_SCHEDULER_BENCH_H

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

static inline void on_wake(void *context)
{
    (void)context;
}

static inline void on_assign(void *context, const struct scheduler_assignment *a)
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

static inline void on_revoke(void *context, const char *worker_id, const char *job_id, uint64_t task_id,
    uint64_t attempt, const char *reason)
{
    (void)worker_id, (void)job_id, (void)task_id, (void)attempt;
    assert_true(*reason);
    ((struct bench *)context)->revoked++;
}

static inline void on_give_up(void *context, const char *job_id, uint64_t index, const struct error *reason)
{
    struct bench *bench = context;
    (void)job_id;
    assert_true(reason->code);
    bench->given_up++;
    bench->given_up_index = index;
}

static inline void on_started(void *context, const char *job_id)
{
    (void)job_id;
    ((struct bench *)context)->started++;
}

static inline void on_finished(
    void *context, const char *job_id, enum scheduler_outcome outcome, const struct error *reason)
{
    struct bench *bench = context;
    (void)job_id;
    bench->finished++;
    bench->outcome = outcome;
    bench->reason = reason ? *reason : (struct error){0};
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
    struct bench *bench = *state;
    scheduler_check(bench->scheduler);
    scheduler_close(bench->scheduler);
    free(bench);
    return 0;
}

static inline void run(struct bench *bench)
{
    bench->assigned_count = bench->revoked = bench->finished = bench->given_up = bench->started = 0;
    scheduler_run(bench->scheduler, bench->now_ms);
    scheduler_check(bench->scheduler);
}

static inline const char *uuid(char kind, int number)
{
    static char texts[16][SCHEDULER_ID_BYTES];
    static int next;
    char *text = texts[next++ % 16];
    snprintf(text, SCHEDULER_ID_BYTES, "%c0000000-0000-4000-8000-%012d", kind, number);
    return text;
}

static inline struct scheduler_job_spec job_spec(int number, uint64_t samples)
{
    return (struct scheduler_job_spec){.id = uuid('a', number), .model = "hf://m", .sample_count = samples};
}

static inline void add(struct bench *bench, struct scheduler_job_spec spec)
{
    struct error err = {0};
    if (!scheduler_job_add(bench->scheduler, &spec, bench->now_ms, &err))
        fail_msg("%s", err.message);
}

static inline void join_holding(
    struct bench *bench, int number, uint32_t slots, const struct scheduler_held *held, size_t held_count)
{
    const struct scheduler_device device = {.name = "cpu", .slots = slots};
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

static inline void join(struct bench *bench, int number, uint32_t slots)
{
    join_holding(bench, number, slots, NULL, 0);
}

static inline void commit(struct bench *bench, const struct assigned *task)
{
    for (uint64_t i = task->first; i < task->first + task->count; i++)
        assert_int_equal(
            scheduler_results_committed(bench->scheduler, task->job, task->task_id, &i, 1, 0, bench->now_ms),
            1);
}

static inline void done(struct bench *bench, const struct assigned *task, double seconds)
{
    scheduler_task_done(bench->scheduler, task->job, task->task_id, task->attempt, seconds, bench->now_ms);
}

static inline void fail_task(struct bench *bench, const struct assigned *task, enum error_code code)
{
    struct error reason = {0};
    error_set(&reason, code, "because");
    scheduler_task_failed(bench->scheduler, task->job, task->task_id, task->attempt, &reason, bench->now_ms);
}

static inline void beat(struct bench *bench, int number, const struct assigned *task)
{
    const struct scheduler_held held = {
        task ? task->job : "", task ? task->task_id : 0, task ? task->attempt : 0};
    assert_true(scheduler_worker_heartbeat(
        bench->scheduler, uuid('b', number), &held, task != NULL, NULL, 0, bench->now_ms));
}

static inline struct scheduler_job_progress progress(const struct bench *bench, int number)
{
    struct scheduler_job_progress out = {0};
    assert_true(scheduler_job_progress(bench->scheduler, uuid('a', number), bench->now_ms, &out));
    return out;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

#endif
