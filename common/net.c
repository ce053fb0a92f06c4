/* ZeroMQ on libuv. ZeroMQ's file descriptor is edge-triggered and says only "look again", so a socket is
 * pumped at two places: when the descriptor fires, and before the loop sleeps (a send may have swallowed the
 * edge). While messages are left after a bounded batch, an idle handle keeps the loop turning, so that timers
 * and HTTP get their share. */
#include "common/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/log.h"

enum {
    BATCH_MESSAGES_MAX = 256,  /* handled before other handles of the loop get a turn */
    QUEUE_MESSAGES_MAX = 4096, /* per peer and direction; tasks' credit keeps real queues far shorter */
    HEARTBEAT_MS = 2000,
    HEARTBEAT_TIMEOUT_MS = 8000,
    RECONNECT_MS = 100,
    RECONNECT_MS_MAX = 5000,
    PUMP_HANDLES = 3,
};

/* One ZeroMQ socket watched by the loop. `drain` handles at most BATCH_MESSAGES_MAX messages and says whether
 * more may be waiting. `free_owner` runs when every handle has ended. */
struct pump {
    void *socket;
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_idle_t idle;
    bool (*drain)(struct pump *pump);
    void (*on_closed)(struct pump *pump);
    void *owner;
    int open_handles;
    bool closing;
    bool draining;
};

static void idle_nothing(uv_idle_t *handle)
{
    (void)handle;
}

static void pump_run(struct pump *pump)
{
    if (pump->closing || pump->draining)
        return;
    pump->draining = true;
    bool more = pump->drain(pump);
    pump->draining = false;
    if (pump->closing)
        return;
    if (more)
        uv_idle_start(&pump->idle, idle_nothing);
    else
        uv_idle_stop(&pump->idle);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    pump_run(handle->data);
}

static void on_prepare(uv_prepare_t *handle)
{
    pump_run(handle->data);
}

static bool pump_start(struct pump *pump, uv_loop_t *loop, struct error *err)
{
    int fd;
    size_t size = sizeof(fd);
    if (zmq_getsockopt(pump->socket, ZMQ_FD, &fd, &size) != 0)
        return error_set(err, ERROR_INTERNAL, "ZeroMQ descriptor: %s", zmq_strerror(zmq_errno()));
    int status = uv_poll_init(loop, &pump->poll, fd);
    if (status != 0)
        return error_set(err, ERROR_INTERNAL, "watching a ZeroMQ descriptor: %s", uv_strerror(status));
    uv_prepare_init(loop, &pump->prepare);
    uv_idle_init(loop, &pump->idle);
    pump->poll.data = pump->prepare.data = pump->idle.data = pump;
    uv_poll_start(&pump->poll, UV_READABLE, on_poll);
    uv_prepare_start(&pump->prepare, on_prepare);
    pump->open_handles = PUMP_HANDLES;
    return true;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct pump *pump = handle->data;
    if (--pump->open_handles == 0)
        pump->on_closed(pump);
}

/* Stops watching; the socket is closed at once. on_closed follows on the loop's next turn. */
static void pump_stop(struct pump *pump, int linger_ms)
{
    pump->closing = true;
    uv_close((uv_handle_t *)&pump->poll, on_handle_closed);
    uv_close((uv_handle_t *)&pump->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&pump->idle, on_handle_closed);
    zmq_setsockopt(pump->socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
    zmq_close(pump->socket);
}

static void set_int(void *socket, int option, int value)
{
    int status = zmq_setsockopt(socket, option, &value, sizeof(value));
    if (status != 0)
        log_error("ZeroMQ option refused", "option", LOG_INT(option), "error", zmq_strerror(zmq_errno()));
}

static void set_common_options(void *socket, const char *endpoint)
{
    int64_t message_max = NET_MESSAGE_BYTES_MAX;
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &message_max, sizeof(message_max));
    set_int(socket, ZMQ_SNDHWM, QUEUE_MESSAGES_MAX);
    set_int(socket, ZMQ_RCVHWM, QUEUE_MESSAGES_MAX);
    set_int(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
    set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS);
    set_int(socket, ZMQ_HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS);
    set_int(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MS_MAX);
    set_int(socket, ZMQ_IPV6, strchr(endpoint, '[') != NULL);
    set_int(socket, ZMQ_LINGER, 0);
}

/* Throws away the rest of a multi-part message. */
static void skip_parts(void *socket)
{
    int more = 1;
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        more = zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&part);
        zmq_msg_close(&part);
    }
}

