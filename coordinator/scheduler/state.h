/* The scheduler's inside: shared by its files, by nobody else. */
#ifndef LUMIGRID_COORDINATOR_SCHEDULER_STATE_H
#define LUMIGRID_COORDINATOR_SCHEDULER_STATE_H

#include "coordinator/scheduler/scheduler.h"
#include "coordinator/scheduler/spans.h"
#include "coordinator/scheduler/table.h"

enum {
    ABILITIES_MAX = 256,  /* names of schemes and metrics that jobs ask for */
    DEVICE_RATES = 8,     /* jobs whose speed a device remembers */
    TASK_SPAN_FACTOR = 8, /* a task of n samples reaches over at most max n × this many positions */
    HELD_MAX = 65536,     /* attempts listed in one message */
    BISECT_PARTS = 4,     /* a failed task's samples are leased again in this many parts */
    CANDIDATES_MAX = 64,  /* jobs looked at for one slot */
    RATE_WINDOW_MS = 2000,
};

/* A set of abilities: what a job needs, what a worker has. */
struct abilities {
    uint64_t bits[ABILITIES_MAX / 64];
};

/* Samples per second over tumbling windows. */
struct rate {
    uint64_t window_ms, count;
    double per_s;
};

struct task {
    struct link by_range; /* key: its job's serial and its id */
    struct job *job;
    struct task *job_prev, *job_next;
    struct worker *worker; /* NULL: all was sent by a worker that is gone; only the commit is awaited */
    struct task *worker_prev, *worker_next;
    struct device *device; /* NULL once its slot is free */
    uint64_t id, attempt;
    uint64_t first, span; /* from the id */
    uint64_t owed;        /* bits set in `bits` */
    uint64_t leased;      /* owed at the start, for its speed */
    uint64_t assigned_ms, lease_until_ms;
    bool adopted; /* known by its id alone: which of its samples the worker has is a guess */
    bool sent;    /* the worker said that all is sent; its lease cannot end before the commit */
    struct retry retry;
    uint64_t *bits; /* owed samples, by position - first */
};

struct device {
    char *name;
    struct worker *worker;
    uint32_t slots, tasks;
    char **schemes; /* as abilities; none: what the worker's other devices do not list */
    size_t scheme_count;
    struct abilities schemes_own; /* that it lists; without a list, that another device lists */
    char **barred;                /* models that did not fit */
    size_t barred_count;
    struct {
        uint64_t serial;
        double per_s; /* of one slot */
    } rates[DEVICE_RATES];
    uint32_t rate_next;
};

struct worker {
    struct link by_id;
    struct worker *prev, *next;
    char id[SCHEDULER_ID_BYTES];
    uint64_t heard_ms;
    bool draining;
    struct job *reserved_for; /* whose `reserved` this is */
    struct device *devices;
    size_t device_count;
    char **names; /* abilities as text: "hf:", "metric:rouge" */
    size_t name_count;
    struct abilities has;
    uint64_t *resident; /* hashes of loaded models */
    size_t resident_count;
    struct task *tasks;
    struct rate rate;
};

struct job {
    struct link by_id;
    char id[SCHEDULER_ID_BYTES];
    uint64_t serial;
    char *model;
    uint64_t model_hash;
    struct abilities needs;
    int scheme; /* the ability's number; -1: needs no model */
    char **need_names;
    size_t need_count;
    uint64_t total, failed;
    struct spans remaining;
    uint64_t owed;
    uint32_t task_count;
    struct task *tasks;
    uint64_t *recording; /* samples given up whose error is not yet committed */
    size_t recording_count, recording_capacity;
    double weight, pass;
    bool interactive, started;
    uint64_t timeout_ms, started_ms;
    double per_s; /* of one slot anywhere; 0: unknown */
    struct rate rate;
    uint32_t outages;
    uint64_t outage_ms, not_before_ms;
    struct worker *reserved;        /* held free until a suspect of this job can run there alone */
    char avoid[SCHEDULER_ID_BYTES]; /* the worker of the last outage */
    struct error trouble;           /* the last failure, for `waiting` */
};

