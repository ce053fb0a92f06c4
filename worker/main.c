/* lumigrid-worker: offers this machine's devices to a coordinator, or runs one of the offline tools. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "common/config.h"
#include "common/log.h"
#include "common/net.h"
#include "common/outbound.h"
#include "worker/backend/backend.h"
#include "worker/session/session.h"
#include "worker/tools/tools.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const struct config_option OPTIONS[] = {
    {"coordinator", "tcp://HOST:PORT", "tcp://127.0.0.1:8001",
        "where a coordinator listens; several are tried in turn", true, false},
    {"coordinator-key", "KEY|FILE", NULL,
        "the coordinator's public key: 40 characters, or a file that holds it", false, false},
    {"key", "FILE", "worker.key", "this worker's key pair; made when there is none", false, false},
    {"device", "cpu|cuda:N|auto", "auto",
        "a device to offer, repeatable; auto: every GPU, the CPU without one", true, false},
    {"threads", "N", "0", "threads of the CPU device; 0: one a core", false, false},
    {"dtype", "auto|f32|f16|bf16|int8", "auto", "what weights are computed in, where a job does not say",
        false, false},
    {"models", "DIR", NULL, "the model cache; the Hugging Face cache otherwise", false, false},
    {"allow-dirs", "DIR:DIR", NULL, "directories that file:// and gguf:// references may name; any otherwise",
        false, false},
    {"memory", "SIZE", "0", "most memory for models and caches, such as 12GiB; 0: most of what is free",
        false, false},
    {"slots", "N", "2", "tasks that a device holds at once", false, false},
    {"outbound-hosts", "LIST", OUTBOUND_HOSTS_DEFAULT, "hosts that users' model URLs may name", false, false},
    {"hosted-slots", "N", "4", "tasks of models that others host at once; 0: none are taken", false, false},
    {"hosted-concurrency", "N", "16", "requests in flight to one provider", false, false},
    {"hosted-requests-per-minute", "N", "0", "most requests to one provider; 0: as its headers allow", false,
        false},
    {"hosted-timeout-s", "N", "120", "longest wait for one answer of a hosted model", false, false},
    {"hosted-prices", "FILE", NULL, "prices of hosted models; the built-in table otherwise", false, false},
    {"drain-timeout-s", "N", "60", "how long SIGTERM waits for running tasks", false, false},
    {"log-level", "debug|info|warn|error", "info", "least severe lines to log", false, false},
    {"log-format", "logfmt|json", "logfmt", "how log lines are written", false, false},
    {0},
};

static void print_help(void)
{
    puts("usage: lumigrid-worker [OPTION]…                 offer this machine's devices to a coordinator\n"
         "       lumigrid-worker TOOL [OPTION]…            work without a cluster; TOOL --help says how\n\n"
         "tools: tokenize  logits  generate  score  bench  inspect\n\n"
         "SIGTERM finishes running tasks and stops; a second one stops at once.\n\noptions:");
    config_print_help(OPTIONS, stdout);
}

static int fail(const struct error *err, int status)
{
    fprintf(stderr, "lumigrid-worker: %s%s%s\n", err->message, err->hint[0] ? "; " : "", err->hint);
    return status;
}

static bool parse_dtype(const char *name, enum dtype *out, struct error *err)
{
    *out = DTYPE_F32; /* auto */
    if (strcmp(name, "auto") == 0 || dtype_compute_parse(name, out))
        return true;
    return error_set(err, ERROR_INVALID, "--dtype takes auto, f32, f16, bf16 or int8, not \"%.40s\"", name);
}

static bool read_logging(const struct config *config, struct error *err)
{
    return log_configure("worker", config_text(config, "log-level"), config_text(config, "log-format"), err);
}

/* Every GPU, or the CPU on a machine without one. */
static void offer_all(struct runner_options *device, struct session_options *out)
{
    static char names[SESSION_DEVICES_MAX][sizeof "cuda:999"];
    struct error why = {0};
    int count = backend_cuda_count(&why);
    if (count == 0) {
        log_error_value(LOG_LEVEL_DEBUG, "no GPU to offer", &why);
        device->device = "cpu";
        out->devices[out->device_count++] = *device;
    }
    for (int i = 0; i < count && i <= 999 && out->device_count < SESSION_DEVICES_MAX; i++) {
        snprintf(names[out->device_count], sizeof *names, "cuda:%d", i);
        device->device = names[out->device_count];
        out->devices[out->device_count++] = *device;
    }
}

static bool read_devices(const struct config *config, struct session_options *out, struct error *err)
{
    struct runner_options device = {
        .models_dir = config_text(config, "models"), .allow_dirs = config_text(config, "allow-dirs")};
    int64_t threads, slots;
    if (!config_integer(config, "threads", 0, 1024, &threads, err) ||
        !config_integer(config, "slots", 1, 64, &slots, err) ||
        !config_bytes(config, "memory", &device.memory_bytes_max, err) ||
        !parse_dtype(config_text(config, "dtype"), &device.dtype, err))
        return false;
    device.threads = (int)threads;
    out->slots = (uint32_t)slots;
    for (size_t i = 0; i < config_count(config, "device"); i++) {
        if (out->device_count == SESSION_DEVICES_MAX)
            return error_set(err, ERROR_INVALID, "at most %d devices", SESSION_DEVICES_MAX);
        device.device = config_text_at(config, "device", i);
        if (strcmp(device.device, "auto") == 0)
            offer_all(&device, out);
        else
            out->devices[out->device_count++] = device;
    }
    return true;
}