static bool send_failed(struct error *err, const char *what)
{
    int code = zmq_errno();
    if (code == EAGAIN)
        return error_set(err, ERROR_UNAVAILABLE, "%s: the peer does not read; its queue is full", what);
    return error_set(err, ERROR_UNAVAILABLE, "%s: %s", what, zmq_strerror(code));
}

/* ---- ROUTER ---- */

struct net_router {
    struct net_router_options options;
    void *context;
    struct pump traffic;
    struct pump zap;
    int open_pumps;
    char endpoint[256];
};

/* One question of the ZeroMQ Authentication Protocol (RFC 27): frames version, request id, domain, address,
 * identity, mechanism, credentials. */
static bool zap_drain(struct pump *pump)
{
    struct net_router *router = pump->owner;
    for (int served = 0; served < BATCH_MESSAGES_MAX; served++) {
        char frames[7][256];
        int sizes[7];
        int count = 0;
        int more = 1;
        size_t more_size = sizeof(more);
        for (; count < 7 && more; count++) {
            sizes[count] = zmq_recv(pump->socket, frames[count], sizeof(frames[count]) - 1, ZMQ_DONTWAIT);
            if (sizes[count] < 0)
                return false;
            if (sizes[count] > (int)sizeof(frames[count]) - 1)
                sizes[count] = (int)sizeof(frames[count]) - 1;
            frames[count][sizes[count]] = '\0';
            zmq_getsockopt(pump->socket, ZMQ_RCVMORE, &more, &more_size);
        }
        if (more)
            skip_parts(pump->socket);
        char key[NET_KEY_CHARS + 1] = "";
        bool curve = count == 7 && !more && strcmp(frames[5], "CURVE") == 0 && sizes[6] == 32;
        bool admitted = curve && zmq_z85_encode(key, (const uint8_t *)frames[6], 32) &&
                        router->options.admit(router->options.context, key, frames[3]);
        if (!admitted)
            log_warn("connection refused", "key", key, "address", count > 3 ? frames[3] : "", "hint",
                "admit the key with: lumigrid key admit");
        zmq_send(pump->socket, "1.0", 3, ZMQ_SNDMORE);
        zmq_send(pump->socket, frames[1], count > 1 ? (size_t)sizes[1] : 0, ZMQ_SNDMORE);
        zmq_send(pump->socket, admitted ? "200" : "400", 3, ZMQ_SNDMORE);
        const char *text = admitted ? "OK" : "this key is not admitted";
        zmq_send(pump->socket, text, strlen(text), ZMQ_SNDMORE);
        zmq_send(pump->socket, key, strlen(key), ZMQ_SNDMORE);
        zmq_send(pump->socket, "", 0, 0);
    }
    return true;
}

static bool router_drain(struct pump *pump)
{
    struct net_router *router = pump->owner;
    for (int handled = 0; handled < BATCH_MESSAGES_MAX; handled++) {
        struct net_peer peer;
        int len = zmq_recv(pump->socket, peer.bytes, sizeof(peer.bytes), ZMQ_DONTWAIT);
        if (len < 0)
            return false;
        zmq_msg_t body;
        zmq_msg_init(&body);
        if (zmq_msg_recv(&body, pump->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&body);
            return false;
        }
        if (zmq_msg_more(&body)) {
            skip_parts(pump->socket);
        } else if (len <= NET_PEER_BYTES_MAX) {
            peer.len = (uint8_t)len;
            const char *key = zmq_msg_gets(&body, "User-Id");
            router->options.on_message(
                router->options.context, &peer, key ? key : "", zmq_msg_data(&body), zmq_msg_size(&body));
        }
        zmq_msg_close(&body);
        if (pump->closing)
            return false;
    }
    return true;
}

static void router_pump_closed(struct pump *pump)
{
    struct net_router *router = pump->owner;
    if (--router->open_pumps > 0)
        return;
    zmq_ctx_term(router->context);
    free(router);
}

static bool router_bind(struct net_router *router, struct error *err)
{
    void *socket = router->traffic.socket;
    const struct net_router_options *options = &router->options;
    set_common_options(socket, options->endpoint);
    set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
    set_int(socket, ZMQ_CURVE_SERVER, 1);
    zmq_setsockopt(socket, ZMQ_ZAP_DOMAIN, "lumigrid", 8);
    if (zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, options->keys->secret_key, NET_KEY_CHARS + 1) != 0)
        return error_set(err, ERROR_INVALID, "the coordinator's CURVE secret key is not valid");
    if (zmq_bind(router->zap.socket, "inproc://zeromq.zap.01") != 0)
        return error_set(err, ERROR_INTERNAL, "binding the ZAP handler: %s", zmq_strerror(zmq_errno()));
    if (zmq_bind(socket, options->endpoint) != 0) {
        int code = zmq_errno();
        error_set(err, code == EADDRINUSE ? ERROR_CONFLICT : ERROR_INVALID,
            "cannot listen for workers on %s: %s", options->endpoint, zmq_strerror(code));
        return error_hint(err, code == EADDRINUSE ? "another program holds that port; choose one with --tasks"
                                                  : "give --tasks as tcp://ADDRESS:PORT");
    }
    size_t size = sizeof(router->endpoint);
    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, router->endpoint, &size);
    return true;
}

