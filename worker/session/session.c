#include "worker/session/session.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "worker/session/state.h"

enum {
    HELLO_TIMEOUT_MS = 3000,     /* without an answer the next endpoint is tried */
    REFUSED_WAIT_MS = 5000,      /* what was refused will mostly be refused again */
    HEARTBEAT_DEFAULT_MS = 1000, /* until Welcome says */
    SILENT_INTERVALS_MAX = 3,
    LINGER_MS = 500,
};

static void connect_next(struct session *session, bool rotate);
static void check_drained(struct session *session);
static void on_timer(uv_timer_t *timer);

/* ---- what runners said ---- */

static struct held **find_held(
    struct session *session, const char *job_id, uint64_t task_id, uint64_t attempt)
{
    struct held **link = &session->held;
    while (*link && !((*link)->task_id == task_id && (*link)->attempt == attempt &&
                        strcmp((*link)->job_id, job_id) == 0))
        link = &(*link)->next;
    return link;
}

static void drop_held(struct held **link)
{
    struct held *gone = *link;
    *link = gone->next;
    free(gone->job_id);
    free(gone);
}

static void send_end(struct session *session, const struct outbox_item *item)
{
    struct held *held = *find_held(session, item->job_id, item->task_id, item->attempt);
    if (!held)
        return; /* revoked meanwhile */
    held->ended = true;
    held->last_sequence = session->sequence;
    if (item->failed) {
        log_error_value(LOG_LEVEL_WARN, "task failed", &item->error);
        say_failed(session, item->job_id, item->task_id, item->attempt, &item->error);
        return;
    }
    say_done(session, item);
}

/* Ends whose results are all committed and that went out on this connection need not be kept any longer. */
static void forget_acknowledged(struct session *session, uint64_t sequence)
{
    while (session->first && session->first->sequence <= sequence) {
        struct unacknowledged *gone = session->first;
        session->first = gone->next;
        if (!session->first)
            session->last = &session->first;
        free(gone->data);
        free(gone);
    }
    for (struct held **link = &session->held; *link;) {
        if ((*link)->ended && (*link)->last_sequence <= sequence)
            drop_held(link);
        else
            link = &(*link)->next;
    }
    check_drained(session);
}

/* An end without any results of its own before it waits for no acknowledgement. */
static void forget_if_nothing_waits(struct session *session)
{
    if (session->state == SESSION_ACTIVE && !session->gap && session->first && session->first->is_end)
        forget_acknowledged(session, session->first->sequence);
}

static void on_outbox(uv_async_t *async)
{
    struct session *session = async->data;
    struct outbox_item *item = outbox_take(&session->outbox);
    while (item) {
        struct outbox_item *next = item->next;
        if (item->kind == OUTBOX_RESULTS)
            say_results(session, item);
        else if (item->kind == OUTBOX_END)
            send_end(session, item);
        else
            say_progress(session, item);
        outbox_item_free(item);
        item = next;
    }
    forget_if_nothing_waits(session);
}

/* ---- what the coordinator said ---- */

static void on_welcome(struct session *session, const Lumigrid__Welcome *welcome)
{
    if (welcome->protocol < PROTOCOL_MIN || welcome->protocol > PROTOCOL_MAX || welcome->heartbeat_ms < 10) {
        log_error("the coordinator speaks another protocol", "protocol", LOG_INT(welcome->protocol), "hint",
            "install the same version on both sides");
        connect_next(session, true);
        return;
    }
    session->state = SESSION_ACTIVE;
    session->heartbeat_ms = welcome->heartbeat_ms;
    snprintf(session->coordinator_id, sizeof(session->coordinator_id), "%s", welcome->coordinator_id);
    log_info("connected", "coordinator", session->options.endpoints[session->endpoint], "coordinator_id",
        session->coordinator_id, "worker", session->id);
    say_kept_again(session);
    forget_if_nothing_waits(session);
    if (session->draining)
        say_drain(session, "this worker is stopping");
    uv_timer_start(&session->timer, on_timer, session->heartbeat_ms, session->heartbeat_ms);
}

static struct device *find_device(struct session *session, const char *name)
{
    if (session->hosted && strcmp(name, HOSTED_DEVICE) == 0)
        return &session->devices[0];
    for (size_t i = 0; i < session->options.device_count; i++)
        if (strcmp(session->devices[i].options.device, name) == 0)
            return &session->devices[i];
    return NULL;
}

