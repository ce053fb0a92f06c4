/* Every handler that the table of routes names; each is in the file of its resource. Private to the api room.
 */
#ifndef LUMIGRID_COORDINATOR_API_HANDLERS_H
#define LUMIGRID_COORDINATOR_API_HANDLERS_H

struct request;

/* health.c */
void handle_health(struct request *request);
void handle_health_jobs(struct request *request);
void handle_health_job(struct request *request);
void handle_live(struct request *request);
void handle_ready(struct request *request);
/* metrics.c */
void handle_metrics(struct request *request);
/* datasets.c */
void handle_dataset_list(struct request *request);
void handle_dataset_get(struct request *request);
void handle_dataset_delete(struct request *request);
void handle_dataset_download(struct request *request);
void handle_dataset_content(struct request *request);
/* samples.c */
void handle_dataset_samples(struct request *request);
void handle_dataset_statistics(struct request *request);
void handle_job_samples(struct request *request);
/* experiments.c */
void handle_experiment_submit(struct request *request);
void handle_experiment_list(struct request *request);
void handle_experiment_get(struct request *request);
void handle_experiment_cancel(struct request *request);
void handle_experiment_delete(struct request *request);
void handle_experiment_compare(struct request *request);
/* jobs.c */
void handle_job_list(struct request *request);
void handle_job_get(struct request *request);
void handle_job_cancel(struct request *request);
void handle_job_delete(struct request *request);
void handle_job_logs(struct request *request);
void handle_job_dataset(struct request *request);
void handle_job_submit_inference(struct request *request);
void handle_job_submit_annotate(struct request *request);
void handle_job_submit_evaluator(struct request *request);
/* workflows.c */
void handle_workflow_submit(struct request *request);
void handle_workflow_get(struct request *request);
void handle_workflow_logs(struct request *request);
void handle_workflow_result_download(struct request *request);
void handle_workflow_result_content(struct request *request);
void handle_workflow_delete(struct request *request);
/* results.c */
void handle_result(struct request *request);
void handle_result_download(struct request *request);
void handle_result_content(struct request *request);
/* events.c */
void handle_events(struct request *request);
/* cluster.c */
void handle_worker_list(struct request *request);
void handle_worker_get(struct request *request);
void handle_worker_drain(struct request *request);
void handle_worker_resume(struct request *request);
void handle_worker_evict(struct request *request);
void handle_cluster_status(struct request *request);
/* models.c */
void handle_model_list(struct request *request);
/* deployments.c */
void handle_deployment_list(struct request *request);
void handle_deployment_create(struct request *request);
void handle_deployment_query(struct request *request);
void handle_deployment_delete(struct request *request);
void handle_health_deployments(struct request *request);
/* completions.c */
void handle_completion_list(struct request *request);
void handle_completion_openai(struct request *request);
void handle_completion_mistral(struct request *request);
/* secrets.c */
void handle_secret_list(struct request *request);
void handle_secret_put(struct request *request);
void handle_secret_delete(struct request *request);
/* tokens.c */
void handle_token_list(struct request *request);
void handle_token_create(struct request *request);
void handle_token_delete(struct request *request);
/* audit.c */
void handle_audit_list(struct request *request);
/* pages.c */
void handle_page(struct request *request);
void handle_static(struct request *request);
void handle_openapi(struct request *request);

#endif
