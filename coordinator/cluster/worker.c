/* Workers' sessions: hello, heartbeats, drain, goodbye; and every message's way to its handler. What a worker
 * sends is checked here and in arrival.c: a message that breaks the rules costs it its session, no more. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/text.h"
#include "coordinator/cluster/state.h"

enum { LOG_LINES_MAX = 100, LOG_WINDOW_MS = 1000, LOG_LINE_BYTES_MAX = 4096 };

static int64_t wall_ms(void)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    return (int64_t)now.tv_sec * 1000 + now.tv_usec / 1000;
}

/* ---- lists of names ---- */

void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct names){0};
}

bool names_set(struct names *names, char *const *items, size_t count)
{
    if (count > NAMES_MAX)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strlen(items[i]) >= NAME_BYTES_MAX || !text_valid(items[i], strlen(items[i])))
            return false;
    struct names fresh = {.items = alloc_zero(count, sizeof(char *)), .count = count};
    for (size_t i = 0; i < count; i++)
        fresh.items[i] = alloc_string(items[i]);
    names_free(names);
    *names = fresh;
    return true;
}

/* ---- sending ---- */

static void send_to(struct cluster *cluster, const struct net_peer *peer, const Lumigrid__Envelope *envelope)
{
    struct error err = {0};
    size_t size = lumigrid__envelope__get_packed_size(envelope);
    uint8_t *bytes = alloc_zero(size, 1);
    lumigrid__envelope__pack(envelope, bytes);
    if (!net_router_send(cluster->router, peer, bytes, size, &err))
        log_debug("a message did not leave", "reason", err.message);
    free(bytes);
}

void worker_send(struct cluster *cluster, struct worker *worker, Lumigrid__Envelope *envelope)
{
    if (worker->connected)
        send_to(cluster, &worker->peer, envelope);
}

static void send_goodbye(struct cluster *cluster, const struct net_peer *peer, const char *reason)
{
    Lumigrid__Goodbye goodbye = LUMIGRID__GOODBYE__INIT;
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    goodbye.reason = (char *)reason;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_GOODBYE;
    envelope.goodbye = &goodbye;
    send_to(cluster, peer, &envelope);
}

static void send_refused(struct cluster *cluster, const struct net_peer *peer, const char *reason)
{
    Lumigrid__Refused refused = LUMIGRID__REFUSED__INIT;
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    refused.reason = (char *)reason;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_REFUSED;
    envelope.refused = &refused;
    send_to(cluster, peer, &envelope);
}

static void send_welcome(struct cluster *cluster, struct worker *worker, uint32_t protocol)
{
    Lumigrid__Welcome welcome = LUMIGRID__WELCOME__INIT;
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    welcome.protocol = protocol;
    welcome.heartbeat_ms = cluster->heartbeat_ms;
    welcome.lease_ms = cluster->lease_ms;
    welcome.coordinator_id = (char *)cluster->options.id;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_WELCOME;
    envelope.welcome = &welcome;
    worker_send(cluster, worker, &envelope);
}

static void send_drain(struct cluster *cluster, struct worker *worker, const char *reason, bool resume)
{
    Lumigrid__Drain drain = LUMIGRID__DRAIN__INIT;
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    drain.reason = (char *)(reason ? reason : "");
    drain.resume = resume;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_DRAIN;
    envelope.drain = &drain;
    worker_send(cluster, worker, &envelope);
}

static void send_heartbeat(struct cluster *cluster, struct worker *worker)
{
    Lumigrid__Heartbeat heartbeat = LUMIGRID__HEARTBEAT__INIT;
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    worker_send(cluster, worker, &envelope);
}

void worker_goodbye(struct cluster *cluster, struct worker *worker, const char *reason)
{
    if (worker->connected)
        send_goodbye(cluster, &worker->peer, reason);
    worker->connected = false;
}

/* ---- the list ---- */

