/* The REST API: libmicrohttpd on the coordinator's libuv loop.
 *
 * Everything here runs on the loop's thread and nothing blocks it: a handler that needs Postgres suspends its
 * connection and answers from the store's callback; statistics run on libuv's thread pool. */
#ifndef LUMIGRID_COORDINATOR_API_API_H
#define LUMIGRID_COORDINATOR_API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/error.h"

struct store;
struct scheduler;
struct api;

/* Strings are borrowed and must outlive the api. Zero or NULL means the default named here. */
struct api_options {
    const char *address; /* numeric IPv4 or IPv6 address to listen on; "127.0.0.1" */
    uint16_t port;       /* 0: any free port, see api_port() */

    const char *data_dir;        /* where master.key (sealing of secrets, signing of URLs) lives; required; made 0600 */
    const char *deployment_type; /* "local", "development", "staging", "production"; "local" */
    const char *public_url;      /* what download URLs begin with; default: http:// + the request's Host */
    const char *cors_origins;    /* comma-separated origins, or "*"; default: none */
    const char *models_file;     /* replaces the built-in list of suggested models */

    uint64_t upload_bytes_max;      /* a dataset file; 50 MB (50 * 1024 * 1024) */
    uint32_t body_bytes_max;        /* any other body; 1 MiB */
    uint32_t connections_max;       /* 4096 */
    uint32_t body_timeout_s;        /* longest wait for more of a request; 30 */
    uint32_t download_expiry_s;     /* life of a signed download URL; 3600 */
    enum api_auth { API_AUTH_AUTO, API_AUTH_ON, API_AUTH_OFF } auth; /* AUTO: on when bound beyond loopback */

    const char *coordinator_id; /* UUID shown in /cluster/status; may be NULL */
    bool standby;               /* true: /readyz says no until api_set_active() */
};

/* Binds and starts to answer. NULL with a clear error (address in use, no permission, a bad key file). The
 * store and scheduler must outlive the api. */
struct api *api_open(uv_loop_t *loop, const struct api_options *options, struct store *store,
    struct scheduler *scheduler, struct error *err);

/* The port that is bound. */
uint16_t api_port(const struct api *api);

/* A standby became the active coordinator. */
void api_set_active(struct api *api);

/* Something about this job changed (progress, status): wakes its event streams. Cheap when nobody watches. */
void api_job_changed(struct api *api, const char *job_id);

/* Stops listening, lets running requests end (at most `grace_ms`), then frees the api and calls `done`. The
 * store must still be alive until then. */
void api_close(struct api *api, uint32_t grace_ms, void (*done)(void *context), void *context);

#endif