/* Takes the message's task out of the envelope when it accepts it. */
static void on_assign(struct session *session, Lumigrid__Envelope *envelope)
{
    Lumigrid__Assign *assign = envelope->assign;
    struct device *device = find_device(session, assign->device);
    struct error err;
    if (*find_held(session, assign->job_id, assign->task_id, assign->attempt))
        return; /* delivered twice */
    if (!device || session->draining) {
        if (session->draining)
            error_set(&err, ERROR_UNAVAILABLE, "this worker is stopping");
        else
            error_set(&err, ERROR_INVALID, "this worker has no device %.60s", assign->device);
        say_failed(session, assign->job_id, assign->task_id, assign->attempt, &err);
        forget_if_nothing_waits(session);
        return;
    }
    struct held *held = alloc_zero(1, sizeof(*held));
    held->job_id = alloc_string(assign->job_id);
    held->task_id = assign->task_id;
    held->attempt = assign->attempt;
    held->next = session->held;
    session->held = held;
    log_debug("task taken", "job", assign->job_id, "task", LOG_INT(assign->task_id), "attempt",
        LOG_INT(assign->attempt), "samples", LOG_INT(assign->n_samples), "model", assign->model);
    envelope->assign = NULL;
    envelope->message_case = LUMIGRID__ENVELOPE__MESSAGE__NOT_SET;
    runner_submit(device->runner, assign);
}

static void on_revoke(struct session *session, const Lumigrid__Revoke *revoke)
{
    struct held **link = find_held(session, revoke->job_id, revoke->task_id, revoke->attempt);
    if (!*link)
        return;
    log_info(
        "task revoked", "job", revoke->job_id, "task", LOG_INT(revoke->task_id), "reason", revoke->reason);
    drop_held(link);
    for (size_t i = 0; i < session->options.device_count; i++)
        runner_cancel(session->devices[i].runner, revoke->job_id, revoke->task_id, revoke->attempt);
    check_drained(session);
}

static void on_message(void *context, const uint8_t *data, size_t len)
{
    struct session *session = context;
    Lumigrid__Envelope *envelope = lumigrid__envelope__unpack(NULL, len, data);
    if (!envelope) {
        log_warn("a message of the coordinator cannot be read", "bytes", LOG_INT(len));
        return;
    }
    session->heard_ms = uv_now(session->loop);
    switch (envelope->message_case) {
    case LUMIGRID__ENVELOPE__MESSAGE_WELCOME: on_welcome(session, envelope->welcome); break;
    case LUMIGRID__ENVELOPE__MESSAGE_ASSIGN: on_assign(session, envelope); break;
    case LUMIGRID__ENVELOPE__MESSAGE_ACK: forget_acknowledged(session, envelope->ack->sequence); break;
    case LUMIGRID__ENVELOPE__MESSAGE_REVOKE: on_revoke(session, envelope->revoke); break;
    case LUMIGRID__ENVELOPE__MESSAGE_REFUSED:
        log_error("the coordinator refused this worker", "reason", envelope->refused->reason);
        session->state = SESSION_CONNECTING;
        uv_timer_start(&session->timer, on_timer, REFUSED_WAIT_MS, 0);
        break;
    case LUMIGRID__ENVELOPE__MESSAGE_GOODBYE:
        log_info("the coordinator said goodbye", "reason", envelope->goodbye->reason);
        connect_next(session, false);
        break;
    case LUMIGRID__ENVELOPE__MESSAGE_DRAIN:
        log_info(
            envelope->drain->resume ? "resumed" : "drained by an admin", "reason", envelope->drain->reason);
        break;
    default: break; /* heartbeats, and what a newer coordinator may add */
    }
    lumigrid__envelope__free_unpacked(envelope, NULL);
}

/* ---- the connection ---- */

static void on_trouble(void *context, const char *reason)
{
    struct session *session = context;
    log_warn("no connection to the coordinator", "endpoint", session->options.endpoints[session->endpoint],
        "reason", reason);
}