struct worker *worker_by_id(const struct cluster *cluster, const char *id)
{
    for (struct worker *worker = cluster->workers; worker; worker = worker->next)
        if (strcmp(worker->id, id) == 0)
            return worker;
    return NULL;
}

static struct worker *worker_by_peer(const struct cluster *cluster, const struct net_peer *peer)
{
    for (struct worker *worker = cluster->workers; worker; worker = worker->next)
        if (worker->connected && worker->peer.len == peer->len &&
            memcmp(worker->peer.bytes, peer->bytes, peer->len) == 0)
            return worker;
    return NULL;
}

static void free_devices(struct worker *worker)
{
    for (size_t i = 0; i < worker->device_count; i++) {
        free((char *)worker->devices[i].name);
        free((char *)worker->devices[i].description);
    }
    free(worker->devices);
    worker->devices = NULL;
    worker->device_count = 0;
}

static void worker_free(struct worker *worker)
{
    arrivals_forget_worker(worker);
    free_devices(worker);
    free(worker->host);
    free(worker->version);
    free(worker->drain_reason);
    names_free(&worker->metrics);
    names_free(&worker->schemes);
    names_free(&worker->resident);
    free(worker);
}

void workers_free(struct cluster *cluster)
{
    while (cluster->workers) {
        struct worker *worker = cluster->workers;
        cluster->workers = worker->next;
        worker_free(worker);
    }
}

static bool worker_lost(const struct cluster *cluster, const struct worker *worker)
{
    return !worker->connected || now_ms(cluster) - worker->heard_ms > cluster->lease_ms;
}

void workers_tick(struct cluster *cluster)
{
    bool room = !store_results_full(cluster->store) && store_state(cluster->store) == STORE_ACTIVE;
    for (struct worker **link = &cluster->workers; *link;) {
        struct worker *worker = *link;
        uint64_t silent_ms = now_ms(cluster) - worker->heard_ms;
        if (worker->connected && silent_ms > cluster->lease_ms) {
            log_warn(
                "worker lost", "worker", worker->id, "host", worker->host, "silent_ms", LOG_INT(silent_ms));
            worker->connected = false;
        }
        if (worker->overflowed && room)
            worker_goodbye(cluster, worker, "send again what was not acknowledged");
        if (!worker->connected && silent_ms > LOST_SHOWN_MS && !worker->first) {
            *link = worker->next;
            worker_free(worker);
        } else {
            link = &worker->next;
        }
    }
}

/* ---- hello ---- */

static bool schemes_valid(char *const *schemes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(schemes[i]) >= 32)
            return false;
    return count <= NAMES_MAX;
}

/* Devices as told by hello or a heartbeat; false: they break the rules. */
static bool set_devices(struct worker *worker, Lumigrid__Device *const *devices, size_t count)
{
    if (!count || count > SCHEDULER_DEVICES_MAX)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strlen(devices[i]->name) >= 64 || !*devices[i]->name || strlen(devices[i]->description) >= 512 ||
            !text_valid(devices[i]->name, strlen(devices[i]->name)) ||
            !text_valid(devices[i]->description, strlen(devices[i]->description)) ||
            devices[i]->slots > 1024 || !schemes_valid(devices[i]->schemes, devices[i]->n_schemes))
            return false;
    free_devices(worker);
    worker->devices = alloc_zero(count, sizeof *worker->devices);
    worker->device_count = count;
    for (size_t i = 0; i < count; i++) {
        worker->devices[i] = (struct cluster_device){
            .name = alloc_string(devices[i]->name),
            .description = alloc_string(devices[i]->description),
            .memory_bytes = devices[i]->memory_bytes,
            .memory_free_bytes = devices[i]->memory_free_bytes,
            .slots = devices[i]->slots,
            .utilisation = isfinite(devices[i]->utilisation) ? devices[i]->utilisation : 0,
            .temperature_celsius =
                isfinite(devices[i]->temperature_celsius) ? devices[i]->temperature_celsius : 0,
        };
    }
    return true;
}

