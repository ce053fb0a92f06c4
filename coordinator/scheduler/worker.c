/* Workers: who is there, what they can do, what they hold. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/scheduler/state.h"

struct worker *worker_find(const struct scheduler *scheduler, const char *id)
{
    return table_find_text(&scheduler->workers, id);
}

static struct abilities learn(const struct scheduler *scheduler, char *const *names, size_t count)
{
    struct abilities out = {0};
    for (size_t i = 0; i < scheduler->ability_count; i++)
        for (size_t j = 0; j < count; j++)
            if (strcmp(scheduler->abilities[i], names[j]) == 0)
                out.bits[i / 64] |= UINT64_C(1) << (i % 64);
    return out;
}

void worker_learn_abilities(const struct scheduler *scheduler, struct worker *worker)
{
    struct abilities listed = {0};
    worker->has = learn(scheduler, worker->names, worker->name_count);
    for (size_t i = 0; i < worker->device_count; i++) {
        struct device *device = &worker->devices[i];
        device->schemes_own = learn(scheduler, device->schemes, device->scheme_count);
        for (size_t k = 0; k < ABILITIES_MAX / 64; k++)
            listed.bits[k] |= device->schemes_own.bits[k];
    }
    for (size_t i = 0; i < worker->device_count; i++)
        if (!worker->devices[i].scheme_count)
            worker->devices[i].schemes_own = listed;
}

bool device_takes(const struct device *device, const struct job *job)
{
    bool listed = job->scheme >= 0 && (device->schemes_own.bits[job->scheme / 64] >> (job->scheme % 64) & 1);
    return listed == (device->scheme_count > 0);
}

bool worker_has(const struct worker *worker, const struct job *job)
{
    for (size_t i = 0; i < ABILITIES_MAX / 64; i++)
        if (job->needs.bits[i] & ~worker->has.bits[i])
            return false;
    return true;
}

bool device_bars(const struct device *device, const struct job *job)
{
    for (size_t i = 0; i < device->barred_count; i++)
        if (strcmp(device->barred[i], job->model) == 0)
            return true;
    return false;
}

bool device_holds(const struct device *device, const struct job *job)
{
    if (!*job->model || device->scheme_count)
        return true; /* nothing has to be loaded there */
    const struct worker *worker = device->worker;
    for (size_t i = 0; i < worker->resident_count; i++)
        if (worker->resident[i] == job->model_hash)
            return true;
    for (const struct task *task = worker->tasks; task; task = task->worker_next)
        if (task->device == device && task->job->model_hash == job->model_hash)
            return true;
    return false;
}

double device_rate(const struct device *device, const struct job *job)
{
    for (size_t i = 0; i < DEVICE_RATES; i++)
        if (device->rates[i].serial == job->serial)
            return device->rates[i].per_s;
    return job->per_s;
}

static double blend(double old, double fresh)
{
    return old > 0 ? 0.5 * old + 0.5 * fresh : fresh;
}

void device_learn_rate(struct device *device, struct job *job, double per_s)
{
    job->per_s = blend(job->per_s, per_s);
    for (size_t i = 0; i < DEVICE_RATES; i++) {
        if (device->rates[i].serial == job->serial) {
            device->rates[i].per_s = blend(device->rates[i].per_s, per_s);
            return;
        }
    }
    uint32_t at = device->rate_next++ % DEVICE_RATES;
    device->rates[at].serial = job->serial;
    device->rates[at].per_s = per_s;
}

static void devices_free(struct worker *worker)
{
    for (size_t i = 0; i < worker->device_count; i++) {
        list_free(worker->devices[i].barred, worker->devices[i].barred_count);
        list_free(worker->devices[i].schemes, worker->devices[i].scheme_count);
        free(worker->devices[i].name);
    }
    free(worker->devices);
    worker->devices = NULL;
    worker->device_count = 0;
}

static void worker_free(struct worker *worker)
{
    devices_free(worker);
    list_free(worker->names, worker->name_count);
    free(worker->resident);
    free(worker);
}