bool net_router_open(
    uv_loop_t *loop, const struct net_router_options *options, struct net_router **out, struct error *err)
{
    struct net_router *router = calloc(1, sizeof(*router));
    if (!router)
        return error_set(err, ERROR_MEMORY, "no memory for the task socket");
    router->options = *options;
    router->context = zmq_ctx_new();
    router->traffic = (struct pump){.socket = zmq_socket(router->context, ZMQ_ROUTER),
        .drain = router_drain,
        .on_closed = router_pump_closed,
        .owner = router};
    router->zap = (struct pump){.socket = zmq_socket(router->context, ZMQ_REP),
        .drain = zap_drain,
        .on_closed = router_pump_closed,
        .owner = router};
    if (!router_bind(router, err))
        goto failed;
    router->options.keys = NULL; /* ZeroMQ has its copy; ours is the caller's */
    router->options.endpoint = NULL;
    if (!pump_start(&router->zap, loop, err))
        goto failed;
    router->open_pumps = 1;
    if (!pump_start(&router->traffic, loop, err)) {
        zmq_close(router->traffic.socket);
        pump_stop(&router->zap, 0); /* frees the router when its handles have ended */
        return false;
    }
    router->open_pumps = 2;
    *out = router;
    return true;
failed:
    zmq_close(router->traffic.socket);
    zmq_close(router->zap.socket);
    zmq_ctx_term(router->context);
    free(router);
    return false;
}

const char *net_router_endpoint(const struct net_router *router)
{
    return router->endpoint;
}

bool net_router_send(struct net_router *router, const struct net_peer *peer, const uint8_t *data, size_t len,
    struct error *err)
{
    void *socket = router->traffic.socket;
    if (len > NET_MESSAGE_BYTES_MAX)
        return error_set(err, ERROR_TOO_LARGE, "a message of %zu bytes is over the limit of %d", len,
            NET_MESSAGE_BYTES_MAX);
    if (zmq_send(socket, peer->bytes, peer->len, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return send_failed(err, "sending to a worker");
    if (zmq_send(socket, data, len, ZMQ_DONTWAIT) < 0)
        return send_failed(err, "sending to a worker");
    return true;
}

void net_router_close(struct net_router *router, int linger_ms)
{
    if (!router || router->traffic.closing)
        return;
    pump_stop(&router->traffic, linger_ms);
    pump_stop(&router->zap, 0);
}

/* ---- DEALER ---- */

struct net_dealer {
    struct net_dealer_options options;
    void *context;
    struct pump traffic;
    struct pump monitor;
    int open_pumps;
    bool connected;   /* the last handshake succeeded and no trouble was seen since */
    int last_trouble; /* the monitor event last told, so that a retry a second is not a line a second */
};

static bool dealer_drain(struct pump *pump)
{
    struct net_dealer *dealer = pump->owner;
    for (int handled = 0; handled < BATCH_MESSAGES_MAX; handled++) {
        zmq_msg_t body;
        zmq_msg_init(&body);
        if (zmq_msg_recv(&body, pump->socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&body);
            return false;
        }
        if (zmq_msg_more(&body))
            skip_parts(pump->socket);
        else
            dealer->options.on_message(dealer->options.context, zmq_msg_data(&body), zmq_msg_size(&body));
        zmq_msg_close(&body);
        if (pump->closing)
            return false;
    }
    return true;
}

static const char *trouble_text(int event)
{
    switch (event) {
    case ZMQ_EVENT_CONNECT_RETRIED: return "no coordinator answers there";
    case ZMQ_EVENT_DISCONNECTED: return "the connection broke";
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return "the coordinator does not admit this worker's key";
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return "the encrypted handshake failed: the coordinator's key is not the one given";
    default: return NULL;
    }
}

static bool monitor_drain(struct pump *pump)
{
    struct net_dealer *dealer = pump->owner;
    for (int handled = 0; handled < BATCH_MESSAGES_MAX; handled++) {
        uint8_t frame[6];
        int len = zmq_recv(pump->socket, frame, sizeof(frame), ZMQ_DONTWAIT);
        if (len < 0)
            return false;
        skip_parts(pump->socket); /* the endpoint's address */
        uint16_t event = 0;
        if (len >= (int)sizeof(event))
            memcpy(&event, frame, sizeof(event));
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            dealer->last_trouble = 0;
            dealer->connected = true;
        } else if (event == ZMQ_EVENT_DISCONNECTED && !dealer->connected) {
            continue; /* the handshake's own event said why */
        }
        const char *text = trouble_text(event);
        if (text && event != dealer->last_trouble && dealer->options.on_trouble) {
            dealer->last_trouble = event;
            dealer->connected = false;
            dealer->options.on_trouble(dealer->options.context, text);
        }
        if (pump->closing)
            return false;
    }
    return true;
}

static void dealer_pump_closed(struct pump *pump)
{
    struct net_dealer *dealer = pump->owner;
    if (--dealer->open_pumps > 0)
        return;
    zmq_ctx_term(dealer->context);
    free(dealer);
}

static bool dealer_connect(struct net_dealer *dealer, struct error *err)
{
    void *socket = dealer->traffic.socket;
    const struct net_dealer_options *options = &dealer->options;
    set_common_options(socket, options->endpoint);
    if (zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, options->server_public_key, NET_KEY_CHARS + 1) != 0)
        return error_set(err, ERROR_INVALID, "the coordinator's public key is not a 40-character Z85 key");
    if (zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, options->keys->public_key, NET_KEY_CHARS + 1) != 0 ||
        zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, options->keys->secret_key, NET_KEY_CHARS + 1) != 0)
        return error_set(err, ERROR_INVALID, "this worker's CURVE key pair is not valid");
    if (zmq_socket_monitor(socket, "inproc://monitor", ZMQ_EVENT_ALL) != 0 ||
        zmq_connect(dealer->monitor.socket, "inproc://monitor") != 0)
        return error_set(err, ERROR_INTERNAL, "watching the connection: %s", zmq_strerror(zmq_errno()));
    if (zmq_connect(socket, options->endpoint) != 0) {
        error_set(
            err, ERROR_INVALID, "cannot connect to %s: %s", options->endpoint, zmq_strerror(zmq_errno()));
        return error_hint(err, "give the coordinator as tcp://HOST:PORT");
    }
    return true;
}