/* False: an id in it is not a UUID, or there are too many. */
static bool held_list(Lumigrid__HeldTask *const *held, size_t count, struct scheduler_held *out)
{
    for (size_t i = 0; i < count; i++) {
        if (!store_id_valid(held[i]->job_id))
            return false;
        out[i] = (struct scheduler_held){held[i]->job_id, held[i]->task_id, held[i]->attempt};
    }
    return true;
}

static bool is_evicted(const struct cluster *cluster, const char *id)
{
    for (size_t i = 0; i < EVICTED_MAX; i++)
        if (strcmp(cluster->evicted[i], id) == 0)
            return true;
    return false;
}

static const char *hello_problem(const struct cluster *cluster, const Lumigrid__Hello *hello)
{
    if (hello->protocol_min > PROTOCOL_MAX || hello->protocol_max < PROTOCOL_MIN)
        return "this worker and this coordinator speak different protocols; install the same version on both";
    if (!store_id_valid(hello->worker_id) || strlen(hello->host) > 255 || strlen(hello->version) > 64 ||
        !text_valid(hello->host, strlen(hello->host)) ||
        !text_valid(hello->version, strlen(hello->version)) || hello->n_held > HELD_MAX)
        return "its hello breaks the protocol";
    if (is_evicted(cluster, hello->worker_id))
        return "an admin evicted this worker; start it again to come back";
    return NULL;
}

static struct worker *worker_new(struct cluster *cluster, const char *id)
{
    struct worker *worker = alloc_zero(1, sizeof *worker);
    snprintf(worker->id, sizeof worker->id, "%s", id);
    worker->last = &worker->first;
    worker->next = cluster->workers;
    cluster->workers = worker;
    return worker;
}

/* The scheduler's part of a hello; false with the reason when it refuses. */
static bool join(
    struct cluster *cluster, struct worker *worker, const Lumigrid__Hello *hello, struct error *err)
{
    struct scheduler_held *held = alloc_zero(hello->n_held, sizeof *held);
    struct scheduler_device *devices = alloc_zero(worker->device_count, sizeof *devices);
    for (size_t i = 0; i < worker->device_count; i++)
        devices[i] = (struct scheduler_device){.name = worker->devices[i].name,
            .slots = worker->devices[i].slots,
            .schemes = (const char *const *)hello->devices[i]->schemes,
            .scheme_count = hello->devices[i]->n_schemes};
    const struct scheduler_worker_spec spec = {
        .id = worker->id,
        .devices = devices,
        .device_count = worker->device_count,
        .schemes = (const char *const *)worker->schemes.items,
        .scheme_count = worker->schemes.count,
        .metrics = (const char *const *)worker->metrics.items,
        .metric_count = worker->metrics.count,
        .held = held,
        .held_count = hello->n_held,
    };
    bool joined = held_list(hello->held, hello->n_held, held)
                      ? scheduler_worker_join(cluster->scheduler, &spec, now_ms(cluster), err)
                      : error_set(err, ERROR_INVALID, "its hello lists something that is not a job");
    free(devices);
    free(held);
    return joined;
}

