/* What the cluster knows of scheduled jobs: the parts of their rows that assignments and results need. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <sodium.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/cluster/state.h"

struct waiter {
    struct waiter *next;
    job_ready ready;
    void *context;
};

/* A store call's way back to a job that may be gone by then. */
struct return_path {
    struct cluster *cluster;
    char id[STORE_ID_BYTES];
};

static struct return_path *path_to(struct cluster *cluster, const char *id)
{
    struct return_path *path = alloc_zero(1, sizeof *path);
    path->cluster = cluster;
    snprintf(path->id, sizeof path->id, "%s", id);
    return path;
}

/* The found one moves to the front: the jobs that results come for are few at any moment. */
struct job *job_by_id(struct cluster *cluster, const char *id)
{
    for (struct job **link = &cluster->jobs; *link; link = &(*link)->next) {
        struct job *job = *link;
        if (strcmp(job->id, id) != 0)
            continue;
        *link = job->next;
        job->next = cluster->jobs;
        cluster->jobs = job;
        return job;
    }
    return NULL;
}

static struct job *job_new(struct cluster *cluster, const char *id)
{
    struct job *job = alloc_zero(1, sizeof *job);
    snprintf(job->id, sizeof job->id, "%s", id);
    job->next = cluster->jobs;
    cluster->jobs = job;
    return job;
}

static void wait_for(struct job *job, job_ready ready, void *context)
{
    struct waiter **link = &job->waiters;
    while (*link)
        link = &(*link)->next;
    *link = alloc_zero(1, sizeof **link);
    **link = (struct waiter){.ready = ready, .context = context};
}

/* Calls all who wait; they may wait again. `job` is NULL with an error. */
static void release(struct cluster *cluster, struct waiter *waiters, struct job *job, const struct error *err)
{
    while (waiters) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        waiter->ready(cluster, job, err, waiter->context);
        free(waiter);
    }
}

static void set_keys(struct job *job, const struct store_job *row)
{
    names_set(&job->keys, (char *const *)row->metric_keys,
        row->metric_key_count < NAMES_MAX ? row->metric_key_count : NAMES_MAX);
}

static void learn(struct job *job, const struct store_job *row)
{
    job->kind = row->kind;
    job->dataset_id = alloc_string(row->dataset_id);
    job->model = alloc_string(row->model ? row->model : "");
    job->settings = alloc_string(row->settings ? row->settings : "{}");
    job->sample_count = row->sample_count;
    job->provenance_sent = row->provenance != NULL;
    names_set(&job->metrics, (char *const *)row->metrics, row->metric_count);
    set_keys(job, row);
}

struct job *job_take_up(struct cluster *cluster, const struct store_job *row)
{
    struct job *job = job_new(cluster, row->id);
    learn(job, row);
    return job;
}

static void job_free(struct job *job)
{
    free(job->dataset_id);
    free(job->model);
    free(job->settings);
    if (job->secret)
        sodium_memzero(job->secret, strlen(job->secret));
    free(job->secret);
    names_free(&job->metrics);
    names_free(&job->keys);
    free(job);
}

static void job_remove(struct cluster *cluster, struct job *job, const struct error *err)
{
    struct job **link = &cluster->jobs;
    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    struct waiter *waiters = job->waiters;
    job->waiters = NULL;
    job_free(job);
    release(cluster, waiters, NULL, err);
}

void job_forget(struct cluster *cluster, const char *id)
{
    struct job *job = job_by_id(cluster, id);
    struct error err = {0};
    error_set(&err, ERROR_CANCELLED, "the job has ended");
    if (job)
        job_remove(cluster, job, &err);
}

void jobs_free(struct cluster *cluster)
{
    while (cluster->jobs)
        job_forget(cluster, cluster->jobs->id);
}

static void loaded(struct cluster *cluster, struct job *job)
{
    job->loaded = true;
    struct waiter *waiters = job->waiters;
    job->waiters = NULL;
    release(cluster, waiters, job, NULL);
}

/* ---- its secret, when the settings name one ---- */

static void on_secret(void *context, const struct store_secret *secret, const struct error *err)
{
    struct return_path *path = context;
    struct cluster *cluster = path->cluster;
    struct job *job = job_by_id(cluster, path->id);
    free(path);
    if (!job || job->loaded || !job->dataset_id) /* removed and made anew meanwhile: its row is on the way */
        return;
    struct error reason = err ? *err : (struct error){0};
    if (!err) {
        job->secret = alloc_zero(secret->sealed_size + 1, 1);
        if (!cluster->options.unseal(
                cluster->options.context, secret->name, secret->sealed, secret->sealed_size, job->secret))
            error_set(&reason, ERROR_DENIED, "the secret %.80s cannot be opened with this coordinator's key",
                secret->name);
    } else if (err->code == ERROR_NOT_FOUND) {
        error_set(&reason, ERROR_NOT_FOUND, "the secret that the job names does not exist");
        error_hint(&reason, "set it: lumigrid secret set NAME");
    }
    if (reason.code)
        job_remove(cluster, job, &reason);
    else
        loaded(cluster, job);
}

