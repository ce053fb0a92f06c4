/* Samples a page at a time, for looking at them: a dataset's, and a job's with predictions and scores. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/text.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

/* What is no UTF-8 is repaired: a model may stop in the middle of a character. */
static json_t *view_bytes(struct store_text text)
{
    if (!text.bytes)
        return json_null();
    json_t *value = json_stringn(text.bytes, text.size);
    if (value)
        return value;
    size_t size;
    char *repaired = text_repair(text.bytes, text.size, &size);
    value = repaired ? json_stringn(repaired, size) : NULL;
    free(repaired);
    return value ? value : json_null();
}

/* ---- a dataset's ---- */

struct page {
    struct request *request;
    uint64_t total;
};

static void on_samples(
    void *context, const struct store_sample *samples, size_t count, const struct error *err)
{
    struct page *page = context;
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            items, json_pack("{s:I, s:o, s:o, s:o}", "index", (json_int_t)samples[i].index, "examples",
                       view_bytes(samples[i].example), "ground_truth", view_bytes(samples[i].ground_truth),
                       "predictions", view_bytes(samples[i].prediction)));
    if (err) {
        json_decref(items);
        request_answer_error(page->request, err);
    } else {
        request_answer_json(page->request, MHD_HTTP_OK, view_listing(page->total, items));
    }
    free(page);
}

static void on_dataset(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    struct page *page = alloc_zero(1, sizeof *page);
    *page = (struct page){request, dataset->sample_count};
    store_sample_range(request->api->store, dataset->id, (uint64_t)request_query_integer(request, "skip"),
        (uint64_t)request_query_integer(request, "limit"), on_samples, page);
}

void handle_dataset_samples(struct request *request)
{
    store_dataset_get(request->api->store, request_parameter(request, 0), on_dataset, request);
}

static void on_lengths(void *context, const char *json, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        request_answer_json(request, MHD_HTTP_OK, json_loads(json, 0, NULL));
}

static void on_measured(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        store_dataset_lengths(request->api->store, dataset->id, on_lengths, request);
}

void handle_dataset_statistics(struct request *request)
{
    store_dataset_get(request->api->store, request_parameter(request, 0), on_measured, request);
}

/* ---- a job's ---- */

struct result_page {
    struct request *request;
    char **keys; /* the job's metric keys, owned */
    size_t key_count;
};

static void result_page_free(struct result_page *page)
{
    for (size_t i = 0; i < page->key_count; i++)
        free(page->keys[i]);
    free(page->keys);
    free(page);
}

static json_t *view_result(const struct result_page *page, const struct store_result *r)
{
    json_t *scores = json_object();
    for (size_t k = 0; k < page->key_count; k++) {
        double value = k < r->value_count ? r->values[k] : NAN;
        json_object_set_new(scores, page->keys[k], isfinite(value) ? json_real(value) : json_null());
    }
    json_t *item = json_pack("{s:I, s:o, s:o, s:o, s:o}", "index", (json_int_t)r->index, "examples",
        view_bytes(r->example), "ground_truth", view_bytes(r->ground_truth), "prediction",
        view_bytes(r->prediction), "scores", scores);
    json_t *figures =
        json_pack("{s:I, s:I, s:f, s:b, s:o, s:o, s:o}", "prompt_tokens", (json_int_t)r->prompt_tokens,
            "new_tokens", (json_int_t)r->new_tokens, "seconds", r->seconds, "truncated", r->truncated,
            "finish_reason", view_text(r->finish_reason), "worker_id", view_text(r->worker_id), "error",
            r->error_code ? view_text(r->error_message ? r->error_message : r->error_code) : json_null());
    json_object_update(item, figures);
    json_decref(figures);
    return item;
}

static void on_results(
    void *context, uint64_t total, const struct store_result *results, size_t count, const struct error *err)
{
    struct result_page *page = context;
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(items, view_result(page, &results[i]));
    if (err) {
        json_decref(items);
        request_answer_error(page->request, err);
    } else {
        request_answer_json(page->request, MHD_HTTP_OK, view_listing(total, items));
    }
    result_page_free(page);
}

static void on_job(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    struct store_result_query query = {
        .skip = (uint64_t)request_query_integer(request, "skip"),
        .limit = (uint32_t)request_query_integer(request, "limit"),
        .descending = request_query_boolean(request, "descending"),
        .texts = request_query_boolean(request, "texts"),
    };
    const char *order_by = request_query_text(request, "order_by"),
               *search = request_query_text(request, "search");
    if (search && *search)
        query.search = (struct store_text){search, strlen(search)};
    for (size_t k = 0; order_by && k < job->metric_key_count && !query.order_by; k++)
        query.order_by = strcmp(job->metric_keys[k], order_by) == 0 ? k + 1 : 0;
    if (order_by && *order_by && !query.order_by) {
        request_answer_invalid(
            request, "query", "order_by", "value_error", "the job has no such metric value", NULL);
        return;
    }
    struct result_page *page = alloc_zero(1, sizeof *page);
    page->request = request;
    page->key_count = job->metric_key_count;
    page->keys = alloc_zero(job->metric_key_count, sizeof *page->keys);
    for (size_t k = 0; k < job->metric_key_count; k++)
        page->keys[k] = alloc_copy(job->metric_keys[k], strlen(job->metric_keys[k]) + 1);
    store_result_page(request->api->store, job->id, &query, on_results, page);
}

void handle_job_samples(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_job, request);
}
