#include "coordinator/api/dataset_upload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/text.h"
#include "coordinator/api/multipart.h"
#include "coordinator/api/problems.h"
#include "coordinator/api/server.h"
#include "coordinator/api/table.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

enum { FIELD_BYTES_MAX = 1024, FEED_BYTES_MAX = 64 * 1024 };

enum field { FIELD_FORMAT, FIELD_RUN_ID, FIELD_GENERATED, FIELD_GENERATED_BY, FIELD_COUNT };
static const char *const FIELD_NAMES[FIELD_COUNT] = {"format", "run_id", "generated", "generated_by"};

struct dataset_upload {
    struct request *request;
    struct store_upload *store; /* NULL: not begun, refused, committed or aborted */
    struct multipart *multipart;
    struct table *table;
    bool ready; /* the store's transaction is open */
    bool full;  /* the store takes no more now */
    bool in_file, seen_file;
    int in_field; /* -1: none that we know */
    bool seen[FIELD_COUNT];
    char fields[FIELD_COUNT][FIELD_BYTES_MAX + 1];
    size_t field_size;
    char filename[MULTIPART_FILENAME_BYTES_MAX];
    uint64_t file_bytes;
};

static void upload_fail(struct dataset_upload *u, const struct error *err)
{
    if (u->store)
        store_upload_abort(u->store);
    u->store = NULL;
    request_answer_error(u->request, err);
}

static void on_ready(void *context, const struct error *err)
{
    struct dataset_upload *u = context;
    if (err) {
        u->store = NULL;
        request_answer_error(u->request, err);
        return;
    }
    u->ready = true;
    request_wake(u->request);
}

static void on_drain(void *context, const struct error *err)
{
    struct dataset_upload *u = context;
    if (err) {
        upload_fail(u, err);
        return;
    }
    u->full = false;
    request_wake(u->request);
}

static bool on_row(void *context, const struct table_row *row, struct error *err)
{
    (void)err;
    struct dataset_upload *u = context;
    struct store_sample sample = {
        .example = {row->examples.bytes, row->examples.size},
        .ground_truth = {row->ground_truth.bytes, row->ground_truth.size},
        .prediction = {row->predictions.bytes, row->predictions.size},
    };
    if (!store_upload_samples(u->store, &sample, 1))
        u->full = true;
    return true;
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcasecmp(text + a - b, end) == 0;
}

/* A name that is safe in a header and on a page: UTF-8 without control characters. */
static void keep_filename(struct dataset_upload *u, const char *filename)
{
    snprintf(u->filename, sizeof(u->filename), "%s", filename);
    for (char *p = u->filename; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7F)
            *p = '_';
    if (!text_valid(u->filename, strlen(u->filename)) || u->filename[0] == '\0')
        snprintf(u->filename, sizeof(u->filename), "dataset.csv");
}

static bool on_part(void *context, const char *name, const char *filename, struct error *err)
{
    struct dataset_upload *u = context;
    u->in_file = filename && strcmp(name, "dataset") == 0;
    u->in_field = -1;
    u->field_size = 0;
    if (u->in_file) {
        if (u->seen_file)
            return error_set(err, ERROR_INVALID, "the form has more than one file \"dataset\"");
        u->seen_file = true;
        keep_filename(u, filename);
        enum table_format format = ends_with(u->filename, ".csv") ? TABLE_CSV
                                   : ends_with(u->filename, ".jsonl") || ends_with(u->filename, ".ndjson")
                                       ? TABLE_JSONL
                                       : TABLE_GUESS;
        u->table = table_open(format, on_row, u);
        return true;
    }
    for (int i = 0; i < FIELD_COUNT; i++)
        if (strcmp(name, FIELD_NAMES[i]) == 0)
            u->in_field = i;
    if (u->in_field >= 0)
        u->seen[u->in_field] = true;
    return true;
}

static bool take_file(struct dataset_upload *u, const char *bytes, size_t size, struct error *err)
{
    uint64_t max = u->request->api->options.upload_bytes_max;
    u->file_bytes += size;
    if (u->file_bytes > max)
        return error_set(err, ERROR_TOO_LARGE, "the file is larger than %llu bytes", (unsigned long long)max);
    if (!store_upload_chunk(u->store, bytes, size))
        u->full = true;
    return table_feed(u->table, bytes, size, err);
}

static bool on_part_data(void *context, const char *bytes, size_t size, struct error *err)
{
    struct dataset_upload *u = context;
    if (u->in_file)
        return take_file(u, bytes, size, err);
    if (u->in_field < 0)
        return true;
    if (u->field_size + size > FIELD_BYTES_MAX)
        return error_set(err, ERROR_INVALID, "the form field \"%s\" is longer than %d bytes",
            FIELD_NAMES[u->in_field], FIELD_BYTES_MAX);
    memcpy(u->fields[u->in_field] + u->field_size, bytes, size);
    u->field_size += size;
    return true;
}