static void on_hello(struct cluster *cluster, const struct net_peer *peer, const Lumigrid__Hello *hello)
{
    struct error err = {0};
    const char *problem = hello_problem(cluster, hello);
    if (problem) {
        log_warn("worker refused", "host", strlen(hello->host) < 256 ? hello->host : "", "reason", problem);
        send_refused(cluster, peer, problem);
        return;
    }
    struct worker *worker = worker_by_id(cluster, hello->worker_id);
    bool is_new = !worker;
    if (is_new)
        worker = worker_new(cluster, hello->worker_id);
    worker->peer = *peer;
    worker->session++;
    worker->connected = true;
    worker->overflowed = worker->stopping = false;
    worker->heard_ms = now_ms(cluster);
    worker->seen_ms = wall_ms();
    worker->joined_ms = is_new ? worker->seen_ms : worker->joined_ms;
    worker->pid = hello->pid;
    free(worker->host);
    free(worker->version);
    worker->host = alloc_string(hello->host);
    worker->version = alloc_string(hello->version);
    if (!set_devices(worker, hello->devices, hello->n_devices) ||
        !names_set(&worker->metrics, hello->metrics, hello->n_metrics) ||
        !names_set(&worker->schemes, hello->schemes, hello->n_schemes))
        error_set(&err, ERROR_INVALID, "its hello breaks the protocol");
    if (err.code || !join(cluster, worker, hello, &err)) {
        log_error_value(LOG_LEVEL_WARN, "worker refused", &err);
        send_refused(cluster, peer, err.message);
        worker->connected = false;
        return;
    }
    log_info(is_new ? "worker joined" : "worker is back", "worker", worker->id, "host", worker->host,
        "devices", LOG_INT(worker->device_count), "held", LOG_INT(hello->n_held));
    send_welcome(cluster, worker, PROTOCOL_MAX);
    if (worker->draining) {
        scheduler_worker_drain(cluster->scheduler, worker->id, true);
        send_drain(cluster, worker, worker->drain_reason, false);
    }
}

/* ---- the rest of a session ---- */

/* It broke the protocol: its session ends, its tasks go to others. */
static void cut(struct cluster *cluster, struct worker *worker, const char *why)
{
    log_warn("worker broke the protocol; its session ends", "worker", worker->id, "host", worker->host,
        "reason", why);
    scheduler_worker_lost(cluster->scheduler, worker->id, false, now_ms(cluster));
    worker_goodbye(cluster, worker, why);
}

static void on_heartbeat(struct cluster *cluster, struct worker *worker, const Lumigrid__Heartbeat *heartbeat)
{
    struct scheduler_held *running = NULL;
    if (heartbeat->n_running > HELD_MAX ||
        (heartbeat->n_devices && !set_devices(worker, heartbeat->devices, heartbeat->n_devices)) ||
        !names_set(&worker->resident, heartbeat->resident_models, heartbeat->n_resident_models)) {
        cut(cluster, worker, "its heartbeat breaks the protocol");
        return;
    }
    worker->resident_bytes = heartbeat->resident_bytes;
    running = alloc_zero(heartbeat->n_running, sizeof *running);
    if (!held_list(heartbeat->running, heartbeat->n_running, running))
        cut(cluster, worker, "its heartbeat lists something that is not a job");
    else if (!scheduler_worker_heartbeat(cluster->scheduler, worker->id, running, heartbeat->n_running,
                 (const char *const *)worker->resident.items, worker->resident.count, now_ms(cluster)))
        worker_goodbye(cluster, worker, "this session ended; say hello again");
    else
        send_heartbeat(cluster, worker);
    free(running);
}

static void on_drain(struct cluster *cluster, struct worker *worker, const Lumigrid__Drain *drain)
{
    worker->stopping = !drain->resume;
    scheduler_worker_drain(cluster->scheduler, worker->id, worker->stopping || worker->draining);
    log_info(worker->stopping ? "worker is stopping" : "worker goes on", "worker", worker->id);
}

static void on_goodbye(struct cluster *cluster, struct worker *worker)
{
    log_info("worker left", "worker", worker->id, "host", worker->host);
    scheduler_worker_lost(cluster->scheduler, worker->id, true, now_ms(cluster));
    worker->connected = false;
    worker->heard_ms =
        now_ms(cluster) > LOST_SHOWN_MS ? now_ms(cluster) - LOST_SHOWN_MS : 0; /* not lost: gone */
}

