/* One text, answered by a model while the client waits: a job of one sample over a dataset of its own, which
 * goes before all others and is deleted with its dataset once the answer is known. Private to the api room.
 */
#ifndef LUMIGRID_COORDINATOR_API_QUERY_H
#define LUMIGRID_COORDINATOR_API_QUERY_H

#include <jansson.h>

struct api;
struct request;

/* Asks `model` (a reference) about `text`, a JSON string, and calls `answer` with the prediction, which it
 * takes over. What goes wrong is answered here: 422 a bad reference; 503 no connected worker can run it; 502
 * the model or its provider failed; 504 longer than the API's query_timeout_s, and then the job is cancelled.
 * `settings`, for the worker, are taken over; `name` is what listings call the job while it lives. */
void query_start(struct request *request, const char *name, const char *model, json_t *settings,
    const json_t *text, void (*answer)(struct request *request, json_t *prediction));

/* Something about this job changed. */
void queries_changed(struct api *api, const char *job_id);

/* At least once a second: ends what takes too long, and everything when the API closes. */
void queries_tick(struct api *api);

#endif
