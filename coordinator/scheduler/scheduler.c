/* The scheduler as a whole: its life, its decisions, its clockwork. */
#include "coordinator/scheduler/scheduler.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/scheduler/state.h"

enum { CHECK_MS = 50 }; /* how often leases and timeouts are looked at */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

struct scheduler *scheduler_open(
    const struct scheduler_options *options, const struct scheduler_decisions *decisions)
{
    struct scheduler *scheduler = alloc_zero(1, sizeof *scheduler);
    scheduler->options = (struct scheduler_options){
        .lease_ms = or_default(options->lease_ms, 10000),
        .task_target_ms = or_default(options->task_target_ms, 2000),
        .task_samples_max = or_default(options->task_samples_max, 1024),
        .task_samples_first = or_default(options->task_samples_first, 8),
        .attempts_max = or_default(options->attempts_max, 3),
        .outages_max = or_default(options->outages_max, 8),
        .backoff_ms = or_default(options->backoff_ms, 500),
        .backoff_max_ms = or_default(options->backoff_max_ms, 30000),
        .switch_cost_ms = or_default(options->switch_cost_ms, 10000),
        .attempt_base = options->attempt_base,
    };
    assert((uint64_t)scheduler->options.task_samples_max * TASK_SPAN_FACTOR < 1 << SCHEDULER_SPAN_BITS);
    scheduler->decisions = *decisions;
    scheduler->attempt_next = options->attempt_base + 1;
    return scheduler;
}

/* Jobs and workers end without decisions: whoever closes the scheduler no longer listens. */
void scheduler_close(struct scheduler *scheduler)
{
    if (!scheduler)
        return;
    scheduler->running = true; /* no more waking */
    while (scheduler->order_count)
        job_end(scheduler, scheduler->order[0], SCHEDULER_STOPPED, NULL);
    while (scheduler->worker_list)
        worker_remove(scheduler, scheduler->worker_list, true, 0);
    table_free(&scheduler->jobs);
    table_free(&scheduler->workers);
    table_free(&scheduler->tasks);
    for (size_t i = 0; i < scheduler->ability_count; i++)
        free(scheduler->abilities[i]);
    free(scheduler->order);
    free(scheduler->queue);
    free(scheduler->free_devices);
    free(scheduler->ranges);
    free(scheduler);
}

void wake(struct scheduler *scheduler)
{
    if (!scheduler->running)
        scheduler->decisions.wake(scheduler->decisions.context);
}

struct decision *decision_add(struct scheduler *scheduler, enum decision_kind kind)
{
    if (scheduler->queue_count == scheduler->queue_capacity) {
        scheduler->queue_capacity = scheduler->queue_capacity ? scheduler->queue_capacity * 2 : 16;
        scheduler->queue =
            alloc_resize(scheduler->queue, scheduler->queue_capacity, sizeof *scheduler->queue);
    }
    struct decision *decision = &scheduler->queue[scheduler->queue_count++];
    memset(decision, 0, sizeof *decision);
    decision->kind = kind;
    wake(scheduler);
    return decision;
}

void decision_revoke(struct scheduler *scheduler, const char *worker_id, const char *job_id, uint64_t task_id,
    uint64_t attempt, const char *reason)
{
    struct decision *decision = decision_add(scheduler, DECIDE_REVOKE);
    snprintf(decision->worker_id, sizeof decision->worker_id, "%s", worker_id);
    snprintf(decision->job_id, sizeof decision->job_id, "%s", job_id);
    decision->task_id = task_id;
    decision->attempt = attempt;
    error_set(&decision->reason, ERROR_CANCELLED, "%s", reason);
}

void rate_count(struct rate *rate, uint64_t count, uint64_t now_ms)
{
    rate->count += count;
    uint64_t passed_ms = now_ms - rate->window_ms;
    if (passed_ms < RATE_WINDOW_MS)
        return;
    rate->per_s = (double)rate->count * 1000.0 / (double)passed_ms;
    rate->count = 0;
    rate->window_ms = now_ms;
}

double rate_now(const struct rate *rate, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms - rate->window_ms;
    if (passed_ms >= RATE_WINDOW_MS) /* nothing closed the window: the figure is fading */
        return (double)rate->count * 1000.0 / (double)passed_ms;
    return rate->per_s;
}

uint64_t text_hash(const char *text)
{
    uint64_t hash = 14695981039346656037U;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211U;
    return hash;
}

