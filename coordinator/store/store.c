/* The store's life and what its files share. */
#include "coordinator/store/store.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/store/state.h"

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

static enum store_state state_of(const struct store *store)
{
    switch (store->leader_state) {
    case LEADER_REFUSED: return STORE_REFUSED;
    case LEADER_WAITING: return STORE_STANDBY;
    case LEADER_MIGRATING: return STORE_MIGRATING;
    case LEADER_ACTIVE: return pool_ready(store->pool) ? STORE_ACTIVE : STORE_CONNECTING;
    case LEADER_CONNECTING: break;
    }
    return STORE_CONNECTING;
}

static void tell_state(struct store *store)
{
    enum store_state state = state_of(store);
    bool news =
        state == STORE_CONNECTING && store->trouble.code; /* each failed try may have its own reason */
    if (state == store->state && !news)
        return;
    store->state = state;
    struct error reason = store->trouble;
    store->trouble = (struct error){0};
    if (store->options.on_state)
        store->options.on_state(store->options.context, state, reason.code ? &reason : NULL);
}

static void on_leader(void *context, enum leader_state state, const struct error *reason)
{
    struct store *store = context;
    store->leader_state = state;
    store->trouble = reason ? *reason : (struct error){0};
    store->info.leader_pid = leader_pid(store->leader);
    pool_allow(store->pool, state == LEADER_ACTIVE);
    tell_state(store);
}

static void on_pool(void *context)
{
    tell_state(context);
}

bool store_open(uv_loop_t *loop, const struct store_options *options, struct store **out, struct error *err)
{
    struct conninfo info;
    *out = NULL;
    if (sodium_init() < 0)
        return error_set(err, ERROR_INTERNAL, "libsodium cannot start");
    if (!conninfo_parse(options->conninfo, &info, err))
        return false;
    struct store *store = alloc_zero(1, sizeof *store);
    store->loop = loop;
    store->info = info;
    store->options = *options;
    store->options.conninfo = NULL;
    store->options.results_bytes_max = or_default(options->results_bytes_max, 64 << 20);
    store->options.group_ms = or_default(options->group_ms, 3);
    const struct pool_options pool = {.loop = loop,
        .info = &store->info,
        .connections = or_default(options->connections, 4),
        .requests_max = or_default(options->requests_max, 100000),
        .timeout_ms = or_default(options->request_timeout_ms, 10000),
        .on_change = on_pool,
        .context = store};
    store->pool = pool_open(&pool);
    store->appender = appender_open(store);
    const struct leader_options leader = {.loop = loop,
        .info = &store->info,
        .lease_ms = or_default(options->lease_ms, 10000),
        .no_standby = options->no_standby,
        .on_state = on_leader,
        .context = store};
    store->leader = leader_open(&leader);
    *out = store;
    return true;
}

enum store_state store_state(const struct store *store)
{
    return store->state;
}

static void free_store(uv_handle_t *handle)
{
    struct store *store = handle->data;
    if (store->closed)
        store->closed(store->closed_context);
    free(handle);
    conninfo_free(&store->info);
    free(store);
}

static void on_closing(uv_timer_t *timer)
{
    struct store *store = timer->data;
    store->options.on_state = NULL;
    leader_close(store->leader);
    uploads_close(store);
    pool_close(store->pool);
    appender_close(store->appender);
    uv_close((uv_handle_t *)timer, free_store);
}

void store_close(struct store *store, void (*done)(void *context), void *context)
{
    /* From the loop: the caller may be inside one of the store's own callbacks. */
    store->closed = done;
    store->closed_context = context;
    store->closing = alloc_zero(1, sizeof *store->closing);
    uv_timer_init(store->loop, store->closing);
    store->closing->data = store;
    uv_timer_start(store->closing, on_closing, 0, 0);
}

void store_id_new(char out[STORE_ID_BYTES])
{
    unsigned char bytes[16];
    randombytes_buf(bytes, sizeof bytes);
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    char *at = out;
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = "0123456789abcdef"[bytes[i] >> 4];
        *at++ = "0123456789abcdef"[bytes[i] & 15];
    }
    *at = 0;
}

bool store_id_valid(const char *id)
{
    struct packet packet = {0};
    bool valid = id && packet_uuid(&packet, id);
    packet_free(&packet);
    return valid;
}

struct call *call_new(void (*done)(void), void *context, const char *subject)
{
    struct call *call = alloc_zero(1, sizeof *call);
    call->done = done;
    call->context = context;
    if (subject)
        strncpy(call->subject, subject, sizeof call->subject - 1);
    return call;
}

void call_done(void *context, PGresult *result, const struct error *err)
{
    struct call *call = context;
    (void)result;
    if (call->done)
        ((store_done)call->done)(call->context, err);
    free(call);
}

bool id_checked(struct store *store, const char *id, const char *what, request_done done, void *context)
{
    if (store_id_valid(id))
        return true;
    struct error err = {0};
    error_set(&err, ERROR_INVALID, "this %s id is not a UUID: %.60s", what, id ? id : "(none)");
    pool_fail(store->pool, done, context, &err);
    return false;
}

const char *value_text(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

int64_t value_int(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? 0 : strtoll(PQgetvalue(result, row, column), NULL, 10);
}

bool value_bool(const PGresult *result, int row, int column)
{
    return *PQgetvalue(result, row, column) == 't';
}

void value_id(const PGresult *result, int row, int column, char out[STORE_ID_BYTES])
{
    strncpy(out, PQgetvalue(result, row, column), STORE_ID_BYTES - 1);
    out[STORE_ID_BYTES - 1] = 0;
}

struct store_text value_bytes(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return (struct store_text){0};
    return (struct store_text){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}