/* A new socket, to the next endpoint when `rotate`; Hello goes out once it is connected. */
static void connect_next(struct session *session, bool rotate)
{
    struct error err;
    net_dealer_close(session->dealer, 0);
    session->dealer = NULL;
    session->state = SESSION_CONNECTING;
    if (rotate)
        session->endpoint = (session->endpoint + 1) % session->options.endpoint_count;
    struct net_dealer_options options = {.endpoint = session->options.endpoints[session->endpoint],
        .server_public_key = session->options.server_public_key,
        .keys = &session->options.keys,
        .on_message = on_message,
        .on_trouble = on_trouble,
        .context = session};
    if (net_dealer_open(session->loop, &options, &session->dealer, &err))
        say_hello(session);
    else
        log_error_value(LOG_LEVEL_ERROR, "connecting", &err);
    uv_timer_start(&session->timer, on_timer, HELLO_TIMEOUT_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct session *session = timer->data;
    uint64_t now_ms = uv_now(session->loop);
    if (session->drained && now_ms >= session->drain_deadline_ms) {
        check_drained(session);
        return;
    }
    if (session->state == SESSION_CONNECTING) {
        connect_next(session, true);
        return;
    }
    if (now_ms - session->heard_ms > (uint64_t)SILENT_INTERVALS_MAX * session->heartbeat_ms) {
        log_warn("the coordinator is silent; connecting anew", "ms", LOG_INT(now_ms - session->heard_ms));
        connect_next(session, true);
        return;
    }
    if (session->gap) {
        connect_next(session, false);
        return;
    }
    say_heartbeat(session);
}

static bool open_devices(struct session *session, struct error *err)
{
    for (size_t i = 0; i < session->options.device_count; i++) {
        struct device *device = &session->devices[i];
        struct runner_events events = {outbox_on_result, outbox_on_end, outbox_on_progress, &session->outbox};
        device->session = session;
        device->options = session->options.devices[i];
        device->options.hosted = session->hosted;
        if (!runner_open(&device->options, &events, &device->runner, err))
            return error_context(err, "device %s: ", device->options.device);
    }
    return true;
}

static void make_uuid(char out[37])
{
    uint8_t r[16];
    randombytes_buf(r, sizeof(r));
    r[6] = (uint8_t)((r[6] & 0x0F) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3F) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
        r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
}

bool session_open(
    uv_loop_t *loop, const struct session_options *options, struct session **out, struct error *err)
{
    struct session *session = alloc_zero(1, sizeof(*session));
    session->loop = loop;
    session->options = *options;
    session->last = &session->first;
    session->heartbeat_ms = HEARTBEAT_DEFAULT_MS;
    make_uuid(session->id);
    gethostname(session->host, sizeof(session->host) - 1);
    outbox_open(&session->outbox, loop, on_outbox, session);
    uv_timer_init(loop, &session->timer);
    session->timer.data = session;
    if ((options->hosted_slots && !hosted_open(options->hosted, &session->hosted, err)) ||
        !open_devices(session, err)) {
        session_close(session);
        return false;
    }
    connect_next(session, false);
    *out = session;
    return true;
}

/* ---- the end ---- */

static void check_drained(struct session *session)
{
    if (!session->drained)
        return;
    bool clean = !session->held && !session->first;
    if (!clean && uv_now(session->loop) < session->drain_deadline_ms)
        return;
    if (!clean)
        log_warn("stopping with unfinished work; it will be leased to others");
    say_goodbye(session, "stopping");
    uv_timer_stop(&session->timer);
    void (*drained)(void *, bool) = session->drained;
    session->drained = NULL;
    drained(session->drained_context, clean);
}

void session_drain(
    struct session *session, uint32_t timeout_ms, void (*done)(void *context, bool clean), void *context)
{
    bool again = session->draining;
    session->draining = true;
    session->drained = done;
    session->drained_context = context;
    session->drain_deadline_ms = again ? 0 : uv_now(session->loop) + timeout_ms;
    if (!again && session->state == SESSION_ACTIVE)
        say_drain(session, "this worker is stopping");
    check_drained(session);
}

void session_close(struct session *session)
{
    if (!session)
        return;
    net_dealer_close(session->dealer, LINGER_MS);
    for (size_t i = 0; i < session->options.device_count; i++)
        runner_close(session->devices[i].runner);
    hosted_close(session->hosted);
    outbox_close(&session->outbox);
    uv_close((uv_handle_t *)&session->timer, NULL);
    while (session->held)
        drop_held(&session->held);
    while (session->first) {
        struct unacknowledged *gone = session->first;
        session->first = gone->next;
        free(gone->data);
        free(gone);
    }
    uv_run(session->loop, UV_RUN_NOWAIT); /* lets the handles above end before their memory goes */
    free(session);
}
