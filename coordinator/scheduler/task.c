/* Tasks: open leases, and what becomes of their samples. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/scheduler/state.h"

enum { SPAN_MASK = (1 << SCHEDULER_SPAN_BITS) - 1 };

struct task *task_find(const struct scheduler *scheduler, const struct job *job, uint64_t id)
{
    return table_find_numbers(&scheduler->tasks, job->serial, id);
}

/* The attempt as a worker names it; NULL when it is not open (any more). */
static struct task *attempt_find(
    const struct scheduler *scheduler, const char *job_id, uint64_t id, uint64_t attempt)
{
    const struct job *job = job_find(scheduler, job_id);
    struct task *task = job ? task_find(scheduler, job, id) : NULL;
    return task && task->attempt == attempt ? task : NULL;
}

struct task *task_open(struct scheduler *scheduler, struct job *job, struct device *device, uint64_t id,
    uint64_t attempt, uint64_t now_ms)
{
    struct task *task = alloc_zero(1, sizeof *task);
    task->job = job;
    task->id = id;
    task->attempt = attempt;
    task->first = id >> SCHEDULER_SPAN_BITS;
    task->span = id & SPAN_MASK;
    task->bits = alloc_zero(task->span / 64 + 1, sizeof *task->bits);
    task->assigned_ms = now_ms;
    task->job_next = job->tasks;
    if (task->job_next)
        task->job_next->job_prev = task;
    job->tasks = task;
    job->task_count++;
    task->worker = device->worker;
    task->worker_next = task->worker->tasks;
    if (task->worker_next)
        task->worker_next->worker_prev = task;
    task->worker->tasks = task;
    task->device = device;
    device->tasks++;
    table_add_numbers(&scheduler->tasks, &task->by_range, job->serial, id, task);
    return task;
}

void task_owe(struct task *task, uint64_t first, uint64_t count)
{
    for (uint64_t bit = first - task->first; bit < first - task->first + count; bit++)
        task->bits[bit / 64] |= UINT64_C(1) << (bit % 64);
    task->owed += count;
    task->leased += count;
    task->job->owed += count;
}

void task_free_slot(struct task *task)
{
    if (task->device)
        task->device->tasks--;
    task->device = NULL;
}

static void task_unlink(struct scheduler *scheduler, struct task *task)
{
    task_free_slot(task);
    if (task->job_prev)
        task->job_prev->job_next = task->job_next;
    else
        task->job->tasks = task->job_next;
    if (task->job_next)
        task->job_next->job_prev = task->job_prev;
    task->job->task_count--;
    if (task->worker) {
        if (task->worker_prev)
            task->worker_prev->worker_next = task->worker_next;
        else
            task->worker->tasks = task->worker_next;
        if (task->worker_next)
            task->worker_next->worker_prev = task->worker_prev;
    }
    table_remove(&scheduler->tasks, &task->by_range);
}

static void task_free(struct task *task)
{
    free(task->bits);
    free(task);
}

/* The next run of owed samples at or after *bit; false when there is none. */
static bool owed_run(const struct task *task, uint64_t *bit, uint64_t *count)
{
    while (*bit < task->span && !(task->bits[*bit / 64] >> (*bit % 64) & 1)) {
        if (!task->bits[*bit / 64])
            *bit = (*bit / 64 + 1) * 64;
        else
            ++*bit;
    }
    if (*bit >= task->span)
        return false;
    uint64_t end = *bit + 1;
    while (end < task->span && (task->bits[end / 64] >> (end % 64) & 1))
        end++;
    *count = end - *bit;
    return true;
}

void task_close(struct scheduler *scheduler, struct task *task, struct retry retry)
{
    uint64_t bit = 0, count = 0;
    while (task->owed && owed_run(task, &bit, &count)) {
        spans_add(&task->job->remaining, task->first + bit, count, retry);
        task->owed -= count;
        task->job->owed -= count;
        bit += count;
    }
    task_unlink(scheduler, task);
    task_free(task);
    wake(scheduler);
}

static uint64_t backoff_ms(const struct scheduler *scheduler, uint32_t failures)
{
    uint64_t wait = scheduler->options.backoff_ms;
    for (uint32_t i = 1; i < failures && wait < scheduler->options.backoff_max_ms; i++)
        wait *= 2;
    return wait < scheduler->options.backoff_max_ms ? wait : scheduler->options.backoff_max_ms;
}

