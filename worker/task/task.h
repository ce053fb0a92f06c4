/* Runs tasks on one device: loads models, generates, scores, and hands each sample's result over as it ends.
 *
 * A runner owns one thread, on which engines run and every callback of `struct runner_events` is called.
 * Samples of all its tasks for one model share that engine's running batch. */
#ifndef LUMIGRID_WORKER_TASK_TASK_H
#define LUMIGRID_WORKER_TASK_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "proto/lumigrid.pb-c.h"
#include "worker/model/model.h"

struct runner;
struct hosted;

struct runner_options {
    const char *device;        /* "cpu" */
    int threads;               /* 0: one a core */
    enum dtype dtype;          /* what weights are computed in unless a task says otherwise */
    const char *models_dir;    /* the hub cache; NULL: the hub's own default */
    const char *allow_dirs;    /* see struct model_options */
    struct hosted *hosted;     /* the client for models that others host; NULL: such tasks are refused */
    uint64_t memory_bytes_max; /* models, caches and scratch together; 0: most of what is free at the start */
};

/* One sample's end. Everything lives until the callback returns. */
struct task_result {
    uint64_t index;
    const char *prediction; /* NULL with an error */
    size_t prediction_len;
    const char *const *keys; /* metric values, finite */
    const double *values;
    size_t value_count;
    const char *const *failed_metrics; /* metrics without a value for this sample, and why */
    const char *const *failed_reasons;
    size_t failed_count;
    const struct error *error; /* NULL: none */
    uint32_t prompt_tokens, new_tokens;
    double seconds;
    bool truncated;
    const char *finish_reason;
};

struct task_provenance {
    const char *model_digest, *tokenizer_digest, *dtype, *backend;
    uint64_t seed;
    const char *encoder; /* of BERTScore, with its layer; NULL: none */
};

struct runner_events {
    void (*on_result)(void *context, const Lumigrid__Assign *task, const struct task_provenance *provenance,
        const struct task_result *result);
    /* Once a task: NULL when every sample had its on_result, else why the rest had none. Not called for a
     * task that was cancelled. `task` is freed afterwards. */
    void (*on_end)(void *context, const Lumigrid__Assign *task, const struct error *error, double seconds);
    /* Long steps before the first result: stage "download" or "load", in bytes. */
    void (*on_progress)(void *context, const Lumigrid__Assign *task, const char *stage, const char *detail,
        uint64_t done, uint64_t total);
    void *context;
};

/* Opens the device and starts the thread. Options and events are copied; their strings are borrowed. */
bool runner_open(const struct runner_options *options, const struct runner_events *events,
    struct runner **out, struct error *err);

/* Gives the runner a task; it takes ownership in every case. Any thread. A task it cannot run ends by on_end.
 */
void runner_submit(struct runner *runner, Lumigrid__Assign *task);

/* Stops one attempt, or every one when job_id is NULL: no callback for it follows once the runner's thread
 * has seen this. Any thread. */
void runner_cancel(struct runner *runner, const char *job_id, uint64_t task_id, uint64_t attempt);

/* A snapshot for heartbeats; any thread. */
struct runner_status {
    const char *description; /* of the device; lives as long as the runner */
    uint64_t memory_bytes, memory_free_bytes;
    size_t tasks;
    double busy_seconds; /* time in which there was work, since the start */
    char (*models)[512]; /* references loaded now; owned by the caller, free() it */
    size_t model_count;
};
bool runner_status(struct runner *runner, struct runner_status *out, struct error *err);

void runner_close(struct runner *runner); /* drops what runs; NULL is fine */

#endif
