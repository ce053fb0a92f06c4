/* The store: Postgres behind asynchronous calls on the libuv loop. The only place with SQL.
 *
 * Every call returns at once. Its callback comes exactly once, later, on the loop's thread, never from within
 * the call itself; on store_close it comes with ERROR_CANCELLED. `err` is NULL when all went well. What a
 * callback is given is valid until it returns. What a call is given is copied unless it says otherwise.
 *
 * While Postgres is away, calls wait in a bounded queue and are sent when it is back; a call that waits
 * longer than request_timeout_ms, or finds the queue full, ends with ERROR_UNAVAILABLE. A call whose
 * connection was lost half-way is sent again (each is safe to repeat). Appended results and job ends wait
 * without a limit of time.
 *
 * Ids are UUIDs as text; one that is not ends with ERROR_INVALID. Times are milliseconds since 1970 UTC, 0 =
 * never. Texts are UTF-8 with a zero end and may be NULL where it is said; sample texts are bytes. JSON goes
 * in and out as text. */
#ifndef LUMIGRID_COORDINATOR_STORE_STORE_H
#define LUMIGRID_COORDINATOR_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/error.h"

enum {
    STORE_ID_BYTES = 37,               /* a UUID as text with its end */
    STORE_CHUNK_BYTES_MAX = 1 << 20,   /* of a dataset's raw bytes */
    STORE_SAMPLE_BYTES_MAX = 16 << 20, /* one text of a sample */
    STORE_METRIC_KEYS_MAX = 256,
};

struct store;

/* ---- life ---- */

enum store_state {
    STORE_CONNECTING, /* not there yet, or lost: `reason` says why; keeps trying */
    STORE_STANDBY,    /* another coordinator is active on this database; waits for it to go */
    STORE_MIGRATING,  /* active, bringing the tables up to date */
    STORE_ACTIVE,     /* serving */
    STORE_REFUSED,    /* for good: `reason` says why (newer tables, no rights, lost to another coordinator) */
};

/* Zero or NULL means the default named here. Strings are copied. */
struct store_options {
    const char *conninfo;        /* libpq connection string or URI; "" = libpq's defaults */
    uint32_t connections;        /* of the pool; 4 */
    uint32_t requests_max;       /* waiting and running; 100000 */
    uint32_t request_timeout_ms; /* longest wait before being sent; 10000 */
    uint32_t results_bytes_max;  /* appended and not committed, see store_results_full; 64 MiB */
    uint32_t group_ms;           /* how long results gather before they are written; 3 */
    uint32_t lease_ms;           /* an active coordinator that is silent for this long is overthrown; 10000 */
    bool no_standby;             /* REFUSED instead of STANDBY */
    void (*on_state)(void *context, enum store_state state, const struct error *reason);
    void *context;
};

/* Starts to connect; on_state tells how it goes. Only a conninfo that cannot be parsed fails here. */
bool store_open(uv_loop_t *loop, const struct store_options *options, struct store **out, struct error *err);
enum store_state store_state(const struct store *store);
/* Ends every call with ERROR_CANCELLED, closes, frees, then calls `done` (may be NULL). */
void store_close(struct store *store, void (*done)(void *context), void *context);

typedef void (*store_done)(void *context, const struct error *err);

/* A version 4 UUID, for new rows. */
void store_id_new(char out[STORE_ID_BYTES]);
bool store_id_valid(const char *id);

/* ---- datasets ---- */

struct store_dataset {
    char id[STORE_ID_BYTES];
    const char *filename;
    const char *format;       /* as sent: "experiment", "job" */
    const char *media;        /* "csv", "jsonl" */
    const char *run_id;       /* may be NULL */
    const char *generated_by; /* may be NULL */
    const char *owner;        /* may be NULL */
    bool generated;
    bool ground_truth;   /* has that column with content */
    bool predictions;    /* the same for predictions */
    uint64_t size_bytes; /* of the raw file */
    uint64_t sample_count;
    int64_t created_ms;
};

struct store_text {
    const char *bytes; /* NULL: absent */
    size_t size;
};

struct store_sample {
    uint64_t index; /* given back; on upload they are numbered in order */
    struct store_text example;
    struct store_text ground_truth;
    struct store_text prediction; /* of datasets that carry predictions to be scored */
};

/* An upload: one transaction on its own connection. The raw bytes and the samples go in side by side, in any
 * interleaving; nothing is visible before the commit, nothing stays after an abort or a lost connection. */
struct store_upload;

