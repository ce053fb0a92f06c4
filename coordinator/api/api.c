#include "coordinator/api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/outbound.h"
#include "coordinator/api/auth.h"
#include "coordinator/api/events.h"
#include "coordinator/api/models.h"
#include "coordinator/api/openapi.h"
#include "coordinator/api/query.h"
#include "coordinator/api/server.h"

static void set_defaults(struct api_options *o)
{
    if (!o->address)
        o->address = "127.0.0.1";
    if (!o->deployment_type)
        o->deployment_type = "local";
    if (!o->outbound_hosts)
        o->outbound_hosts = OUTBOUND_HOSTS_DEFAULT;
    if (o->upload_bytes_max == 0)
        o->upload_bytes_max = 50 * 1024 * 1024;
    if (o->body_bytes_max == 0)
        o->body_bytes_max = 1024 * 1024;
    if (o->connections_max == 0)
        o->connections_max = 4096;
    if (o->body_timeout_s == 0)
        o->body_timeout_s = 30;
    if (o->download_expiry_s == 0)
        o->download_expiry_s = 3600;
    if (o->query_timeout_s == 0)
        o->query_timeout_s = 120;
    if (!o->openai_model)
        o->openai_model = "gpt-4o-mini";
    if (!o->deployment_model)
        o->deployment_model = "hf://facebook/bart-large-cnn";
    if (!o->mistral_model)
        o->mistral_model = "mistral-small-latest";
}

static bool check_files(const struct api_options *o, struct error *err)
{
    if (!o->data_dir)
        return error_set(err, ERROR_INVALID, "the API needs a data folder for its keys");
    if (!o->tls_cert_file != !o->tls_key_file)
        return error_set(err, ERROR_INVALID, "TLS needs a certificate and its key: --tls-cert and --tls-key");
    return true;
}

static bool check_options(const struct api_options *o, struct error *err)
{
    static const char *const TYPES[] = {"local", "development", "staging", "production"};
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++)
        if (strcmp(TYPES[i], o->deployment_type) == 0)
            return check_files(o, err);
    return error_set(err, ERROR_INVALID,
        "the deployment type \"%s\" is none of local, development, staging, production", o->deployment_type);
}

static void api_free(struct api *api)
{
    auth_close(api);
    schemas_close(api->schemas);
    json_decref(api->models);
    free(api->openapi_text);
    free(api->tls_cert);
    if (api->tls_key)
        sodium_memzero(api->tls_key, strlen(api->tls_key));
    free(api->tls_key);
    sodium_memzero(&api->keys, sizeof(api->keys));
    free(api);
}

struct api *api_open(uv_loop_t *loop, const struct api_options *options, struct store *store,
    struct scheduler *scheduler, const struct api_cluster *cluster, struct error *err)
{
    struct api *api = alloc_zero(1, sizeof(*api));
    api->loop = loop;
    api->options = *options;
    api->store = store;
    api->scheduler = scheduler;
    api->cluster = *cluster;
    api->listen_fd = -1;
    api->started_ns = uv_hrtime();
    set_defaults(&api->options);
    if (!check_options(&api->options, err) || !keys_open(api->options.data_dir, &api->keys, err) ||
        !(api->schemas = schemas_open(err)) || !models_open(api, err) || !auth_open(api, err) ||
        !(api->openapi_text = openapi_text(api->schemas, err)) || !server_open(api, err)) {
        api_free(api);
        return NULL;
    }
    snprintf(api->health_text, sizeof(api->health_text), "{\"status\":\"OK\",\"deployment_type\":\"%s\"}",
        api->options.deployment_type);
    randombytes_buf(&api->id_prefix, sizeof(api->id_prefix));
    events_open(api);
    log_info("HTTP is open", "address", api->options.address, "port", LOG_INT(api->port));
    return api;
}

uint16_t api_port(const struct api *api)
{
    return api->port;
}

void api_job_changed(struct api *api, const char *job_id)
{
    events_changed(api, job_id);
    queries_changed(api, job_id);
}

bool api_unseal(const struct api *api, const char *name, const void *sealed, size_t size, char *out)
{
    if (!keys_unseal(&api->keys, name, sealed, size, out, NULL))
        return false;
    out[size - KEYS_SEAL_OVERHEAD] = '\0';
    return true;
}

bool api_rotate_master_key(const char *data_dir, struct error *err)
{
    return keys_rotate(data_dir, err);
}

struct closing {
    struct api *api;
    void (*done)(void *context);
    void *context;
};

static void on_closed(void *context)
{
    struct closing *closing = context;
    api_free(closing->api);
    closing->done(closing->context);
    free(closing);
}

void api_close(struct api *api, uint32_t grace_ms, void (*done)(void *context), void *context)
{
    struct closing *closing = alloc_zero(1, sizeof(*closing));
    *closing = (struct closing){api, done, context};
    api->closed = on_closed;
    api->closed_context = closing;
    server_close(api, grace_ms);
}
