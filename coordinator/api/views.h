/* How rows of the store look in answers. Each returns a new value. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_VIEWS_H
#define LUMIGRID_COORDINATOR_API_VIEWS_H

#include <jansson.h>
#include <stdint.h>

struct api;
struct request;
struct store_dataset;
struct store_experiment;
struct store_job;
struct store_log_line;
struct store_workflow;

/* ISO 8601 in UTC; 0 gives null. */
json_t *view_time(int64_t ms);
/* NULL gives null. */
json_t *view_text(const char *text);

json_t *view_dataset(const struct store_dataset *dataset);
json_t *view_experiment(const struct api *api, const struct store_job *job);
json_t *view_job(const struct api *api, const struct store_job *job);         /* as submitted: JobResponse */
json_t *view_job_details(const struct api *api, const struct store_job *job); /* with the Ray-style fields */
json_t *view_ray_job(const struct store_job *job);

/* {total, done, failed, samples_per_s, waiting}: live from the scheduler, or from the finished row. */
json_t *view_progress(const struct api *api, const struct store_job *job);

json_t *view_workflow(const struct store_workflow *workflow); /* as submitted: WorkflowResponse */
/* With jobs, metrics, parameters and, once it succeeded, a signed artifacts_download_url. */
json_t *view_workflow_details(const struct request *request, const struct store_workflow *workflow);
/* `workflows`: those of the experiment; its status follows from theirs. */
json_t *view_workflow_experiment(const struct request *request, const struct store_experiment *experiment,
    const struct store_workflow *workflows, size_t count);

/* One text, a line each. The caller frees. */
char *view_log(const struct store_log_line *lines, size_t count);

/* {"total": total, "items": items}; `items` is taken over. */
json_t *view_listing(uint64_t total, json_t *items);

#endif
