/* The coordinator's side of the protocol (docs/protocol.md): workers come and go over CURVE, get samples,
 * send results. Holds the scheduler and carries out what it decides; results go to the store first, and only
 * what is committed is acknowledged and told to the scheduler.
 *
 * Everything here runs on the loop's thread. */
#ifndef LUMIGRID_COORDINATOR_CLUSTER_CLUSTER_H
#define LUMIGRID_COORDINATOR_CLUSTER_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/error.h"
#include "common/net.h"

struct store;
struct scheduler;
struct cluster;

/* Strings are borrowed and must outlive the cluster. Zero or NULL means the default named here. */
struct cluster_options {
    const char *endpoint; /* "tcp://127.0.0.1:7711" */
    const char
        *keys_dir;     /* coordinator.key (made when missing), coordinator.pub, workers/NAME.pub; required */
    const char *id;    /* this coordinator's UUID; required */
    uint32_t lease_ms; /* 10000; a worker unheard for this long is lost; heartbeats are a fifth of it */
    uint32_t task_target_ms, task_samples_max; /* as in scheduler.h */
    /* Opens a sealed secret for Assign.secret; `out` has room for `size` bytes and its zero. NULL: none. */
    bool (*unseal)(void *context, const char *name, const void *sealed, size_t size, char *out);
    /* Something about this job changed: progress, status. NULL: not told. */
    void (*on_job)(void *context, const char *job_id);
    void *context;
};

/* Binds the endpoint; workers get no answer before cluster_serve(). ERROR_CONFLICT: the port is in use. */
bool cluster_open(uv_loop_t *loop, const struct cluster_options *options, struct store *store,
    struct cluster **out, struct error *err);

struct scheduler *cluster_scheduler(struct cluster *cluster);
const char *cluster_endpoint(const struct cluster *cluster);   /* with the port that was bound */
const char *cluster_public_key(const struct cluster *cluster); /* Z85 */

/* The store serves: the first time, unfinished jobs are taken up where they were left, then workers are
 * answered; later it ends a pause. */
void cluster_serve(struct cluster *cluster);
/* The store is away: nothing is assigned; results that come are kept until it is back, or by their workers.
 */
void cluster_pause(struct cluster *cluster);

/* Reads keys_dir/workers again (also done by itself when the folder changes). */
void cluster_reload_keys(struct cluster *cluster);

/* Takes nothing new, lets what has arrived be committed and acknowledged (at most grace_ms), tells the
 * workers goodbye, closes the socket, calls `done`. The scheduler stays until cluster_free. */
void cluster_close(struct cluster *cluster, uint32_t grace_ms, void (*done)(void *context), void *context);
/* After cluster_close has called `done` and the store is closed (its last callbacks come here). */
void cluster_free(struct cluster *cluster);

struct cluster_device {
    const char *name, *description;
    uint64_t memory_bytes, memory_free_bytes;
    uint32_t slots;
    double utilisation, temperature_celsius;
};

/* A worker; valid during the call that gives it. Load and speed: scheduler_worker_load(). */
struct cluster_worker {
    const char *id, *host, *version;
    uint64_t pid;
    const char *state;  /* "online", "draining", "lost" (kept for a minute) */
    const char *reason; /* of draining; NULL: none */
    const struct cluster_device *devices;
    size_t device_count;
    const char *const *metrics, *const *schemes, *const *resident_models;
    size_t metric_count, scheme_count, resident_count;
    uint64_t resident_bytes;
    int64_t joined_ms, seen_ms; /* since 1970 */
};

/* Calls `each` for every worker, within this call. */
void cluster_workers(const struct cluster *cluster,
    void (*each)(void *context, const struct cluster_worker *worker), void *context);

/* False: no such worker. Drain: finishes what it has, takes nothing new. Evict: its tasks go to others at
 * once, and this process is refused from now on. */
bool cluster_worker_drain(struct cluster *cluster, const char *worker_id, const char *reason);
bool cluster_worker_resume(struct cluster *cluster, const char *worker_id);
bool cluster_worker_evict(struct cluster *cluster, const char *worker_id, const char *reason);

#endif