void task_suspect(struct scheduler *scheduler, struct task *task, bool in_company, const struct error *reason,
    uint64_t now_ms)
{
    struct job *job = task->job;
    struct retry retry = {.limit = 1};
    job->trouble = *reason;
    if (task->owed > 1) {
        retry.limit = (uint32_t)((task->owed + BISECT_PARTS - 1) / BISECT_PARTS);
    } else if (task->owed == 1) {
        retry.alone = task->retry.alone + !(in_company || task->adopted);
        if (retry.alone >= scheduler->options.attempts_max) {
            uint64_t bit = 0, count = 0;
            owed_run(task, &bit, &count);
            job_give_up(scheduler, job, task->first + bit, reason);
            task->owed--;
            job->owed--;
        }
    }
    retry.not_before_ms = now_ms + backoff_ms(scheduler, retry.alone);
    task_close(scheduler, task, retry);
    job_end_if_done(scheduler, job);
}

void task_adopt(
    struct scheduler *scheduler, struct worker *worker, const struct scheduler_held *held, uint64_t now_ms)
{
    struct job *job = job_find(scheduler, held->job_id);
    uint64_t first = held->task_id >> SCHEDULER_SPAN_BITS, span = held->task_id & SPAN_MASK;
    size_t at = job ? spans_find(&job->remaining, first) : 0;
    bool free = job && span && !task_find(scheduler, job, held->task_id) && at < job->remaining.count &&
                job->remaining.items[at].first < first + span;
    if (!free) {
        decision_revoke(scheduler, worker->id, held->job_id, held->task_id, held->attempt, "its lease ended");
        return;
    }
    struct task *task = task_open(scheduler, job, &worker->devices[0], held->task_id, held->attempt, now_ms);
    task->adopted = true;
    task->lease_until_ms = now_ms + scheduler->options.lease_ms;
    job->started = true;
    if (!job->started_ms)
        job->started_ms = now_ms;
    while (at < job->remaining.count && job->remaining.items[at].first < first + span) {
        const struct span *item = &job->remaining.items[at];
        uint64_t from = item->first > first ? item->first : first;
        uint64_t item_end = item->first + item->count;
        uint64_t end = item_end < first + span ? item_end : first + span;
        spans_cut(&job->remaining, at, from, end - from);
        task_owe(task, from, end - from);
        at = spans_find(&job->remaining, end);
    }
}

void scheduler_task_cut(
    struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt, uint64_t index)
{
    struct task *task = attempt_find(scheduler, job_id, task_id, attempt);
    uint64_t bit = task && index > task->first ? index - task->first : 0, count = 0;
    while (task && owed_run(task, &bit, &count)) {
        for (uint64_t i = bit; i < bit + count; i++)
            task->bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
        task->owed -= count;
        task->leased -= count;
        task->job->owed -= count;
        spans_add(&task->job->remaining, task->first + bit, count, task->retry);
        bit += count;
    }
    wake(scheduler);
}

bool scheduler_task_open(
    const struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt)
{
    return attempt_find(scheduler, job_id, task_id, attempt) != NULL;
}

void scheduler_task_sent(
    struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt, uint64_t now_ms)
{
    struct task *task = attempt_find(scheduler, job_id, task_id, attempt);
    (void)now_ms;
    if (!task)
        return;
    task->sent = true;
    task_free_slot(task);
    wake(scheduler);
}

void scheduler_task_done(struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt,
    double seconds, uint64_t now_ms)
{
    struct task *task = attempt_find(scheduler, job_id, task_id, attempt);
    if (!task)
        return;
    scheduler->counts.tasks_done++;
    if (task->owed && !task->adopted) {
        struct error reason = {0};
        error_set(&reason, ERROR_INTERNAL, "the worker ended the task without a result for this sample");
        task_suspect(scheduler, task, false, &reason, now_ms);
        return;
    }
    /* Below a millisecond the clock says little; a NaN or a negative number says nothing. */
    if (seconds >= 0 && task->worker && task->worker->device_count && task->leased > task->owed) {
        struct device *device = task->device ? task->device : &task->worker->devices[0];
        device_learn_rate(
            device, task->job, (double)(task->leased - task->owed) / (seconds > 1e-3 ? seconds : 1e-3));
    }
    task_close(scheduler, task, (struct retry){0});
}