/* A line for the job's page; false when this worker has said enough for this second. */
static bool may_log(struct cluster *cluster, struct worker *worker)
{
    if (now_ms(cluster) - worker->log_window_ms > LOG_WINDOW_MS) {
        worker->log_window_ms = now_ms(cluster);
        worker->log_window_lines = 0;
    }
    return worker->log_window_lines++ < LOG_LINES_MAX;
}

static void on_progress(struct cluster *cluster, struct worker *worker, const Lumigrid__Progress *progress)
{
    struct job *job = job_by_id(cluster, progress->job_id);
    if (!job || !may_log(cluster, worker))
        return;
    bool new_stage = strncmp(job->progress_stage, progress->stage, sizeof job->progress_stage - 1) != 0;
    if (!new_stage && now_ms(cluster) - job->progress_ms < 5000)
        return;
    job->progress_ms = now_ms(cluster);
    snprintf(job->progress_stage, sizeof job->progress_stage, "%s", progress->stage);
    char *line = progress->total ? alloc_format("%.32s %.512s: %llu of %llu MB", progress->stage,
                                       progress->detail, (unsigned long long)progress->done / 1000000,
                                       (unsigned long long)progress->total / 1000000)
                                 : alloc_format("%.32s %.512s", progress->stage, progress->detail);
    store_log_append(cluster->store, job->id, "info", line);
    free(line);
    tell_job(cluster, job->id);
}

static void on_log_line(struct cluster *cluster, struct worker *worker, const Lumigrid__LogLine *log_line)
{
    struct job *job = job_by_id(cluster, log_line->job_id);
    if (!job || !may_log(cluster, worker))
        return;
    char *line = alloc_format("%.*s", LOG_LINE_BYTES_MAX, log_line->text);
    enum log_level level = LOG_LEVEL_INFO;
    log_parse_level(log_line->level, &level);
    store_log_append(cluster->store, job->id, level >= LOG_LEVEL_WARN ? "warn" : "info", line);
    free(line);
}

/* Everything but a hello; takes the envelope apart, frees it unless results keep it. */
static void on_session_message(struct cluster *cluster, struct worker *worker, Lumigrid__Envelope *envelope)
{
    worker->heard_ms = now_ms(cluster);
    worker->seen_ms = wall_ms();
    switch (envelope->message_case) {
    case LUMIGRID__ENVELOPE__MESSAGE_HEARTBEAT: on_heartbeat(cluster, worker, envelope->heartbeat); break;
    case LUMIGRID__ENVELOPE__MESSAGE_RESULTS:
        if (envelope->results->n_results > RESULTS_MAX || !store_id_valid(envelope->results->job_id)) {
            cut(cluster, worker, "its results break the protocol");
            break;
        }
        arrival_results(cluster, worker, envelope);
        return;
    case LUMIGRID__ENVELOPE__MESSAGE_TASK_DONE: arrival_done(cluster, worker, envelope->task_done); break;
    case LUMIGRID__ENVELOPE__MESSAGE_TASK_FAILED:
        arrival_failed(cluster, worker, envelope->task_failed);
        break;
    case LUMIGRID__ENVELOPE__MESSAGE_DRAIN: on_drain(cluster, worker, envelope->drain); break;
    case LUMIGRID__ENVELOPE__MESSAGE_GOODBYE: on_goodbye(cluster, worker); break;
    case LUMIGRID__ENVELOPE__MESSAGE_PROGRESS: on_progress(cluster, worker, envelope->progress); break;
    case LUMIGRID__ENVELOPE__MESSAGE_LOG_LINE: on_log_line(cluster, worker, envelope->log_line); break;
    default: break; /* what a newer worker may add */
    }
    lumigrid__envelope__free_unpacked(envelope, NULL);
}

