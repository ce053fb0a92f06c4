/* lumigrid-coordinator: options, wiring, shutdown. The only file that knows every part. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "common/alloc.h"
#include "common/config.h"
#include "common/log.h"
#include "coordinator/api/api.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, GRACE_MS = 5000, REPEAT_LOG_MS = 30000, ADDRESS_BYTES = 64 };

static const struct config_option OPTIONS[] = {
    {"http", "ADDR:PORT", "127.0.0.1:8000", "where the API and the web page listen", false, false},
    {"tasks", "tcp://ADDR:PORT", "tcp://127.0.0.1:8001", "where workers connect", false, false},
    {"database", "CONNINFO", "", "Postgres, as libpq takes it: \"host=… dbname=…\" or postgresql://…", false,
        true},
    {"database-connections", "N", "4", "connections to keep to it", false, false},
    {"data", "DIR", "lumigrid-data", "this coordinator's own files (its master key)", false, false},
    {"keys", "DIR", NULL,
        "coordinator.key, and workers/NAME.pub for each admitted worker; DATA/keys otherwise", false, false},
    {"no-standby", NULL, NULL, "end instead of waiting when another coordinator is active", false, false},
    {"lease-ms", "N", "10000", "a worker unheard for this long is lost, and its samples go to others", false,
        false},
    {"task-ms", "N", "2000", "how long a task should take; its number of samples follows", false, false},
    {"task-samples", "N", "1024", "most samples in a task", false, false},
    {"auth", "auto|on|off", "auto", "bearer tokens; auto: on when bound beyond loopback", false, false},
    {"tls-cert", "FILE", NULL, "PEM certificate chain: HTTPS instead of HTTP", false, false},
    {"tls-key", "FILE", NULL, "its PEM key", false, false},
    {"deployment-type", "local|development|staging|production", "local", "what the health route says", false,
        false},
    {"public-url", "URL", NULL, "what download URLs begin with; otherwise what the client used", false,
        false},
    {"cors-origins", "LIST", NULL, "origins whose pages may call the API, comma-separated, or *", false,
        false},
    {"bertscore-model", "REF", NULL,
        "the encoder of BERTScore where a submission names none; hf://FacebookAI/roberta-large otherwise",
        false, false},
    {"outbound-hosts", "LIST", NULL, "hosts that users' model URLs may name; loopback otherwise", false,
        false},
    {"models-file", "FILE", NULL, "replaces the list of suggested models", false, false},
    {"request-timeout-s", "N", "30", "longest wait for more of a request; slower ones are cut off", false,
        false},
    {"upload-max", "SIZE", "50MiB", "largest dataset file", false, false},
    {"download-expiry-s", "N", "3600", "how long a signed download URL is good for", false, false},
    {"openai-model", "NAME", "gpt-4o-mini", "the model of POST /completions/openai", false, false},
    {"mistral-model", "NAME", "mistral-small-latest", "the model of POST /completions/mistral", false, false},
    {"deployment-model", "REF", "hf://facebook/bart-large-cnn", "the model of deployments that name none",
        false, false},
    {"query-timeout-s", "N", "120", "longest wait for a completion or a deployment's answer", false, false},
    {"log-level", "debug|info|warn|error", "info", "least severe lines to log; read again on SIGHUP", false,
        false},
    {"log-format", "logfmt|json", "logfmt", "how log lines are written", false, false},
    {0},
};

struct program {
    uv_loop_t loop;
    uv_signal_t terminate, interrupt, hangup;
    struct config *config;
    int argc;
    char **argv;
    struct store *store;
    struct cluster *cluster;
    struct api *api;
    char id[STORE_ID_BYTES];
    char address[ADDRESS_BYTES];
    char *keys_dir;
    struct error last_trouble;
    uint64_t trouble_logged_ms;
    bool stopping;
    int status;
};

static void print_help(void)
{
    puts("usage: lumigrid-coordinator [OPTION]…         run in the foreground, log to stderr\n"
         "       lumigrid-coordinator config check     print every setting and where it comes from\n"
         "       lumigrid-coordinator key rotate       make a new master key in --data; the next start seals "
         "secrets anew\n\n"
         "SIGTERM drains and stops; SIGHUP reads the log level and the admitted workers' keys "
         "again.\n\noptions:");
    config_print_help(OPTIONS, stdout);
}

static int fail(const struct error *err, int status)
{
    fprintf(stderr, "lumigrid-coordinator: %s%s%s\n", err->message, err->hint[0] ? "; " : "", err->hint);
    return status;
}

/* ---- options ---- */

