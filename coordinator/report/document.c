#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/report/columns.h"
#include "coordinator/report/report.h"
#include "coordinator/report/writer.h"
#include "coordinator/store/store.h"

enum { BLOCK_SAMPLES = 1000 };

/* A document is text, then a list, then text, then a list, …: a part is a list with the text after it. */
struct part {
    uint32_t field; /* STORE_RESULT_… */
    size_t index;   /* of STORE_RESULT_VALUES */
    char *after;
};

struct report_document {
    struct store *store;
    char job_id[STORE_ID_BYTES];
    void (*wake)(void *context);
    void *context;
    struct part *parts;
    size_t part_count, part;
    uint64_t next_index;
    bool waiting; /* a call to the store is under way */
    bool failed, closed;
    bool first_item;
    struct writer writer;
};

static void document_free(struct report_document *d)
{
    for (size_t i = 0; i < d->part_count; i++)
        free(d->parts[i].after);
    free(d->parts);
    writer_free(&d->writer);
    free(d);
}

static void add_part(struct report_document *d, uint32_t field, size_t index, char *after)
{
    d->parts = alloc_resize(d->parts, d->part_count + 1, sizeof(*d->parts));
    d->parts[d->part_count++] = (struct part){field, index, after};
}

static void put_member(struct writer *w, const char *name)
{
    writer_string(w, name, strlen(name));
    writer_text(w, ":");
}

static void put_json(struct writer *w, const char *name, const char *json, const char *otherwise)
{
    put_member(w, name);
    writer_text(w, json && *json ? json : otherwise);
}

/* The text of a scratch writer becomes a string that the caller owns. */
static char *take_text(struct writer *w)
{
    char *text = alloc_copy(w->bytes ? w->bytes + w->read : "", w->size - w->read);
    w->read = w->size = 0;
    return text;
}

/* What bert-score's users compare runs by: encoder, layer, idf, versions. */
static void put_hashcode(struct writer *w, const struct store_job *job)
{
    json_t *provenance = job->provenance ? json_loads(job->provenance, 0, NULL) : NULL;
    const char *encoder = json_string_value(json_object_get(provenance, "encoder"));
    const char *version = json_string_value(json_object_get(provenance, "engine_version"));
    if (encoder && *encoder) {
        char *text = alloc_format("%s_no-idf_version=0.3.12(lumigrid=%s)", encoder, version ? version : "");
        writer_text(w, ",");
        put_member(w, "hashcode");
        writer_string(w, text, strlen(text));
        free(text);
    }
    json_decref(provenance);
}

/* What stands after a metric's list: its mean, and the end of its group if it is the last. */
static char *after_values(
    const struct store_job *job, const struct column *columns, size_t count, size_t i, const json_t *means)
{
    struct writer w = {0};
    const json_t *mean = json_object_get(means, columns[i].value_key);
    writer_text(&w, "],");
    put_member(&w, columns[i].mean_key);
    writer_number(&w, json_is_number(mean) ? json_number_value(mean) : NAN);
    if (i + 1 < count && strcmp(columns[i].group, columns[i + 1].group) == 0) {
        writer_text(&w, ",");
        put_member(&w, columns[i + 1].key);
        writer_text(&w, "[");
    } else {
        if (strcmp(columns[i].group, "bertscore") == 0)
            put_hashcode(&w, job);
        writer_text(&w, "}");
    }
    char *text = take_text(&w);
    writer_free(&w);
    return text;
}

/* Appends `more` to the text that stands so far at the end of the document. */
static void append_text(struct report_document *d, struct writer *opening, const char *more)
{
    if (d->part_count == 0) {
        writer_text(opening, more);
        return;
    }
    char **after = &d->parts[d->part_count - 1].after;
    char *joined = alloc_format("%s%s", *after, more);
    free(*after);
    *after = joined;
}

static void plan_metrics(struct report_document *d, const struct store_job *job)
{
    size_t count;
    struct column *columns = columns_of(job, &count);
    json_t *aggregates = job->aggregates ? json_loads(job->aggregates, 0, NULL) : NULL;
    const json_t *means = json_object_get(aggregates, "means");
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(columns[i - 1].group, columns[i].group) != 0) {
            char *open = alloc_format("%s\"%s\":{\"%s\":[", i ? "," : "", columns[i].group, columns[i].key);
            append_text(d, &d->writer, open);
            free(open);
        }
        add_part(d, STORE_RESULT_VALUES, columns[i].index, after_values(job, columns, count, i, means));
    }
    json_decref(aggregates);
    free(columns);
}

