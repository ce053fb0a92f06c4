/* Filling free slots: which job next, on which device, how many samples. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/scheduler/state.h"

/* A sample that was in a failed task and is now leased alone. When it kills its worker, whatever else runs
 * there dies with it and would be blamed as well: so a suspect has a worker to itself. */
static bool is_suspect(struct retry retry)
{
    return retry.limit == 1;
}

static bool worker_busy(const struct worker *worker)
{
    for (size_t i = 0; i < worker->device_count; i++)
        if (worker->devices[i].tasks)
            return true;
    return false;
}

static bool worker_holds_suspect(const struct worker *worker)
{
    for (const struct task *task = worker->tasks; task; task = task->worker_next)
        if (task->device && is_suspect(task->retry))
            return true;
    return false;
}

static size_t find_free_devices(struct scheduler *scheduler)
{
    size_t count = 0;
    for (struct worker *worker = scheduler->worker_list; worker; worker = worker->next) {
        if (worker->draining || worker->reserved_for || worker_holds_suspect(worker))
            continue;
        for (size_t i = 0; i < worker->device_count; i++) {
            struct device *device = &worker->devices[i];
            if (device->tasks >= device->slots)
                continue;
            if (count == scheduler->free_capacity) {
                scheduler->free_capacity = scheduler->free_capacity ? scheduler->free_capacity * 2 : 16;
                scheduler->free_devices =
                    alloc_resize(scheduler->free_devices, scheduler->free_capacity, sizeof(struct device *));
            }
            scheduler->free_devices[count++] = device;
        }
    }
    return count;
}

/* The first span that may be leased now; remaining.count when none. While a worker is reserved for the job's
 * suspects they wait for it, and the others go on. */
static size_t first_ready(const struct job *job, uint64_t now_ms)
{
    size_t at = 0;
    if (job->not_before_ms > now_ms)
        return job->remaining.count;
    for (; at < job->remaining.count; at++) {
        struct retry retry = job->remaining.items[at].retry;
        if (retry.not_before_ms <= now_ms && !(job->reserved && is_suspect(retry)))
            break;
    }
    return at;
}

static size_t first_ready_suspect(const struct job *job, uint64_t now_ms)
{
    size_t at = 0;
    if (job->not_before_ms > now_ms)
        return job->remaining.count;
    for (; at < job->remaining.count; at++) {
        struct retry retry = job->remaining.items[at].retry;
        if (retry.not_before_ms <= now_ms && is_suspect(retry))
            break;
    }
    return at;
}

static bool can_run(const struct device *device, const struct job *job)
{
    return worker_has(device->worker, job) && device_takes(device, job) &&
           !(device->barred_count && device_bars(device, job));
}

/* What giving this device's slot to this job costs, in seconds of share; the least is chosen. */
static double cost(const struct scheduler *scheduler, const struct job *job, const struct device *device)
{
    double switch_cost = scheduler->options.switch_cost_ms / 1000.0;
    double sum = job->pass;
    if (!device_holds(device, job))
        sum += switch_cost;
    if (job->avoid[0] && strcmp(job->avoid, device->worker->id) == 0)
        sum += switch_cost;
    /* Between equals, the emptier device: a millionth of a second is below every real difference. */
    return sum + 1e-6 * (double)device->tasks / device->slots;
}

/* The place in free_devices where the job costs least, and that cost; false when none can run it. A suspect
 * takes a busy worker, which it would have to wait for, only where no idle one is as good. That is a matter
 * between the workers: a job whose turn it is does not fall behind the others for it. */
static bool choose_device(const struct scheduler *scheduler, const struct job *job, bool suspect,
    size_t free_count, size_t *chosen, double *price)
{
    double least = INFINITY;
    for (size_t i = 0; i < free_count; i++) {
        const struct device *device = scheduler->free_devices[i];
        if (!can_run(device, job))
            continue;
        double alone = cost(scheduler, job, device), sum = alone;
        if (suspect && worker_busy(device->worker))
            sum += scheduler->options.switch_cost_ms / 1000.0;
        if (sum < least) {
            least = sum;
            *price = alone;
            *chosen = i;
        }
    }
    return least < INFINITY;
}