/* `meta`: filename, format, media, run_id, generated, generated_by, owner are used. `on_ready` says when it
 * can begin (err NULL) or why not; after an error the upload is gone. `on_drain` comes when an upload that
 * was full can take more. Memory held for an upload stays below about 4 MiB + one piece. A failure after
 * on_ready is told by commit, or by on_drain with err set (then only abort is left to call). */
struct store_upload *store_upload_begin(struct store *store, const struct store_dataset *meta,
    store_done on_ready, store_done on_drain, void *context);
/* Both return false when the upload is full now: what was given is taken, wait for on_drain before more.
 * At most STORE_CHUNK_BYTES_MAX a call. */
bool store_upload_chunk(struct store_upload *upload, const void *bytes, size_t size);
bool store_upload_samples(struct store_upload *upload, const struct store_sample *samples, size_t count);
/* Replaces what begin was told: a form's fields may follow its file. Any time before commit. */
void store_upload_describe(struct store_upload *upload, const struct store_dataset *meta);
typedef void (*store_dataset_done)(
    void *context, const struct store_dataset *dataset, const struct error *err);
/* Ends the upload; `dataset` is what was stored. ground_truth, predictions and counts are found by the store.
 */
void store_upload_commit(struct store_upload *upload, store_dataset_done done, void *context);
void store_upload_abort(struct store_upload *upload); /* no callback follows */

void store_dataset_get(struct store *store, const char *id, store_dataset_done done, void *context);
typedef void (*store_dataset_list_done)(
    void *context, uint64_t total, const struct store_dataset *items, size_t count, const struct error *err);
void store_dataset_list(
    struct store *store, uint64_t skip, uint64_t limit, store_dataset_list_done done, void *context);
/* ERROR_CONFLICT while an unfinished job uses it. Samples of finished jobs' datasets stay for their
 * documents. */
void store_dataset_delete(struct store *store, const char *id, store_done done, void *context);

/* The raw file piece by piece: ask for 0, 1, 2 … until `size` is 0. ERROR_NOT_FOUND: no such dataset. */
typedef void (*store_chunk_done)(void *context, const void *bytes, size_t size, const struct error *err);
void store_dataset_chunk(
    struct store *store, const char *id, uint64_t seq, store_chunk_done done, void *context);

/* Samples [first, first+count) that exist, in order. Cut at about 8 MiB of text: the caller asks again from
 * the last index + 1. `count` 0 from the callback: none. */
typedef void (*store_samples_done)(
    void *context, const struct store_sample *samples, size_t count, const struct error *err);
void store_sample_range(struct store *store, const char *dataset_id, uint64_t first, uint64_t count,
    store_samples_done done, void *context);

/* ---- jobs ---- */

enum store_job_kind {
    STORE_JOB_EXPERIMENT, /* first generation: infer and score in one */
    STORE_JOB_INFERENCE,
    STORE_JOB_ANNOTATE,
    STORE_JOB_EVALUATOR,
};
enum store_job_status {
    STORE_JOB_CREATED,
    STORE_JOB_PENDING,
    STORE_JOB_RUNNING,
    STORE_JOB_SUCCEEDED,
    STORE_JOB_FAILED,
    STORE_JOB_STOPPED,
};
const char *store_job_kind_name(enum store_job_kind kind);       /* "experiment" */
const char *store_job_status_name(enum store_job_status status); /* "created" */

struct store_job {
    char id[STORE_ID_BYTES];
    enum store_job_kind kind;
    enum store_job_status status;
    const char *experiment_id; /* second generation; may be NULL, as all below unless said */
    const char *workflow_id;
    const char *name; /* never NULL */
    const char *description;
    const char *dataset_id; /* never NULL */
    const char *model;      /* reference; NULL: scoring only */
    const char *settings;   /* JSON object for the worker (Assign.settings_json); NULL: {} */
    const char *request;    /* JSON: what the user sent, for answering it back; never interpreted here */
    const char *owner;
    const char *const *metrics; /* names; metric_count */
    size_t metric_count;
    const char *const
        *metric_keys; /* the order of result values; grows as workers report; metric_key_count */
    size_t metric_key_count;
    int64_t max_samples;   /* as asked; ≤ 0: all */
    uint64_t sample_count; /* how many it runs: set by the store */
    int32_t priority;      /* 0: normal; each step doubles its share; ≥ 100: interactive */
    uint32_t timeout_s;    /* 0: none */
    const char *message;   /* of a failed or stopped job */
    const char *hint;
    const char *provenance; /* JSON object, from the workers */
    const char *aggregates; /* JSON object, once finished; see store_job_finish */
    /* What predictions are called in the dataset that the job's success writes; NULL: it writes none.
     * "ground_truth" replaces the samples' ground truth; any other name makes them predictions. */
    const char *output_field;
    const char *output_dataset_id; /* that dataset; NULL before the end */
    int64_t created_ms, started_ms, finished_ms, updated_ms;
};