static bool read_logging(const struct config *config, struct error *err)
{
    return log_configure(
        "coordinator", config_text(config, "log-level"), config_text(config, "log-format"), err);
}

/* "127.0.0.1:8000", "[::1]:8000", ":8000" (every address). */
static bool read_address(const char *text, char address[ADDRESS_BYTES], uint16_t *port, struct error *err)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long number = colon ? strtoul(colon + 1, &end, 10) : 0;
    size_t length = colon ? (size_t)(colon - text) : 0;
    bool bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    if (!colon || !colon[1] || *end || number > UINT16_MAX || length >= ADDRESS_BYTES ||
        (!bracketed && memchr(text, ':', length)))
        return error_set(
            err, ERROR_INVALID, "--http takes ADDR:PORT such as 127.0.0.1:8000, not \"%.80s\"", text);
    snprintf(
        address, ADDRESS_BYTES, "%.*s", (int)(bracketed ? length - 2 : length), bracketed ? text + 1 : text);
    if (!*address)
        snprintf(address, ADDRESS_BYTES, "0.0.0.0");
    *port = (uint16_t)number;
    return true;
}

static bool read_auth(const char *text, enum api_auth *out, struct error *err)
{
    static const char *const names[] = {
        [API_AUTH_AUTO] = "auto", [API_AUTH_ON] = "on", [API_AUTH_OFF] = "off"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], text) == 0) {
            *out = (enum api_auth)i;
            return true;
        }
    }
    return error_set(err, ERROR_INVALID, "--auth takes auto, on or off, not \"%.40s\"", text);
}

static bool read_store_options(const struct config *config, struct store_options *out, struct error *err)
{
    int64_t connections = 0;
    if (!config_integer(config, "database-connections", 2, 100, &connections, err))
        return false;
    out->conninfo = config_text(config, "database");
    out->connections = (uint32_t)connections;
    out->no_standby = config_switch(config, "no-standby");
    return true;
}

static bool read_cluster_options(const struct config *config, struct cluster_options *out, struct error *err)
{
    int64_t lease = 0, target = 0, samples = 0;
    if (!config_integer(config, "lease-ms", 500, 3600000, &lease, err) ||
        !config_integer(config, "task-ms", 10, 3600000, &target, err) ||
        !config_integer(config, "task-samples", 1, 16384, &samples, err))
        return false;
    out->endpoint = config_text(config, "tasks");
    out->lease_ms = (uint32_t)lease;
    out->task_target_ms = (uint32_t)target;
    out->task_samples_max = (uint32_t)samples;
    return true;
}

static bool read_api_options(struct program *program, struct api_options *out, struct error *err)
{
    const struct config *config = program->config;
    int64_t expiry = 0, timeout = 0, query = 0;
    if (!read_address(config_text(config, "http"), program->address, &out->port, err) ||
        !read_auth(config_text(config, "auth"), &out->auth, err) ||
        !config_bytes(config, "upload-max", &out->upload_bytes_max, err) ||
        !config_integer(config, "request-timeout-s", 1, 3600, &timeout, err) ||
        !config_integer(config, "download-expiry-s", 1, 31536000, &expiry, err) ||
        !config_integer(config, "query-timeout-s", 1, 3600, &query, err))
        return false;
    out->address = program->address;
    out->data_dir = config_text(config, "data");
    out->tls_cert_file = config_text(config, "tls-cert");
    out->tls_key_file = config_text(config, "tls-key");
    out->deployment_type = config_text(config, "deployment-type");
    out->public_url = config_text(config, "public-url");
    out->cors_origins = config_text(config, "cors-origins");
    out->outbound_hosts = config_text(config, "outbound-hosts");
    out->bertscore_model = config_text(config, "bertscore-model");
    out->models_file = config_text(config, "models-file");
    out->body_timeout_s = (uint32_t)timeout;
    out->download_expiry_s = (uint32_t)expiry;
    out->query_timeout_s = (uint32_t)query;
    out->openai_model = config_text(config, "openai-model");
    out->deployment_model = config_text(config, "deployment-model");
    out->mistral_model = config_text(config, "mistral-model");
    out->coordinator_id = program->id;
    return true;
}

/* ---- shutdown: the API first, then the workers' side, then the store, each when the one before is done ----
 */

static void close_signal(uv_signal_t *signal)
{
    if (!uv_is_closing((uv_handle_t *)signal))
        uv_close((uv_handle_t *)signal, NULL);
}