static bool on_part_end(void *context, struct error *err)
{
    struct dataset_upload *u = context;
    if (u->in_file)
        return table_finish(u->table, err);
    if (u->in_field < 0)
        return true;
    char *field = u->fields[u->in_field];
    field[u->field_size] = '\0';
    if (strlen(field) != u->field_size || !text_valid(field, u->field_size))
        return error_set(
            err, ERROR_INVALID, "the form field \"%s\" is no UTF-8 text", FIELD_NAMES[u->in_field]);
    return true;
}

struct dataset_upload *dataset_upload_begin(struct request *request)
{
    struct dataset_upload *u = alloc_zero(1, sizeof(*u));
    struct multipart_handler handler = {u, on_part, on_part_data, on_part_end};
    struct error err;
    u->request = request;
    u->in_field = -1;
    u->multipart = multipart_open(request_header(request, "Content-Type"), &handler, &err);
    if (!u->multipart) {
        free(u);
        request_answer_error(request, &err);
        return NULL;
    }
    struct store_dataset meta = {.filename = "", .format = "", .media = "csv", .owner = request->actor};
    u->store = store_upload_begin(request->api->store, &meta, on_ready, on_drain, u);
    return u;
}

size_t dataset_upload_feed(struct dataset_upload *u, const char *bytes, size_t size)
{
    struct error err;
    size_t taken = 0;
    while (taken < size && u->ready && !u->full) {
        size_t piece = size - taken < FEED_BYTES_MAX ? size - taken : FEED_BYTES_MAX;
        if (!multipart_feed(u->multipart, bytes + taken, piece, &err)) {
            upload_fail(u, &err);
            return size;
        }
        taken += piece;
    }
    return taken;
}

static void on_committed(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct dataset_upload *u = context;
    if (err) {
        request_answer_error(u->request, err);
        return;
    }
    request_add_header(u->request, "Location", "/api/v1/datasets/%s", dataset->id);
    request_answer_json(u->request, MHD_HTTP_CREATED, view_dataset(dataset));
}

static void missing(json_t *problems, const char *field)
{
    problems_add(problems, json_pack("[s,s]", "body", field), "missing", "Field required", NULL);
}

static void wrong(json_t *problems, const char *field, const char *type, const char *msg, const char *sent)
{
    json_t *input = json_string(sent);
    problems_add(problems, json_pack("[s,s]", "body", field), type, msg, input);
    json_decref(input);
}

/* What is wrong with the form's fields; an empty list: nothing. */
static json_t *check_form(const struct dataset_upload *u, bool *generated)
{
    json_t *problems = json_array();
    const char *format = u->fields[FIELD_FORMAT], *flag = u->fields[FIELD_GENERATED];
    const char *run_id = u->fields[FIELD_RUN_ID];
    char uuid[37];
    if (!u->seen_file)
        missing(problems, "dataset");
    if (!u->seen[FIELD_FORMAT])
        missing(problems, "format");
    else if (strcmp(format, "experiment") != 0 && strcmp(format, "job") != 0)
        wrong(problems, "format", "enum", "Input should be 'job' or 'experiment'", format);
    if (run_id[0] && !request_parse_uuid(run_id, uuid))
        wrong(problems, "run_id", "uuid_parsing", "Input should be a valid UUID", run_id);
    *generated = strcasecmp(flag, "true") == 0 || strcmp(flag, "1") == 0;
    if (!*generated && flag[0] && strcasecmp(flag, "false") != 0 && strcmp(flag, "0") != 0)
        wrong(problems, "generated", "bool_parsing",
            "Input should be a valid boolean, unable to interpret input", flag);
    return problems;
}

void dataset_upload_finish(struct dataset_upload *u)
{
    struct error err;
    bool generated;
    if (!multipart_finish(u->multipart, &err)) {
        upload_fail(u, &err);
        return;
    }
    json_t *problems = check_form(u, &generated);
    if (json_array_size(problems) > 0) {
        store_upload_abort(u->store);
        u->store = NULL;
        request_answer_json(
            u->request, MHD_HTTP_UNPROCESSABLE_CONTENT, json_pack("{s:o}", "detail", problems));
        return;
    }
    json_decref(problems);
    struct store_dataset meta = {
        .filename = u->filename,
        .format = u->fields[FIELD_FORMAT],
        .media = table_media(u->table),
        .run_id = u->fields[FIELD_RUN_ID][0] ? u->fields[FIELD_RUN_ID] : NULL,
        .generated_by = u->fields[FIELD_GENERATED_BY][0] ? u->fields[FIELD_GENERATED_BY] : NULL,
        .generated = generated,
        .owner = u->request->actor,
    };
    store_upload_describe(u->store, &meta);
    store_upload_commit(u->store, on_committed, u);
    u->store = NULL;
}

void dataset_upload_abort(struct dataset_upload *u)
{
    if (u->store)
        store_upload_abort(u->store);
    multipart_close(u->multipart);
    table_close(u->table);
    free(u);
}
