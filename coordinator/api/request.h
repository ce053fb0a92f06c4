/* One HTTP request from its headers to its answer. Private to the api room.
 *
 * A handler answers exactly once, at once or later from a callback; until then the connection is suspended
 * and costs nothing. The request stays valid until its answer has been sent. Loop thread only. */
#ifndef LUMIGRID_COORDINATOR_API_REQUEST_H
#define LUMIGRID_COORDINATOR_API_REQUEST_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"
#include "coordinator/api/route.h"

struct api;
struct dataset_upload;

enum { REQUEST_ID_BYTES_MAX = 64, REQUEST_HEADERS_MAX = 6, REQUEST_PATH_BYTES_MAX = 1024 };

/* Bytes that are made while they are sent. `read` copies up to `max` bytes and returns their number; 0:
 * nothing yet, request_wake() will follow; STREAM_END; STREAM_FAILED (the connection is cut, so that the
 * client sees an incomplete body). `close` is called once, whatever happened. */
enum { STREAM_END = -1, STREAM_FAILED = -2 };
struct stream {
    ssize_t (*read)(void *context, char *buffer, size_t max);
    void (*close)(void *context);
    void *context;
    uint64_t size; /* in all, when it is known before; 0: sent in chunks */
};

struct request {
    struct api *api;
    struct MHD_Connection *connection; /* NULL: the server stopped before the handler answered */
    struct route_match match;
    const struct route *route; /* = match.route */
    const char *method;
    const char *path;
    char id[REQUEST_ID_BYTES_MAX + 1];
    uint64_t started_ns;
    uint64_t body_bytes; /* received so far */
    uint64_t swallowed;  /* of those: read only to be able to answer */
    char *body;          /* collected; zero-terminated */
    size_t body_capacity;
    json_t *json; /* the parsed and validated body */
    struct dataset_upload *upload;
    enum route_role role; /* what the caller's token allows */
    char actor[64];       /* whose token it is, for the audit log */

    struct {
        const char *name; /* a literal */
        char value[512];
    } headers[REQUEST_HEADERS_MAX];
    size_t header_count;

    struct MHD_Response *response;
    unsigned status;
    struct stream stream;
    bool authorising; /* the store is looking for the caller's token */
    bool headers_again;
    bool dispatched; /* the handler was called and owes (or gave) an answer */
    bool suspended;
    bool woken;                      /* request_wake() came while stream.read() was running */
    bool stream_open;                /* stream.close is still to be called */
    struct request *previous, *next; /* all live requests */
};

/* Answers. Each may be called once; the value or body is taken over. */
void request_answer_json(struct request *request, unsigned status, json_t *value);
void request_answer_detail(struct request *request, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void request_answer_error(struct request *request, const struct error *err);
void request_answer_empty(struct request *request, unsigned status);
/* For the store's deletions, whose context is the request: 204, or the error. */
void request_answer_deleted(void *context, const struct error *err);
/* Bytes that live as long as the program. */
void request_answer_static(
    struct request *request, unsigned status, const char *type, const void *bytes, size_t size);
/* `bytes` from malloc. */
void request_answer_bytes(
    struct request *request, unsigned status, const char *type, void *bytes, size_t size);
void request_answer_stream(struct request *request, unsigned status, const char *type, struct stream stream);

/* 422 for one field: {"detail":[{type, loc:[where, field], msg, input}]}. `input` is borrowed, may be NULL.
 */
void request_answer_invalid(struct request *request, const char *where, const char *field, const char *type,
    const char *msg, json_t *input);

/* Adds a header to the answer to come. `name` must be a literal; a value with control characters is dropped.
 */
void request_add_header(struct request *request, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Goes on with a stream whose read() said 0, or an upload that did not take all bytes. */
void request_wake(struct request *request);

/* The n-th parameter of the path, decoded; UUIDs in canonical lower case. */
const char *request_parameter(const struct request *request, size_t n);

/* A query parameter of the route's table, already checked. Text may be NULL when absent. */
int64_t request_query_integer(const struct request *request, const char *name);
bool request_query_boolean(const struct request *request, const char *name);
const char *request_query_text(const struct request *request, const char *name);
/* Every value of a repeated parameter, in order. */
void request_query_each(const struct request *request, const char *name,
    void (*each)(void *context, const char *value), void *context);

/* The path came without a slash at its end. lumigator-sdk asks for collections that way, and expects two of
 * them in another shape than the notebooks of the first API, which end paths with a slash: see docs/api.md.
 */
bool request_bare(const struct request *request);

const char *request_header(const struct request *request, const char *name);

/* Checks path and query parameters and the JSON body against the route; answers 422 and returns false when
 * something is wrong. */
bool request_check_parameters(struct request *request);
bool request_check_body(struct request *request);

/* "8-4-4-4-12" hex, or 32 hex digits, to canonical lower case; false when it is none. */
bool request_parse_uuid(const char *text, char out[37]);

#endif
