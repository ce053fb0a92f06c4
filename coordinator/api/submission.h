/* From a validated body to a durable, scheduled job. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_SUBMISSION_H
#define LUMIGRID_COORDINATOR_API_SUBMISSION_H

#include <jansson.h>
#include <stdbool.h>

#include "coordinator/store/store.h"

struct api;
struct request;

enum { SUBMISSION_METRICS_MAX = 32 };

/* What a job will be. Strings are borrowed from the request's body or from `settings`. */
struct submission {
    enum store_job_kind kind;
    const char *name, *description, *dataset_id;
    char model[1100]; /* reference; empty: scoring only */
    json_t *metrics;  /* list of names; NULL: the default */
    json_t *settings; /* for the worker; taken over */
    int64_t max_samples;
    int32_t priority;
    uint32_t timeout_s;
};

/* Checks the model reference, the metrics and the dataset, writes the job, schedules it, and answers 201 with
 * `view`'s value — or the error: 404 for the dataset, 422 naming the field for the rest. */
void submission_start(struct request *request, const struct submission *submission,
    json_t *(*view)(const struct api *api, const struct store_job *job));

#endif
