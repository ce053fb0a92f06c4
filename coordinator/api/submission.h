/* From a validated body to a durable, scheduled job. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_SUBMISSION_H
#define LUMIGRID_COORDINATOR_API_SUBMISSION_H

#include <jansson.h>
#include <stdbool.h>

#include "coordinator/store/store.h"

struct request;

enum { SUBMISSION_METRICS_MAX = 32 };

/* What a job will be, or a workflow with its first job. Strings are borrowed from the request's body or from
 * `settings`. */
struct submission {
    enum store_job_kind kind;
    bool nested; /* model and metrics are members of the body's job_config */
    const char *name, *description;
    char model[1100];         /* reference; empty: scoring only */
    json_t *metrics;          /* list of names; NULL: the task's default */
    const char *task;         /* "summarization", … ; NULL: that */
    json_t *settings;         /* for the worker; taken over */
    const char *output_field; /* NULL: no dataset is written */
    int64_t max_samples;
    int32_t priority;
    uint32_t timeout_s;
    /* A workflow: `metrics` are those of its evaluation, `evaluation` its settings (taken over). NULL: a job.
     */
    const char *experiment_id;
    json_t *evaluation;
};

/* Looks for the dataset, answering 404 when there is none, and goes on: what names nothing that exists is
 * said before what cannot be done with it. */
void submission_with_dataset(struct request *request, const char *dataset_id,
    void (*then)(struct request *request, const struct store_dataset *dataset));

/* Checks the model reference, the metrics and what the dataset holds, writes the job or the workflow,
 * schedules it, and answers 201 with what was made, or 422 naming the field. */
void submission_start(
    struct request *request, const struct submission *submission, const struct store_dataset *dataset);

#endif
