/* A dataset on its way in: one transaction on a connection of its own. Raw pieces (INSERT) and blocks of
 * samples (COPY) take turns; what waits for its turn is bounded by asking the caller to wait. */
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/store/dataset.h"

enum {
    UPLOADS_MAX = 16,
    BLOCK_BYTES = 256 << 10, /* of raw bytes or samples in one operation */
    FULL_BYTES = 2 << 20,    /* waiting: ask the caller to wait */
    DRAINED_BYTES = 512 << 10,
};

enum operation_kind { OPERATION_BEGIN, OPERATION_CHUNK, OPERATION_SAMPLES, OPERATION_ROW, OPERATION_COMMIT };

struct operation {
    struct operation *next;
    enum operation_kind kind;
    char *bytes;
    size_t size;
};

struct store_upload {
    struct store_upload *next, **link; /* in store->uploads */
    struct store *store;
    struct connection *connection;
    uv_timer_t *defer; /* failures found within a call are told from the loop */
    struct store_dataset meta;
    char *texts[5]; /* what meta points to */
    struct operation *first, **last;
    bool busy, ready, full, told;
    size_t waiting_bytes;
    struct packet raw, rows; /* gathering */
    uint64_t next_seq;
    PGresult *row; /* the dataset as stored, until it is committed */
    struct error trouble;
    store_done on_ready, on_drain;
    void *context;
    store_dataset_done done; /* committing */
    void *done_context;
};

static void free_timer(uv_handle_t *handle)
{
    free(handle);
}

static void upload_free(struct store_upload *upload)
{
    connection_close(upload->connection);
    *upload->link = upload->next;
    if (upload->next)
        upload->next->link = upload->link;
    upload->store->upload_count--;
    while (upload->first) {
        struct operation *operation = upload->first;
        upload->first = operation->next;
        free(operation->bytes);
        free(operation);
    }
    for (size_t i = 0; i < sizeof upload->texts / sizeof *upload->texts; i++)
        free(upload->texts[i]);
    packet_free(&upload->raw);
    packet_free(&upload->rows);
    PQclear(upload->row);
    uv_close((uv_handle_t *)upload->defer, free_timer);
    free(upload);
}

/* Tells the failure to whoever listens now. Called from the loop only. */
static void tell_failure(struct store_upload *upload)
{
    connection_close(upload->connection);
    upload->connection = NULL;
    if (upload->done) {
        upload->done(upload->done_context, NULL, &upload->trouble);
        upload_free(upload);
    } else if (!upload->ready) {
        upload->on_ready(upload->context, &upload->trouble);
        upload_free(upload);
    } else if (!upload->told) {
        upload->told = true;
        upload->on_drain(upload->context, &upload->trouble);
    }
}

static void on_defer(uv_timer_t *timer)
{
    tell_failure(timer->data);
}

static void fail_later(struct store_upload *upload)
{
    uv_timer_start(upload->defer, on_defer, 0, 0);
}

static void add_operation(struct store_upload *upload, enum operation_kind kind, struct packet *bytes)
{
    struct operation *operation = alloc_zero(1, sizeof *operation);
    operation->kind = kind;
    if (bytes) {
        operation->bytes = bytes->bytes;
        operation->size = bytes->size;
        *bytes = (struct packet){0};
    }
    upload->waiting_bytes += operation->size;
    *upload->last = operation;
    upload->last = &operation->next;
}

/* ---- running operations ---- */

static bool send_params(PGconn *pg, const char *sql, const struct params *params)
{
    return PQsendQueryParams(pg, sql, params->count, NULL, (const char *const *)params->values,
        params->lengths, params->formats, 0);
}

static bool send_chunk(struct store_upload *upload, PGconn *pg, const struct operation *operation)
{
    struct params params = {0};
    params_text(&params, upload->meta.id);
    params_int(&params, (int64_t)upload->next_seq++);
    params_bytes(&params, operation->bytes, operation->size);
    bool sent =
        send_params(pg, "INSERT INTO dataset_chunk (dataset_id, seq, bytes) VALUES ($1, $2, $3)", &params);
    params_free(&params);
    return sent;
}

static bool send_row(struct store_upload *upload, PGconn *pg)
{
    const struct store_dataset *meta = &upload->meta;
    struct params params = {0};
    params_text(&params, meta->id);
    params_text(&params, meta->filename ? meta->filename : "");
    params_text(&params, meta->format ? meta->format : "");
    params_text(&params, meta->media ? meta->media : "csv");
    params_text(&params, meta->run_id);
    params_bool(&params, meta->generated);
    params_text(&params, meta->generated_by);
    params_text(&params, meta->owner);
    params_bool(&params, meta->ground_truth);
    params_bool(&params, meta->predictions);
    params_int(&params, (int64_t)meta->size_bytes);
    params_int(&params, (int64_t)meta->sample_count);
    bool sent = send_params(pg,
        "INSERT INTO dataset (id, filename, format, media, run_id, generated, generated_by, owner,"
        " ground_truth, predictions, size_bytes, sample_count)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING " DATASET_COLUMNS,
        &params);
    params_free(&params);
    return sent;
}

