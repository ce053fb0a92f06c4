#include "coordinator/store/job_row.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/alloc.h"

static const char *const kinds[] = {"experiment", "inference", "annotate", "evaluator"};
static const char *const statuses[] = {"created", "pending", "running", "succeeded", "failed", "stopped"};

const char *store_job_kind_name(enum store_job_kind kind)
{
    return kinds[kind];
}

const char *store_job_status_name(enum store_job_status status)
{
    return statuses[status];
}

static int place_in(const char *const *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (name && strcmp(names[i], name) == 0)
            return (int)i;
    return 0; /* the table's CHECK allows nothing else */
}

/* A JSON array of strings as Postgres writes it. */
static const char *const *decode_list(const char *json, size_t *count)
{
    json_t *array = json_loads(json ? json : "[]", 0, NULL);
    *count = json_array_size(array);
    char **list = alloc_zero(*count, sizeof(char *));
    for (size_t i = 0; i < *count; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        list[i] = alloc_string(text ? text : "");
    }
    json_decref(array);
    return (const char *const *)list;
}

static void free_list(const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free((char *)list[i]);
    free((void *)list);
}

void job_row_decode(const PGresult *result, int row, struct store_job *out)
{
    value_id(result, row, 0, out->id);
    out->kind =
        (enum store_job_kind)place_in(kinds, sizeof kinds / sizeof *kinds, value_text(result, row, 1));
    out->status = (enum store_job_status)place_in(
        statuses, sizeof statuses / sizeof *statuses, value_text(result, row, 2));
    out->experiment_id = value_text(result, row, 3);
    out->workflow_id = value_text(result, row, 4);
    out->name = value_text(result, row, 5);
    out->description = value_text(result, row, 6);
    out->dataset_id = value_text(result, row, 7);
    out->model = value_text(result, row, 8);
    out->settings = value_text(result, row, 9);
    out->request = value_text(result, row, 10);
    out->owner = value_text(result, row, 11);
    out->metrics = decode_list(value_text(result, row, 12), &out->metric_count);
    out->metric_keys = decode_list(value_text(result, row, 13), &out->metric_key_count);
    out->max_samples = value_int(result, row, 14);
    out->sample_count = (uint64_t)value_int(result, row, 15);
    out->priority = (int32_t)value_int(result, row, 16);
    out->timeout_s = (uint32_t)value_int(result, row, 17);
    out->message = value_text(result, row, 18);
    out->hint = value_text(result, row, 19);
    out->provenance = value_text(result, row, 20);
    out->aggregates = value_text(result, row, 21);
    out->created_ms = value_int(result, row, 22);
    out->started_ms = value_int(result, row, 23);
    out->finished_ms = value_int(result, row, 24);
    out->updated_ms = value_int(result, row, 25);
    out->output_field = value_text(result, row, 26);
    out->output_dataset_id = value_text(result, row, 27);
}

void job_row_free(struct store_job *job)
{
    free_list(job->metrics, job->metric_count);
    free_list(job->metric_keys, job->metric_key_count);
}

void job_row_done(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    struct store_job job = {0};
    struct error missing = {0};
    if (!err && !PQntuples(result)) {
        error_set(&missing, ERROR_NOT_FOUND, "there is no job %s", call->subject);
        err = &missing;
    } else if (!err) {
        job_row_decode(result, 0, &job);
    }
    if (call->done)
        ((store_job_done)call->done)(call->context, err ? NULL : &job, err);
    if (!err)
        job_row_free(&job);
    free(call);
}
