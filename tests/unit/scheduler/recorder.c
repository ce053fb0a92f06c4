#include "recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/alloc.h"

enum { HELD = 64 };

/* ---- decisions ---- */

static void on_wake(void *context)
{
    struct recorder *recorder = context;
    recorder->wakes++;
}

static void on_assign(void *context, const struct scheduler_assignment *a)
{
    struct recorder *recorder = context;
    recorder->leases = alloc_resize(recorder->leases, recorder->lease_count + 1, sizeof *recorder->leases);
    struct lease *lease = &recorder->leases[recorder->lease_count++];
    *lease = (struct lease){.task_id = a->task_id,
        .attempt = a->attempt,
        .at_ms = recorder->now_ms,
        .ranges = alloc_copy(a->ranges, a->range_count * sizeof *a->ranges),
        .range_count = a->range_count,
        .samples = a->sample_count};
    snprintf(lease->worker, sizeof lease->worker, "%s", a->worker_id);
    snprintf(lease->job, sizeof lease->job, "%s", a->job_id);
    snprintf(lease->device, sizeof lease->device, "%s", a->device);
    assert_true(a->sample_count > 0);
}

static void on_revoke(void *context, const char *worker_id, const char *job_id, uint64_t task_id,
    uint64_t attempt, const char *reason)
{
    struct recorder *recorder = context;
    recorder->revocations =
        alloc_resize(recorder->revocations, recorder->revocation_count + 1, sizeof *recorder->revocations);
    struct revocation *revocation = &recorder->revocations[recorder->revocation_count++];
    *revocation = (struct revocation){.task_id = task_id, .attempt = attempt};
    snprintf(revocation->worker, sizeof revocation->worker, "%s", worker_id);
    snprintf(revocation->job, sizeof revocation->job, "%s", job_id);
    snprintf(revocation->reason, sizeof revocation->reason, "%s", reason);
    for (size_t i = 0; i < recorder->lease_count; i++)
        if (recorder->leases[i].attempt == attempt)
            recorder->leases[i].over = true;
}

static void on_give_up(void *context, const char *job_id, uint64_t index, const struct error *reason)
{
    struct recorder *recorder = context;
    recorder->given_up =
        alloc_resize(recorder->given_up, recorder->given_up_count + 1, sizeof *recorder->given_up);
    struct given_up *given_up = &recorder->given_up[recorder->given_up_count++];
    *given_up = (struct given_up){.index = index, .reason = *reason};
    snprintf(given_up->job, sizeof given_up->job, "%s", job_id);
}

static void on_started(void *context, const char *job_id)
{
    struct recorder *recorder = context;
    assert_non_null(job_id);
    recorder->started_count++;
}

static void on_finished(
    void *context, const char *job_id, enum scheduler_outcome outcome, const struct error *reason)
{
    struct recorder *recorder = context;
    assert_true(recorder->ending_count < sizeof recorder->endings / sizeof *recorder->endings);
    struct ending *ending = &recorder->endings[recorder->ending_count++];
    *ending = (struct ending){.outcome = outcome, .has_reason = reason != NULL};
    snprintf(ending->job, sizeof ending->job, "%s", job_id);
    if (reason)
        ending->reason = *reason;
}

/* ---- life ---- */

void recorder_open(struct recorder *recorder, const struct scheduler_options *options)
{
    const struct scheduler_decisions decisions = {.context = recorder,
        .wake = on_wake,
        .assign = on_assign,
        .revoke = on_revoke,
        .give_up = on_give_up,
        .job_started = on_started,
        .job_finished = on_finished};
    const struct scheduler_options defaults = {0};
    *recorder = (struct recorder){.now_ms = 1000};
    recorder->scheduler = scheduler_open(options ? options : &defaults, &decisions);
}

void recorder_close(struct recorder *recorder)
{
    scheduler_close(recorder->scheduler);
    for (size_t i = 0; i < recorder->lease_count; i++)
        free(recorder->leases[i].ranges);
    free(recorder->leases);
    free(recorder->revocations);
    free(recorder->given_up);
}

/* ---- steps ---- */

void recorder_join(struct recorder *recorder, const char *worker, uint32_t slots)
{
    const struct scheduler_device device = {.name = "cpu", .slots = slots};
    const char *const schemes[] = {"hf", "test"}, *const metrics[] = {"exact_match"};
    const struct scheduler_worker_spec spec = {.id = worker,
        .devices = &device,
        .device_count = 1,
        .schemes = schemes,
        .scheme_count = 2,
        .metrics = metrics,
        .metric_count = 1};
    size_t place = 0;
    while (recorder->workers[place][0])
        assert_true(++place < RECORDER_WORKERS);
    snprintf(recorder->workers[place], SCHEDULER_ID_BYTES, "%s", worker);
    assert_true(scheduler_worker_join(recorder->scheduler, &spec, recorder->now_ms, NULL));
    scheduler_check(recorder->scheduler);
}

void recorder_add_spec(struct recorder *recorder, const struct scheduler_job_spec *spec)
{
    struct error err = {0};
    assert_true(scheduler_job_add(recorder->scheduler, spec, recorder->now_ms, &err));
    scheduler_check(recorder->scheduler);
}

void recorder_add(
    struct recorder *recorder, const char *job, const char *model, uint64_t samples, double weight)
{
    const struct scheduler_job_spec spec = {
        .id = job, .model = model ? model : "org/model", .sample_count = samples, .weight = weight};
    recorder_add_spec(recorder, &spec);
}