static void worker_describe(struct worker *worker, const struct scheduler_worker_spec *spec)
{
    list_free(worker->names, worker->name_count);
    worker->name_count = spec->scheme_count + spec->metric_count;
    worker->names = alloc_zero(worker->name_count, sizeof(char *));
    for (size_t i = 0; i < spec->scheme_count; i++)
        worker->names[i] = alloc_format("%s:", spec->schemes[i]);
    for (size_t i = 0; i < spec->metric_count; i++)
        worker->names[spec->scheme_count + i] = alloc_format("metric:%s", spec->metrics[i]);

    worker->device_count = spec->device_count;
    worker->devices = alloc_zero(spec->device_count, sizeof(struct device));
    for (size_t i = 0; i < spec->device_count; i++) {
        struct device *device = &worker->devices[i];
        const struct scheduler_device *from = &spec->devices[i];
        device->name = alloc_string(from->name);
        device->slots = from->slots;
        device->worker = worker;
        device->scheme_count = from->scheme_count;
        device->schemes = alloc_zero(from->scheme_count, sizeof(char *));
        for (size_t k = 0; k < from->scheme_count; k++)
            device->schemes[k] = alloc_format("%s:", from->schemes[k]);
    }
}

static bool spec_valid(const struct scheduler_worker_spec *spec, struct error *err)
{
    if (!spec->id || strlen(spec->id) != SCHEDULER_ID_BYTES - 1)
        return error_set(err, ERROR_INVALID, "a worker's id must be a UUID");
    if (!spec->device_count || spec->device_count > SCHEDULER_DEVICES_MAX)
        return error_set(err, ERROR_INVALID, "worker %s has %zu devices; 1 to %d are possible", spec->id,
            spec->device_count, SCHEDULER_DEVICES_MAX);
    if (spec->held_count > HELD_MAX)
        return error_set(err, ERROR_INVALID, "worker %s lists %zu attempts; at most %d are possible",
            spec->id, spec->held_count, HELD_MAX);
    return true;
}

/* The same attempt, leased to this worker, with its samples not yet all sent. */
static struct task *held_task(
    const struct scheduler *scheduler, const struct worker *worker, const struct scheduler_held *held)
{
    const struct job *job = job_find(scheduler, held->job_id);
    struct task *task = job ? task_find(scheduler, job, held->task_id) : NULL;
    return task && task->worker == worker && task->attempt == held->attempt ? task : NULL;
}

static void renew(const struct scheduler *scheduler, struct task *task, uint64_t now_ms)
{
    task->lease_until_ms = now_ms + scheduler->options.lease_ms;
}

/* A worker that connects again keeps what it still holds; the rest never reached it or was forgotten. */
static void worker_reconcile(struct scheduler *scheduler, struct worker *worker,
    const struct scheduler_worker_spec *spec, uint64_t now_ms)
{
    for (size_t i = 0; i < spec->held_count; i++) {
        struct task *task = held_task(scheduler, worker, &spec->held[i]);
        if (task)
            task->lease_until_ms = UINT64_MAX;
    }
    for (struct task *task = worker->tasks, *next; task; task = next) {
        next = task->worker_next;
        if (task->lease_until_ms == UINT64_MAX || task->sent)
            renew(scheduler, task, now_ms);
        else
            task_close(scheduler, task, task->retry);
    }
}

bool scheduler_worker_join(
    struct scheduler *scheduler, const struct scheduler_worker_spec *spec, uint64_t now_ms, struct error *err)
{
    if (!spec_valid(spec, err))
        return false;
    struct worker *worker = worker_find(scheduler, spec->id);
    if (worker) {
        worker_reconcile(scheduler, worker, spec, now_ms);
        struct worker before = *worker;
        worker_describe(worker, spec);
        for (struct task *task = worker->tasks; task; task = task->worker_next) {
            /* The devices are new structures; a device is the same one when its name is. */
            struct device *old = task->device;
            task->device = NULL;
            for (size_t i = 0; old && i < worker->device_count; i++) {
                if (!task->device && strcmp(worker->devices[i].name, old->name) == 0) {
                    task->device = &worker->devices[i];
                    task->device->tasks++;
                }
            }
        }
        before.names = NULL;
        devices_free(&before);
    } else {
        worker = alloc_zero(1, sizeof *worker);
        memcpy(worker->id, spec->id, sizeof worker->id);
        worker->rate.window_ms = now_ms;
        worker_describe(worker, spec);
        table_add_text(&scheduler->workers, &worker->by_id, worker->id, worker);
        worker->next = scheduler->worker_list;
        if (worker->next)
            worker->next->prev = worker;
        scheduler->worker_list = worker;
    }
    worker_learn_abilities(scheduler, worker);
    worker->heard_ms = now_ms;
    worker->draining = false;
    for (size_t i = 0; i < spec->held_count; i++)
        if (!held_task(scheduler, worker, &spec->held[i]))
            task_adopt(scheduler, worker, &spec->held[i], now_ms);
    wake(scheduler);
    return true;
}

