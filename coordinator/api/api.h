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

struct api_device {
    const char *name;
    const char *description;
    uint64_t memory_bytes, memory_free_bytes;
    uint32_t slots;
    double utilisation, temperature_celsius;
};

/* A worker as the cluster room knows it. Valid during the call that gives it. */
struct api_worker {
    const char *id, *host, *version;
    uint64_t pid;
    const char *state;  /* "online", "draining", "lost" */
    const char *reason; /* of draining; may be NULL */
    const struct api_device *devices;
    size_t device_count;
    const char *const *metrics, *const *schemes, *const *resident_models;
    size_t metric_count, scheme_count, resident_count;
    uint64_t resident_bytes;
    int64_t joined_ms, seen_ms; /* since 1970 */
};

/* What the API needs of the worker side; main.c connects it to the cluster room. All on the loop's thread;
 * `each` is called during the call. The last three return false when there is no such worker. */
struct api_cluster {
    void *context;
    void (*workers)(
        void *context, void (*each)(void *each_context, const struct api_worker *worker), void *each_context);
    bool (*drain)(void *context, const char *worker_id, const char *reason);
    bool (*resume)(void *context, const char *worker_id);
    bool (*evict)(void *context, const char *worker_id, const char *reason);
};

/* Strings are borrowed and must outlive the api. Zero or NULL means the default named here. */
struct api_options {
    const char *address; /* numeric IPv4 or IPv6 address to listen on; "127.0.0.1" */
    uint16_t port;       /* 0: any free port, see api_port() */

    const char
        *data_dir; /* where master.key (sealing of secrets, signing of URLs) lives; required; made 0600 */
    const char *deployment_type; /* "local", "development", "staging", "production"; "local" */
    const char *public_url;      /* what download URLs begin with; default: http:// + the request's Host */
    const char *cors_origins;    /* comma-separated origins, or "*"; default: none */
    const char
        *bertscore_model; /* the encoder where a submission names none; NULL: the workers' own default */
    const char
        *outbound_hosts; /* comma-separated hosts that users' URLs may name; "localhost,127.0.0.1,[::1]" */
    const char *models_file; /* replaces the built-in list of suggested models */

    const char *tls_cert_file; /* PEM, with intermediates; NULL: plain HTTP */
    const char *tls_key_file;  /* PEM */

    uint64_t upload_bytes_max;    /* a dataset file; 50 MB (50 * 1024 * 1024) */
    uint32_t body_bytes_max;      /* any other body; 1 MiB */
    uint32_t connections_max;     /* 4096 */
    uint32_t body_timeout_s;      /* longest wait for more of a request; 30 */
    uint32_t download_expiry_s;   /* life of a signed download URL; 3600 */
    uint32_t query_timeout_s;     /* longest wait for a completion; 120 */
    const char *openai_model;     /* of completions; "gpt-4o-mini" */
    const char *deployment_model; /* of deployments that name none; "hf://facebook/bart-large-cnn" */
    const char *mistral_model;    /* of completions; "mistral-small-latest" */
    enum api_auth { API_AUTH_AUTO, API_AUTH_ON, API_AUTH_OFF } auth; /* AUTO: on when bound beyond loopback */

    const char *coordinator_id; /* UUID shown in /cluster/status; may be NULL */
};

/* Binds and starts to answer. NULL with a clear error (address in use, no permission, a bad key file). The
 * store and scheduler must outlive the api; `cluster` is copied. While the store is not active every route
 * that needs it answers 503, and /readyz says why. */
struct api *api_open(uv_loop_t *loop, const struct api_options *options, struct store *store,
    struct scheduler *scheduler, const struct api_cluster *cluster, struct error *err);

/* The port that is bound. */
uint16_t api_port(const struct api *api);

/* Something about this job changed (progress, status): wakes its event streams. Cheap when nobody watches. */
void api_job_changed(struct api *api, const char *job_id);

/* Opens a secret that this API sealed, for a worker. `out` has room for `size` bytes; what is written ends
 * with a zero. False: it was sealed with another master key, or damaged. */
bool api_unseal(const struct api *api, const char *name, const void *sealed, size_t size, char *out);

/* Makes a new master key in a coordinator's data folder; the next start seals every secret anew with it.
 * Until that has ended, the old key still opens and checks. ERROR_CONFLICT: the last rotation has not ended.
 */
bool api_rotate_master_key(const char *data_dir, struct error *err);

/* Stops listening, lets running requests end (at most `grace_ms`), then frees the api and calls `done`. The
 * store must still be alive until then. */
void api_close(struct api *api, uint32_t grace_ms, void (*done)(void *context), void *context);

#endif
