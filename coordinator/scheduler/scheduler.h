/* The scheduler: which samples run where, and what happens when that fails. Pure logic over a clock that the
 * caller passes in: no I/O, no threads, no randomness, so that a simulation can drive it through any history.
 *
 * Events go in through functions; decisions come out through `struct scheduler_decisions`, only from within
 * scheduler_run(). An event never calls back. Everything belongs to one thread.
 *
 * A job is a row of samples 0 … sample_count-1. Each sample is at any moment in exactly one place:
 *   remaining   in one of the job's sorted ranges, to be leased
 *   owed        by exactly one open task (a lease held by a worker's slot)
 *   recording   given up; its error is on its way to the store
 *   done        a result or an error is committed: no memory is kept for it
 * so `done` is what is left when the others are counted, ten million samples need no bitmap, and a result
 * that arrives twice finds no place to leave and changes nothing.
 *
 * Tasks are carved from the ranges when a slot is free. A task's id says which samples it can contain:
 * first << SCHEDULER_SPAN_BITS | span; so a coordinator that restarted can adopt a task that a worker holds,
 * knowing nothing but the id. Attempt numbers are unique in the scheduler's life and grow across restarts.
 *
 * Times are milliseconds of a monotonic clock. Strings are copied. Job and worker ids are UUIDs as text. */
#ifndef LUMIGRID_COORDINATOR_SCHEDULER_SCHEDULER_H
#define LUMIGRID_COORDINATOR_SCHEDULER_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum {
    SCHEDULER_ID_BYTES = 37,    /* a UUID as text with its end */
    SCHEDULER_SPAN_BITS = 20,   /* a task spans fewer than 2^20 samples */
    SCHEDULER_DEVICES_MAX = 64, /* of one worker */
    SCHEDULER_MODEL_BYTES_MAX = 1024,
};

struct scheduler;

struct scheduler_range {
    uint64_t first;
    uint64_t count;
};

/* Zero means the default named here. */
struct scheduler_options {
    uint32_t lease_ms;           /* a lease not renewed for this long ends; 10000 */
    uint32_t task_target_ms;     /* how long a task should take on its slot; 2000 */
    uint32_t task_samples_max;   /* 1024 */
    uint32_t task_samples_first; /* while nothing is known of a job's speed; 8 */
    uint32_t attempts_max;       /* failed leases of one sample alone before it is given up; 3 */
    uint32_t outages_max;    /* "unavailable" failures in a row, with no result between, that fail a job; 8 */
    uint32_t backoff_ms;     /* wait after the first failure; doubles; 500 */
    uint32_t backoff_max_ms; /* 30000 */
    uint32_t switch_cost_ms; /* how far a job may run ahead of its fair share to keep a loaded model; 10000 */
    uint64_t attempt_base;   /* attempts count from here; must grow with each start of the coordinator */
};

/* A lease: samples of `job_id` for a slot of a worker's device. `ranges` (sorted, disjoint, inside
 * [first, first+span)) say which samples are owed. Valid during the call. */
struct scheduler_assignment {
    const char *worker_id;
    const char *device;
    const char *job_id;
    uint64_t task_id;
    uint64_t attempt;
    const struct scheduler_range *ranges;
    size_t range_count;
    uint64_t sample_count;
};

enum scheduler_outcome {
    SCHEDULER_SUCCEEDED, /* every sample has a result or a recorded error */
    SCHEDULER_FAILED,    /* see the reason */
    SCHEDULER_STOPPED,   /* cancelled */
};

/* What the scheduler decided. Called from scheduler_run() only; must not call the scheduler. */
struct scheduler_decisions {
    void *context;
    /* An event changed something: call scheduler_run() soon (not from within this call). */
    void (*wake)(void *context);
    /* Fetch the samples and send them. If that cannot be done: scheduler_task_returned(). */
    void (*assign)(void *context, const struct scheduler_assignment *assignment);
    /* Tell the worker to stop; its samples are no longer its own. */
    void (*revoke)(void *context, const char *worker_id, const char *job_id, uint64_t task_id,
        uint64_t attempt, const char *reason);
    /* This sample is given up: write `reason` as its result, then call scheduler_results_committed(). */
    void (*give_up)(void *context, const char *job_id, uint64_t index, const struct error *reason);
    /* The job's first lease was given. */
    void (*job_started)(void *context, const char *job_id);
    /* The job ended and is forgotten. `reason` is set unless it succeeded. Late results may still arrive. */
    void (*job_finished)(
        void *context, const char *job_id, enum scheduler_outcome outcome, const struct error *reason);
};

struct scheduler *scheduler_open(
    const struct scheduler_options *options, const struct scheduler_decisions *decisions);
void scheduler_close(struct scheduler *scheduler);

/* ---- jobs ---- */

struct scheduler_job_spec {
    const char *id;
    const char *model; /* reference; its scheme decides which workers can run it. NULL or "": scoring only */
    const char *const *metrics; /* names that a worker must know */
    size_t metric_count;
    uint64_t sample_count;
    const struct scheduler_range
        *remaining; /* sorted, disjoint; NULL with remaining_count 0 and all_done false: all */
    size_t remaining_count;
    bool all_done;       /* nothing remains: finishes at once */
    double weight;       /* share among jobs of its class; 0: 1.0 */
    bool interactive;    /* goes before every job that is not */
    uint64_t timeout_ms; /* from its first lease; 0: none */
};

/* ERROR_CONFLICT: there already; ERROR_INVALID: a bad id, ranges out of order or beyond the job, too many. */
bool scheduler_job_add(
    struct scheduler *scheduler, const struct scheduler_job_spec *spec, uint64_t now_ms, struct error *err);

/* Ends a job: its leases are revoked and job_finished(STOPPED, reason) follows. False: no such job
 * (finished). */
