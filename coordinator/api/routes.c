/* The table that routing, validation, authorisation and /openapi.json are made from. */
#include "coordinator/api/handlers.h"
#include "coordinator/api/route.h"

#define QUERY(...)                                                                                           \
    (const struct route_query[])                                                                             \
    {                                                                                                        \
        __VA_ARGS__,                                                                                         \
        {                                                                                                    \
            0                                                                                                \
        }                                                                                                    \
    }
#define ANSWERS(...)                                                                                         \
    (const struct route_answer[])                                                                            \
    {                                                                                                        \
        __VA_ARGS__,                                                                                         \
        {                                                                                                    \
            0                                                                                                \
        }                                                                                                    \
    }
#define JSON_BODY(schema) BODY_JSON, schema
#define NO_BODY BODY_NONE, NULL
#define MISSING                                                                                              \
    {                                                                                                        \
        404, "Detail", NULL, "there is no such thing"                                                        \
    }
#define CONFLICT                                                                                             \
    {                                                                                                        \
        409, "Detail", NULL, "its state does not allow it"                                                   \
    }
#define GONE                                                                                                 \
    {                                                                                                        \
        204, NULL, NULL, "deleted"                                                                           \
    }
#define COMPLETED                                                                                            \
    ANSWERS({200, "Completion", NULL, "the summary"}, {502, "Detail", NULL, "the model failed, and how"},    \
        {504, "Detail", NULL, "the model took too long"})
#define QUERIED                                                                                              \
    ANSWERS({200, "DeploymentAnswer", NULL, "the summary"}, {502, "Detail", NULL, "the model failed"},       \
        {504, "Detail", NULL, "the model took too long"}, MISSING)
#define PAGE_SKIP                                                                                            \
    {                                                                                                        \
        "skip", VALUE_INTEGER, false, 0, 0, (1LL << 53) - 1, "how many of the newest to leave out", NULL     \
    }
#define PAGE_LIMIT                                                                                           \
    {                                                                                                        \
        "limit", VALUE_INTEGER, false, 100, 0, 1000, "how many at most", NULL                                \
    }
#define PAGED QUERY(PAGE_SKIP, PAGE_LIMIT)
#define SIGNED                                                                                               \
    QUERY({"expires", VALUE_INTEGER, true, 0, 0, (1LL << 53) - 1,                                            \
              "when the URL expires, in seconds since 1970", NULL},                                          \
        {"signature", VALUE_TEXT, true, 0, 0, 0, "as given by the download route", NULL})
#define IDS                                                                                                  \
    QUERY({"ids", VALUE_TEXT, true, 0, 0, 0, "experiments to compare, repeated or with commas between",      \
        "ExperimentIds"})
#define TASKS QUERY({"tasks", VALUE_TEXT, false, 0, 0, 0, "only models for these tasks", "TaskNames"})
#define JOB_TYPES                                                                                            \
    {                                                                                                        \
        "job_types", VALUE_TEXT, false, 0, 0, 0, "only these types; without: all but experiment", "JobTypes" \
    }
#define SAMPLE_LIMIT                                                                                         \
    {                                                                                                        \
        "limit", VALUE_INTEGER, false, 20, 0, 1000, "how many at most", NULL                                 \
    }
#define SAMPLE_SKIP                                                                                          \
    {                                                                                                        \
        "skip", VALUE_INTEGER, false, 0, 0, (1LL << 53) - 1, "how many to leave out", NULL                   \
    }
#define SAMPLE_PAGE QUERY(SAMPLE_SKIP, SAMPLE_LIMIT)
#define RESULT_PAGE                                                                                          \
    QUERY(SAMPLE_SKIP, SAMPLE_LIMIT,                                                                         \
        {"order_by", VALUE_TEXT, false, 0, 0, 0, "a key of `scores`; else the dataset's order", NULL},       \
        {"descending", VALUE_BOOLEAN, false, 0, 0, 0, "the other way round", NULL},                          \
        {"search", VALUE_TEXT, false, 0, 0, 0, "only samples with this in one of their texts", NULL},        \
        {"texts", VALUE_BOOLEAN, false, 1, 0, 0, "false: scores and figures only", NULL})
