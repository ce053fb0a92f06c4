/* lumigrid up, down, status, logs: a whole cluster on this machine. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/net.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/local.h"
#include "coordinator/cli/terminal.h"

enum {
    READY_TIMEOUT_MS = 30000,
    DRAIN_TIMEOUT_MS = 90000,
    STOP_TIMEOUT_MS = 20000,
    POLL_MS = 20,
    WORKERS_MAX = 64,
    TAIL_LINES = 50,
    FOLLOW_MS = 200,
    MEMORY_PERCENT = 70, /* of the machine, for models and caches of all workers */
};

#define DATA_OPTION                                                                                          \
    {                                                                                                        \
        "data", "DIR", NULL, "the cluster's folder [/var/lib/lumigrid or ~/.local/share/lumigrid]", false,   \
            false                                                                                            \
    }

static const struct config_option UP_OPTIONS[] = {DATA_OPTION,
    {"workers", "N", "1", "worker processes", false, false},
    {"port", "P", "8000", "HTTP port; workers connect to the next one", false, false},
    {"threads", "N", "0", "threads of each worker; 0: the cores divided among them", false, false},
    {"models", "DIR", NULL, "the model cache", false, false},
    {"foreground", NULL, NULL, "stay, and stop the cluster on Ctrl-C", false, false}, {0}};

static const struct config_option DATA_OPTIONS[] = {DATA_OPTION, {0}};
static const struct config_option LOGS_OPTIONS[] = {
    DATA_OPTION, {"follow", NULL, NULL, "go on printing what is written", false, false}, {0}};

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static void worker_name(int index, char out[24])
{
    snprintf(out, 24, "worker-%d", index);
}

/* ---- up ---- */

/* The coordinator's and the local workers' keys, and the latter's admission. */
static bool make_keys(const struct local *local, struct error *err)
{
    struct net_keypair coordinator, worker;
    char *secret = local_path(local, "keys", "coordinator", ".key");
    char *public = local_path(local, "keys", "coordinator", ".pub");
    char *worker_secret = local_path(local, "keys", "worker", ".key");
    char *admitted = local_path(local, "keys/workers", "local", ".pub");
    bool ok = net_keypair_load_or_create(secret, &coordinator, err) &&
              net_public_key_save(public, coordinator.public_key, err) &&
              net_keypair_load_or_create(worker_secret, &worker, err) &&
              net_public_key_save(admitted, worker.public_key, err);
    free(admitted);
    free(worker_secret);
    free(public);
    free(secret);
    return ok;
}

static bool start_coordinator(const struct local *local, struct error *err)
{
    if (local_pid(local, "coordinator"))
        return true;
    char *program = local_program("lumigrid-coordinator", err);
    if (!program)
        return false;
    char *http = alloc_format("127.0.0.1:%d", local->port);
    char *tasks = alloc_format("tcp://127.0.0.1:%d", local->port + 1);
    char *database = local_postgres_conninfo(local);
    char *data = local_path(local, "coordinator", "", "");
    char *keys = local_path(local, "keys", "", "");
    char *argv[] = {program, "--http", http, "--tasks", tasks, "--database", database, "--data", data,
        "--keys", keys, NULL};
    bool ok = local_spawn(local, "coordinator", argv, NULL, err);
    free(keys);
    free(data);
    free(database);
    free(tasks);
    free(http);
    free(program);
    return ok;
}