static bool read_hosted(const struct config *config, struct hosted_options *hosted,
    struct session_options *out, struct error *err)
{
    int64_t slots, concurrency, per_minute, timeout_s;
    if (!config_integer(config, "hosted-slots", 0, 64, &slots, err) ||
        !config_integer(config, "hosted-concurrency", 1, 4096, &concurrency, err) ||
        !config_integer(config, "hosted-requests-per-minute", 0, 1000000, &per_minute, err) ||
        !config_integer(config, "hosted-timeout-s", 1, 86400, &timeout_s, err))
        return false;
    *hosted = (struct hosted_options){
        .allowed_hosts = config_text(config, "outbound-hosts"),
        .prices_file = config_text(config, "hosted-prices"),
        .concurrency = (uint32_t)concurrency,
        .requests_per_minute = (uint32_t)per_minute,
        .timeout_s = (uint32_t)timeout_s,
    };
    out->hosted = hosted;
    out->hosted_slots = (uint32_t)slots;
    return true;
}

/* The coordinator's key is given itself or in a file. `key` is where it is kept. */
static bool read_keys(
    const struct config *config, struct session_options *out, char key[NET_KEY_CHARS + 1], struct error *err)
{
    const char *given = config_text(config, "coordinator-key");
    if (!given) {
        error_set(err, ERROR_INVALID,
            "--coordinator-key is missing: a worker talks only to a coordinator that it knows");
        return error_hint(err, "copy coordinator.pub from the coordinator's key directory");
    }
    if (net_public_key_valid(given))
        memcpy(key, given, NET_KEY_CHARS + 1);
    else if (!net_public_key_load(given, key, err))
        return false;
    out->server_public_key = key;
    return net_keypair_load_or_create(config_text(config, "key"), &out->keys, err);
}

static bool read_endpoints(const struct config *config, struct session_options *out, struct error *err)
{
    for (size_t i = 0; i < config_count(config, "coordinator"); i++) {
        if (out->endpoint_count == SESSION_ENDPOINTS_MAX)
            return error_set(err, ERROR_INVALID, "at most %d coordinators", SESSION_ENDPOINTS_MAX);
        const char *endpoint = config_text_at(config, "coordinator", i);
        if (strncmp(endpoint, "tcp://", 6) != 0 || !strchr(endpoint + 6, ':'))
            return error_set(
                err, ERROR_INVALID, "--coordinator takes tcp://HOST:PORT, not \"%.80s\"", endpoint);
        out->endpoints[out->endpoint_count++] = endpoint;
    }
    return true;
}

struct program {
    uv_loop_t loop;
    uv_signal_t terminate, interrupt;
    struct session *session;
    uint32_t drain_timeout_ms;
    bool clean;
};

static void on_drained(void *context, bool clean)
{
    struct program *program = context;
    program->clean = clean;
    uv_stop(&program->loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;
    log_info("stopping", "signal", LOG_INT(number));
    session_drain(program->session, program->drain_timeout_ms, on_drained, program);
}

static int run(const struct session_options *options, uint32_t drain_timeout_ms)
{
    struct program program = {.drain_timeout_ms = drain_timeout_ms};
    struct error err;
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&program.loop);
    if (!session_open(&program.loop, options, &program.session, &err))
        return fail(&err, EXIT_FAILED);
    uv_signal_init(&program.loop, &program.terminate);
    uv_signal_init(&program.loop, &program.interrupt);
    program.terminate.data = program.interrupt.data = &program;
    uv_signal_start(&program.terminate, on_signal, SIGTERM);
    uv_signal_start(&program.interrupt, on_signal, SIGINT);
    uv_run(&program.loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&program.terminate, NULL);
    uv_close((uv_handle_t *)&program.interrupt, NULL);
    session_close(program.session);
    uv_run(&program.loop, UV_RUN_DEFAULT);
    uv_loop_close(&program.loop);
    log_info("stopped", "clean", program.clean ? "true" : "false");
    return program.clean ? 0 : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct config *config = NULL;
    struct session_options options = {0};
    struct hosted_options hosted;
    struct error err = {0};
    char coordinator_key[NET_KEY_CHARS + 1];
    int64_t drain_timeout_s = 0;
    if (argc > 1 && argv[1][0] != '-')
        return tools_run(argc, argv);
    if (!config_parse(OPTIONS, "worker", argc, argv, &config, &err))
        return fail(&err, EXIT_USAGE);
    int status = 0;
    if (config_wants_help(config))
        print_help();
    else if (config_wants_version(config))
        puts("lumigrid-worker " LUMIGRID_VERSION);
    else if (!read_logging(config, &err) || !read_devices(config, &options, &err) ||
             !read_hosted(config, &hosted, &options, &err) || !read_endpoints(config, &options, &err) ||
             !config_integer(config, "drain-timeout-s", 0, 86400, &drain_timeout_s, &err))
        status = fail(&err, EXIT_USAGE);
    else if (!read_keys(config, &options, coordinator_key, &err))
        status = fail(&err, err.code == ERROR_INVALID ? EXIT_USAGE : EXIT_FAILED);
    else
        status = run(&options, (uint32_t)drain_timeout_s * 1000);
    config_free(config);
    return status;
}
