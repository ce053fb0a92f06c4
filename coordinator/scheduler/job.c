/* Jobs: from being added to their one end. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/scheduler/state.h"

struct job *job_find(const struct scheduler *scheduler, const char *id)
{
    return table_find_text(&scheduler->jobs, id);
}

static void job_unplace(struct scheduler *scheduler, const struct job *job)
{
    size_t at = 0;
    while (scheduler->order[at] != job)
        at++;
    scheduler->order_count--;
    memmove(&scheduler->order[at], &scheduler->order[at + 1],
        (scheduler->order_count - at) * sizeof(struct job *));
}

static bool goes_before(const struct job *a, const struct job *b)
{
    if (a->interactive != b->interactive)
        return a->interactive;
    if (a->pass < b->pass || a->pass > b->pass)
        return a->pass < b->pass;
    return a->serial < b->serial;
}

/* The first position whose job does not go before `job`. */
static size_t place_of(const struct scheduler *scheduler, const struct job *job)
{
    size_t low = 0, high = scheduler->order_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (goes_before(scheduler->order[middle], job))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void job_insert(struct scheduler *scheduler, struct job *job)
{
    if (scheduler->order_count == scheduler->order_capacity) {
        scheduler->order_capacity = scheduler->order_capacity ? scheduler->order_capacity * 2 : 16;
        scheduler->order = alloc_resize(scheduler->order, scheduler->order_capacity, sizeof(struct job *));
    }
    size_t at = place_of(scheduler, job);
    memmove(&scheduler->order[at + 1], &scheduler->order[at],
        (scheduler->order_count - at) * sizeof(struct job *));
    scheduler->order[at] = job;
    scheduler->order_count++;
}

void job_place(struct scheduler *scheduler, struct job *job)
{
    job_unplace(scheduler, job);
    job_insert(scheduler, job);
}

static bool range_list_valid(const struct scheduler_job_spec *spec, struct error *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < spec->remaining_count; i++) {
        const struct scheduler_range *range = &spec->remaining[i];
        if (!range->count || range->first < end || range->first > spec->sample_count ||
            range->count > spec->sample_count - range->first)
            return error_set(
                err, ERROR_INVALID, "job %s: range %zu is out of order or beyond its samples", spec->id, i);
        end = range->first + range->count;
    }
    return true;
}

static bool spec_valid(
    const struct scheduler *scheduler, const struct scheduler_job_spec *spec, struct error *err)
{
    if (!spec->id || strlen(spec->id) != SCHEDULER_ID_BYTES - 1)
        return error_set(err, ERROR_INVALID, "a job's id must be a UUID");
    if (job_find(scheduler, spec->id))
        return error_set(err, ERROR_CONFLICT, "job %s is scheduled already", spec->id);
    if (spec->model && strlen(spec->model) >= SCHEDULER_MODEL_BYTES_MAX)
        return error_set(err, ERROR_INVALID, "job %s: the model reference is too long", spec->id);
    if (spec->sample_count >= UINT64_C(1) << (64 - SCHEDULER_SPAN_BITS))
        return error_set(err, ERROR_TOO_LARGE, "job %s has too many samples", spec->id);
    return range_list_valid(spec, err);
}

/* The ability's number, or -1 when there is no room for another. */
static int ability_number(struct scheduler *scheduler, const char *name)
{
    for (size_t i = 0; i < scheduler->ability_count; i++)
        if (strcmp(scheduler->abilities[i], name) == 0)
            return (int)i;
    if (scheduler->ability_count == ABILITIES_MAX)
        return -1;
    scheduler->abilities[scheduler->ability_count] = alloc_string(name);
    return (int)scheduler->ability_count++;
}

static bool job_need(struct scheduler *scheduler, struct job *job, char *name, struct error *err)
{
    job->need_names = alloc_resize(job->need_names, job->need_count + 1, sizeof(char *));
    job->need_names[job->need_count++] = name;
    int number = ability_number(scheduler, name);
    if (number < 0)
        return error_set(err, ERROR_TOO_LARGE, "job %s asks for one more kind of model or metric than %d",
            job->id, ABILITIES_MAX);
    job->needs.bits[number / 64] |= UINT64_C(1) << (number % 64);
    return true;
}

static bool job_needs(
    struct scheduler *scheduler, struct job *job, const struct scheduler_job_spec *spec, struct error *err)
{
    size_t known = scheduler->ability_count;
    job->scheme = -1;
    if (*job->model) {
        const char *end = strstr(job->model, "://");
        char *scheme = end ? alloc_format("%.*s:", (int)(end - job->model), job->model) : alloc_string("hf:");
        if (!job_need(scheduler, job, scheme, err))
            return false;
        job->scheme = ability_number(scheduler, scheme);
    }
    for (size_t i = 0; i < spec->metric_count; i++)
        if (!job_need(scheduler, job, alloc_format("metric:%s", spec->metrics[i]), err))
            return false;
    if (scheduler->ability_count != known)
        for (struct worker *worker = scheduler->worker_list; worker; worker = worker->next)
            worker_learn_abilities(scheduler, worker);
    return true;
}