bool net_dealer_open(
    uv_loop_t *loop, const struct net_dealer_options *options, struct net_dealer **out, struct error *err)
{
    struct net_dealer *dealer = calloc(1, sizeof(*dealer));
    if (!dealer)
        return error_set(err, ERROR_MEMORY, "no memory for the connection");
    dealer->options = *options;
    dealer->context = zmq_ctx_new();
    dealer->traffic = (struct pump){.socket = zmq_socket(dealer->context, ZMQ_DEALER),
        .drain = dealer_drain,
        .on_closed = dealer_pump_closed,
        .owner = dealer};
    dealer->monitor = (struct pump){.socket = zmq_socket(dealer->context, ZMQ_PAIR),
        .drain = monitor_drain,
        .on_closed = dealer_pump_closed,
        .owner = dealer};
    if (!dealer_connect(dealer, err))
        goto failed;
    dealer->options.keys = NULL;
    dealer->options.endpoint = dealer->options.server_public_key = NULL;
    if (!pump_start(&dealer->monitor, loop, err))
        goto failed;
    dealer->open_pumps = 1;
    if (!pump_start(&dealer->traffic, loop, err)) {
        zmq_close(dealer->traffic.socket);
        pump_stop(&dealer->monitor, 0);
        return false;
    }
    dealer->open_pumps = 2;
    *out = dealer;
    return true;
failed:
    zmq_close(dealer->traffic.socket);
    zmq_close(dealer->monitor.socket);
    zmq_ctx_term(dealer->context);
    free(dealer);
    return false;
}

bool net_dealer_send(struct net_dealer *dealer, const uint8_t *data, size_t len, struct error *err)
{
    if (len > NET_MESSAGE_BYTES_MAX)
        return error_set(err, ERROR_TOO_LARGE, "a message of %zu bytes is over the limit of %d", len,
            NET_MESSAGE_BYTES_MAX);
    if (zmq_send(dealer->traffic.socket, data, len, ZMQ_DONTWAIT) < 0)
        return send_failed(err, "sending to the coordinator");
    return true;
}

void net_dealer_close(struct net_dealer *dealer, int linger_ms)
{
    if (!dealer || dealer->traffic.closing)
        return;
    zmq_socket_monitor(dealer->traffic.socket, NULL, 0);
    pump_stop(&dealer->traffic, linger_ms);
    pump_stop(&dealer->monitor, 0);
}