/* The job and the place in free_devices that go best together; NULL when nothing fits. */
static struct job *choose(
    const struct scheduler *scheduler, size_t free_count, uint64_t now_ms, size_t *chosen)
{
    struct job *best = NULL;
    double best_cost = INFINITY;
    size_t looked_at = 0;
    for (size_t i = 0; i < scheduler->order_count && looked_at < CANDIDATES_MAX; i++) {
        struct job *job = scheduler->order[i];
        if (best && (best->interactive != job->interactive || job->pass >= best_cost))
            break;
        size_t ready = first_ready(job, now_ms), place = 0;
        double price = 0;
        if (ready == job->remaining.count ||
            !choose_device(
                scheduler, job, is_suspect(job->remaining.items[ready].retry), free_count, &place, &price))
            continue;
        looked_at++;
        if (price < best_cost) {
            best = job;
            best_cost = price;
            *chosen = place;
        }
    }
    return best;
}

static uint64_t slots_for(const struct scheduler *scheduler, const struct job *job)
{
    uint64_t slots = 0;
    for (struct worker *worker = scheduler->worker_list; worker; worker = worker->next)
        for (size_t i = 0; !worker->draining && i < worker->device_count; i++)
            slots += device_takes(&worker->devices[i], job) ? worker->devices[i].slots : 0;
    return slots ? slots : 1;
}

/* How many samples: what the slot does in task_target_ms, less near the end so that slots end together. */
static uint64_t task_size(
    const struct scheduler *scheduler, const struct job *job, const struct device *device, uint64_t slots)
{
    const struct scheduler_options *options = &scheduler->options;
    double rate = device_rate(device, job);
    double samples = rate > 0 ? rate * options->task_target_ms / 1000.0 : options->task_samples_first;
    uint64_t size = samples < 1                           ? 1
                    : samples > options->task_samples_max ? options->task_samples_max
                                                          : (uint64_t)samples;
    uint64_t share = (job->remaining.total + 2 * slots - 1) / (2 * slots);
    return size < share ? size : share;
}

static void range_add(struct scheduler *scheduler, size_t at, uint64_t first, uint64_t count)
{
    if (at == scheduler->range_capacity) {
        scheduler->range_capacity = scheduler->range_capacity ? scheduler->range_capacity * 2 : 16;
        scheduler->ranges =
            alloc_resize(scheduler->ranges, scheduler->range_capacity, sizeof *scheduler->ranges);
    }
    scheduler->ranges[at] = (struct scheduler_range){.first = first, .count = count};
}

/* Fills scheduler->ranges with up to `size` samples of spans, from `at` on, that may be leased together. */
static size_t carve(
    struct scheduler *scheduler, const struct job *job, size_t at, uint64_t size, uint64_t now_ms)
{
    size_t count = 0;
    const struct span *item = &job->remaining.items[at];
    const struct retry retry = item->retry;
    const uint64_t first = item->first;
    uint64_t reach = (uint64_t)scheduler->options.task_samples_max * TASK_SPAN_FACTOR;
    if (retry.limit && retry.limit < size)
        size = retry.limit;
    for (; size && at < job->remaining.count; at++) {
        item = &job->remaining.items[at];
        if (item->first - first >= reach)
            break;
        /* Suspects are leased among their own kind; the innocent are gathered over gaps. */
        if (item->retry.limit != retry.limit || item->retry.alone != retry.alone ||
            item->retry.not_before_ms > now_ms)
            continue;
        uint64_t take = item->count < size ? item->count : size;
        if (item->first - first + take > reach)
            take = reach - (item->first - first);
        range_add(scheduler, count++, item->first, take);
        size -= take;
    }
    return count;
}

static struct task *lease(
    struct scheduler *scheduler, struct job *job, struct device *device, size_t range_count, uint64_t now_ms)
{
    const struct scheduler_range *ranges = scheduler->ranges;
    const struct scheduler_range *last = &ranges[range_count - 1];
    uint64_t first = ranges[0].first, span = last->first + last->count - first;
    struct retry retry = job->remaining.items[spans_find(&job->remaining, first)].retry;
    struct task *task = task_open(
        scheduler, job, device, first << SCHEDULER_SPAN_BITS | span, scheduler->attempt_next++, now_ms);
    task->retry = (struct retry){.limit = retry.limit, .alone = retry.alone};
    for (size_t i = 0; i < range_count; i++) {
        spans_cut(
            &job->remaining, spans_find(&job->remaining, ranges[i].first), ranges[i].first, ranges[i].count);
        task_owe(task, ranges[i].first, ranges[i].count);
    }
    /* Until the worker first lists it the assignment may still be on its way (its texts are being read). */
    task->lease_until_ms = now_ms + 3 * (uint64_t)scheduler->options.lease_ms;
    return task;
}