bool scheduler_job_cancel(struct scheduler *scheduler, const char *job_id, const char *reason);

/* Ends a job with an error that was found outside (its dataset cannot be read). False: no such job. */
bool scheduler_job_fail(struct scheduler *scheduler, const char *job_id, const struct error *reason);

struct scheduler_job_progress {
    uint64_t total;
    uint64_t done;   /* results and errors committed, earlier runs included */
    uint64_t failed; /* of these, errors committed since this coordinator started */
    uint64_t leased; /* samples with workers now */
    uint32_t tasks;  /* open */
    bool started;
    double samples_per_s; /* over the last seconds; 0 when not known */
    char waiting[256];    /* why nothing runs, in words; empty when something does */
};

/* False: the job is not (or no longer) scheduled; its row in the store tells the rest. */
bool scheduler_job_progress(const struct scheduler *scheduler, const char *job_id, uint64_t now_ms,
    struct scheduler_job_progress *out);

/* ---- workers ---- */

struct scheduler_device {
    const char *name;
    uint32_t slots;
    /* Runs models of these schemes only, and nothing that needs no model. None: runs whatever the worker runs
     * and no other device of it lists. */
    const char *const *schemes;
    size_t scheme_count;
};

struct scheduler_held {
    const char *job_id;
    uint64_t task_id;
    uint64_t attempt;
};

struct scheduler_worker_spec {
    const char *id;
    const struct scheduler_device *devices;
    size_t device_count;
    const char *const *schemes;
    size_t scheme_count;
    const char *const *metrics;
    size_t metric_count;
    const struct scheduler_held
        *held; /* attempts it still runs: kept or adopted where possible, else revoked */
    size_t held_count;
};

/* A worker said hello; also again after a lost connection, with the same id. It is not draining then. */
bool scheduler_worker_join(struct scheduler *scheduler, const struct scheduler_worker_spec *spec,
    uint64_t now_ms, struct error *err);

/* Alive: renews the leases of what it lists; what it lists and does not own is revoked. Unknown worker: false
 * (it must say hello again). */
bool scheduler_worker_heartbeat(struct scheduler *scheduler, const char *worker_id,
    const struct scheduler_held *running, size_t running_count, const char *const *resident_models,
    size_t resident_count, uint64_t now_ms);

/* Takes nothing new (or again does). What runs goes on. */
bool scheduler_worker_drain(struct scheduler *scheduler, const char *worker_id, bool drain);

/* Gone. `clean`: it said goodbye, so its unfinished samples are not suspected of having killed it. */
void scheduler_worker_lost(struct scheduler *scheduler, const char *worker_id, bool clean, uint64_t now_ms);

struct scheduler_worker_load {
    uint32_t slots;
    uint32_t tasks;
    bool draining;
    double samples_per_s;
};
bool scheduler_worker_load(const struct scheduler *scheduler, const char *worker_id, uint64_t now_ms,
    struct scheduler_worker_load *out);

/* ---- tasks ---- */

/* The worker has sent everything: its slot is free, though the last results are not committed yet. */
void scheduler_task_sent(
    struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt, uint64_t now_ms);

/* The worker is through with the task and all that it sent is committed. Samples still owed are leased again.
 * `seconds`: how long it took there, for sizing the next ones. */
void scheduler_task_done(struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt,
    double seconds, uint64_t now_ms);

/* The attempt cannot go on. By code: INVALID, NOT_FOUND, DENIED, UNSUPPORTED, TOO_LARGE end the job (the
 * model or settings are wrong everywhere); MEMORY bars this device from the model and ends the job when no
 * other is left; UNAVAILABLE is tried again later, elsewhere first; CANCELLED blames nobody; anything else
 * suspects the samples: they are leased again in smaller parts until the guilty one is alone, on a worker
 * that runs nothing else, and that one is given up. */
void scheduler_task_failed(struct scheduler *scheduler, const char *job_id, uint64_t task_id,
    uint64_t attempt, const struct error *reason, uint64_t now_ms);

/* The assignment never reached the worker, through no fault of either; tried again after a short wait. */
void scheduler_task_returned(
    struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt, uint64_t now_ms);

/* The assignment was too large for one message: samples from `index` on were not sent and are leased again.
 */
void scheduler_task_cut(
    struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt, uint64_t index);

/* Whether that attempt's lease is still open. */
bool scheduler_task_open(
    const struct scheduler *scheduler, const char *job_id, uint64_t task_id, uint64_t attempt);

/* These samples' results are durable. `failed` of them are errors. `task_id` is where they were leased (a
 * hint that saves a search; any value is right). Returns how many were new. Unknown jobs are fine: 0. */
uint64_t scheduler_results_committed(struct scheduler *scheduler, const char *job_id, uint64_t task_id,
    const uint64_t *indexes, size_t count, uint64_t failed, uint64_t now_ms);

/* ---- the whole ---- */

/* Decides: ends leases, timeouts and jobs, fills free slots. Call after events (see wake) and at least every
 * 250 ms. */
void scheduler_run(struct scheduler *scheduler, uint64_t now_ms);

/* While paused nothing is assigned and no job times out (the store is down). */
void scheduler_pause(struct scheduler *scheduler, bool paused);

struct scheduler_counts {
    uint64_t jobs, workers, slots, tasks;
    uint64_t samples_remaining, samples_leased;
    /* since start */
    uint64_t tasks_assigned, tasks_done, tasks_failed, leases_expired, samples_committed, samples_given_up,
        duplicates;
};
void scheduler_counts(const struct scheduler *scheduler, struct scheduler_counts *out);

/* Asserts every invariant, for tests: slow. */
void scheduler_check(const struct scheduler *scheduler);

#endif