static void run_next(struct store_upload *upload)
{
    PGconn *pg = connection_pg(upload->connection);
    struct operation *operation = upload->first;
    if (upload->busy || !operation || !pg)
        return;
    bool sent = false;
    switch (operation->kind) {
    case OPERATION_BEGIN: sent = PQsendQuery(pg, "BEGIN"); break;
    case OPERATION_CHUNK: sent = send_chunk(upload, pg, operation); break;
    case OPERATION_SAMPLES:
        sent = PQsendQuery(pg,
            "COPY sample (dataset_id, index, example, ground_truth, prediction) FROM STDIN (FORMAT binary)");
        break;
    case OPERATION_ROW: sent = send_row(upload, pg); break;
    case OPERATION_COMMIT: sent = PQsendQuery(pg, "COMMIT"); break;
    }
    upload->busy = true;
    if (sent)
        connection_flush(upload->connection);
    else
        connection_break(upload->connection);
}

static void send_copy(struct store_upload *upload, PGconn *pg)
{
    static const char head[19] = "PGCOPY\n\377\r\n"; /* and its zero, no flags, no extension */
    static const char tail[2] = "\377\377";
    const struct operation *operation = upload->first;
    if (PQputCopyData(pg, head, sizeof head) != 1 ||
        PQputCopyData(pg, operation->bytes, (int)operation->size) != 1 ||
        PQputCopyData(pg, tail, sizeof tail) != 1 || PQputCopyEnd(pg, NULL) != 1)
        connection_break(upload->connection);
    else
        connection_flush(upload->connection);
}

static void committed(struct store_upload *upload)
{
    struct store_dataset dataset = {0};
    dataset_decode(upload->row, 0, &dataset);
    upload->done(upload->done_context, &dataset, NULL);
    upload_free(upload);
}

/* All results of the first operation are in. */
static void operation_done(struct store_upload *upload)
{
    struct operation *operation = upload->first;
    enum operation_kind kind = operation->kind;
    upload->first = operation->next;
    if (!upload->first)
        upload->last = &upload->first;
    upload->waiting_bytes -= operation->size;
    upload->busy = false;
    free(operation->bytes);
    free(operation);
    if (kind == OPERATION_COMMIT) {
        committed(upload);
        return;
    }
    if (kind == OPERATION_BEGIN) {
        upload->ready = true;
        upload->on_ready(upload->context, NULL);
        return; /* it may have aborted: the upload may be gone; new operations start by themselves */
    }
    run_next(upload);
    if (upload->full && upload->waiting_bytes <= DRAINED_BYTES) {
        upload->full = false;
        upload->on_drain(upload->context, NULL);
    }
}

static void on_input(void *context)
{
    struct store_upload *upload = context;
    PGconn *pg = connection_pg(upload->connection);
    while (upload->busy && !PQisBusy(pg)) {
        PGresult *result = PQgetResult(pg);
        ExecStatusType status = PQresultStatus(result);
        if (!result && PQstatus(pg) == CONNECTION_BAD) {
            connection_break(upload->connection);
            return;
        }
        if (!result) {
            if (upload->trouble.code)
                tell_failure(upload);
            else
                operation_done(upload);
            return; /* the next operation's answer brings new input */
        }
        if (status == PGRES_COPY_IN)
            send_copy(upload, pg);
        else if (status == PGRES_FATAL_ERROR && !upload->trouble.code)
            result_error(result, &upload->trouble);
        if (status == PGRES_TUPLES_OK && upload->first->kind == OPERATION_ROW) {
            upload->row = result;
            continue;
        }
        PQclear(result);
        if (status == PGRES_COPY_IN)
            return;
    }
}

static void on_ready(void *context)
{
    run_next(context);
}

static void on_lost(void *context, const char *reason)
{
    struct store_upload *upload = context;
    if (!upload->trouble.code) {
        error_set(&upload->trouble, ERROR_UNAVAILABLE,
            "the connection to Postgres was lost during the upload: %s", reason);
        error_hint(&upload->trouble, "nothing was stored; upload the file again");
    }
    tell_failure(upload);
}

/* ---- the caller's side ---- */

static void own_texts(struct store_upload *upload)
{
    struct store_dataset *meta = &upload->meta;
    const char **texts[] = {&meta->filename, &meta->format, &meta->media, &meta->run_id, &meta->generated_by};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = upload->texts[i] = alloc_string(*texts[i]);
}