#define PAGE_HTML ANSWERS({200, NULL, "text/html", "a page"})

const struct route ROUTES[] = {
    /* health */
    {"GET", "/api/v1/health", handle_health, "get_health", "health", "Says that the API is up", ROLE_NOBODY,
        NO_BODY, NULL, ANSWERS({200, "Health", NULL, "up"})},
    {"GET", "/api/v1/health/jobs", handle_health_jobs, "list_ray_jobs", "health", "Jobs in the style of Ray",
        ROLE_VIEWER, NO_BODY, NULL, ANSWERS({200, "RayJobs", NULL, "the newest first"})},
    {"GET", "/api/v1/health/jobs/{job_id}", handle_health_job, "get_ray_job", "health",
        "One job in the style of Ray", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "RayJob", NULL, "the job"}, MISSING)},
    {"GET", "/api/jobs/{job_id}", handle_health_job, "get_ray_job_direct", "health",
        "The same, where Ray has it", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "RayJob", NULL, "the job"}, MISSING)},
    {"GET", "/api/v1/health/deployments", handle_health_deployments, "list_running_deployments", "health",
        "Running deployments", ROLE_VIEWER, NO_BODY, NULL, ANSWERS({200, "Deployments", NULL, "by name"})},
    {"GET", "/livez", handle_live, "get_live", "health", "Answers as long as the process does", ROLE_NOBODY,
        NO_BODY, NULL, ANSWERS({200, NULL, "text/plain", "alive"})},
    {"GET", "/readyz", handle_ready, "get_ready", "health", "Whether requests can be served now", ROLE_NOBODY,
        NO_BODY, NULL, ANSWERS({200, "Ready", NULL, "ready"}, {503, "Ready", NULL, "not ready, and why"})},
    {"GET", "/metrics", handle_metrics, "get_metrics", "health", "Figures for Prometheus", ROLE_VIEWER,
        NO_BODY, NULL, ANSWERS({200, NULL, "text/plain", "Prometheus text format"})},

    /* datasets */
    {"POST", "/api/v1/datasets", NULL, "upload_dataset", "datasets", "Uploads a dataset", ROLE_USER,
        BODY_DATASET, "DatasetForm", NULL,
        ANSWERS({201, "Dataset", NULL, "stored"}, {403, "Detail", NULL, "it has no column `examples`"})},
    {"GET", "/api/v1/datasets", handle_dataset_list, "list_datasets", "datasets", "Lists datasets",
        ROLE_VIEWER, NO_BODY, PAGED, ANSWERS({200, "DatasetListing", NULL, "the newest first"})},
    {"GET", "/api/v1/datasets/{dataset_id}", handle_dataset_get, "get_dataset", "datasets", "Shows a dataset",
        ROLE_VIEWER, NO_BODY, NULL, ANSWERS({200, "Dataset", NULL, "the dataset"}, MISSING)},
    {"DELETE", "/api/v1/datasets/{dataset_id}", handle_dataset_delete, "delete_dataset", "datasets",
        "Deletes a dataset", ROLE_USER, NO_BODY, NULL, ANSWERS(GONE, MISSING, CONFLICT)},
    {"GET", "/api/v1/datasets/{dataset_id}/download", handle_dataset_download, "get_dataset_download",
        "datasets", "Gives a download URL", ROLE_VIEWER, NO_BODY,
        QUERY({"extension", VALUE_TEXT, false, 0, 0, 0, "only files of this kind: csv or jsonl", NULL}),
        ANSWERS({200, "DatasetDownload", NULL, "URLs that expire"}, MISSING)},
    {"GET", "/api/v1/datasets/{dataset_id}/content", handle_dataset_content, "get_dataset_content",
        "datasets", "The uploaded bytes, by a signed URL", ROLE_NOBODY, NO_BODY, SIGNED,
        ANSWERS({200, NULL, "text/csv", "the file"}, {403, "Detail", NULL, "forged or expired"}, MISSING)},
    {"GET", "/api/v1/datasets/{dataset_id}/samples", handle_dataset_samples, "list_dataset_samples",
        "datasets", "Shows samples", ROLE_VIEWER, NO_BODY, SAMPLE_PAGE,
        ANSWERS({200, "SampleListing", NULL, "in the file's order; fewer than asked for when they are long"},
            MISSING)},
    {"GET", "/api/v1/datasets/{dataset_id}/statistics", handle_dataset_statistics, "get_dataset_statistics",
        "datasets", "How long the texts are", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "DatasetStatistics", NULL, "by column"}, MISSING)},

    /* experiments */
    {"POST", "/api/v1/experiments", handle_experiment_submit, "submit_experiment", "experiments",
        "Runs a model over a dataset", ROLE_USER, JSON_BODY("ExperimentSubmission"), NULL,
        ANSWERS({201, "Experiment", NULL, "stored; with a model, on its way"}, MISSING)},
    {"GET", "/api/v1/experiments", handle_experiment_list, "list_experiments", "experiments",
        "Lists experiments", ROLE_VIEWER, NO_BODY, PAGED,
        ANSWERS({200, "ExperimentListing", NULL, "the newest first"})},
    {"GET", "/api/v1/experiments/all", handle_experiment_list, "list_all_experiments", "experiments",
        "Lists experiments", ROLE_VIEWER, NO_BODY, PAGED,
        ANSWERS({200, "ExperimentListing", NULL, "the newest first"})},
    {"GET", "/api/v1/experiments/compare", handle_experiment_compare, "compare_experiments", "experiments",
        "Compares the models of several experiments", ROLE_VIEWER, NO_BODY, IDS,
        ANSWERS(
            {200, "Comparison", NULL, "means, intervals, tests, best and worst samples"}, MISSING, CONFLICT)},
    {"GET", "/api/v1/experiments/{experiment_id}", handle_experiment_get, "get_experiment", "experiments",
        "Shows an experiment", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "Experiment", NULL, "the experiment"}, MISSING)},
    {"DELETE", "/api/v1/experiments/{experiment_id}", handle_experiment_delete, "delete_experiment",
        "experiments", "Stops and deletes an experiment with its results", ROLE_USER, NO_BODY, NULL,
        ANSWERS(GONE, MISSING)},
    {"POST", "/api/v1/experiments/{experiment_id}/cancel", handle_experiment_cancel, "cancel_experiment",
        "experiments", "Stops an experiment", ROLE_USER, NO_BODY, NULL,
        ANSWERS({202, "Cancelled", NULL, "stopping"}, MISSING, CONFLICT)},
    {"GET", "/api/v1/experiments/{experiment_id}/events", handle_events, "watch_experiment", "experiments",
        "Progress and partial means, as server-sent events", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, NULL, "text/event-stream", "events `progress`, then `end`; data is the experiment"},
            MISSING)},
    {"GET", "/api/v1/experiments/{experiment_id}/logs", handle_job_logs, "get_experiment_logs", "experiments",
        "What the workers logged", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "JobLogs", NULL, "the log"}, MISSING)},
    {"GET", "/api/v1/experiments/{experiment_id}/result", handle_result, "get_experiment_result",
        "experiments", "Says whether there is a result", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "ExperimentResult", NULL, "there is"}, MISSING)},
    {"GET", "/api/v1/experiments/{experiment_id}/result/download", handle_result_download,
        "get_experiment_result_download", "experiments", "Gives the result document's URL", ROLE_VIEWER,
        NO_BODY, NULL, ANSWERS({200, "ResultDownload", NULL, "a URL that expires"}, MISSING)},
    {"GET", "/api/v1/experiments/{experiment_id}/result/content", handle_result_content,
        "get_experiment_result_content", "experiments", "The result document, by a signed URL", ROLE_NOBODY,
        NO_BODY, SIGNED,
        ANSWERS({200, "ExperimentDocument", NULL, "the document"}, {403, "Detail", NULL, "forged or expired"},
            MISSING)},

    /* jobs */
    {"POST", "/api/v1/jobs/inference", handle_job_submit_inference, "submit_inference_job", "jobs",
        "Runs a model over a dataset", ROLE_USER, JSON_BODY("InferenceSubmission"), NULL,
        ANSWERS({201, "Job", NULL, "stored, and on its way"}, MISSING)},
    {"POST", "/api/v1/jobs/annotate", handle_job_submit_annotate, "submit_annotate_job", "jobs",
        "Writes ground truth with a model", ROLE_USER, JSON_BODY("AnnotateSubmission"), NULL,
        ANSWERS({201, "Job", NULL, "stored, and on its way"}, MISSING)},
    {"POST", "/api/v1/jobs/evaluator", handle_job_submit_evaluator, "submit_evaluator_job", "jobs",
        "Scores a dataset's predictions", ROLE_USER, JSON_BODY("EvaluatorSubmission"), NULL,
        ANSWERS({201, "Job", NULL, "stored, and on its way"}, MISSING)},
    {"GET", "/api/v1/jobs", handle_job_list, "list_jobs", "jobs", "Lists jobs", ROLE_VIEWER, NO_BODY,
        QUERY(PAGE_SKIP, PAGE_LIMIT, JOB_TYPES), ANSWERS({200, "JobListing", NULL, "the newest first"})},
    {"GET", "/api/v1/jobs/{job_id}", handle_job_get, "get_job", "jobs", "Shows a job", ROLE_VIEWER, NO_BODY,
        NULL, ANSWERS({200, "JobDetails", NULL, "the job"}, MISSING)},
    {"DELETE", "/api/v1/jobs/{job_id}", handle_job_delete, "delete_job", "jobs",
        "Stops and deletes a job with its results", ROLE_USER, NO_BODY, NULL, ANSWERS(GONE, MISSING)},
    {"POST", "/api/v1/jobs/{job_id}/cancel", handle_job_cancel, "cancel_job", "jobs", "Stops a job",
        ROLE_USER, NO_BODY, NULL, ANSWERS({202, "Cancelled", NULL, "stopping"}, MISSING, CONFLICT)},
    {"GET", "/api/v1/jobs/{job_id}/events", handle_events, "watch_job", "jobs",
        "Progress and partial means, as server-sent events", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, NULL, "text/event-stream", "events `progress`, then `end`; data is the job"}, MISSING)},
    {"GET", "/api/v1/jobs/{job_id}/logs", handle_job_logs, "get_job_logs", "jobs", "What the workers logged",
        ROLE_VIEWER, NO_BODY, NULL, ANSWERS({200, "JobLogs", NULL, "the log"}, MISSING)},
    {"GET", "/api/v1/jobs/{job_id}/dataset", handle_job_dataset, "get_job_dataset", "jobs",
        "The dataset that it wrote, or null", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "JobDataset", NULL, "the dataset; null before the end, and when none is written"},
            MISSING)},
    {"GET", "/api/v1/jobs/{job_id}/result", handle_result, "get_job_result", "jobs",
        "Says whether there is a result", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "JobResult", NULL, "there is"}, MISSING)},
    {"GET", "/api/v1/jobs/{job_id}/result/download", handle_result_download, "get_job_result_download",
        "jobs", "Gives the result document's URL", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "ResultDownload", NULL, "a URL that expires"}, MISSING)},
    {"GET", "/api/v1/jobs/{job_id}/result/content", handle_result_content, "get_job_result_content", "jobs",
        "The result document, by a signed URL", ROLE_NOBODY, NO_BODY, SIGNED,
        ANSWERS(
            {200, "JobDocument", NULL, "the document"}, {403, "Detail", NULL, "forged or expired"}, MISSING)},
    {"GET", "/api/v1/jobs/{job_id}/samples", handle_job_samples, "list_job_samples", "jobs",
        "Shows samples with predictions and scores, as far as there are", ROLE_VIEWER, NO_BODY, RESULT_PAGE,
        ANSWERS({200, "ResultListing", NULL, "a page"}, MISSING)},

    /* workflows */
    {"POST", "/api/v1/workflows", handle_workflow_submit, "submit_workflow", "workflows",
        "Runs a model over an experiment's dataset, then scores it", ROLE_USER,
        JSON_BODY("WorkflowSubmission"), NULL,
        ANSWERS({201, "Workflow", NULL, "stored, and on its way"}, MISSING)},
    {"GET", "/api/v1/workflows/{workflow_id}", handle_workflow_get, "get_workflow", "workflows",
        "Shows a workflow with its jobs", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "WorkflowDetails", NULL, "the workflow"}, MISSING)},
    {"DELETE", "/api/v1/workflows/{workflow_id}", handle_workflow_delete, "delete_workflow", "workflows",
        "Deletes a workflow with its jobs and results", ROLE_USER, NO_BODY,
        QUERY({"force", VALUE_BOOLEAN, false, 0, 0, 0, "also while it is under way", NULL}),
        ANSWERS(GONE, MISSING, CONFLICT)},
    {"GET", "/api/v1/workflows/{workflow_id}/logs", handle_workflow_logs, "get_workflow_logs", "workflows",
        "What the workers logged for its jobs", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "JobLogs", NULL, "the log"}, MISSING)},
    {"GET", "/api/v1/workflows/{workflow_id}/result/download", handle_workflow_result_download,
        "get_workflow_result_download", "workflows", "Gives the result document's URL", ROLE_VIEWER, NO_BODY,
        NULL, ANSWERS({200, "ResultDownload", NULL, "a URL that expires"}, MISSING)},
    {"GET", "/api/v1/workflows/{workflow_id}/result/content", handle_workflow_result_content,
        "get_workflow_result_content", "workflows", "The result document, by a signed URL", ROLE_NOBODY,
        NO_BODY, SIGNED,
        ANSWERS(
            {200, "JobDocument", NULL, "the document"}, {403, "Detail", NULL, "forged or expired"}, MISSING)},

    /* models, settings */
    {"GET", "/api/v1/models", handle_model_list, "list_models", "models", "Suggested models", ROLE_VIEWER,
        NO_BODY, TASKS,
        ANSWERS({200, "ModelListing", NULL, "models"}, {400, "Detail", NULL, "an unknown task"})},
    {"GET", "/api/v1/completions", handle_completion_list, "list_completion_vendors", "completions",
        "Names the providers that complete texts", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "CompletionVendors", NULL, "their names"})},
    {"POST", "/api/v1/completions/openai", handle_completion_openai, "complete_with_openai", "completions",
        "Summarizes a text with OpenAI's model", ROLE_USER, JSON_BODY("CompletionRequest"), NULL, COMPLETED},
    {"POST", "/api/v1/completions/mistral", handle_completion_mistral, "complete_with_mistral", "completions",
        "Summarizes a text with Mistral's model", ROLE_USER, JSON_BODY("CompletionRequest"), NULL, COMPLETED},
    {"GET", "/api/v1/ground-truth/deployments", handle_deployment_list, "list_deployments", "deployments",
        "Lists deployments", ROLE_VIEWER, NO_BODY, NULL,
        ANSWERS({200, "DeploymentListing", NULL, "all, the newest first"})},
    {"POST", "/api/v1/ground-truth/deployments", handle_deployment_create, "create_deployment", "deployments",
        "Names a model that answers single texts, and loads it", ROLE_USER, JSON_BODY("DeploymentRequest"),
        NULL, ANSWERS({201, "Deployment", NULL, "stored; its model is being loaded"})},
    {"POST", "/api/v1/ground-truth/deployments/{deployment_id}", handle_deployment_query, "query_deployment",
        "deployments", "Summarizes a text", ROLE_USER, JSON_BODY("CompletionRequest"), NULL, QUERIED},
    {"DELETE", "/api/v1/ground-truth/deployments/{deployment_id}", handle_deployment_delete,
        "delete_deployment", "deployments", "Deletes a deployment", ROLE_USER, NO_BODY, NULL,
        ANSWERS(GONE, MISSING)},
    {"GET", "/api/v1/settings/secrets", handle_secret_list, "list_secrets", "settings",
        "Lists secrets, without their values", ROLE_USER, NO_BODY, NULL,
        ANSWERS({200, "Secrets", NULL, "names and descriptions"})},
    {"PUT", "/api/v1/settings/secrets/{secret_name}", handle_secret_put, "put_secret", "settings",
        "Stores or replaces a secret", ROLE_ADMIN, JSON_BODY("SecretUpload"), NULL,
        ANSWERS({201, "SecretName", NULL, "new"}, {204, NULL, NULL, "replaced"})},
    {"DELETE", "/api/v1/settings/secrets/{secret_name}", handle_secret_delete, "delete_secret", "settings",
        "Deletes a secret", ROLE_ADMIN, NO_BODY, NULL, ANSWERS(GONE, MISSING)},

    /* administration */
    {"GET", "/api/v1/cluster/status", handle_cluster_status, "get_cluster_status", "cluster",
        "The cluster in figures", ROLE_VIEWER, NO_BODY, NULL, ANSWERS({200, "ClusterStatus", NULL, "now"})},
    {"GET", "/api/v1/cluster/workers", handle_worker_list, "list_workers", "cluster", "Lists workers",
        ROLE_VIEWER, NO_BODY, NULL, ANSWERS({200, "WorkerListing", NULL, "workers"})},
    {"GET", "/api/v1/cluster/workers/{worker_id}", handle_worker_get, "get_worker", "cluster",
        "Shows a worker", ROLE_VIEWER, NO_BODY, NULL, ANSWERS({200, "Worker", NULL, "the worker"}, MISSING)},
    {"POST", "/api/v1/cluster/workers/{worker_id}/drain", handle_worker_drain, "drain_worker", "cluster",
        "Lets a worker finish and take nothing new", ROLE_ADMIN, NO_BODY, NULL,
        ANSWERS({200, "WorkerAction", NULL, "draining"}, MISSING)},
    {"POST", "/api/v1/cluster/workers/{worker_id}/resume", handle_worker_resume, "resume_worker", "cluster",
        "Gives a drained worker tasks again", ROLE_ADMIN, NO_BODY, NULL,
        ANSWERS({200, "WorkerAction", NULL, "ready"}, MISSING)},
    {"POST", "/api/v1/cluster/workers/{worker_id}/evict", handle_worker_evict, "evict_worker", "cluster",
        "Takes a worker's tasks away and sends it off", ROLE_ADMIN, NO_BODY, NULL,
        ANSWERS({200, "WorkerAction", NULL, "evicted"}, MISSING)},
    {"GET", "/api/v1/auth/tokens", handle_token_list, "list_tokens", "auth", "Lists tokens", ROLE_ADMIN,
        NO_BODY, NULL, ANSWERS({200, "TokenListing", NULL, "tokens, without themselves"})},
    {"POST", "/api/v1/auth/tokens", handle_token_create, "create_token", "auth", "Makes a token", ROLE_ADMIN,
        JSON_BODY("TokenRequest"), NULL, ANSWERS({201, "NewToken", NULL, "shown this once"})},
    {"DELETE", "/api/v1/auth/tokens/{token_id}", handle_token_delete, "delete_token", "auth",
        "Revokes a token", ROLE_ADMIN, NO_BODY, NULL, ANSWERS(GONE, MISSING)},

    {"GET", "/api/v1/auth/audit", handle_audit_list, "list_audit", "auth",
        "Who changed what, and who was refused", ROLE_ADMIN, NO_BODY, PAGED,
        ANSWERS({200, "AuditListing", NULL, "the newest first"})},

    /* pages */
    {"GET", "/openapi.json", handle_openapi, "get_openapi", "pages", "This API as OpenAPI 3.1", ROLE_NOBODY,
        NO_BODY, NULL, ANSWERS({200, NULL, "application/json", "OpenAPI"})},
    {"GET", "/docs", handle_page, "get_docs", "pages", "This API as a page on which requests can be tried",
        ROLE_NOBODY, NO_BODY, NULL, PAGE_HTML},
    {"GET", "/", handle_page, "get_dashboard", "pages", "The dashboard", ROLE_NOBODY, NO_BODY, NULL,
        PAGE_HTML},
    {"GET", "/static/{file_name}", handle_static, "get_static_file", "pages", "A part of a page", ROLE_NOBODY,
        NO_BODY, NULL, ANSWERS({200, NULL, "text/javascript", "a script or a style"}, MISSING)},
};

const size_t ROUTE_COUNT = sizeof(ROUTES) / sizeof(ROUTES[0]);