void worker_on_message(
    void *context, const struct net_peer *peer, const char *public_key, const uint8_t *data, size_t len)
{
    struct cluster *cluster = context;
    if (!cluster->serving || cluster->closing)
        return; /* a standby is silent: workers try their next endpoint */
    struct worker *worker = worker_by_peer(cluster, peer);
    Lumigrid__Envelope *envelope = lumigrid__envelope__unpack(NULL, len, data);
    if (!envelope) {
        log_warn("a message cannot be read", "key", public_key, "bytes", LOG_INT(len));
        if (worker)
            cut(cluster, worker, "its message cannot be read");
        return;
    }
    if (envelope->message_case == LUMIGRID__ENVELOPE__MESSAGE_HELLO) {
        on_hello(cluster, peer, envelope->hello);
        lumigrid__envelope__free_unpacked(envelope, NULL);
    } else if (worker) {
        on_session_message(cluster, worker, envelope);
    } else {
        send_goodbye(cluster, peer, "say hello first");
        lumigrid__envelope__free_unpacked(envelope, NULL);
    }
}

/* ---- the admins' side ---- */

static void show(const struct cluster *cluster, const struct worker *worker,
    void (*each)(void *context, const struct cluster_worker *worker), void *context)
{
    bool lost = worker_lost(cluster, worker), draining = worker->draining || worker->stopping;
    const struct cluster_worker view = {
        .id = worker->id,
        .host = worker->host,
        .version = worker->version,
        .pid = worker->pid,
        .state = lost       ? "lost"
                 : draining ? "draining"
                            : "online",
        .reason = worker->draining   ? worker->drain_reason
                  : worker->stopping ? "it is stopping"
                                     : NULL,
        .devices = worker->devices,
        .device_count = worker->device_count,
        .metrics = (const char *const *)worker->metrics.items,
        .metric_count = worker->metrics.count,
        .schemes = (const char *const *)worker->schemes.items,
        .scheme_count = worker->schemes.count,
        .resident_models = (const char *const *)worker->resident.items,
        .resident_count = worker->resident.count,
        .resident_bytes = worker->resident_bytes,
        .joined_ms = worker->joined_ms,
        .seen_ms = worker->seen_ms,
    };
    each(context, &view);
}

void cluster_workers(const struct cluster *cluster,
    void (*each)(void *context, const struct cluster_worker *worker), void *context)
{
    for (const struct worker *worker = cluster->workers; worker; worker = worker->next)
        if (worker->device_count && now_ms(cluster) - worker->heard_ms < LOST_SHOWN_MS)
            show(cluster, worker, each, context);
}

bool cluster_worker_drain(struct cluster *cluster, const char *worker_id, const char *reason)
{
    struct worker *worker = worker_by_id(cluster, worker_id);
    if (!worker)
        return false;
    worker->draining = true;
    free(worker->drain_reason);
    worker->drain_reason = alloc_string(reason && *reason ? reason : "drained by an admin");
    scheduler_worker_drain(cluster->scheduler, worker->id, true);
    send_drain(cluster, worker, worker->drain_reason, false);
    log_info("worker drained", "worker", worker->id, "reason", worker->drain_reason);
    return true;
}

bool cluster_worker_resume(struct cluster *cluster, const char *worker_id)
{
    struct worker *worker = worker_by_id(cluster, worker_id);
    if (!worker)
        return false;
    worker->draining = false;
    scheduler_worker_drain(cluster->scheduler, worker->id, worker->stopping);
    send_drain(cluster, worker, "", true);
    log_info("worker resumed", "worker", worker->id);
    return true;
}

bool cluster_worker_evict(struct cluster *cluster, const char *worker_id, const char *reason)
{
    struct worker *worker = worker_by_id(cluster, worker_id);
    if (!worker)
        return false;
    log_info("worker evicted", "worker", worker->id, "reason", reason ? reason : "");
    memcpy(cluster->evicted[cluster->evicted_next++ % EVICTED_MAX], worker->id, sizeof worker->id);
    scheduler_worker_lost(cluster->scheduler, worker->id, true, now_ms(cluster));
    worker_goodbye(cluster, worker, reason && *reason ? reason : "evicted by an admin");
    return true;
}
