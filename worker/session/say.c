/* The messages that a worker sends. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "worker/metrics/metric.h"
#include "worker/session/state.h"

enum { METRICS_MAX = 64 };

static const char *const SCHEMES[] = {"hf", "file", "gguf", "sim", "oai", "mistral", "http", "https"};
enum { OWN_SCHEMES = 4 }; /* of these, run here; the others are hosted */

static uint8_t *pack(const Lumigrid__Envelope *envelope, size_t *len)
{
    *len = lumigrid__envelope__get_packed_size(envelope);
    uint8_t *data = alloc_zero(1, *len);
    lumigrid__envelope__pack(envelope, data);
    return data;
}

static bool send_bytes(struct session *session, const uint8_t *data, size_t len)
{
    struct error err;
    if (!session->dealer)
        return false;
    if (net_dealer_send(session->dealer, data, len, &err))
        return true;
    log_error_value(LOG_LEVEL_WARN, "message not sent", &err);
    return false;
}

static void send_envelope(struct session *session, const Lumigrid__Envelope *envelope)
{
    size_t len;
    uint8_t *data = pack(envelope, &len);
    send_bytes(session, data, len);
    free(data);
}

/* Sends when connected, and keeps until acknowledged. */
static void send_kept(struct session *session, const Lumigrid__Envelope *envelope, bool is_end)
{
    struct unacknowledged *kept = alloc_zero(1, sizeof(*kept));
    kept->data = pack(envelope, &kept->len);
    kept->sequence = session->sequence;
    kept->is_end = is_end;
    *session->last = kept;
    session->last = &kept->next;
    if (session->state == SESSION_ACTIVE && !session->gap)
        session->gap = !send_bytes(session, kept->data, kept->len);
}

static Lumigrid__HeldTask **list_held(const struct session *session, size_t *count)
{
    size_t n = 0;
    for (const struct held *h = session->held; h; h = h->next)
        n++;
    Lumigrid__HeldTask **list = alloc_zero(n + 1, sizeof(*list));
    *count = 0;
    for (const struct held *h = session->held; h; h = h->next) {
        Lumigrid__HeldTask *task = alloc_zero(1, sizeof(*task));
        lumigrid__held_task__init(task);
        task->job_id = h->job_id;
        task->task_id = h->task_id;
        task->attempt = h->attempt;
        list[(*count)++] = task;
    }
    return list;
}

static void free_pointers(void *list, size_t count)
{
    void **items = list;
    for (size_t i = 0; i < count; i++)
        free(items[i]);
    free(list);
}

/* What a device reports of itself: its description and free memory now, and how busy it was since last asked.
 */
static Lumigrid__Device *describe_device(struct session *session, size_t index, struct runner_status *status)
{
    struct device *device = &session->devices[index];
    struct error err;
    Lumigrid__Device *out = alloc_zero(1, sizeof(*out));
    lumigrid__device__init(out);
    out->name = (char *)device->options.device;
    out->slots = session->options.slots;
    if (!runner_status(device->runner, status, &err)) {
        log_error_value(LOG_LEVEL_WARN, "device status", &err);
        return out;
    }
    out->description = (char *)status->description;
    out->memory_bytes = status->memory_bytes;
    out->memory_free_bytes = status->memory_free_bytes;
    double busy = status->busy_seconds - device->busy_seconds_before;
    device->busy_seconds_before = status->busy_seconds;
    out->utilisation = busy * 1000.0 / session->heartbeat_ms;
    if (out->utilisation > 1.0)
        out->utilisation = 1.0;
    return out;
}

/* The device for hosted models, after the others; NULL where they are not taken. */
static Lumigrid__Device *describe_hosted(const struct session *session)
{
    if (!session->hosted)
        return NULL;
    Lumigrid__Device *out = alloc_zero(1, sizeof(*out));
    lumigrid__device__init(out);
    out->name = HOSTED_DEVICE;
    out->description = "models that others host";
    out->slots = session->options.hosted_slots;
    out->schemes = (char **)SCHEMES + OWN_SCHEMES;
    out->n_schemes = sizeof(SCHEMES) / sizeof(SCHEMES[0]) - OWN_SCHEMES;
    return out;
}

void say_hello(struct session *session)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__Hello hello = LUMIGRID__HELLO__INIT;
    Lumigrid__Device *devices[SESSION_DEVICES_MAX + 1];
    struct runner_status statuses[SESSION_DEVICES_MAX] = {0};
    const char *metrics[METRICS_MAX];
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = &hello;
    hello.protocol_min = PROTOCOL_MIN;
    hello.protocol_max = PROTOCOL_MAX;
    hello.worker_id = session->id;
    hello.host = session->host;
    hello.pid = (uint64_t)getpid();
    hello.version = LUMIGRID_VERSION;
    hello.n_devices = session->options.device_count;
    hello.devices = devices;
    for (size_t i = 0; i < session->options.device_count; i++)
        devices[i] = describe_device(session, i, &statuses[i]);
    Lumigrid__Device *hosted = devices[hello.n_devices] = describe_hosted(session);
    hello.n_devices += hosted != NULL;
    const struct metric *const *all = metric_all();
    for (; all[hello.n_metrics] && hello.n_metrics < METRICS_MAX; hello.n_metrics++)
        metrics[hello.n_metrics] = all[hello.n_metrics]->name;
    hello.metrics = (char **)metrics;
    hello.n_schemes = hosted ? sizeof(SCHEMES) / sizeof(SCHEMES[0]) : OWN_SCHEMES;
    hello.schemes = (char **)SCHEMES;
    hello.held = list_held(session, &hello.n_held);
    send_envelope(session, &envelope);
    free_pointers(hello.held, hello.n_held);
    for (size_t i = 0; i < session->options.device_count; i++) {
        free(statuses[i].models);
        free(devices[i]);
    }
    free(hosted);
}

