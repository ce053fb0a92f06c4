#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/urls.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

static void on_list(
    void *context, uint64_t total, const struct store_dataset *items, size_t count, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        struct store_dataset shown = items[i];
        if (request_bare(request))
            shown.format = "job"; /* lumigator-sdk knows no other, and refuses the whole listing */
        json_array_append_new(list, view_dataset(&shown));
    }
    request_answer_json(request, MHD_HTTP_OK, view_listing(total, list));
}

void handle_dataset_list(struct request *request)
{
    store_dataset_list(request->api->store, (uint64_t)request_query_integer(request, "skip"),
        (uint64_t)request_query_integer(request, "limit"), on_list, request);
}

static void on_get(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        request_answer_json(request, MHD_HTTP_OK, view_dataset(dataset));
}

void handle_dataset_get(struct request *request)
{
    store_dataset_get(request->api->store, request_parameter(request, 0), on_get, request);
}

void handle_dataset_delete(struct request *request)
{
    store_dataset_delete(request->api->store, request_parameter(request, 0), request_answer_deleted, request);
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static void on_download(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    char path[128];
    const char *extension = request_query_text(request, "extension");
    bool wanted =
        !extension || strcmp(extension, dataset->media) == 0 || ends_with(dataset->filename, extension);
    snprintf(path, sizeof(path), "/api/v1/datasets/%s/content", dataset->id);
    json_t *url = url_signed(request, path), *urls = json_array();
    if (wanted)
        json_array_append(urls, url);
    request_answer_json(request, MHD_HTTP_OK,
        json_pack("{s:s, s:o, s:o}", "id", dataset->id, "download_url", url, "download_urls", urls));
}

void handle_dataset_download(struct request *request)
{
    store_dataset_get(request->api->store, request_parameter(request, 0), on_download, request);
}

/* The uploaded bytes on their way out, a piece at a time. */
struct content {
    struct request *request;
    struct store *store;
    char id[STORE_ID_BYTES];
    uint64_t next;
    char *bytes;
    size_t size, read;
    bool waiting, ended, failed, closed;
};

static void content_free(struct content *c)
{
    free(c->bytes);
    free(c);
}

static void on_chunk(void *context, const void *bytes, size_t size, const struct error *err)
{
    struct content *c = context;
    c->waiting = false;
    if (c->closed) {
        content_free(c);
        return;
    }
    c->failed = err != NULL;
    c->ended = size == 0;
    if (!err && size > 0)
        c->bytes = alloc_copy(bytes, size);
    c->size = size;
    c->read = 0;
    request_wake(c->request);
}

static ssize_t content_read(void *context, char *buffer, size_t max)
{
    struct content *c = context;
    if (c->read < c->size) {
        size_t n = c->size - c->read < max ? c->size - c->read : max;
        memcpy(buffer, c->bytes + c->read, n);
        c->read += n;
        return (ssize_t)n;
    }
    free(c->bytes);
    c->bytes = NULL;
    c->size = c->read = 0;
    if (c->failed || c->ended)
        return c->failed ? STREAM_FAILED : STREAM_END;
    if (!c->waiting) {
        c->waiting = true;
        store_dataset_chunk(c->store, c->id, c->next++, on_chunk, c);
    }
    return 0;
}

static void content_close(void *context)
{
    struct content *c = context;
    c->closed = true;
    if (!c->waiting)
        content_free(c);
}

static void on_content(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    struct content *c = alloc_zero(1, sizeof(*c));
    c->request = request;
    c->store = request->api->store;
    memcpy(c->id, dataset->id, sizeof(c->id));
    url_add_disposition(request, dataset->filename);
    struct stream stream = {content_read, content_close, c, dataset->size_bytes};
    bool csv = strcmp(dataset->media, "csv") == 0;
    request_answer_stream(request, MHD_HTTP_OK, csv ? "text/csv" : "application/x-ndjson", stream);
}

void handle_dataset_content(struct request *request)
{
    if (url_check(request))
        store_dataset_get(request->api->store, request_parameter(request, 0), on_content, request);
}
