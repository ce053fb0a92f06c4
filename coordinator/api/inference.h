/* What a submission says about running a model, in /jobs/inference, /jobs/annotate and /workflows alike.
 * Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_INFERENCE_H
#define LUMIGRID_COORDINATOR_API_INFERENCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct request;

/* `config` is the object that holds model, provider, …: the body, or its member job_config. Each check
 * answers 422, naming the field, and returns false when something is wrong. */

/* The model's reference (hf://…, oai://…) for its name and provider. */
bool inference_model(struct request *request, const json_t *config, char *reference, size_t size);

/* The task's own rules: text-generation needs a system_prompt, translation two languages that are known. */
bool inference_task(struct request *request, const json_t *config, const json_t *task_definition);
/* Only the languages: what scores needs no prompt. */
bool inference_languages(struct request *request, const json_t *config, const json_t *task_definition);

/* The column that predictions go to. */
bool inference_output(struct request *request, const json_t *config, const char *member);

/* The worker's settings: a new object. */
json_t *inference_settings(const json_t *config, const json_t *task_definition);

/* The same for scoring: the task, and a model that judges, whose URL must be one that may be called. */
bool evaluation_check(struct request *request, const json_t *config);
json_t *evaluation_settings(const json_t *config, const json_t *task_definition);

#endif