/* The model or the settings are wrong wherever they run. */
static bool ends_the_job(enum error_code code)
{
    return code == ERROR_INVALID || code == ERROR_NOT_FOUND || code == ERROR_DENIED ||
           code == ERROR_UNSUPPORTED || code == ERROR_TOO_LARGE;
}

static void bar(struct device *device, const struct job *job)
{
    if (device_bars(device, job))
        return;
    device->barred = alloc_resize(device->barred, device->barred_count + 1, sizeof(char *));
    device->barred[device->barred_count++] = alloc_string(job->model);
}

/* The next job of this model may ask for less memory: it gets its own try on each device. */
static void lift_bars(const struct scheduler *scheduler, const struct job *job)
{
    for (struct worker *worker = scheduler->worker_list; worker; worker = worker->next) {
        for (size_t i = 0; i < worker->device_count; i++) {
            struct device *device = &worker->devices[i];
            for (size_t k = device->barred_count; k-- > 0;) {
                if (strcmp(device->barred[k], job->model) != 0)
                    continue;
                free(device->barred[k]);
                device->barred[k] = device->barred[--device->barred_count];
            }
        }
    }
}

static bool fits_somewhere(const struct scheduler *scheduler, const struct job *job)
{
    for (struct worker *worker = scheduler->worker_list; worker; worker = worker->next)
        for (size_t i = 0; worker_has(worker, job) && i < worker->device_count; i++)
            if (!device_bars(&worker->devices[i], job))
                return true;
    return false;
}

static void fail_memory(struct scheduler *scheduler, struct task *task, const struct error *reason)
{
    struct job *job = task->job;
    if (task->device)
        bar(task->device, job);
    job->trouble = *reason;
    if (fits_somewhere(scheduler, job)) {
        task_close(scheduler, task, task->retry);
    } else {
        lift_bars(scheduler, job);
        job_end(scheduler, job, SCHEDULER_FAILED, reason);
    }
}

static void fail_unavailable(
    struct scheduler *scheduler, struct task *task, const struct error *reason, uint64_t now_ms)
{
    struct job *job = task->job;
    job->trouble = *reason;
    /* Slots that fail together for one outage count once. */
    if (task->assigned_ms >= job->outage_ms) {
        job->outages++;
        job->outage_ms = now_ms + 1;
        job->not_before_ms = now_ms + backoff_ms(scheduler, job->outages);
    }
    if (task->worker)
        memcpy(job->avoid, task->worker->id, sizeof job->avoid);
    if (job->outages >= scheduler->options.outages_max)
        job_end(scheduler, job, SCHEDULER_FAILED, reason);
    else
        task_close(scheduler, task, task->retry);
}

void scheduler_task_failed(struct scheduler *scheduler, const char *job_id, uint64_t task_id,
    uint64_t attempt, const struct error *reason, uint64_t now_ms)
{
    struct task *task = attempt_find(scheduler, job_id, task_id, attempt);
    if (!task)
        return;
    scheduler->counts.tasks_failed++;
    task->sent = true; /* the worker is through with it: there is nothing to revoke should the job end */
    if (ends_the_job(reason->code))
        job_end(scheduler, task->job, SCHEDULER_FAILED, reason);
    else if (reason->code == ERROR_MEMORY)
        fail_memory(scheduler, task, reason);
    else if (reason->code == ERROR_UNAVAILABLE)
        fail_unavailable(scheduler, task, reason, now_ms);
    else if (reason->code == ERROR_CANCELLED)
        task_close(scheduler, task, task->retry);
    else
        task_suspect(scheduler, task, false, reason, now_ms);
}

void scheduler_task_returned(
    struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt, uint64_t now_ms)
{
    struct task *task = attempt_find(scheduler, job_id, task_id, attempt);
    if (!task)
        return;
    struct job *job = task->job;
    uint64_t again_ms = now_ms + scheduler->options.backoff_ms;
    if (job->not_before_ms < again_ms)
        job->not_before_ms = again_ms;
    error_set(&job->trouble, ERROR_UNAVAILABLE, "its samples could not be sent to a worker");
    task_close(scheduler, task, task->retry);
}