enum decision_kind { DECIDE_REVOKE, DECIDE_GIVE_UP, DECIDE_FINISHED };

struct decision {
    enum decision_kind kind;
    char worker_id[SCHEDULER_ID_BYTES], job_id[SCHEDULER_ID_BYTES];
    uint64_t task_id, attempt, index;
    enum scheduler_outcome outcome;
    struct error reason;
};

struct scheduler {
    struct scheduler_options options;
    struct scheduler_decisions decisions;
    struct table jobs, workers, tasks;
    struct job **order; /* interactive first, then by pass */
    size_t order_count, order_capacity;
    struct worker *worker_list;
    char *abilities[ABILITIES_MAX];
    size_t ability_count;
    uint64_t attempt_next, serial_next;
    double reached[2]; /* the furthest pass that was served, by class */
    uint64_t checked_ms;
    bool paused, running;
    struct decision *queue;
    size_t queue_count, queue_capacity;
    struct device **free_devices; /* scratch of scheduler_run */
    size_t free_capacity;
    struct scheduler_range *ranges; /* scratch of an assignment */
    size_t range_capacity;
    struct scheduler_counts counts; /* the "since start" part */
};

/* ---- scheduler.c ---- */
struct decision *decision_add(struct scheduler *scheduler, enum decision_kind kind);
void decision_revoke(struct scheduler *scheduler, const char *worker_id, const char *job_id, uint64_t task_id,
    uint64_t attempt, const char *reason);
void wake(struct scheduler *scheduler);
void rate_count(struct rate *rate, uint64_t count, uint64_t now_ms);
double rate_now(const struct rate *rate, uint64_t now_ms);
uint64_t text_hash(const char *text);
void list_free(char **list, size_t count);

/* ---- job.c ---- */
struct job *job_find(const struct scheduler *scheduler, const char *id);
void job_place(struct scheduler *scheduler, struct job *job); /* into the order, by class and pass */
void job_end(struct scheduler *scheduler, struct job *job, enum scheduler_outcome outcome,
    const struct error *reason); /* revokes, reports and frees it */
void job_end_if_done(struct scheduler *scheduler, struct job *job);
void job_give_up(struct scheduler *scheduler, struct job *job, uint64_t index, const struct error *reason);

/* ---- worker.c ---- */
struct worker *worker_find(const struct scheduler *scheduler, const char *id);
void worker_remove(struct scheduler *scheduler, struct worker *worker, bool clean, uint64_t now_ms);
void worker_learn_abilities(const struct scheduler *scheduler, struct worker *worker);
bool worker_has(const struct worker *worker, const struct job *job);
bool device_takes(const struct device *device, const struct job *job); /* by the model's scheme */
bool device_bars(const struct device *device, const struct job *job);
bool device_holds(const struct device *device, const struct job *job);
double device_rate(const struct device *device, const struct job *job);
void device_learn_rate(struct device *device, struct job *job, double per_s);

/* ---- task.c ---- */
struct task *task_find(const struct scheduler *scheduler, const struct job *job, uint64_t id);
struct task *task_open(struct scheduler *scheduler, struct job *job, struct device *device, uint64_t id,
    uint64_t attempt, uint64_t now_ms); /* owes nothing yet */
void task_owe(struct task *task, uint64_t first, uint64_t count);
void task_free_slot(struct task *task);
/* Closes it; what it owes goes back to the job with that retry. */
void task_close(struct scheduler *scheduler, struct task *task, struct retry retry);
/* Closes it; what it owes is suspected and returns in smaller parts, or is given up. May end the job.
 * `in_company`: another task may be the guilty one, so a single sample's failure does not count yet. */
void task_suspect(struct scheduler *scheduler, struct task *task, bool in_company, const struct error *reason,
    uint64_t now_ms);
void task_adopt(
    struct scheduler *scheduler, struct worker *worker, const struct scheduler_held *held, uint64_t now_ms);

/* ---- dispatch.c ---- */
void dispatch(struct scheduler *scheduler, uint64_t now_ms);
void reservation_end(struct job *job);

#endif
