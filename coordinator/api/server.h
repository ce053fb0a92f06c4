/* The HTTP server under the API: libmicrohttpd's epoll descriptor watched by the libuv loop. Private to the
 * api room. */
#ifndef LUMIGRID_COORDINATOR_API_SERVER_H
#define LUMIGRID_COORDINATOR_API_SERVER_H

#include <microhttpd.h>

#include "coordinator/api/api.h"
#include "coordinator/api/keys.h"
#include "coordinator/api/request.h"
#include "coordinator/api/schema.h"

struct tokens;
struct watchers;

struct api {
    uv_loop_t *loop;
    struct api_options options;
    struct store *store;
    struct scheduler *scheduler;
    struct api_cluster cluster;
    struct MHD_Daemon *daemon;
    int listen_fd;
    uint16_t port;
    uv_poll_t poll;
    uv_timer_t run_timer;   /* libmicrohttpd's own timeouts, and kicks */
    uv_timer_t sweep_timer; /* once a second: slow requests, shutdown */
    unsigned handles_open;
    struct request *requests;
    size_t request_count;
    struct http_connection *connections;

    struct schemas *schemas;
    char *openapi_text;   /* built once */
    char health_text[96]; /* the same */
    json_t *models;
    struct tokens *tokens;
    struct watchers *watchers;
    struct query *queries; /* whose clients wait */
    struct keys keys;
    enum { ROTATION_IDLE, ROTATION_RUNNING, ROTATION_OVER } rotation; /* of the master key */
    char *tls_cert, *tls_key;                                         /* PEM; NULL: plain HTTP */

    uint64_t id_prefix;
    uint64_t id_counter;
    uint64_t started_ns;
    struct {
        uint64_t requests, errors_client, errors_server, bytes_uploaded;
        double seconds;
    } counts;

    bool closing;
    uint64_t closing_deadline_ns;
    void (*closed)(void *context);
    void *closed_context;
};

/* Opens the socket and the daemon and starts watching. */
bool server_open(struct api *api, struct error *err);

/* Lets the daemon run soon: something was resumed. */
void server_kick(struct api *api);

/* One of the loop's handles is closed; after the last, api->closed is called. */
void server_handle_closed(struct api *api);

/* A handler answered a request whose connection is gone: frees it. */
void server_request_abandoned(struct request *request);

/* Begins the shutdown; api->closed is called when everything has ended. */
void server_close(struct api *api, uint32_t grace_ms);

#endif
