#include "worker/session/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

enum { ITEM_RESULTS_MAX = 1024, ITEM_BYTES_MAX = 1 << 20 };

void outbox_open(struct outbox *outbox, uv_loop_t *loop, uv_async_cb on_items, void *data)
{
    memset(outbox, 0, sizeof(*outbox));
    pthread_mutex_init(&outbox->lock, NULL);
    outbox->last = &outbox->first;
    uv_async_init(loop, &outbox->async, on_items);
    outbox->async.data = data;
}

struct outbox_item *outbox_take(struct outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
    struct outbox_item *items = outbox->first;
    outbox->first = NULL;
    outbox->last = &outbox->first;
    outbox->newest = NULL;
    pthread_mutex_unlock(&outbox->lock);
    return items;
}

void outbox_item_free(struct outbox_item *item)
{
    for (size_t i = 0; i < item->result_count; i++)
        lumigrid__result__free_unpacked(item->results[i], NULL);
    if (item->provenance)
        lumigrid__provenance__free_unpacked(item->provenance, NULL);
    free(item->results);
    free(item->job_id);
    free(item);
}

void outbox_close(struct outbox *outbox)
{
    struct outbox_item *item = outbox_take(outbox);
    while (item) {
        struct outbox_item *next = item->next;
        outbox_item_free(item);
        item = next;
    }
    uv_close((uv_handle_t *)&outbox->async, NULL);
    pthread_mutex_destroy(&outbox->lock);
}

static char *copy_text(const char *text)
{
    return alloc_string(text ? text : "");
}

static ProtobufCBinaryData copy_bytes(const char *bytes, size_t len)
{
    ProtobufCBinaryData data = {0, NULL};
    if (len > 0) {
        data.data = alloc_copy(bytes, len);
        data.len = len;
    }
    return data;
}

static Lumigrid__Result *make_result(const struct task_result *from)
{
    Lumigrid__Result *to = alloc_zero(1, sizeof(*to));
    lumigrid__result__init(to);
    to->index = from->index;
    to->prediction = copy_bytes(from->prediction, from->prediction ? from->prediction_len : 0);
    to->n_values = from->value_count;
    to->values = alloc_zero(from->value_count + 1, sizeof(*to->values));
    for (size_t i = 0; i < from->value_count; i++) {
        to->values[i] = alloc_zero(1, sizeof(**to->values));
        lumigrid__metric_value__init(to->values[i]);
        to->values[i]->key = copy_text(from->keys[i]);
        to->values[i]->value = from->values[i];
    }
    to->n_metric_errors = from->failed_count;
    to->metric_errors = alloc_zero(from->failed_count + 1, sizeof(*to->metric_errors));
    for (size_t i = 0; i < from->failed_count; i++) {
        to->metric_errors[i] = alloc_zero(1, sizeof(**to->metric_errors));
        lumigrid__metric_error__init(to->metric_errors[i]);
        to->metric_errors[i]->metric = copy_text(from->failed_metrics[i]);
        to->metric_errors[i]->reason = copy_text(from->failed_reasons[i]);
    }
    to->error_code = copy_text(from->error ? error_code_name(from->error->code) : "");
    to->error_message = copy_text(from->error ? from->error->message : "");
    to->finish_reason = copy_text(from->finish_reason);
    to->prompt_tokens = from->prompt_tokens;
    to->new_tokens = from->new_tokens;
    to->seconds = from->seconds;
    to->truncated = from->truncated;
    return to;
}

static Lumigrid__Provenance *make_provenance(const struct task_provenance *from)
{
    Lumigrid__Provenance *to = alloc_zero(1, sizeof(*to));
    lumigrid__provenance__init(to);
    to->model_digest = copy_text(from->model_digest);
    to->tokenizer_digest = copy_text(from->tokenizer_digest);
    to->engine_version = copy_text(LUMIGRID_VERSION);
    to->dtype = copy_text(from->dtype);
    to->backend = copy_text(from->backend);
    to->seed = from->seed;
    to->encoder = copy_text(from->encoder ? from->encoder : "");
    return to;
}

static struct outbox_item *make_item(enum outbox_kind kind, const Lumigrid__Assign *task)
{
    struct outbox_item *item = alloc_zero(1, sizeof(*item));
    item->kind = kind;
    item->job_id = copy_text(task->job_id);
    item->task_id = task->task_id;
    item->attempt = task->attempt;
    return item;
}

/* With the lock held. */
static void append(struct outbox *outbox, struct outbox_item *item)
{
    *outbox->last = item;
    outbox->last = &item->next;
    outbox->newest = item;
}

static bool takes_more(const struct outbox_item *item, const Lumigrid__Assign *task)
{
    return item && item->kind == OUTBOX_RESULTS && item->result_count < ITEM_RESULTS_MAX &&
           item->result_bytes < ITEM_BYTES_MAX && item->task_id == task->task_id &&
           item->attempt == task->attempt && strcmp(item->job_id, task->job_id) == 0;
}

void outbox_on_result(void *context, const Lumigrid__Assign *task, const struct task_provenance *provenance,
    const struct task_result *result)
{
    struct outbox *outbox = context;
    Lumigrid__Result *made = make_result(result);
    pthread_mutex_lock(&outbox->lock);
    struct outbox_item *item = outbox->newest;
    if (!takes_more(item, task)) {
        item = make_item(OUTBOX_RESULTS, task);
        item->provenance = make_provenance(provenance);
        append(outbox, item);
    }
    if (item->result_count == item->result_capacity) {
        item->result_capacity = item->result_capacity ? 2 * item->result_capacity : 16;
        item->results = alloc_resize(item->results, item->result_capacity, sizeof(*item->results));
    }
    item->results[item->result_count++] = made;
    item->result_bytes += result->prediction_len;
    pthread_mutex_unlock(&outbox->lock);
    uv_async_send(&outbox->async);
}

void outbox_on_end(void *context, const Lumigrid__Assign *task, const struct error *error, double seconds)
{
    struct outbox *outbox = context;
    struct outbox_item *item = make_item(OUTBOX_END, task);
    item->failed = error != NULL;
    if (error)
        item->error = *error;
    item->seconds = seconds;
    pthread_mutex_lock(&outbox->lock);
    append(outbox, item);
    pthread_mutex_unlock(&outbox->lock);
    uv_async_send(&outbox->async);
}

void outbox_on_progress(void *context, const Lumigrid__Assign *task, const char *stage, const char *detail,
    uint64_t done, uint64_t total)
{
    struct outbox *outbox = context;
    struct outbox_item *item = make_item(OUTBOX_PROGRESS, task);
    strncpy(item->stage, stage, sizeof(item->stage) - 1);
    strncpy(item->detail, detail, sizeof(item->detail) - 1);
    item->done = done;
    item->total = total;
    pthread_mutex_lock(&outbox->lock);
    append(outbox, item);
    pthread_mutex_unlock(&outbox->lock);
    uv_async_send(&outbox->async);
}