struct store_upload *store_upload_begin(struct store *store, const struct store_dataset *meta,
    store_done on_ready_, store_done on_drain, void *context)
{
    struct store_upload *upload = alloc_zero(1, sizeof *upload);
    const struct connection_events events = {on_ready, on_input, on_lost, upload};
    upload->store = store;
    upload->meta = *meta;
    own_texts(upload);
    upload->meta.owner = NULL;
    upload->meta.size_bytes = upload->meta.sample_count = 0;
    upload->meta.ground_truth = upload->meta.predictions = false;
    store_id_new(upload->meta.id);
    upload->last = &upload->first;
    upload->on_ready = on_ready_;
    upload->on_drain = on_drain;
    upload->context = context;
    upload->defer = alloc_zero(1, sizeof *upload->defer);
    uv_timer_init(store->loop, upload->defer);
    upload->defer->data = upload;
    upload->next = store->uploads;
    upload->link = &store->uploads;
    if (upload->next)
        upload->next->link = &upload->next;
    store->uploads = upload;
    store->upload_count++;
    if (store->state != STORE_ACTIVE) {
        error_set(&upload->trouble, ERROR_UNAVAILABLE,
            "the Postgres database does not answer; nothing can be uploaded now");
        fail_later(upload);
    } else if (store->upload_count > UPLOADS_MAX) {
        error_set(
            &upload->trouble, ERROR_UNAVAILABLE, "%d uploads are running; try again later", UPLOADS_MAX);
        fail_later(upload);
    } else {
        add_operation(upload, OPERATION_BEGIN, NULL);
        upload->connection = connection_open(store->loop, &store->info, CONNECTION_FENCED, &events);
    }
    return upload;
}

void store_upload_describe(struct store_upload *upload, const struct store_dataset *meta)
{
    for (size_t i = 0; i < sizeof upload->texts / sizeof *upload->texts; i++)
        free(upload->texts[i]);
    upload->meta.filename = meta->filename;
    upload->meta.format = meta->format;
    upload->meta.media = meta->media;
    upload->meta.run_id = meta->run_id;
    upload->meta.generated_by = meta->generated_by;
    upload->meta.generated = meta->generated;
    own_texts(upload);
}

static bool room_left(struct store_upload *upload)
{
    run_next(upload);
    size_t held = upload->waiting_bytes + upload->raw.size + upload->rows.size;
    if (upload->trouble.code || held < FULL_BYTES)
        return true; /* a failed upload takes everything and keeps nothing: its end tells */
    upload->full = true;
    return false;
}

bool store_upload_chunk(struct store_upload *upload, const void *bytes, size_t size)
{
    if (upload->trouble.code)
        return true;
    packet_put(&upload->raw, bytes, size);
    upload->meta.size_bytes += size;
    if (upload->raw.size >= BLOCK_BYTES)
        add_operation(upload, OPERATION_CHUNK, &upload->raw);
    return room_left(upload);
}

static bool sample_valid(const struct store_sample *sample, struct error *err)
{
    if (!sample->example.bytes)
        return error_set(err, ERROR_INVALID, "a sample without an example");
    if (sample->example.size > STORE_SAMPLE_BYTES_MAX || sample->ground_truth.size > STORE_SAMPLE_BYTES_MAX ||
        sample->prediction.size > STORE_SAMPLE_BYTES_MAX)
        return error_set(
            err, ERROR_TOO_LARGE, "a sample's text is larger than %d MiB", STORE_SAMPLE_BYTES_MAX >> 20);
    return true;
}

bool store_upload_samples(struct store_upload *upload, const struct store_sample *samples, size_t count)
{
    for (size_t i = 0; i < count && !upload->trouble.code; i++) {
        const struct store_sample *sample = &samples[i];
        if (!sample_valid(sample, &upload->trouble)) {
            fail_later(upload);
            return true;
        }
        packet_u16(&upload->rows, 5);
        packet_u32(&upload->rows, 16);
        packet_uuid(&upload->rows, upload->meta.id);
        packet_u32(&upload->rows, 8);
        packet_u64(&upload->rows, upload->meta.sample_count++);
        packet_value(&upload->rows, sample->example.bytes, sample->example.size);
        packet_value(&upload->rows, sample->ground_truth.bytes, sample->ground_truth.size);
        packet_value(&upload->rows, sample->prediction.bytes, sample->prediction.size);
        upload->meta.ground_truth = upload->meta.ground_truth || sample->ground_truth.size;
        upload->meta.predictions = upload->meta.predictions || sample->prediction.size;
        if (upload->rows.size >= BLOCK_BYTES)
            add_operation(upload, OPERATION_SAMPLES, &upload->rows);
    }
    return room_left(upload);
}

void store_upload_commit(struct store_upload *upload, store_dataset_done done, void *context)
{
    upload->done = done;
    upload->done_context = context;
    if (upload->trouble.code) {
        fail_later(upload);
        return;
    }
    if (upload->raw.size)
        add_operation(upload, OPERATION_CHUNK, &upload->raw);
    if (upload->rows.size)
        add_operation(upload, OPERATION_SAMPLES, &upload->rows);
    add_operation(upload, OPERATION_ROW, NULL);
    add_operation(upload, OPERATION_COMMIT, NULL);
    run_next(upload);
}

void store_upload_abort(struct store_upload *upload)
{
    upload_free(upload);
}

void uploads_close(struct store *store)
{
    while (store->uploads) {
        struct store_upload *upload = store->uploads;
        error_set(&upload->trouble, ERROR_CANCELLED, "the coordinator is shutting down");
        /* Whoever still feeds it hears of the end through on_drain, and has no need to abort it. */
        upload->told = false;
        bool kept = upload->ready && !upload->done;
        tell_failure(upload);
        if (kept && store->uploads == upload)
            upload_free(upload);
    }
}
