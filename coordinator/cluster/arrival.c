/* What workers hand in: results, ends of tasks. Results go to the store; when they are committed, they are
 * acknowledged and the scheduler hears of them. Everything of one worker takes effect in the order in which
 * it came, so that a task's end is never seen before its results. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/text.h"
#include "coordinator/cluster/state.h"

static void arrival_free(struct arrival *arrival)
{
    if (arrival->message)
        lumigrid__envelope__free_unpacked(arrival->message, NULL);
    free(arrival->indexes);
    free(arrival);
}

static void acknowledge(struct cluster *cluster, struct worker *worker, uint64_t sequence)
{
    Lumigrid__Ack ack = LUMIGRID__ACK__INIT;
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    ack.sequence = sequence;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_ACK;
    envelope.ack = &ack;
    worker_send(cluster, worker, &envelope);
}

static void take_effect(struct cluster *cluster, const struct arrival *arrival)
{
    if (arrival->kind == ARRIVAL_DONE)
        scheduler_task_done(cluster->scheduler, arrival->job_id, arrival->task_id, arrival->attempt,
            arrival->seconds, now_ms(cluster));
    else if (arrival->kind == ARRIVAL_FAILED)
        scheduler_task_failed(cluster->scheduler, arrival->job_id, arrival->task_id, arrival->attempt,
            &arrival->reason, now_ms(cluster));
}

/* Takes what is settled from the front of the worker's queue, and acknowledges as far as that goes. */
static void advance(struct cluster *cluster, struct worker *worker)
{
    uint64_t sequence = 0;
    while (worker->first && worker->first->settled) {
        struct arrival *arrival = worker->first;
        worker->first = arrival->next;
        if (!worker->first)
            worker->last = &worker->first;
        if (arrival->kind == ARRIVAL_RESULTS && arrival->session == worker->session)
            sequence = arrival->sequence;
        take_effect(cluster, arrival);
        arrival_free(arrival);
    }
    if (sequence)
        acknowledge(cluster, worker, sequence);
}

static void settle(struct cluster *cluster, struct arrival *arrival)
{
    arrival->settled = true;
    if (arrival->worker)
        advance(cluster, arrival->worker);
    else
        arrival_free(arrival); /* its worker's entry is gone, and with it everyone who waited */
}

void arrivals_forget_worker(struct worker *worker)
{
    while (worker->first) {
        struct arrival *arrival = worker->first;
        worker->first = arrival->next;
        arrival->worker = NULL;
        arrival->next = NULL;
        if (arrival->settled)
            arrival_free(arrival);
    }
    worker->last = &worker->first;
}

static struct arrival *arrival_new(
    struct worker *worker, const char *job_id, uint64_t task_id, uint64_t attempt)
{
    struct arrival *arrival = alloc_zero(1, sizeof *arrival);
    arrival->worker = worker;
    arrival->session = worker->session;
    snprintf(arrival->job_id, sizeof arrival->job_id, "%s", job_id);
    arrival->task_id = task_id;
    arrival->attempt = attempt;
    *worker->last = arrival;
    worker->last = &arrival->next;
    return arrival;
}

/* ---- ends ---- */

void arrival_done(struct cluster *cluster, struct worker *worker, const Lumigrid__TaskDone *done)
{
    if (worker->overflowed)
        return;
    struct arrival *arrival = arrival_new(worker, done->job_id, done->task_id, done->attempt);
    arrival->kind = ARRIVAL_DONE;
    arrival->seconds = isfinite(done->seconds) ? done->seconds : -1;
    scheduler_task_sent(
        cluster->scheduler, arrival->job_id, arrival->task_id, arrival->attempt, now_ms(cluster));
    settle(cluster, arrival);
}

static enum error_code code_by_name(const char *name)
{
    for (int code = ERROR_INVALID; code <= ERROR_INTERNAL; code++)
        if (strcmp(error_code_name((enum error_code)code), name) == 0)
            return (enum error_code)code;
    return ERROR_INTERNAL;
}

void arrival_failed(struct cluster *cluster, struct worker *worker, const Lumigrid__TaskFailed *failed)
{
    if (worker->overflowed)
        return;
    struct arrival *arrival = arrival_new(worker, failed->job_id, failed->task_id, failed->attempt);
    size_t size = 0;
    char *message = text_repair(failed->message, strlen(failed->message), &size);
    char *hint = text_repair(failed->hint, strlen(failed->hint), &size);
    enum error_code code = code_by_name(failed->error_code);
    /* A stopping worker turns work away; that is nobody's outage. */
    if (worker->stopping && code == ERROR_UNAVAILABLE)
        code = ERROR_CANCELLED;
    arrival->kind = ARRIVAL_FAILED;
    error_set(&arrival->reason, code, "%s", message && *message ? message : "the worker gave no reason");
    error_hint(&arrival->reason, "%s", hint ? hint : "");
    free(hint);
    free(message);
    if (code != ERROR_CANCELLED && job_by_id(cluster, arrival->job_id)) {
        log_error_value(LOG_LEVEL_WARN, "task failed", &arrival->reason);
        char *line = alloc_format("worker %.8s: %s", worker->id, arrival->reason.message);
        store_log_append(cluster->store, arrival->job_id, "warn", line);
        free(line);
    }
    settle(cluster, arrival);
}