typedef void (*store_job_done)(void *context, const struct store_job *job, const struct error *err);

/* Writes a new job. `id` "" makes one. `sample_count` comes from the dataset and max_samples. The row as
 * stored is given back; then call scheduler_job_add. ERROR_NOT_FOUND: no such dataset. ERROR_INVALID: an
 * empty one. */
void store_job_insert(struct store *store, const struct store_job *job, store_job_done done, void *context);
void store_job_get(struct store *store, const char *id, store_job_done done, void *context);

struct store_job_filter {
    uint32_t kinds;            /* bits 1 << kind; 0: all */
    const char *experiment_id; /* NULL: any */
    const char *workflow_id;
    const char *dataset_id;
};
typedef void (*store_job_list_done)(
    void *context, uint64_t total, const struct store_job *items, size_t count, const struct error *err);
/* Newest first. */
void store_job_list(struct store *store, const struct store_job_filter *filter, uint64_t skip, uint64_t limit,
    store_job_list_done done, void *context);
/* With results and log. ERROR_CONFLICT while it is unfinished: cancel first. */
void store_job_delete(struct store *store, const char *id, store_done done, void *context);

void store_job_start(struct store *store, const char *id, store_done done, void *context); /* → running */
void store_job_provenance(
    struct store *store, const char *id, const char *provenance_json, store_done done, void *context);
/* Appends names to metric_keys (those not there yet) and gives the row back. */
void store_job_add_keys(struct store *store, const char *id, const char *const *keys, size_t key_count,
    store_job_done done, void *context);

/* Ends a job in one statement: status, message, finished time and aggregates
 *   {"samples":N,"failed":N,"truncated":N,"prompt_tokens":N,"new_tokens":N,"seconds":S,
 *    "means":{"rouge1":x,…},"counts":{"rouge1":n,…},"errors":[{"code","message","count"},…]}
 * A succeeded job without one good sample becomes failed with the commonest message. Ending an ended job
 * changes nothing. In the same transaction a success writes the job's dataset (output_field), and the
 * workflow that it belongs to takes its next step: `next` is the job that is to be scheduled now, NULL: none.
 */
typedef void (*store_job_finish_done)(
    void *context, const struct store_job *job, const struct store_job *next, const struct error *err);
void store_job_finish(struct store *store, const char *id, enum store_job_status status,
    const struct error *reason, store_job_finish_done done, void *context);

struct store_range {
    uint64_t first;
    uint64_t count;
};
/* Every unfinished job, one call each, with the samples that have no result (sorted); then once with job NULL
 * (and err, if it did not work). */
typedef void (*store_unfinished_done)(void *context, const struct store_job *job,
    const struct store_range *remaining, size_t count, const struct error *err);
void store_job_unfinished(struct store *store, store_unfinished_done done, void *context);

/* A line of a job's log. Dropped when Postgres is away; the newest 10000 lines a job are kept. */
void store_log_append(struct store *store, const char *job_id, const char *level, const char *text);
struct store_log_line {
    uint64_t seq;
    int64_t at_ms;
    const char *level;
    const char *text;
};
typedef void (*store_log_done)(
    void *context, const struct store_log_line *lines, size_t count, const struct error *err);
/* Lines with seq > after, oldest first. */
void store_log_read(struct store *store, const char *job_id, uint64_t after, uint32_t limit,
    store_log_done done, void *context);

/* ---- experiments of several workflows (second generation) ---- */

struct store_experiment {
    char id[STORE_ID_BYTES];
    const char *name;
    const char *description;
    const char *dataset_id;
    const char *task; /* JSON: the task definition */
    const char *owner;
    int64_t max_samples;
    int64_t created_ms, updated_ms;
};
typedef void (*store_experiment_done)(
    void *context, const struct store_experiment *experiment, const struct error *err);
/* Gives the row back as stored. ERROR_NOT_FOUND: no such dataset. */
void store_experiment_insert(struct store *store, const struct store_experiment *experiment,
    store_experiment_done done, void *context);
void store_experiment_get(struct store *store, const char *id, store_experiment_done done, void *context);

/* Experiments of both generations, newest first: exactly one of the two is not NULL. */
struct store_experiment_item {
    const struct store_experiment *experiment;
    const struct store_job *job;
};
typedef void (*store_experiment_list_done)(void *context, uint64_t total,
    const struct store_experiment_item *items, size_t count, const struct error *err);