static void load_secret(struct cluster *cluster, struct job *job)
{
    json_t *settings = json_loads(job->settings, 0, NULL);
    const char *name = json_string_value(json_object_get(settings, "secret_key_name"));
    if (name && *name && cluster->options.unseal)
        store_secret_get(cluster->store, name, on_secret, path_to(cluster, job->id));
    else
        loaded(cluster, job);
    json_decref(settings);
}

static void on_row(void *context, const struct store_job *row, const struct error *err)
{
    struct return_path *path = context;
    struct cluster *cluster = path->cluster;
    struct job *job = job_by_id(cluster, path->id);
    free(path);
    if (!job || job->dataset_id)
        return;
    if (err) {
        job_remove(cluster, job, err);
        return;
    }
    learn(job, row);
    load_secret(cluster, job);
}

void job_when_loaded(struct cluster *cluster, const char *id, job_ready ready, void *context)
{
    struct job *job = job_by_id(cluster, id);
    if (job && job->loaded && !job->keys_growing) {
        ready(cluster, job, NULL, context);
        return;
    }
    bool first = !job || (!job->loaded && !job->waiters);
    if (!job)
        job = job_new(cluster, id);
    wait_for(job, ready, context);
    if (first && job->dataset_id)
        load_secret(cluster, job);
    else if (first)
        store_job_get(cluster->store, id, on_row, path_to(cluster, id));
}

/* ---- metric keys ---- */

static void on_keys(void *context, const struct store_job *row, const struct error *err)
{
    struct return_path *path = context;
    struct cluster *cluster = path->cluster;
    struct job *job = job_by_id(cluster, path->id);
    free(path);
    if (!job || !job->loaded)
        return;
    if (err) {
        job_remove(cluster, job, err);
        return;
    }
    set_keys(job, row);
    job->keys_growing = false;
    loaded(cluster, job);
}

void job_grow_keys(struct cluster *cluster, struct job *job, const char *const *keys, size_t count,
    job_ready ready, void *context)
{
    wait_for(job, ready, context);
    job->keys_growing = true;
    store_job_add_keys(cluster->store, job->id, keys, count, on_keys, path_to(cluster, job->id));
}

/* ---- after a restart ---- */

struct recovery {
    struct cluster *cluster;
    void (*done)(struct cluster *cluster, const struct error *err);
    uint64_t jobs, samples;
};

static void take_up(struct cluster *cluster, const struct store_job *row, const struct store_range *ranges,
    size_t count, bool all_done)
{
    struct error err = {0};
    struct scheduler_range *remaining = alloc_zero(count, sizeof *remaining);
    for (size_t i = 0; i < count; i++)
        remaining[i] = (struct scheduler_range){ranges[i].first, ranges[i].count};
    int shift = row->priority < 0 ? 0 : row->priority > 20 ? 20 : row->priority;
    const struct scheduler_job_spec spec = {
        .id = row->id,
        .model = row->model,
        .metrics = row->metrics,
        .metric_count = row->metric_count,
        .sample_count = row->sample_count,
        .remaining = count ? remaining : NULL,
        .remaining_count = count,
        .all_done = all_done,
        .weight = (double)(1 << shift),
        .interactive = row->priority >= 100,
        .timeout_ms = (uint64_t)row->timeout_s * 1000,
    };
    job_take_up(cluster, row);
    /* CONFLICT: submitted while this was read, and scheduled by that. */
    if (!scheduler_job_add(cluster->scheduler, &spec, now_ms(cluster), &err) && err.code != ERROR_CONFLICT)
        store_job_finish(cluster->store, row->id, STORE_JOB_FAILED, &err, NULL, NULL);
    free(remaining);
}

void job_schedule(struct cluster *cluster, const struct store_job *row)
{
    if (!job_by_id(cluster, row->id))
        take_up(cluster, row, NULL, 0, row->sample_count == 0);
}

static void on_unfinished(void *context, const struct store_job *row, const struct store_range *remaining,
    size_t count, const struct error *err)
{
    struct recovery *recovery = context;
    if (row && !job_by_id(recovery->cluster, row->id)) {
        take_up(recovery->cluster, row, remaining, count, count == 0);
        recovery->jobs++;
        for (size_t i = 0; i < count; i++)
            recovery->samples += remaining[i].count;
    }
    if (row)
        return;
    if (!err && recovery->jobs)
        log_info("unfinished jobs taken up", "jobs", LOG_INT(recovery->jobs), "samples",
            LOG_INT(recovery->samples));
    recovery->done(recovery->cluster, err);
    free(recovery);
}

void jobs_recover(struct cluster *cluster, void (*done)(struct cluster *cluster, const struct error *err))
{
    struct recovery *recovery = alloc_zero(1, sizeof *recovery);
    *recovery = (struct recovery){.cluster = cluster, .done = done};
    store_job_unfinished(cluster->store, on_unfinished, recovery);
}