static void close_signals(struct program *program)
{
    close_signal(&program->terminate);
    close_signal(&program->interrupt);
    close_signal(&program->hangup);
}

static void on_store_closed(void *context)
{
    struct program *program = context;
    cluster_free(program->cluster);
    program->cluster = NULL;
    close_signals(program);
}

static void on_cluster_closed(void *context)
{
    struct program *program = context;
    store_close(program->store, on_store_closed, program);
}

static void on_api_closed(void *context)
{
    struct program *program = context;
    cluster_close(program->cluster, GRACE_MS, on_cluster_closed, program);
}

static void stop(struct program *program, int status)
{
    if (program->stopping)
        return;
    program->stopping = true;
    program->status = status;
    api_close(program->api, GRACE_MS, on_api_closed, program);
    program->api = NULL;
}

static void on_terminate(uv_signal_t *signal, int number)
{
    struct program *program = signal->data;
    if (program->stopping) {
        log_warn("stopping at once");
        _Exit(EXIT_FAILED);
    }
    log_info("stopping", "signal", number == SIGTERM ? "SIGTERM" : "SIGINT");
    stop(program, EXIT_SUCCESS);
}

static void on_hangup(uv_signal_t *signal, int number)
{
    struct program *program = signal->data;
    struct config *config = NULL;
    struct error err = {0};
    (void)number;
    if (!config_parse(OPTIONS, "coordinator", program->argc, program->argv, &config, &err) ||
        !read_logging(config, &err))
        log_error_value(LOG_LEVEL_ERROR, "the configuration was not read again", &err);
    config_free(config);
    if (!program->stopping)
        cluster_reload_keys(program->cluster);
    log_info("configuration read again");
}

/* ---- wiring ---- */

static void log_trouble(struct program *program, const struct error *reason)
{
    uint64_t now_ms = uv_now(&program->loop);
    bool news = strcmp(reason->message, program->last_trouble.message) != 0;
    if (!news && now_ms - program->trouble_logged_ms < REPEAT_LOG_MS)
        return;
    program->last_trouble = *reason;
    program->trouble_logged_ms = now_ms;
    log_error_value(LOG_LEVEL_WARN, "waiting for Postgres", reason);
}

static void on_store_state(void *context, enum store_state state, const struct error *reason)
{
    struct program *program = context;
    switch (state) {
    case STORE_CONNECTING:
        cluster_pause(program->cluster);
        if (reason)
            log_trouble(program, reason);
        break;
    case STORE_STANDBY:
        log_info("standby: another coordinator is active on this database; waiting for it to go");
        break;
    case STORE_MIGRATING: break;
    case STORE_ACTIVE:
        program->last_trouble = (struct error){0};
        log_info("active", "coordinator", program->id);
        cluster_serve(program->cluster);
        break;
    case STORE_REFUSED:
        log_error_value(LOG_LEVEL_ERROR, "cannot go on", reason);
        stop(program, EXIT_FAILED);
        break;
    }
}

static void on_job(void *context, const char *job_id)
{
    struct program *program = context;
    if (program->api)
        api_job_changed(program->api, job_id);
}

static bool unseal(void *context, const char *name, const void *sealed, size_t size, char *out)
{
    const struct program *program = context;
    return program->api && api_unseal(program->api, name, sealed, size, out);
}

struct each_worker {
    void (*each)(void *context, const struct api_worker *worker);
    void *context;
};

static void show_worker(void *context, const struct cluster_worker *worker)
{
    const struct each_worker *show = context;
    struct api_device *devices = alloc_zero(worker->device_count, sizeof *devices);
    for (size_t i = 0; i < worker->device_count; i++) {
        const struct cluster_device *device = &worker->devices[i];
        devices[i] = (struct api_device){device->name, device->description, device->memory_bytes,
            device->memory_free_bytes, device->slots, device->utilisation, device->temperature_celsius};
    }
    const struct api_worker view = {
        .id = worker->id,
        .host = worker->host,
        .version = worker->version,
        .pid = worker->pid,
        .state = worker->state,
        .reason = worker->reason,
        .devices = devices,
        .device_count = worker->device_count,
        .metrics = worker->metrics,
        .schemes = worker->schemes,
        .resident_models = worker->resident_models,
        .metric_count = worker->metric_count,
        .scheme_count = worker->scheme_count,
        .resident_count = worker->resident_count,
        .resident_bytes = worker->resident_bytes,
        .joined_ms = worker->joined_ms,
        .seen_ms = worker->seen_ms,
    };
    show->each(show->context, &view);
    free(devices);
}

