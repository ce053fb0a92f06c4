/* The cluster's inside, shared by its files. */
#ifndef LUMIGRID_COORDINATOR_CLUSTER_STATE_H
#define LUMIGRID_COORDINATOR_CLUSTER_STATE_H

#include "coordinator/cluster/cluster.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"
#include "proto/lumigrid.pb-c.h"

enum {
    PROTOCOL_MIN = 1,
    PROTOCOL_MAX = 1,
    NAMES_MAX = 256,             /* metrics, schemes, models that a worker may list */
    NAME_BYTES_MAX = 1024,       /* each */
    HELD_MAX = 4096,             /* attempts it may list */
    RESULTS_MAX = 65536,         /* in one message */
    ASSIGN_BYTES_MAX = 32 << 20, /* texts in one Assign; NET_MESSAGE_BYTES_MAX is the frame's limit */
    LOST_SHOWN_MS = 60000,
    EVICTED_MAX = 256,
};

/* A list of strings that is replaced as a whole. */
struct names {
    char **items;
    size_t count;
};
bool names_set(struct names *names, char *const *items, size_t count); /* false: too many or too long */
void names_free(struct names *names);

/* ---- keys.c: who may connect ---- */
struct admitted;
struct admitted *admitted_open(uv_loop_t *loop, const char *keys_dir);
bool admitted_has(const struct admitted *admitted, const char *public_key);
void admitted_reload(struct admitted *admitted);
void admitted_close(struct admitted *admitted);

/* ---- worker.c: sessions ---- */

/* What has arrived from a worker and waits, in order, for the commit before it takes effect. */
struct arrival {
    struct arrival *next;
    struct worker *worker; /* NULL once the worker's entry is gone */
    uint32_t session;      /* the connection that it came on: an older one is not acknowledged */
    enum { ARRIVAL_RESULTS, ARRIVAL_DONE, ARRIVAL_FAILED } kind;
    bool settled; /* results: committed or refused for good; others: always */
    char job_id[STORE_ID_BYTES];
    uint64_t task_id, attempt, sequence;
    double seconds;      /* ARRIVAL_DONE */
    struct error reason; /* ARRIVAL_FAILED */
    uint64_t *indexes;   /* ARRIVAL_RESULTS */
    size_t count, failed;
    Lumigrid__Envelope *message; /* results not yet given to the store */
};

struct worker {
    struct worker *next;
    char id[STORE_ID_BYTES];
    struct net_peer peer;
    uint32_t session; /* counts its connections */
    bool connected;   /* the peer is believed to be there */
    bool overflowed;  /* results were dropped: it has to connect anew and send them again */
    char *host, *version, *drain_reason;
    bool draining, stopping; /* by an admin; by itself */
    uint64_t pid, heard_ms;
    int64_t joined_ms, seen_ms;
    struct cluster_device *devices; /* their texts are owned */
    size_t device_count;
    struct names metrics, schemes, resident;
    uint64_t resident_bytes;
    struct arrival *first, **last;
    uint32_t log_window_lines;
    uint64_t log_window_ms;
};

struct worker *worker_by_id(const struct cluster *cluster, const char *id);
void worker_on_message(
    void *context, const struct net_peer *peer, const char *public_key, const uint8_t *data, size_t len);
void worker_send(struct cluster *cluster, struct worker *worker, Lumigrid__Envelope *envelope);
void worker_goodbye(struct cluster *cluster, struct worker *worker, const char *reason);
void workers_tick(struct cluster *cluster); /* forgets the lost, lets the overflowed come again */
void workers_free(struct cluster *cluster);

/* ---- arrival.c: results, ends ---- */
void arrival_results(
    struct cluster *cluster, struct worker *worker, Lumigrid__Envelope *envelope); /* takes it */
void arrival_done(struct cluster *cluster, struct worker *worker, const Lumigrid__TaskDone *done);
void arrival_failed(struct cluster *cluster, struct worker *worker, const Lumigrid__TaskFailed *failed);
void arrivals_forget_worker(struct worker *worker); /* what has arrived still takes effect, unacknowledged */

/* ---- job.c: what is known of scheduled jobs ---- */
struct job {
    struct job *next;
    char id[STORE_ID_BYTES];
    bool loaded, keys_growing, provenance_sent;
    enum store_job_kind kind;
    char *dataset_id, *model, *settings, *secret;
    struct names metrics, keys;
    uint64_t sample_count;
    struct waiter *waiters; /* to be called once it is loaded (and its keys are known) */
    uint64_t progress_ms;   /* of the last line about a download */
    char progress_stage[32];
};
typedef void (*job_ready)(struct cluster *cluster, struct job *job, const struct error *err, void *context);

struct job *job_by_id(struct cluster *cluster, const char *id);
struct job *job_take_up(struct cluster *cluster, const struct store_job *row); /* known from its row */
/* Schedules a new job of which no sample has a result. One that is known already stays as it is. */
void job_schedule(struct cluster *cluster, const struct store_job *row);
/* Calls back at once when the job is loaded, else when it is; job NULL with err when it cannot be. */
void job_when_loaded(struct cluster *cluster, const char *id, job_ready ready, void *context);
/* Adds metric keys that were not known, durably, then calls back. */
void job_grow_keys(struct cluster *cluster, struct job *job, const char *const *keys, size_t count,
    job_ready ready, void *context);
void job_forget(struct cluster *cluster, const char *id);
void jobs_free(struct cluster *cluster);
void jobs_recover(struct cluster *cluster, void (*done)(struct cluster *cluster, const struct error *err));

/* ---- decide.c: what the scheduler decides ---- */
void decisions_fill(struct scheduler_decisions *decisions, struct cluster *cluster);

struct cluster {
    uv_loop_t *loop;
    struct cluster_options options;
    uint32_t lease_ms, heartbeat_ms;
    struct store *store;
    struct scheduler *scheduler;
    struct net_keypair keys;
    struct admitted *admitted;
    struct net_router *router;
    uv_timer_t *run; /* the scheduler, on the loop's next turn */
    uv_timer_t *tick;
    struct worker *workers;
    struct job *jobs;
    char evicted[EVICTED_MAX][STORE_ID_BYTES];
    uint32_t evicted_next;
    uint32_t appends; /* results given to the store, not yet answered */
    bool recovering, serving, closing;
    uint64_t close_by_ms;
    void (*closed)(void *context);
    void *closed_context;
};

uint64_t now_ms(const struct cluster *cluster);
void tell_job(const struct cluster *cluster, const char *job_id);

#endif