bool scheduler_worker_heartbeat(struct scheduler *scheduler, const char *worker_id,
    const struct scheduler_held *running, size_t running_count, const char *const *resident_models,
    size_t resident_count, uint64_t now_ms)
{
    struct worker *worker = worker_find(scheduler, worker_id);
    if (!worker)
        return false;
    worker->heard_ms = now_ms;
    for (size_t i = 0; i < running_count; i++) {
        struct task *task = held_task(scheduler, worker, &running[i]);
        if (task)
            renew(scheduler, task, now_ms);
        else
            decision_revoke(scheduler, worker->id, running[i].job_id, running[i].task_id, running[i].attempt,
                "its lease ended");
    }
    worker->resident = alloc_resize(worker->resident, resident_count, sizeof *worker->resident);
    worker->resident_count = resident_count;
    for (size_t i = 0; i < resident_count; i++)
        worker->resident[i] = text_hash(resident_models[i]);
    return true;
}

bool scheduler_worker_drain(struct scheduler *scheduler, const char *worker_id, bool drain)
{
    struct worker *worker = worker_find(scheduler, worker_id);
    if (!worker)
        return false;
    worker->draining = drain;
    wake(scheduler);
    return true;
}

void worker_remove(struct scheduler *scheduler, struct worker *worker, bool clean, uint64_t now_ms)
{
    struct error reason = {0};
    size_t running = 0;
    error_set(&reason, ERROR_INTERNAL, "the worker that ran it was lost (%s)", worker->id);
    for (const struct task *task = worker->tasks; task; task = task->worker_next)
        running += !task->sent;
    while (worker->tasks) {
        struct task *task = worker->tasks;
        if (task->sent) {
            /* All it had is in our hands: only the commit is awaited, and scheduler_task_done follows it. */
            task_free_slot(task);
            worker->tasks = task->worker_next;
            if (worker->tasks)
                worker->tasks->worker_prev = NULL;
            task->worker = NULL;
            task->worker_next = NULL;
        } else if (clean) {
            task_close(scheduler, task, task->retry);
        } else {
            scheduler->counts.leases_expired++;
            task_suspect(scheduler, task, running > 1, &reason, now_ms);
        }
    }
    if (worker->reserved_for)
        reservation_end(worker->reserved_for);
    table_remove(&scheduler->workers, &worker->by_id);
    if (worker->prev)
        worker->prev->next = worker->next;
    else
        scheduler->worker_list = worker->next;
    if (worker->next)
        worker->next->prev = worker->prev;
    worker_free(worker);
    wake(scheduler);
}

void scheduler_worker_lost(struct scheduler *scheduler, const char *worker_id, bool clean, uint64_t now_ms)
{
    struct worker *worker = worker_find(scheduler, worker_id);
    if (worker)
        worker_remove(scheduler, worker, clean, now_ms);
}

bool scheduler_worker_load(const struct scheduler *scheduler, const char *worker_id, uint64_t now_ms,
    struct scheduler_worker_load *out)
{
    const struct worker *worker = worker_find(scheduler, worker_id);
    if (!worker)
        return false;
    *out = (struct scheduler_worker_load){
        .draining = worker->draining, .samples_per_s = rate_now(&worker->rate, now_ms)};
    for (size_t i = 0; i < worker->device_count; i++) {
        out->slots += worker->devices[i].slots;
        out->tasks += worker->devices[i].tasks;
    }
    return true;
}