static void each_worker(
    void *context, void (*each)(void *each_context, const struct api_worker *worker), void *each_context)
{
    struct each_worker show = {each, each_context};
    cluster_workers(((struct program *)context)->cluster, show_worker, &show);
}

static bool drain_worker(void *context, const char *worker_id, const char *reason)
{
    return cluster_worker_drain(((struct program *)context)->cluster, worker_id, reason);
}

static bool resume_worker(void *context, const char *worker_id)
{
    return cluster_worker_resume(((struct program *)context)->cluster, worker_id);
}

static bool evict_worker(void *context, const char *worker_id, const char *reason)
{
    return cluster_worker_evict(((struct program *)context)->cluster, worker_id, reason);
}

/* Opens every part; what was opened before a failure ends with the process. */
static bool open_parts(struct program *program, struct error *err)
{
    struct store_options store = {.on_state = on_store_state, .context = program};
    struct cluster_options cluster = {
        .id = program->id, .unseal = unseal, .on_job = on_job, .context = program};
    struct api_options api = {0};
    const struct api_cluster workers = {program, each_worker, drain_worker, resume_worker, evict_worker};
    const char *data = config_text(program->config, "data"), *keys = config_text(program->config, "keys");
    if (!read_store_options(program->config, &store, err) ||
        !read_cluster_options(program->config, &cluster, err) || !read_api_options(program, &api, err))
        return false;
    store.lease_ms = cluster.lease_ms;
    mkdir(data, 0700); /* whatever keeps it from being made shows when the key is written */
    program->keys_dir = keys ? alloc_string(keys) : alloc_format("%s/keys", data);
    cluster.keys_dir = program->keys_dir;
    if (!store_open(&program->loop, &store, &program->store, err) ||
        !cluster_open(&program->loop, &cluster, program->store, &program->cluster, err))
        return false;
    program->api =
        api_open(&program->loop, &api, program->store, cluster_scheduler(program->cluster), &workers, err);
    if (!program->api)
        return false;
    log_info("listening", "http", config_text(program->config, "http"), "port",
        LOG_INT(api_port(program->api)), "tasks", cluster_endpoint(program->cluster));
    return true;
}

static void watch_signals(struct program *program)
{
    const struct {
        uv_signal_t *handle;
        uv_signal_cb callback;
        int number;
    } signals[] = {{&program->terminate, on_terminate, SIGTERM}, {&program->interrupt, on_terminate, SIGINT},
        {&program->hangup, on_hangup, SIGHUP}};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        uv_signal_init(&program->loop, signals[i].handle);
        signals[i].handle->data = program;
        uv_signal_start(signals[i].handle, signals[i].callback, signals[i].number);
    }
    signal(SIGPIPE, SIG_IGN);
}

static int run(struct program *program)
{
    struct error err = {0};
    uv_loop_init(&program->loop);
    store_id_new(program->id);
    watch_signals(program);
    if (!open_parts(program, &err))
        return fail(&err, err.code == ERROR_INVALID ? EXIT_USAGE : EXIT_FAILED);
    uv_run(&program->loop, UV_RUN_DEFAULT);
    uv_loop_close(&program->loop);
    log_info("stopped");
    return program->status;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct error err = {0};
    program.argc = argc;
    program.argv = argv;
    if (!config_parse(OPTIONS, "coordinator", argc, argv, &program.config, &err))
        return fail(&err, EXIT_USAGE);
    int status = EXIT_SUCCESS;
    const char *first = config_argument(program.config, 0), *second = config_argument(program.config, 1);
    if (config_wants_help(program.config)) {
        print_help();
    } else if (config_wants_version(program.config)) {
        puts("lumigrid-coordinator " LUMIGRID_VERSION);
    } else if (first && strcmp(first, "config") == 0 && second && strcmp(second, "check") == 0) {
        config_print(program.config, stdout);
    } else if (first && strcmp(first, "key") == 0 && second && strcmp(second, "rotate") == 0) {
        if (!api_rotate_master_key(config_text(program.config, "data"), &err))
            status = fail(&err, EXIT_FAILED);
    } else if (first) {
        error_set(&err, ERROR_INVALID, "\"%.40s\" is not understood; see --help", first);
        status = fail(&err, EXIT_USAGE);
    } else if (!read_logging(program.config, &err)) {
        status = fail(&err, EXIT_USAGE);
    } else {
        status = run(&program);
    }
    free(program.keys_dir);
    config_free(program.config);
    return status;
}