/* ---- results ---- */

static void on_committed(void *context, const struct error *err);

struct commit {
    struct cluster *cluster;
    struct arrival *arrival;
};

static char *detail_of(const Lumigrid__Result *result)
{
    if (!result->n_metric_errors)
        return NULL;
    json_t *errors = json_object();
    for (size_t i = 0; i < result->n_metric_errors && i < NAMES_MAX; i++) {
        const Lumigrid__MetricError *error = result->metric_errors[i];
        size_t key_size = 0, size = 0;
        char *key = text_repair(error->metric, strlen(error->metric), &key_size);
        char *reason = text_repair(error->reason, strlen(error->reason), &size);
        json_object_set_new(errors, key, json_string(reason));
        free(reason);
        free(key);
    }
    json_t *detail = json_pack("{s:o}", "metric_errors", errors);
    char *text = json_dumps(detail, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(detail);
    return text;
}

static size_t key_place(const struct job *job, const char *key)
{
    size_t place = 0;
    while (place < job->keys.count && strcmp(job->keys.items[place], key) != 0)
        place++;
    return place;
}

static void set_row(const struct job *job, const struct arrival *arrival, const Lumigrid__Result *result,
    double *values, char *detail, struct store_result *row)
{
    for (size_t i = 0; i < job->keys.count; i++)
        values[i] = NAN;
    for (size_t i = 0; i < result->n_values; i++) {
        size_t place = key_place(job, result->values[i]->key);
        if (place < job->keys.count)
            values[place] = result->values[i]->value;
    }
    bool failed = *result->error_code != 0;
    *row = (struct store_result){
        .index = result->index,
        .prediction = {failed ? NULL : (const char *)result->prediction.data, result->prediction.len},
        .values = values,
        .value_count = failed ? 0 : job->keys.count,
        .detail = detail,
        .error_code = failed ? result->error_code : NULL,
        .error_message = failed ? result->error_message : NULL,
        .prompt_tokens = result->prompt_tokens,
        .new_tokens = result->new_tokens,
        .seconds = result->seconds,
        .truncated = result->truncated,
        .finish_reason = *result->finish_reason ? result->finish_reason : NULL,
        .worker_id = arrival->worker ? arrival->worker->id : NULL,
    };
    /* An empty prediction is a prediction. */
    if (!failed && !row->prediction.bytes)
        row->prediction = (struct store_text){"", 0};
}

static void append(struct cluster *cluster, const struct job *job, struct arrival *arrival)
{
    const Lumigrid__Results *results = arrival->message->results;
    size_t count = results->n_results, keys = job->keys.count;
    struct store_result *rows = alloc_zero(count, sizeof *rows);
    double *values = alloc_zero(count * keys, sizeof *values);
    char **details = alloc_zero(count, sizeof *details);
    arrival->indexes = alloc_zero(count, sizeof *arrival->indexes);
    arrival->count = count;
    for (size_t i = 0; i < count; i++) {
        details[i] = detail_of(results->results[i]);
        set_row(job, arrival, results->results[i], values + i * keys, details[i], &rows[i]);
        arrival->indexes[i] = rows[i].index;
        arrival->failed += rows[i].error_code != NULL;
    }
    struct commit *commit = alloc_zero(1, sizeof *commit);
    *commit = (struct commit){cluster, arrival};
    cluster->appends++;
    store_results_append(cluster->store, job->id, rows, count, on_committed, commit);
    for (size_t i = 0; i < count; i++)
        free(details[i]);
    free(details);
    free(values);
    free(rows);
    lumigrid__envelope__free_unpacked(arrival->message, NULL);
    arrival->message = NULL;
}

static void on_committed(void *context, const struct error *err)
{
    struct commit *commit = context;
    struct cluster *cluster = commit->cluster;
    struct arrival *arrival = commit->arrival;
    free(commit);
    cluster->appends--;
    if (err && err->code == ERROR_CANCELLED) {
        /* The store closed first: not acknowledged, so the worker sends them again. */
        if (arrival->worker)
            arrival->settled = true; /* freed with its worker's entry */
        else
            arrival_free(arrival);
        return;
    }
    /* Refused for good: the samples stay owed, and the task's end sends them round again. */
    if (!err)
        scheduler_results_committed(cluster->scheduler, arrival->job_id, arrival->task_id, arrival->indexes,
            arrival->count, arrival->failed, now_ms(cluster));
    tell_job(cluster, arrival->job_id);
    settle(cluster, arrival);
}

static void send_provenance(struct cluster *cluster, struct job *job, const Lumigrid__Provenance *p)
{
    if (job->provenance_sent || !p)
        return;
    const char *texts[] = {
        p->model_digest, p->tokenizer_digest, p->engine_version, p->dtype, p->backend, p->encoder};
    static const char *const names[] = {
        "model_digest", "tokenizer_digest", "engine_version", "dtype", "backend", "encoder"};
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size = 0;
        char *text = text_repair(texts[i], strnlen(texts[i], 256), &size);
        json_object_set_new(object, names[i], json_string(text));
        free(text);
    }
    json_object_set_new(object, "seed", json_integer((json_int_t)p->seed));
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    job->provenance_sent = true;
    store_job_provenance(cluster->store, job->id, text, NULL, NULL);
    free(text);
}

