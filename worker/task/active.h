/* A task on its way through the runner: its settings, which samples have ended, and how a sample's end
 * becomes a result. Everything here happens on the runner's thread. */
#ifndef LUMIGRID_WORKER_TASK_ACTIVE_H
#define LUMIGRID_WORKER_TASK_ACTIVE_H

#include <jansson.h>

#include "worker/engine/engine.h"
#include "worker/metrics/metric.h"
#include "worker/task/bertscore_encoder.h"
#include "worker/task/task.h"
#include "worker/task/translation.h"

enum { TASK_METRICS_MAX = 32, TASK_VALUES_MAX = 128 };

/* What settings_json says (docs/protocol.md). */
struct task_settings {
    json_t *root;                                  /* owns the strings below */
    const char *task;                              /* "summarization" */
    const char *source_language, *target_language; /* of a translation; NULL: none */
    const char *system_prompt;                     /* NULL: none */
    const json_t *generation;                      /* an object of overrides, or NULL */
    bool has_dtype;
    enum dtype dtype;
    uint64_t seed;
    const char *bertscore_model;
    int bertscore_layer; /* -1: the usual one of that model */
};

struct resident;
struct active;
struct unscored;

/* One sample's place in its task, as the callback context of its generation. */
struct active_sample {
    struct active *active;
    size_t position;
    uint64_t handle; /* of the engine; 0: not submitted, or ended */
    bool truncated;
};

struct active {
    struct active *next;
    const struct runner_events *events;
    Lumigrid__Assign *assign; /* owned */
    struct task_settings settings;
    const struct metric *metrics[TASK_METRICS_MAX];
    size_t metric_count;
    struct resident *resident; /* NULL: needs no model */
    bool needs_encoder;        /* for a metric */
    struct resident *encoder;  /* NULL: none yet, or not needed */
    struct bertscore_encoder bertscore;
    char encoder_name[256];
    struct unscored *unscored;      /* predictions that wait for the encoder */
    struct translation translation; /* once begun */
    struct active_sample *samples;  /* [assign->n_samples] */
    size_t ended;
    bool begun;
    bool failed; /* the whole task; error says why */
    bool cancelled;
    struct error error;
    uint64_t started_ns;
    struct simulation *simulation; /* sim:// only */
    struct hosted_task *hosted;    /* models that others host only */
};

/* Parses settings and metric names; takes ownership of `assign`. Never NULL except without memory (then
 * assign is freed): what is wrong with the task is in failed and error. */
struct active *active_open(Lumigrid__Assign *assign, const struct runner_events *events);
void active_close(struct active *active); /* frees; tells nobody */

bool active_done(const struct active *active);

/* The task cannot go on. */
void active_fail(struct active *active, const struct error *error);

/* The sample at `position` ended with this prediction: scores it and hands the result over; where a metric
 * needs an encoder, with the next active_score_waiting. */
struct active_prediction {
    const char *text;
    size_t text_len;
    uint32_t prompt_tokens, new_tokens;
    double seconds;
    bool truncated;
    const char *finish_reason; /* static */
    bool has_price;            /* of a hosted model: recorded as the value "cost/usd" */
    double price_usd;
};
void active_sample_done(struct active *active, size_t position, const struct active_prediction *prediction,
    const struct task_provenance *provenance);
/* Runs the encoder over what waits. Not from within an engine's step: engines share their device's scratch.
 */
void active_score_waiting(struct active *active);
void active_sample_failed(struct active *active, size_t position, const struct error *error,
    const struct task_provenance *provenance);

uint64_t active_now_ns(void); /* monotonic */

#endif
