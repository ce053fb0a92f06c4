/* POST /jobs/inference, /jobs/annotate, /jobs/evaluator: the second API's jobs. */
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/inference.h"
#include "coordinator/api/server.h"
#include "coordinator/api/submission.h"
#include "coordinator/api/views.h"

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static struct submission common(const struct request *request, enum store_job_kind kind)
{
    const json_t *body = request->json;
    return (struct submission){
        .kind = kind,
        .nested = true,
        .name = text_of(body, "name"),
        .description = text_of(body, "description"),
        .task = text_of(json_object_get(json_object_get(body, "job_config"), "task_definition"), "task"),
        .max_samples = json_integer_value(json_object_get(body, "max_samples")),
    };
}

/* Predictions, without scores; `output` is the column they go to in a new dataset when one is asked for. */
static void submit_inference(struct request *request, const struct store_dataset *dataset,
    enum store_job_kind kind, const char *output)
{
    const json_t *config = json_object_get(request->json, "job_config");
    const json_t *task = json_object_get(config, "task_definition");
    struct submission submission = common(request, kind);
    if (!inference_model(request, config, submission.model, sizeof(submission.model)) ||
        !inference_task(request, config, task) || !inference_output(request, config, "output_field"))
        return;
    json_t *none = json_array();
    submission.metrics = none;
    submission.settings = inference_settings(config, task);
    if (json_is_true(json_object_get(config, "store_to_dataset")))
        submission.output_field = output;
    submission_start(request, &submission, dataset);
    json_decref(none);
}

static void submit_inference_job(struct request *request, const struct store_dataset *dataset)
{
    const char *output = text_of(json_object_get(request->json, "job_config"), "output_field");
    submit_inference(request, dataset, STORE_JOB_INFERENCE, output ? output : "predictions");
}

static void submit_annotate_job(struct request *request, const struct store_dataset *dataset)
{
    submit_inference(request, dataset, STORE_JOB_ANNOTATE, "ground_truth");
}

static void submit_evaluator_job(struct request *request, const struct store_dataset *dataset)
{
    const json_t *config = json_object_get(request->json, "job_config");
    struct submission submission = common(request, STORE_JOB_EVALUATOR);
    json_t *metrics = json_object_get(config, "metrics"), *task = json_object_get(config, "task_definition");
    if (!inference_languages(request, config, task) || !evaluation_check(request, config))
        return;
    submission.metrics = json_is_array(metrics) ? metrics : NULL;
    submission.settings = evaluation_settings(config, task);
    submission_start(request, &submission, dataset);
}

static void submit(struct request *request, void (*then)(struct request *, const struct store_dataset *))
{
    submission_with_dataset(request, text_of(request->json, "dataset"), then);
}

void handle_job_submit_inference(struct request *request)
{
    submit(request, submit_inference_job);
}

void handle_job_submit_annotate(struct request *request)
{
    submit(request, submit_annotate_job);
}

void handle_job_submit_evaluator(struct request *request)
{
    submit(request, submit_evaluator_job);
}