void say_heartbeat(struct session *session)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__Heartbeat beat = LUMIGRID__HEARTBEAT__INIT;
    Lumigrid__Device *devices[SESSION_DEVICES_MAX + 1];
    struct runner_status statuses[SESSION_DEVICES_MAX] = {0};
    size_t models = 0, resident_bytes = 0;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_HEARTBEAT;
    envelope.heartbeat = &beat;
    beat.n_devices = session->options.device_count;
    beat.devices = devices;
    for (size_t i = 0; i < session->options.device_count; i++) {
        devices[i] = describe_device(session, i, &statuses[i]);
        models += statuses[i].model_count;
    }
    Lumigrid__Device *hosted = devices[beat.n_devices] = describe_hosted(session);
    beat.n_devices += hosted != NULL;
    beat.resident_models = alloc_zero(models + 1, sizeof(char *));
    for (size_t i = 0; i < session->options.device_count; i++)
        for (size_t m = 0; m < statuses[i].model_count; m++)
            beat.resident_models[beat.n_resident_models++] = statuses[i].models[m];
    uv_resident_set_memory(&resident_bytes);
    beat.resident_bytes = resident_bytes;
    /* Ended ones too: until all of an attempt is acknowledged its lease must not end. */
    beat.running = list_held(session, &beat.n_running);
    send_envelope(session, &envelope);
    free_pointers(beat.running, beat.n_running);
    free(beat.resident_models);
    for (size_t i = 0; i < session->options.device_count; i++) {
        free(statuses[i].models);
        free(devices[i]);
    }
    free(hosted);
}

void say_drain(struct session *session, const char *reason)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__Drain drain = LUMIGRID__DRAIN__INIT;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_DRAIN;
    envelope.drain = &drain;
    drain.reason = (char *)reason;
    send_envelope(session, &envelope);
}

void say_goodbye(struct session *session, const char *reason)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__Goodbye goodbye = LUMIGRID__GOODBYE__INIT;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_GOODBYE;
    envelope.goodbye = &goodbye;
    goodbye.reason = (char *)reason;
    send_envelope(session, &envelope);
}

void say_failed(struct session *session, const char *job_id, uint64_t task_id, uint64_t attempt,
    const struct error *error)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__TaskFailed failed = LUMIGRID__TASK_FAILED__INIT;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_TASK_FAILED;
    envelope.task_failed = &failed;
    failed.job_id = (char *)job_id;
    failed.task_id = task_id;
    failed.attempt = attempt;
    failed.error_code = (char *)error_code_name(error->code);
    failed.message = (char *)error->message;
    failed.hint = (char *)error->hint;
    send_kept(session, &envelope, true);
}

void say_results(struct session *session, struct outbox_item *item)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__Results results = LUMIGRID__RESULTS__INIT;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_RESULTS;
    envelope.results = &results;
    results.job_id = item->job_id;
    results.task_id = item->task_id;
    results.attempt = item->attempt;
    results.sequence = ++session->sequence;
    results.n_results = item->result_count;
    results.results = item->results;
    results.provenance = item->provenance;
    send_kept(session, &envelope, false);
}

void say_progress(struct session *session, const struct outbox_item *item)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__Progress progress = LUMIGRID__PROGRESS__INIT;
    if (session->state != SESSION_ACTIVE)
        return;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_PROGRESS;
    envelope.progress = &progress;
    progress.job_id = item->job_id;
    progress.task_id = item->task_id;
    progress.stage = (char *)item->stage;
    progress.detail = (char *)item->detail;
    progress.done = item->done;
    progress.total = item->total;
    send_envelope(session, &envelope);
}

void say_done(struct session *session, const struct outbox_item *item)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__TaskDone done = LUMIGRID__TASK_DONE__INIT;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_TASK_DONE;
    envelope.task_done = &done;
    done.job_id = item->job_id;
    done.task_id = item->task_id;
    done.attempt = item->attempt;
    done.seconds = item->seconds;
    send_kept(session, &envelope, true);
}

void say_kept_again(struct session *session)
{
    session->gap = false;
    for (struct unacknowledged *kept = session->first; kept && !session->gap; kept = kept->next)
        session->gap = !send_bytes(session, kept->data, kept->len);
}