void recorder_run(struct recorder *recorder)
{
    scheduler_run(recorder->scheduler, recorder->now_ms);
    scheduler_check(recorder->scheduler);
}

void recorder_beat(struct recorder *recorder)
{
    for (size_t i = 0; i < RECORDER_WORKERS; i++) {
        struct scheduler_held held[HELD];
        size_t count = 0;
        if (!recorder->workers[i][0])
            continue;
        for (size_t k = 0; k < recorder->lease_count; k++) {
            const struct lease *lease = &recorder->leases[k];
            if (lease->over || strcmp(lease->worker, recorder->workers[i]) != 0)
                continue;
            assert_true(count < HELD);
            held[count++] = (struct scheduler_held){lease->job, lease->task_id, lease->attempt};
        }
        assert_true(scheduler_worker_heartbeat(
            recorder->scheduler, recorder->workers[i], held, count, NULL, 0, recorder->now_ms));
        scheduler_check(recorder->scheduler);
    }
}

void recorder_pass(struct recorder *recorder, uint64_t ms)
{
    for (uint64_t end_ms = recorder->now_ms + ms; recorder->now_ms < end_ms;) {
        uint64_t left_ms = end_ms - recorder->now_ms;
        recorder->now_ms += left_ms < 250 ? left_ms : 250;
        recorder_beat(recorder);
        recorder_run(recorder);
    }
}

void lease_commit(struct recorder *recorder, const struct lease *lease)
{
    for (size_t i = 0; i < lease->range_count; i++) {
        for (uint64_t k = 0; k < lease->ranges[i].count; k++) {
            uint64_t index = lease->ranges[i].first + k;
            scheduler_results_committed(
                recorder->scheduler, lease->job, lease->task_id, &index, 1, 0, recorder->now_ms);
        }
    }
    scheduler_check(recorder->scheduler);
}

void lease_finish(struct recorder *recorder, size_t at, double seconds)
{
    struct lease *lease = &recorder->leases[at];
    assert_true(at < recorder->lease_count && !lease->over);
    scheduler_task_sent(recorder->scheduler, lease->job, lease->task_id, lease->attempt, recorder->now_ms);
    lease_commit(recorder, lease);
    scheduler_task_done(
        recorder->scheduler, lease->job, lease->task_id, lease->attempt, seconds, recorder->now_ms);
    lease->over = true;
    scheduler_check(recorder->scheduler);
}

void lease_fail(struct recorder *recorder, size_t at, enum error_code code, const char *message)
{
    struct lease *lease = &recorder->leases[at];
    struct error reason = {0};
    error_set(&reason, code, "%s", message);
    assert_true(at < recorder->lease_count && !lease->over);
    lease->over = true;
    scheduler_task_failed(
        recorder->scheduler, lease->job, lease->task_id, lease->attempt, &reason, recorder->now_ms);
    scheduler_check(recorder->scheduler);
}

void recorder_lose(struct recorder *recorder, const char *worker, bool clean)
{
    for (size_t i = 0; i < recorder->lease_count; i++)
        if (strcmp(recorder->leases[i].worker, worker) == 0)
            recorder->leases[i].over = true;
    for (size_t i = 0; i < RECORDER_WORKERS; i++)
        if (strcmp(recorder->workers[i], worker) == 0)
            recorder->workers[i][0] = 0;
    scheduler_worker_lost(recorder->scheduler, worker, clean, recorder->now_ms);
    scheduler_check(recorder->scheduler);
}

void recorder_commit_given_up(struct recorder *recorder, size_t from)
{
    for (size_t i = from; i < recorder->given_up_count; i++) {
        const struct given_up *given_up = &recorder->given_up[i];
        assert_int_equal(scheduler_results_committed(
                             recorder->scheduler, given_up->job, 0, &given_up->index, 1, 1, recorder->now_ms),
            1);
    }
    scheduler_check(recorder->scheduler);
}

/* ---- looking ---- */

bool lease_contains(const struct lease *lease, uint64_t index)
{
    for (size_t i = 0; i < lease->range_count; i++)
        if (index >= lease->ranges[i].first && index - lease->ranges[i].first < lease->ranges[i].count)
            return true;
    return false;
}

size_t open_leases(const struct recorder *recorder, const char *worker, const char *job)
{
    size_t count = 0;
    for (size_t i = 0; i < recorder->lease_count; i++) {
        const struct lease *lease = &recorder->leases[i];
        count += !lease->over && (!worker || strcmp(lease->worker, worker) == 0) &&
                 (!job || strcmp(lease->job, job) == 0);
    }
    return count;
}

size_t lease_of(const struct recorder *recorder, const char *job, uint64_t index)
{
    for (size_t i = recorder->lease_count; i-- > 0;) {
        const struct lease *lease = &recorder->leases[i];
        if (!lease->over && strcmp(lease->job, job) == 0 && lease_contains(lease, index))
            return i;
    }
    return SIZE_MAX;
}

struct scheduler_job_progress progress_of(const struct recorder *recorder, const char *job)
{
    struct scheduler_job_progress progress;
    assert_true(scheduler_job_progress(recorder->scheduler, job, recorder->now_ms, &progress));
    return progress;
}

struct scheduler_counts counts_of(const struct recorder *recorder)
{
    struct scheduler_counts counts;
    scheduler_counts(recorder->scheduler, &counts);
    return counts;
}
