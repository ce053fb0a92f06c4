/* The store's inside, shared by its files. */
#ifndef LUMIGRID_COORDINATOR_STORE_STATE_H
#define LUMIGRID_COORDINATOR_STORE_STATE_H

#include "coordinator/store/leader.h"
#include "coordinator/store/pool.h"
#include "coordinator/store/store.h"

enum { TEXT_BYTES_PER_ANSWER = 8 << 20 }; /* of sample_range, result_range */

struct appender; /* results that gather: result_append.c */
struct store_upload;

struct store {
    uv_loop_t *loop;
    struct conninfo info;
    struct store_options options;
    struct leader *leader;
    enum leader_state leader_state;
    struct error trouble; /* of the leader */
    struct pool *pool;
    struct appender *appender;
    struct store_upload *uploads;
    uint32_t upload_count;
    enum store_state state;
    uv_timer_t *closing;
    void (*closed)(void *context);
    void *closed_context;
};

/* A caller's callback on its way through the pool. `done` is cast back to its own type. */
struct call {
    void (*done)(void);
    void *context;
    char subject[STORE_ID_BYTES]; /* what was asked for, for error messages; may be empty */
};
struct call *call_new(void (*done)(void), void *context, const char *subject);

/* For statements whose answer is only "done": ends a call with a store_done. */
void call_done(void *context, PGresult *result, const struct error *err);

/* An id that is not a UUID: ends the request with ERROR_INVALID and returns false. */
bool id_checked(struct store *store, const char *id, const char *what, request_done done, void *context);

/* Values of a text result. NULL for SQL's NULL. Valid as long as the result. */
const char *value_text(const PGresult *result, int row, int column);
int64_t value_int(const PGresult *result, int row, int column);
bool value_bool(const PGresult *result, int row, int column);
void value_id(const PGresult *result, int row, int column, char out[STORE_ID_BYTES]);
/* Of a binary result. */
struct store_text value_bytes(const PGresult *result, int row, int column);

/* ---- result_append.c ---- */
struct appender *appender_open(struct store *store);
void appender_close(struct appender *appender);

/* ---- upload.c ---- */
void uploads_close(struct store *store);

#endif