static void job_free(struct job *job)
{
    free(job->model);
    list_free(job->need_names, job->need_count);
    spans_free(&job->remaining);
    free(job->recording);
    free(job);
}

bool scheduler_job_add(
    struct scheduler *scheduler, const struct scheduler_job_spec *spec, uint64_t now_ms, struct error *err)
{
    if (!spec_valid(scheduler, spec, err))
        return false;
    struct job *job = alloc_zero(1, sizeof *job);
    memcpy(job->id, spec->id, sizeof job->id);
    job->serial = ++scheduler->serial_next;
    job->model = alloc_string(spec->model ? spec->model : "");
    job->model_hash = text_hash(job->model);
    if (!job_needs(scheduler, job, spec, err)) {
        job_free(job);
        return false;
    }
    job->total = spec->sample_count;
    if (spec->remaining_count) {
        for (size_t i = 0; i < spec->remaining_count; i++)
            spans_add(&job->remaining, spec->remaining[i].first, spec->remaining[i].count, (struct retry){0});
    } else if (!spec->all_done) {
        spans_add(&job->remaining, 0, spec->sample_count, (struct retry){0});
    }
    job->weight = spec->weight > 0 ? spec->weight : 1.0;
    job->interactive = spec->interactive;
    job->timeout_ms = spec->timeout_ms;
    /* A new job starts level with the others of its class: it is owed nothing for the time before. */
    job->pass = scheduler->reached[job->interactive];
    job->rate.window_ms = now_ms;
    table_add_text(&scheduler->jobs, &job->by_id, job->id, job);
    job_insert(scheduler, job);
    job_end_if_done(scheduler, job);
    wake(scheduler);
    return true;
}

void job_end(
    struct scheduler *scheduler, struct job *job, enum scheduler_outcome outcome, const struct error *reason)
{
    while (job->tasks) {
        struct task *task = job->tasks;
        if (task->worker && !task->sent)
            decision_revoke(scheduler, task->worker->id, job->id, task->id, task->attempt,
                reason ? reason->message : "the job ended");
        task_close(scheduler, task, (struct retry){0});
    }
    struct decision *decision = decision_add(scheduler, DECIDE_FINISHED);
    memcpy(decision->job_id, job->id, sizeof job->id);
    decision->outcome = outcome;
    if (reason)
        decision->reason = *reason;
    reservation_end(job);
    table_remove(&scheduler->jobs, &job->by_id);
    job_unplace(scheduler, job);
    job_free(job);
    wake(scheduler);
}

void job_end_if_done(struct scheduler *scheduler, struct job *job)
{
    if (!job->remaining.total && !job->owed && !job->recording_count)
        job_end(scheduler, job, SCHEDULER_SUCCEEDED, NULL);
}

void job_give_up(struct scheduler *scheduler, struct job *job, uint64_t index, const struct error *reason)
{
    if (job->recording_count == job->recording_capacity) {
        job->recording_capacity = job->recording_capacity ? job->recording_capacity * 2 : 4;
        job->recording = alloc_resize(job->recording, job->recording_capacity, sizeof *job->recording);
    }
    job->recording[job->recording_count++] = index;
    struct decision *decision = decision_add(scheduler, DECIDE_GIVE_UP);
    memcpy(decision->job_id, job->id, sizeof job->id);
    decision->index = index;
    decision->reason = *reason;
    scheduler->counts.samples_given_up++;
}

bool scheduler_job_cancel(struct scheduler *scheduler, const char *job_id, const char *reason)
{
    struct job *job = job_find(scheduler, job_id);
    if (!job)
        return false;
    struct error why = {0};
    error_set(&why, ERROR_CANCELLED, "%s", reason && *reason ? reason : "cancelled");
    job_end(scheduler, job, SCHEDULER_STOPPED, &why);
    return true;
}

bool scheduler_job_fail(struct scheduler *scheduler, const char *job_id, const struct error *reason)
{
    struct job *job = job_find(scheduler, job_id);
    if (!job)
        return false;
    job_end(scheduler, job, SCHEDULER_FAILED, reason);
    return true;
}

static bool recording_take(struct job *job, uint64_t index)
{
    for (size_t i = 0; i < job->recording_count; i++) {
        if (job->recording[i] == index) {
            job->recording[i] = job->recording[--job->recording_count];
            return true;
        }
    }
    return false;
}

static bool task_take(struct task *task, uint64_t index)
{
    if (index < task->first || index - task->first >= task->span)
        return false;
    uint64_t bit = index - task->first;
    uint64_t mask = UINT64_C(1) << (bit % 64);
    if (!(task->bits[bit / 64] & mask))
        return false;
    task->bits[bit / 64] &= ~mask;
    task->owed--;
    task->job->owed--;
    return true;
}