void store_experiment_list(
    struct store *store, uint64_t skip, uint64_t limit, store_experiment_list_done done, void *context);
/* With its workflows and their jobs, whatever they do: cancel those first. */
void store_experiment_delete(struct store *store, const char *id, store_done done, void *context);

enum store_workflow_status {
    STORE_WORKFLOW_CREATED,
    STORE_WORKFLOW_RUNNING,
    STORE_WORKFLOW_FAILED,
    STORE_WORKFLOW_SUCCEEDED,
};
const char *store_workflow_status_name(enum store_workflow_status status);

struct store_workflow {
    char id[STORE_ID_BYTES];
    enum store_workflow_status status;
    const char *experiment_id;
    const char *name;
    const char *description;
    const char *model;   /* as sent */
    const char *request; /* JSON: what the user sent */
    const char *message; /* of a failed one; else NULL */
    const char *owner;
    const char *const *metrics; /* of the evaluation; metric_count; only for insert */
    size_t metric_count;
    const char *settings; /* of the evaluation, a JSON object; only for insert */
    uint32_t timeout_s;   /* of each job; only for insert */
    int64_t created_ms, updated_ms;
    /* [{"id", "kind", "status", "model", "dataset_id", "max_samples", "metric_keys", "aggregates"}, …] in
     * order; only read */
    const char *jobs;
};
typedef void (*store_workflow_done)(
    void *context, const struct store_workflow *workflow, const struct error *err);
/* Writes the workflow and its first job in one transaction; the job's row is given back, then call
 * scheduler_job_add. Ids "" are made. ERROR_NOT_FOUND: no such experiment or dataset. */
void store_workflow_insert(struct store *store, const struct store_workflow *workflow,
    const struct store_job *job, store_job_done done, void *context);
void store_workflow_get(struct store *store, const char *id, store_workflow_done done, void *context);
typedef void (*store_workflow_list_done)(
    void *context, const struct store_workflow *items, size_t count, const struct error *err);
/* All of these experiments, oldest first. */
void store_workflow_list(struct store *store, const char *const *experiment_ids, size_t experiment_count,
    store_workflow_list_done done, void *context);
/* With its jobs. ERROR_CONFLICT: it is not over, and `force` is false. */
void store_workflow_delete(struct store *store, const char *id, bool force, store_done done, void *context);

/* ---- results ---- */

struct store_result {
    uint64_t index;
    struct store_text prediction;
    const double *values; /* in the job's metric_keys order; NaN: none */
    size_t value_count;
    const char *detail;        /* JSON or NULL (metric errors, judge reasons) */
    const char *error_code;    /* NULL: no error */
    const char *error_message; /* NULL: no error */
    uint32_t prompt_tokens;
    uint32_t new_tokens;
    double seconds;
    bool truncated;
    const char *finish_reason; /* may be NULL */
    const char *worker_id;     /* may be NULL */
    /* of the dataset, when asked for */
    struct store_text example;
    struct store_text ground_truth;
};

/* Appends results of one job; `done` comes when they are committed (duplicates are skipped), or with an error
 * that is the data's own (ERROR_INVALID). Never fails because Postgres is away: it waits. */
void store_results_append(struct store *store, const char *job_id, const struct store_result *results,
    size_t count, store_done done, void *context);
/* More is waiting than results_bytes_max: take no more from workers until it is less. */
bool store_results_full(const struct store *store);

enum {
    STORE_RESULT_PREDICTION = 1,
    STORE_RESULT_VALUES = 2, /* with tokens, seconds, truncated */
    STORE_RESULT_ERROR = 4,  /* with detail, finish_reason, worker_id */
    STORE_RESULT_EXAMPLE = 8,
    STORE_RESULT_GROUND_TRUTH = 16,
};
typedef void (*store_results_done)(
    void *context, const struct store_result *results, size_t count, const struct error *err);
/* Results with index ≥ first in order, at most `count` (and about 8 MiB of text: ask again from the last
 * index
 * + 1); only the `fields` asked for are filled. `count` 0 from the callback: no more. */
void store_result_range(struct store *store, const char *job_id, uint64_t first, uint32_t count,
    uint32_t fields, store_results_done done, void *context);

