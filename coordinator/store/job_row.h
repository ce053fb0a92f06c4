/* How a job's row is read. */
#ifndef LUMIGRID_COORDINATOR_STORE_JOB_ROW_H
#define LUMIGRID_COORDINATOR_STORE_JOB_ROW_H

#include "coordinator/store/state.h"

#define JOB_COLUMNS                                                                                          \
    "id, kind, status, experiment_id, workflow_id, name, description, dataset_id, model, settings, "         \
    "request, "                                                                                              \
    "owner, array_to_json(metrics), array_to_json(metric_keys), max_samples, sample_count, priority, "       \
    "timeout_s, "                                                                                            \
    "message, hint, provenance, aggregates, (extract(epoch FROM created_at) * 1000)::bigint, "               \
    "(extract(epoch FROM started_at) * 1000)::bigint, (extract(epoch FROM finished_at) * 1000)::bigint, "    \
    "(extract(epoch FROM updated_at) * 1000)::bigint, output_field, output_dataset_id"
enum { JOB_COLUMN_COUNT = 28 };

#define JOB_UNFINISHED "('created', 'pending', 'running')"

/* Row of a text result whose columns begin with JOB_COLUMNS. Texts live as long as the result; the two lists
 * are freed by job_row_free. */
void job_row_decode(const PGresult *result, int row, struct store_job *out);
void job_row_free(struct store_job *job);

/* request_done for statements that give one job back: NOT_FOUND when there is no row. `context` is a call. */
void job_row_done(void *context, PGresult *result, const struct error *err);

#endif