void list_free(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

static void end_lost_workers(struct scheduler *scheduler, uint64_t now_ms)
{
    for (struct worker *worker = scheduler->worker_list, *next; worker; worker = next) {
        next = worker->next;
        if (now_ms - worker->heard_ms > scheduler->options.lease_ms)
            worker_remove(scheduler, worker, false, now_ms);
    }
}

/* Its lease ended though its worker lives: the worker does not know the task, or no longer reports it. */
static struct task *expired_task(const struct worker *worker, uint64_t now_ms)
{
    for (struct task *task = worker->tasks; task; task = task->worker_next)
        if (!task->sent && now_ms > task->lease_until_ms)
            return task;
    return NULL;
}

static void end_leases(struct scheduler *scheduler, uint64_t now_ms)
{
    struct error reason = {0};
    error_set(&reason, ERROR_INTERNAL, "the worker stopped reporting on it");
    for (struct worker *worker = scheduler->worker_list; worker; worker = worker->next) {
        struct task *task = NULL;
        while ((task = expired_task(worker, now_ms))) {
            scheduler->counts.leases_expired++;
            decision_revoke(scheduler, worker->id, task->job->id, task->id, task->attempt, "its lease ended");
            task_suspect(scheduler, task, false, &reason, now_ms);
        }
    }
}

static void end_overdue_jobs(struct scheduler *scheduler, uint64_t now_ms)
{
    for (size_t i = scheduler->order_count; i-- > 0;) {
        struct job *job = scheduler->order[i];
        if (!job->timeout_ms || !job->started || now_ms - job->started_ms <= job->timeout_ms)
            continue;
        struct error reason = {0};
        error_set(&reason, ERROR_UNAVAILABLE, "the job did not finish within its %g seconds",
            (double)job->timeout_ms / 1000.0);
        error_hint(&reason, "raise job_timeout_sec, add workers, or use fewer samples");
        job_end(scheduler, job, SCHEDULER_FAILED, &reason);
    }
}

static void decide(struct scheduler *scheduler, const struct decision *d)
{
    const struct scheduler_decisions *out = &scheduler->decisions;
    switch (d->kind) {
    case DECIDE_REVOKE:
        out->revoke(out->context, d->worker_id, d->job_id, d->task_id, d->attempt, d->reason.message);
        break;
    case DECIDE_GIVE_UP: out->give_up(out->context, d->job_id, d->index, &d->reason); break;
    case DECIDE_FINISHED:
        out->job_finished(out->context, d->job_id, d->outcome, d->reason.code ? &d->reason : NULL);
        break;
    }
}

void scheduler_run(struct scheduler *scheduler, uint64_t now_ms)
{
    assert(!scheduler->running);
    scheduler->running = true;
    if (now_ms - scheduler->checked_ms >= CHECK_MS) {
        scheduler->checked_ms = now_ms;
        end_lost_workers(scheduler, now_ms);
        end_leases(scheduler, now_ms);
        if (!scheduler->paused)
            end_overdue_jobs(scheduler, now_ms);
    }
    for (size_t i = 0; i < scheduler->queue_count; i++)
        decide(scheduler, &scheduler->queue[i]);
    scheduler->queue_count = 0;
    if (!scheduler->paused)
        dispatch(scheduler, now_ms);
    scheduler->running = false;
}

void scheduler_pause(struct scheduler *scheduler, bool paused)
{
    scheduler->paused = paused;
    wake(scheduler);
}

void scheduler_counts(const struct scheduler *scheduler, struct scheduler_counts *out)
{
    *out = scheduler->counts;
    out->jobs = scheduler->order_count;
    for (size_t i = 0; i < scheduler->order_count; i++) {
        out->samples_remaining += scheduler->order[i]->remaining.total;
        out->samples_leased += scheduler->order[i]->owed;
        out->tasks += scheduler->order[i]->task_count;
    }
    for (const struct worker *worker = scheduler->worker_list; worker; worker = worker->next) {
        out->workers++;
        for (size_t i = 0; i < worker->device_count; i++)
            out->slots += worker->devices[i].slots;
    }
}

static void check_task(const struct scheduler *scheduler, const struct task *task)
{
    uint64_t owed = 0;
    for (uint64_t bit = 0; bit < task->span; bit++)
        owed += task->bits[bit / 64] >> (bit % 64) & 1;
    assert(owed == task->owed);
    assert(task_find(scheduler, task->job, task->id) == task);
    assert(task->worker || task->sent);
    assert(!task->device || task->device->worker == task->worker);
}

static void check_job(const struct scheduler *scheduler, const struct job *job)
{
    uint64_t total = 0, owed = 0, end = 0;
    for (size_t i = 0; i < job->remaining.count; i++) {
        const struct span *item = &job->remaining.items[i];
        assert(item->count && item->first >= end);
        end = item->first + item->count;
        total += item->count;
    }
    assert(end <= job->total && total == job->remaining.total);
    uint32_t tasks = 0;
    for (const struct task *task = job->tasks; task; task = task->job_next, tasks++) {
        check_task(scheduler, task);
        owed += task->owed;
    }
    assert(tasks == job->task_count && owed == job->owed);
    assert(!job->reserved || job->reserved->reserved_for == job);
    assert(total + owed + job->recording_count <= job->total);
    assert(total + owed + job->recording_count > 0); /* otherwise it would have ended */
}

void scheduler_check(const struct scheduler *scheduler)
{
    for (size_t i = 0; i < scheduler->order_count; i++)
        check_job(scheduler, scheduler->order[i]);
    for (const struct worker *worker = scheduler->worker_list; worker; worker = worker->next) {
        assert(!worker->reserved_for || worker->reserved_for->reserved == worker);
        for (size_t i = 0; i < worker->device_count; i++) {
            const struct device *device = &worker->devices[i];
            uint32_t tasks = 0;
            for (const struct task *task = worker->tasks; task; task = task->worker_next)
                tasks += task->device == device;
            assert(tasks == device->tasks);
        }
    }
}