/* A page for people: any order, any place, a pass over the job's results each time. */
struct store_result_query {
    uint64_t skip;
    uint32_t limit;
    size_t order_by;          /* a place in the job's metric_keys, from 1; 0: the dataset's order */
    bool descending;          /* samples without a value come last all the same */
    struct store_text search; /* only samples with these bytes in one of their texts; bytes NULL: all */
    bool texts;               /* with prediction, example and ground truth */
};
typedef void (*store_result_page_done)(
    void *context, uint64_t total, const struct store_result *results, size_t count, const struct error *err);
void store_result_page(struct store *store, const char *job_id, const struct store_result_query *query,
    store_result_page_done done, void *context);

/* Running figures of a job, the same JSON as aggregates; for watching (costs a pass over its results). */
typedef void (*store_json_done)(void *context, const char *json, const struct error *err);
void store_job_figures(struct store *store, const char *id, store_json_done done, void *context);

/* Of each text column of a dataset: count, min, max, mean, median and 95th percentile of the texts' bytes,
 * and a histogram of 20 bins from min to max, as a JSON object. A pass over its samples. */
void store_dataset_lengths(struct store *store, const char *id, store_json_done done, void *context);

/* ---- deployments ---- */

struct store_deployment {
    char id[STORE_ID_BYTES];
    const char *name, *description, *model;
    const char *status;                       /* "created", "running", "failed"; only read */
    int64_t num_gpus, num_cpus, num_replicas; /* as wished; only for insert */
    int64_t created_ms, updated_ms;           /* only read */
};
typedef void (*store_deployment_done)(
    void *context, const struct store_deployment *deployment, const struct error *err);
/* The id is the caller's. Gives the row back as stored. */
void store_deployment_insert(struct store *store, const struct store_deployment *deployment,
    store_deployment_done done, void *context);
void store_deployment_get(struct store *store, const char *id, store_deployment_done done, void *context);
typedef void (*store_deployment_list_done)(
    void *context, const struct store_deployment *items, size_t count, const struct error *err);
/* All of them, newest first. */
void store_deployment_list(struct store *store, store_deployment_list_done done, void *context);
void store_deployment_status(
    struct store *store, const char *id, const char *status, store_done done, void *context);
void store_deployment_delete(struct store *store, const char *id, store_done done, void *context);

/* ---- secrets, tokens, worker keys ---- */

/* A secret's value arrives sealed; the store never sees the plain one. */
struct store_secret {
    const char *name;
    const char *description;
    const void *sealed;
    size_t sealed_size;
    int64_t updated_ms;
};
typedef void (*store_secret_put_done)(void *context, bool created, const struct error *err);
void store_secret_put(
    struct store *store, const struct store_secret *secret, store_secret_put_done done, void *context);
typedef void (*store_secret_list_done)(
    void *context, const struct store_secret *items, size_t count, const struct error *err);
void store_secret_list(struct store *store, store_secret_list_done done, void *context); /* without values */
typedef void (*store_secret_get_done)(
    void *context, const struct store_secret *secret, const struct error *err);
void store_secret_get(struct store *store, const char *name, store_secret_get_done done, void *context);
/* Replaces the sealed value, unless it is no longer `old_sealed`. */
void store_secret_reseal(struct store *store, const char *name, const void *old_sealed, size_t old_size,
    const void *sealed, size_t size, store_done done, void *context);
void store_secret_delete(struct store *store, const char *name, store_done done, void *context);

/* Who did what: requests that change something, and those that were refused. */
struct store_audit {
    int64_t at_ms; /* only read */
    const char *actor, *role, *address, *method, *path, *request_id;
    unsigned status;
};
/* Dropped when Postgres is away; the request's log line stays. */
void store_audit_append(struct store *store, const struct store_audit *entry);
typedef void (*store_audit_list_done)(
    void *context, uint64_t total, const struct store_audit *items, size_t count, const struct error *err);
/* Newest first. */
void store_audit_list(
    struct store *store, uint64_t skip, uint64_t limit, store_audit_list_done done, void *context);

struct store_token {
    char id[STORE_ID_BYTES];
    const char *name;
    const char *role; /* "admin", "user", "viewer" */
    const void *hash; /* 32 bytes; on listing NULL */
    int64_t created_ms, expires_ms, used_ms;
};
typedef void (*store_token_done)(void *context, const struct store_token *token, const struct error *err);
typedef void (*store_token_list_done)(
    void *context, const struct store_token *items, size_t count, const struct error *err);
void store_token_insert(
    struct store *store, const struct store_token *token, store_token_done done, void *context);
void store_token_find(struct store *store, const void *hash, store_token_done done, void *context);
void store_token_list(struct store *store, store_token_list_done done, void *context);
void store_token_delete(struct store *store, const char *id, store_done done, void *context);

#endif