/* Moves the job's account on by the time its samples will take. */
static void charge(struct scheduler *scheduler, struct job *job, const struct task *task)
{
    const struct scheduler_options *options = &scheduler->options;
    double rate = device_rate(task->device, job);
    double seconds =
        rate > 0 ? (double)task->owed / rate
                 : options->task_target_ms / 1000.0 * (double)task->owed / options->task_samples_first;
    double *reached = &scheduler->reached[job->interactive];
    double oldest = *reached - options->switch_cost_ms / 1000.0;
    /* A job that could not run for a while catches up a little, not all at once. */
    if (job->pass < oldest)
        job->pass = oldest;
    if (job->pass > *reached)
        *reached = job->pass;
    job->pass += seconds / job->weight;
    job_place(scheduler, job);
}

static void assign(struct scheduler *scheduler, const struct task *task, size_t range_count)
{
    const struct scheduler_assignment assignment = {
        .worker_id = task->worker->id,
        .device = task->device->name,
        .job_id = task->job->id,
        .task_id = task->id,
        .attempt = task->attempt,
        .ranges = scheduler->ranges,
        .range_count = range_count,
        .sample_count = task->owed,
    };
    scheduler->counts.tasks_assigned++;
    scheduler->decisions.assign(scheduler->decisions.context, &assignment);
}

static size_t without_worker(struct scheduler *scheduler, size_t free_count, const struct worker *worker)
{
    size_t kept = 0;
    for (size_t i = 0; i < free_count; i++)
        if (scheduler->free_devices[i]->worker != worker)
            scheduler->free_devices[kept++] = scheduler->free_devices[i];
    return kept;
}

/* Leases samples of the job, from the span `at` on, to a slot of the device. */
static void give(
    struct scheduler *scheduler, struct job *job, size_t at, struct device *device, uint64_t now_ms)
{
    uint64_t size = task_size(scheduler, job, device, slots_for(scheduler, job));
    size_t range_count = carve(scheduler, job, at, size, now_ms);
    struct task *task = lease(scheduler, job, device, range_count, now_ms);
    charge(scheduler, job, task);
    if (!job->started) {
        job->started = true;
        job->started_ms = now_ms;
        scheduler->decisions.job_started(scheduler->decisions.context, job->id);
    }
    assign(scheduler, task, range_count);
}

void reservation_end(struct job *job)
{
    if (job->reserved)
        job->reserved->reserved_for = NULL;
    job->reserved = NULL;
}

/* A device for the job on that worker; NULL when it has none or takes nothing new. */
static struct device *able_device(const struct worker *worker, const struct job *job)
{
    for (size_t i = 0; !worker->draining && i < worker->device_count; i++)
        if (worker->devices[i].slots && can_run(&worker->devices[i], job))
            return &worker->devices[i];
    return NULL;
}

/* Suspects for which a worker is reserved go to it, or to any other, once it runs nothing else. Until then it
 * gets nothing, whatever the other jobs are due: or new ones could keep it busy for ever. */
static void serve_reservations(struct scheduler *scheduler, uint64_t now_ms)
{
    for (struct worker *worker = scheduler->worker_list; worker; worker = worker->next) {
        struct job *job = worker->reserved_for;
        if (!job)
            continue;
        size_t at = first_ready_suspect(job, now_ms);
        if (at == job->remaining.count || !able_device(worker, job)) {
            reservation_end(job);
            continue;
        }
        struct device *device = NULL;
        for (struct worker *other = scheduler->worker_list; other && !device; other = other->next)
            if (!worker_busy(other) && (!other->reserved_for || other->reserved_for == job))
                device = able_device(other, job);
        if (!device)
            continue;
        reservation_end(job);
        give(scheduler, job, at, device, now_ms);
    }
}

void dispatch(struct scheduler *scheduler, uint64_t now_ms)
{
    serve_reservations(scheduler, now_ms);
    size_t free_count = scheduler->order_count ? find_free_devices(scheduler) : 0;
    size_t chosen = 0;
    struct job *job = NULL;
    while (free_count && (job = choose(scheduler, free_count, now_ms, &chosen))) {
        struct device *device = scheduler->free_devices[chosen];
        size_t at = first_ready(job, now_ms);
        bool suspect = is_suspect(job->remaining.items[at].retry);
        if (suspect && worker_busy(device->worker)) {
            job->reserved = device->worker;
            job->reserved->reserved_for = job;
        } else {
            give(scheduler, job, at, device, now_ms);
        }
        if (suspect)
            free_count = without_worker(scheduler, free_count, device->worker);
        else if (device->tasks >= device->slots)
            scheduler->free_devices[chosen] = scheduler->free_devices[--free_count];
    }
}