/* Keys in the message that the job does not have yet; at most what a job can have. */
static size_t new_keys(const struct job *job, const Lumigrid__Results *results, const char **out)
{
    size_t count = 0;
    for (size_t i = 0; i < results->n_results; i++) {
        for (size_t k = 0; k < results->results[i]->n_values; k++) {
            const char *key = results->results[i]->values[k]->key;
            size_t seen = 0;
            if (key_place(job, key) < job->keys.count || strlen(key) > 64 || !text_valid(key, strlen(key)))
                continue;
            while (seen < count && strcmp(out[seen], key) != 0)
                seen++;
            if (seen == count && job->keys.count + count < STORE_METRIC_KEYS_MAX)
                out[count++] = key;
        }
    }
    return count;
}

static void on_job_ready(struct cluster *cluster, struct job *job, const struct error *err, void *context)
{
    struct arrival *arrival = context;
    const Lumigrid__Results *results = arrival->message->results;
    const char *keys[STORE_METRIC_KEYS_MAX];
    if (!job && err->code == ERROR_UNAVAILABLE && !cluster->closing) {
        job_when_loaded(cluster, arrival->job_id, on_job_ready, arrival); /* not committed: not settled */
        return;
    }
    if (!job) {
        if (err->code != ERROR_CANCELLED)
            log_error_value(LOG_LEVEL_WARN, "results of a job that cannot be read", err);
        settle(cluster, arrival);
        return;
    }
    size_t key_count = new_keys(job, results, keys);
    if (key_count) {
        job_grow_keys(cluster, job, keys, key_count, on_job_ready, arrival);
        return;
    }
    send_provenance(cluster, job, results->provenance);
    append(cluster, job, arrival);
}

/* Whether every sample is one of the job's. */
static bool results_valid(const Lumigrid__Results *results, uint64_t total)
{
    for (size_t i = 0; i < results->n_results; i++)
        if (results->results[i]->index >= total || results->results[i]->n_values > STORE_METRIC_KEYS_MAX ||
            results->results[i]->prediction.len > STORE_SAMPLE_BYTES_MAX)
            return false;
    return true;
}

void arrival_results(struct cluster *cluster, struct worker *worker, Lumigrid__Envelope *envelope)
{
    const Lumigrid__Results *results = envelope->results;
    struct scheduler_job_progress progress;
    /* Room is made by not taking: the worker keeps them and sends them again on its next connection. */
    if (store_results_full(cluster->store) && !worker->overflowed) {
        worker->overflowed = true;
        log_warn("results are left with their worker until the database has caught up", "worker", worker->id);
    }
    if (worker->overflowed) {
        lumigrid__envelope__free_unpacked(envelope, NULL);
        return;
    }
    struct arrival *arrival = arrival_new(worker, results->job_id, results->task_id, results->attempt);
    arrival->kind = ARRIVAL_RESULTS;
    arrival->sequence = results->sequence;
    arrival->message = envelope;
    bool known = scheduler_job_progress(cluster->scheduler, results->job_id, now_ms(cluster), &progress);
    if (known && results_valid(results, progress.total)) {
        job_when_loaded(cluster, arrival->job_id, on_job_ready, arrival);
        return;
    }
    /* A job that has ended or was deleted needs nothing more; a sample that does not exist is dropped. */
    if (known)
        log_warn("results outside of their job were dropped", "worker", worker->id, "job", arrival->job_id);
    settle(cluster, arrival);
}
