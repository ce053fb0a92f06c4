/* One text, answered by a model while somebody waits: a job of one sample over a dataset of its own, which
 * goes before all others and is deleted with its dataset once the answer is known. Private to the api room.
 */
#ifndef LUMIGRID_COORDINATOR_API_QUERY_H
#define LUMIGRID_COORDINATOR_API_QUERY_H

#include <jansson.h>

#include "common/error.h"

struct api;
struct request;

/* What is asked. Strings and `text` are borrowed. */
struct query_spec {
    const char *name;   /* what listings call the job while it lives */
    const char *model;  /* reference */
    json_t *settings;   /* for the worker; taken over */
    const json_t *text; /* a string */
    const char *actor;
};

/* `prediction` is the callee's, NULL with `err`. `status` is the HTTP status of a failure, 0: as the error's
 * code says. */
typedef void (*query_done)(void *context, json_t *prediction, unsigned status, const struct error *err);

/* Calls `done` once, at once or later, also when the API closes. Failures: 422 a bad reference; 503 no
 * connected worker can run it; 502 the model or its provider failed; 504 longer than the API's
 * query_timeout_s, and then the job is cancelled. */
void query_start(struct api *api, const struct query_spec *spec, query_done done, void *context);

/* Answers with what query_done was told. */
void query_answer_failure(struct request *request, unsigned status, const struct error *err);

/* Something about this job changed. */
void queries_changed(struct api *api, const char *job_id);

/* At least once a second: ends what takes too long, and everything when the API closes. */
void queries_tick(struct api *api);

#endif