/* Workers on one machine must not each take most of it. */
static long long memory_per_worker_mib(int workers)
{
    long long total_mib = (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / (1 << 20);
    return total_mib * MEMORY_PERCENT / 100 / workers;
}

static bool start_worker(
    const struct local *local, int index, int threads, const char *models, struct error *err)
{
    char name[24];
    worker_name(index, name);
    if (local_pid(local, name))
        return true;
    char *program = local_program("lumigrid-worker", err);
    if (!program)
        return false;
    char *coordinator = alloc_format("tcp://127.0.0.1:%d", local->port + 1);
    char *server_key = local_path(local, "keys", "coordinator", ".pub");
    char *key = local_path(local, "keys", "worker", ".key");
    char *thread_text = alloc_format("%d", threads);
    char *memory = alloc_format("%lldMiB", memory_per_worker_mib(local->workers));
    char *argv[] = {program, "--coordinator", coordinator, "--coordinator-key", server_key, "--key", key,
        "--threads", thread_text, "--memory", memory, models ? "--models" : NULL, (char *)models, NULL};
    bool ok = local_spawn(local, name, argv, NULL, err);
    free(memory);
    free(thread_text);
    free(key);
    free(server_key);
    free(coordinator);
    free(program);
    return ok;
}

static bool died(const struct local *local, const char *name, struct error *err)
{
    if (local_pid(local, name))
        return false;
    char *words = local_last_words(local, name);
    error_set(err, ERROR_INTERNAL, "the %s stopped: %s", name, words);
    error_hint(err, "see: lumigrid logs %s", name);
    free(words);
    return true;
}

static bool wait_coordinator(const struct local *local, struct error *err)
{
    for (int waited = 0; waited < READY_TIMEOUT_MS; waited += POLL_MS) {
        if (client_ready("/readyz", 1000))
            return true;
        if (died(local, "coordinator", err))
            return false;
        sleep_ms(POLL_MS);
    }
    error_set(err, ERROR_UNAVAILABLE, "the coordinator is not ready after %d s", READY_TIMEOUT_MS / 1000);
    return error_hint(err, "see: lumigrid logs coordinator");
}

static size_t count_online(void)
{
    struct error err;
    size_t online = 0, index;
    json_t *answer = client_call("GET", "/cluster/workers", NULL, &err), *worker;
    json_array_foreach(json_object_get(answer, "items"), index, worker)
    {
        const char *state = json_string_value(json_object_get(worker, "state"));
        online += state && strcmp(state, "online") == 0;
    }
    json_decref(answer);
    return online;
}

static bool wait_workers(const struct local *local, struct error *err)
{
    for (int waited = 0; waited < READY_TIMEOUT_MS; waited += POLL_MS) {
        if (count_online() >= (size_t)local->workers)
            return true;
        for (int i = 1; i <= local->workers; i++) {
            char name[24];
            worker_name(i, name);
            if (died(local, name, err))
                return false;
        }
        sleep_ms(POLL_MS);
    }
    error_set(err, ERROR_UNAVAILABLE, "the workers have not connected after %d s", READY_TIMEOUT_MS / 1000);
    return error_hint(err, "see: lumigrid logs worker-1");
}

static void stop_all(const struct local *local, bool tell)
{
    bool any = false;
    char name[24];
    for (int i = 1; i <= WORKERS_MAX; i++) { /* told together, so that they drain together */
        worker_name(i, name);
        pid_t pid = local_pid(local, name);
        if (pid)
            kill(pid, SIGTERM);
        any = any || pid;
    }
    for (int i = 1; i <= WORKERS_MAX; i++) {
        worker_name(i, name);
        for (int waited = 0; local_pid(local, name) && waited < DRAIN_TIMEOUT_MS; waited += POLL_MS)
            sleep_ms(POLL_MS);
        local_stop(local, name, SIGKILL, 0);
    }
    if (any && tell)
        puts("workers       drained and stopped");
    if (local_stop(local, "coordinator", SIGTERM, STOP_TIMEOUT_MS) && tell)
        puts("coordinator   stopped");
    if (local_pid(local, "postgres")) {
        local_postgres_stop(local);
        if (tell)
            puts("postgres      stopped");
    }
}

static bool start_all(
    struct local *local, const struct command_context *context, int threads, struct error *err)
{
    if (!local_make_directories(local, err) || !make_keys(local, err) || !local_save(local, err) ||
        !local_postgres_start(local, err))
        return false;
    printf("postgres      ready, data in %s/postgres\n", local->data);
    fflush(stdout);
    if (!start_coordinator(local, err) || !wait_coordinator(local, err))
        return false;
    printf("coordinator   ready, %s\n", client_server());
    fflush(stdout);
    for (int i = 1; i <= local->workers; i++)
        if (!start_worker(local, i, threads, config_text(context->config, "models"), err))
            return false;
    if (!wait_workers(local, err))
        return false;
    printf("workers       %d connected\n", local->workers);
    return true;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Until Ctrl-C or until a part dies, which takes the cluster down with an error: something above may restart
 * it. */
static int stay(const struct local *local)
{
    struct error err;
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    int status = EXIT_DONE;
    while (!interrupted && status == EXIT_DONE) {
        sleep_ms(FOLLOW_MS);
        if (!interrupted && (died(local, "postgres", &err) || died(local, "coordinator", &err)))
            status = command_fail(&err);
        for (int i = 1; !interrupted && status == EXIT_DONE && i <= local->workers; i++) {
            char name[24];
            worker_name(i, name);
            if (died(local, name, &err))
                status = command_fail(&err);
        }
    }
    stop_all(local, true);
    return status;
}

static int up(const struct command_context *context)
{
    struct local local;
    struct error err = {0};
    int64_t workers, port, threads;
    if (!config_integer(context->config, "workers", 1, WORKERS_MAX, &workers, &err) ||
        !config_integer(context->config, "port", 1, 65534, &port, &err) ||
        !config_integer(context->config, "threads", 0, 1024, &threads, &err) ||
        !local_open(config_text(context->config, "data"), &local, &err))
        return command_fail(&err);
    if (local_pid(&local, "coordinator") && local.port != port) {
        error_set(&err, ERROR_CONFLICT, "this cluster runs on port %d already", local.port);
        error_hint(&err, "stop it with: lumigrid down");
        return command_fail(&err);
    }
    bool ran_before = local_pid(&local, "coordinator") != 0;
    local.port = (int)port;
    local.workers = (int)workers;
    if (threads == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        threads = cores > workers ? cores / workers : 1;
    }
    char *server = alloc_format("http://127.0.0.1:%d", local.port);
    client_configure(server, config_text(context->config, "token"));
    int status = EXIT_DONE;
    if (!start_all(&local, context, (int)threads, &err)) {
        status = command_fail(&err);
        if (!ran_before)
            stop_all(&local, false); /* nothing is left half-started */
    } else {
        printf("\nThe cluster runs: %s%s/%s\nstop it with: lumigrid down%s%s\n", terminal_bold(), server,
            terminal_reset(), config_given(context->config, "data") ? " --data " : "",
            config_given(context->config, "data") ? local.data : "");
        if (config_switch(context->config, "foreground"))
            status = stay(&local);
    }
    client_close();
    client_configure(NULL, NULL);
    free(server);
    return status;
}

static bool open_started(const struct command_context *context, struct local *local, struct error *err)
{
    if (!local_open(config_text(context->config, "data"), local, err))
        return false;
    if (local->port)
        return true;
    error_set(err, ERROR_NOT_FOUND, "there is no cluster in %s", local->data);
    return error_hint(err, "start one with: lumigrid up");
}

static int down(const struct command_context *context)
{
    struct local local;
    struct error err = {0};
    if (!open_started(context, &local, &err))
        return command_fail(&err);
    stop_all(&local, true);
    return EXIT_DONE;
}

/* ---- status ---- */

static json_t *process_state(const struct local *local, const char *name)
{
    pid_t pid = local_pid(local, name);
    return json_pack("{s:s,s:b,s:i}", "name", name, "running", pid != 0, "pid", (int)pid);
}

static int status(const struct command_context *context)
{
    struct local local;
    struct error err = {0};
    if (!open_started(context, &local, &err))
        return command_fail(&err);
    char name[24];
    char *server = alloc_format("http://127.0.0.1:%d", local.port);
    client_configure(
        config_given(context->config, "server") ? config_text(context->config, "server") : server,
        config_text(context->config, "token"));
    json_t *processes = json_array();
    json_array_append_new(processes, process_state(&local, "postgres"));
    json_array_append_new(processes, process_state(&local, "coordinator"));
    for (int i = 1; i <= local.workers; i++) {
        worker_name(i, name);
        json_array_append_new(processes, process_state(&local, name));
    }
    bool all = true;
    size_t index;
    json_t *process;
    json_array_foreach(processes, index, process)
    {
        all = all && json_is_true(json_object_get(process, "running"));
    }
    bool ready = client_ready("/readyz", 2000);
    if (context->json) {
        json_t *out = json_pack("{s:s,s:s,s:b,s:o}", "data", local.data, "server", client_server(), "ready",
            ready, "processes", processes);
        terminal_json(out);
        json_decref(out);
    } else {
        static const char *const headings[] = {"PROCESS", "STATE", ">PID", NULL};
        struct terminal_table table;
        terminal_table_begin(&table, headings);
        json_array_foreach(processes, index, process)
        {
            bool running = json_is_true(json_object_get(process, "running"));
            terminal_table_cell(&table, "%s", json_string_value(json_object_get(process, "name")));
            terminal_table_cell(&table, "%s", running ? "running" : "stopped");
            if (running)
                terminal_table_cell(&table, "%lld", json_integer_value(json_object_get(process, "pid")));
            else
                terminal_table_cell(&table, "-");
        }
        terminal_table_end(&table);
        printf("\n%s is %s; data in %s\n", client_server(), ready ? "ready" : "not ready", local.data);
        json_decref(processes);
    }
    client_close();
    client_configure(NULL, NULL);
    free(server);
    return all && ready ? EXIT_DONE : EXIT_FAILED;
}

/* ---- logs ---- */

/* Moves to the start of the last `lines` lines. */
static void seek_tail(FILE *file, int lines)
{
    long at = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : 0;
    int seen = 0;
    while (at > 0 && seen <= lines) {
        fseek(file, --at, SEEK_SET);
        seen += fgetc(file) == '\n';
    }
    fseek(file, seen > lines ? at + 1 : 0, SEEK_SET);
}

static bool copy_rest(FILE *file, const char *label)
{
    char line[8192];
    bool any = false;
    while (fgets(line, sizeof(line), file)) {
        printf("%s%s%s%s%s", terminal_dim(), label, *label ? " " : "", terminal_reset(), line);
        any = true;
    }
    clearerr(file);
    return any;
}

static int print_logs(const struct local *local, char names[][24], size_t count, bool follow)
{
    FILE *files[WORKERS_MAX + 2] = {0};
    size_t opened = 0;
    for (size_t i = 0; i < count; i++) {
        char *path = local_path(local, "logs", names[i], ".log");
        files[i] = fopen(path, "re");
        free(path);
        if (!files[i])
            continue;
        opened++;
        seek_tail(files[i], TAIL_LINES);
        copy_rest(files[i], count > 1 ? names[i] : "");
    }
    fflush(stdout);
    while (follow && opened > 0 && !ferror(stdout)) {
        bool any = false;
        for (size_t i = 0; i < count; i++)
            if (files[i] && copy_rest(files[i], count > 1 ? names[i] : ""))
                any = true;
        fflush(stdout);
        if (!any)
            sleep_ms(FOLLOW_MS);
    }
    for (size_t i = 0; i < count; i++)
        if (files[i])
            fclose(files[i]);
    return opened > 0 ? EXIT_DONE : EXIT_NOT_FOUND;
}

static int logs(const struct command_context *context)
{
    struct local local;
    struct error err = {0};
    char names[WORKERS_MAX + 2][24];
    size_t count = 0;
    const char *component = command_argument(context, 0);
    if (!open_started(context, &local, &err))
        return command_fail(&err);
    if (component) {
        snprintf(names[count++], sizeof(names[0]), "%s", component);
    } else {
        snprintf(names[count++], sizeof(names[0]), "postgres");
        snprintf(names[count++], sizeof(names[0]), "coordinator");
        for (int i = 1; i <= local.workers && i <= WORKERS_MAX; i++)
            worker_name(i, names[count++]);
    }
    if (component && strchr(component, '/')) {
        error_set(&err, ERROR_INVALID, "a component is postgres, coordinator or worker-N");
        return command_fail(&err);
    }
    int result = print_logs(&local, names, count, config_switch(context->config, "follow"));
    if (result == EXIT_NOT_FOUND) {
        error_set(&err, ERROR_NOT_FOUND, "there is no log of %s in %s/logs",
            component ? component : "anything", local.data);
        return command_fail(&err);
    }
    return result;
}

const struct command LOCAL_COMMANDS[] = {
    {"up", "", 0, 0, "start a cluster on this machine: private Postgres, coordinator, workers", UP_OPTIONS,
        up},
    {"down", "", 0, 0, "stop it; running tasks are finished first", DATA_OPTIONS, down},
    {"status", "", 0, 0, "what of it runs", DATA_OPTIONS, status},
    {"logs", "[COMPONENT]", 0, 1, "its logs: postgres, coordinator, worker-1, …; all of them otherwise",
        LOGS_OPTIONS, logs},
    {0},
};