static void plan_texts(struct report_document *d, const char *before)
{
    append_text(d, &d->writer, before);
    append_text(d, &d->writer, "\"predictions\":[");
    add_part(d, STORE_RESULT_PREDICTION, 0, alloc_string("],\"examples\":["));
    add_part(d, STORE_RESULT_EXAMPLE, 0, alloc_string("],\"ground_truth\":["));
    add_part(d, STORE_RESULT_GROUND_TRUTH, 0, alloc_string("],"));
}

static void plan_end(
    struct report_document *d, const struct store_job *job, const char *time_name, const char *end)
{
    struct writer w = {0};
    put_member(&w, "model");
    if (job->model)
        writer_string(&w, job->model, strlen(job->model));
    else
        writer_text(&w, "null");
    writer_text(&w, ",");
    put_member(&w, time_name);
    writer_number(&w, (double)(job->finished_ms - job->started_ms) / 1000);
    writer_text(&w, end);
    char *text = take_text(&w);
    append_text(d, &d->writer, text);
    free(text);
    writer_free(&w);
}

static void plan(struct report_document *d, const struct store_job *job, enum report_kind kind)
{
    bool has_metrics = job->metric_key_count > 0;
    if (kind == REPORT_EXPERIMENT) {
        writer_text(&d->writer, "{");
        plan_metrics(d, job);
        plan_texts(d, has_metrics ? "," : "");
        plan_end(d, job, "summarization_time", "}");
        return;
    }
    writer_text(&d->writer, "{\"metrics\":{");
    plan_metrics(d, job);
    append_text(d, &d->writer, "},");
    struct writer w = {0};
    put_json(&w, "parameters", job->request, "{}");
    writer_text(&w, ",\"artifacts\":{");
    char *text = take_text(&w);
    plan_texts(d, text);
    free(text);
    writer_free(&w);
    plan_end(d, job, job->kind == STORE_JOB_EVALUATOR ? "evaluation_time" : "inference_time", "}}");
}

struct report_document *report_document_open(struct store *store, const struct store_job *job,
    enum report_kind kind, void (*wake)(void *context), void *context)
{
    struct report_document *d = alloc_zero(1, sizeof(*d));
    d->store = store;
    snprintf(d->job_id, sizeof(d->job_id), "%s", job->id);
    d->wake = wake;
    d->context = context;
    d->first_item = true;
    plan(d, job, kind);
    return d;
}

static void put_text(struct writer *w, const struct store_text *text)
{
    if (text->bytes)
        writer_string(w, text->bytes, text->size);
    else
        writer_text(w, "null");
}

static void put_item(struct writer *w, const struct part *part, const struct store_result *result)
{
    switch (part->field) {
    case STORE_RESULT_VALUES:
        writer_number(w, part->index < result->value_count ? result->values[part->index] : NAN);
        break;
    case STORE_RESULT_EXAMPLE: put_text(w, &result->example); break;
    case STORE_RESULT_GROUND_TRUTH: put_text(w, &result->ground_truth); break;
    default: put_text(w, &result->prediction); break;
    }
}

static void on_block(void *context, const struct store_result *results, size_t count, const struct error *err)
{
    struct report_document *d = context;
    d->waiting = false;
    if (d->closed) {
        document_free(d);
        return;
    }
    if (err) {
        log_error_value(LOG_LEVEL_ERROR, "a result document ends early", err);
        d->failed = true;
    } else if (count == 0) {
        writer_text(&d->writer, d->parts[d->part++].after);
        d->next_index = 0;
        d->first_item = true;
    }
    for (size_t i = 0; i < count && !err; i++) {
        if (!d->first_item)
            writer_text(&d->writer, ",");
        d->first_item = false;
        put_item(&d->writer, &d->parts[d->part], &results[i]);
        d->next_index = results[i].index + 1;
    }
    d->wake(d->context);
}

ssize_t report_document_read(struct report_document *d, char *buffer, size_t max)
{
    size_t taken = writer_take(&d->writer, buffer, max);
    if (taken > 0)
        return (ssize_t)taken;
    if (d->failed)
        return REPORT_FAILED;
    if (d->part == d->part_count)
        return REPORT_END;
    if (!d->waiting) {
        d->waiting = true;
        store_result_range(
            d->store, d->job_id, d->next_index, BLOCK_SAMPLES, d->parts[d->part].field, on_block, d);
    }
    return 0;
}

void report_document_close(struct report_document *d)
{
    d->closed = true;
    if (!d->waiting)
        document_free(d);
}