/* Takes the sample from the one place where it is. */
static bool job_take(struct job *job, struct task *hint, uint64_t index)
{
    if ((hint && task_take(hint, index)) || spans_take(&job->remaining, index))
        return true;
    for (struct task *task = job->tasks; task; task = task->job_next)
        if (task_take(task, index))
            return true;
    return recording_take(job, index);
}

uint64_t scheduler_results_committed(struct scheduler *scheduler, const char *job_id, uint64_t task_id,
    const uint64_t *indexes, size_t count, uint64_t failed, uint64_t now_ms)
{
    struct job *job = job_find(scheduler, job_id);
    if (!job)
        return 0;
    struct task *hint = task_find(scheduler, job, task_id);
    uint64_t taken = 0;
    for (size_t i = 0; i < count; i++)
        taken += job_take(job, hint, indexes[i]);
    scheduler->counts.samples_committed += taken;
    scheduler->counts.duplicates += count - taken;
    job->failed += failed < taken ? failed : taken;
    if (taken > failed)
        job->outages = 0;
    rate_count(&job->rate, taken, now_ms);
    if (hint && hint->worker)
        rate_count(&hint->worker->rate, taken, now_ms);
    job_end_if_done(scheduler, job);
    return taken;
}

/* The first need that no connected worker meets, in words; false when each is met by some worker. */
static bool describe_unmet(const struct scheduler *scheduler, const struct job *job, char *text, size_t size)
{
    for (size_t i = 0; i < job->need_count; i++) {
        const char *need = job->need_names[i];
        bool met = false;
        for (struct worker *worker = scheduler->worker_list; worker && !met; worker = worker->next)
            for (size_t j = 0; j < worker->name_count && !met; j++)
                met = strcmp(worker->names[j], need) == 0;
        if (!met && strncmp(need, "metric:", 7) == 0)
            return snprintf(text, size, "no connected worker can score %s", need + 7) > 0;
        if (!met)
            return snprintf(text, size, "no connected worker can run %s// models", need) > 0;
    }
    return false;
}

/* Why a job that some worker could run has no task. */
static void describe_turn(const struct job *job, uint64_t now_ms, char *text, size_t size)
{
    bool ready = false, plain = false;
    for (size_t i = 0; job->not_before_ms <= now_ms && i < job->remaining.count; i++) {
        struct retry retry = job->remaining.items[i].retry;
        ready = ready || retry.not_before_ms <= now_ms;
        plain = plain || (retry.not_before_ms <= now_ms && retry.limit != 1);
    }
    if (!ready)
        snprintf(text, size, "to be tried again after: %.200s", job->trouble.message);
    else if (!plain)
        snprintf(text, size, "to be tried again on a worker of its own, once one is idle, after: %.150s",
            job->trouble.message);
    else
        snprintf(text, size, "every slot that could run it is taken");
}

static bool fits_memory(const struct worker *worker, const struct job *job)
{
    for (size_t i = 0; i < worker->device_count; i++)
        if (!device_bars(&worker->devices[i], job))
            return true;
    return false;
}

static void describe_waiting(
    const struct scheduler *scheduler, const struct job *job, uint64_t now_ms, char *text, size_t size)
{
    bool capable = false, fits = false, ready = false;
    for (struct worker *worker = scheduler->worker_list; worker; worker = worker->next) {
        if (!worker_has(worker, job))
            continue;
        capable = true;
        fits = fits || fits_memory(worker, job);
        ready = ready || (fits_memory(worker, job) && !worker->draining);
    }
    if (scheduler->paused)
        snprintf(text, size, "assigning is paused: Postgres does not answer");
    else if (!job->remaining.total)
        snprintf(text, size, "the errors of its last samples are being written");
    else if (!scheduler->worker_list)
        snprintf(text, size, "no worker is connected");
    else if (!capable && !describe_unmet(scheduler, job, text, size))
        snprintf(text, size, "no connected worker has everything it needs");
    else if (capable && !fits)
        snprintf(text, size, "its model does not fit into the memory of any connected worker");
    else if (capable && !ready)
        snprintf(text, size, "every worker that could run it is draining");
    else if (capable)
        describe_turn(job, now_ms, text, size);
}

bool scheduler_job_progress(const struct scheduler *scheduler, const char *job_id, uint64_t now_ms,
    struct scheduler_job_progress *out)
{
    const struct job *job = job_find(scheduler, job_id);
    if (!job)
        return false;
    *out = (struct scheduler_job_progress){
        .total = job->total,
        .done = job->total - job->remaining.total - job->owed - job->recording_count,
        .failed = job->failed,
        .leased = job->owed,
        .tasks = job->task_count,
        .started = job->started,
        .samples_per_s = rate_now(&job->rate, now_ms),
    };
    if (!job->task_count)
        describe_waiting(scheduler, job, now_ms, out->waiting, sizeof out->waiting);
    return true;
}
