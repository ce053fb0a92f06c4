/* The cluster's life: binding, serving, pausing, closing. */
#include "coordinator/cluster/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/cluster/state.h"

enum { LEASE_MS = 10000, HEARTBEATS_PER_LEASE = 5, TICK_MS = 100, LINGER_MS = 500 };

uint64_t now_ms(const struct cluster *cluster)
{
    return uv_now(cluster->loop);
}

void tell_job(const struct cluster *cluster, const char *job_id)
{
    if (cluster->options.on_job && !cluster->closing)
        cluster->options.on_job(cluster->options.context, job_id);
}

static void free_timer(uv_handle_t *handle)
{
    free(handle);
}

static void close_timer(uv_timer_t *timer)
{
    if (timer)
        uv_close((uv_handle_t *)timer, free_timer);
}

/* Its handles end on the loop's next turn. */
static void stop_handles(struct cluster *cluster)
{
    close_timer(cluster->run);
    close_timer(cluster->tick);
    net_router_close(cluster->router, LINGER_MS);
    admitted_close(cluster->admitted);
    cluster->router = NULL;
    cluster->admitted = NULL;
}

void cluster_free(struct cluster *cluster)
{
    if (!cluster)
        return;
    workers_free(cluster);
    jobs_free(cluster);
    scheduler_close(cluster->scheduler);
    free(cluster);
}

static void finish_closing(struct cluster *cluster)
{
    for (struct worker *worker = cluster->workers; worker; worker = worker->next)
        worker_goodbye(cluster, worker, "the coordinator is stopping");
    stop_handles(cluster);
    if (cluster->closed)
        cluster->closed(cluster->closed_context);
}

static void on_tick(uv_timer_t *timer)
{
    struct cluster *cluster = timer->data;
    if (cluster->closing) {
        if (!cluster->appends || now_ms(cluster) >= cluster->close_by_ms)
            finish_closing(cluster);
        return;
    }
    if (!cluster->serving)
        return;
    workers_tick(cluster);
    scheduler_run(cluster->scheduler, now_ms(cluster));
}

static bool admit(void *context, const char *public_key, const char *address)
{
    const struct cluster *cluster = context;
    (void)address;
    return admitted_has(cluster->admitted, public_key);
}

static bool load_keys(struct cluster *cluster, struct error *err)
{
    const char *dir = cluster->options.keys_dir;
    char *secret = alloc_format("%s/coordinator.key", dir), *public = alloc_format("%s/coordinator.pub", dir);
    char *workers = alloc_format("%s/workers", dir);
    mkdir(dir, 0700); /* whatever keeps it from being made shows when the key is written */
    mkdir(workers, 0700);
    bool ok = net_keypair_load_or_create(secret, &cluster->keys, err) &&
              net_public_key_save(public, cluster->keys.public_key, err);
    free(workers);
    free(public);
    free(secret);
    return ok;
}

static uv_timer_t *timer_new(struct cluster *cluster)
{
    uv_timer_t *timer = alloc_zero(1, sizeof *timer);
    uv_timer_init(cluster->loop, timer);
    timer->data = cluster;
    return timer;
}

/* Attempts must grow from one start to the next, whatever the machine's monotonic clock does. */
static uint64_t attempt_base(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) << 20;
}

bool cluster_open(uv_loop_t *loop, const struct cluster_options *options, struct store *store,
    struct cluster **out, struct error *err)
{
    struct cluster *cluster = alloc_zero(1, sizeof *cluster);
    struct scheduler_decisions decisions;
    cluster->loop = loop;
    cluster->options = *options;
    cluster->store = store;
    cluster->lease_ms = options->lease_ms ? options->lease_ms : LEASE_MS;
    cluster->heartbeat_ms = cluster->lease_ms / HEARTBEATS_PER_LEASE;
    cluster->run = timer_new(cluster);
    cluster->tick = timer_new(cluster);
    decisions_fill(&decisions, cluster);
    const struct scheduler_options scheduling = {
        .lease_ms = cluster->lease_ms,
        .task_target_ms = options->task_target_ms,
        .task_samples_max = options->task_samples_max,
        .attempt_base = attempt_base(),
    };
    cluster->scheduler = scheduler_open(&scheduling, &decisions);
    const struct net_router_options router = {
        .endpoint = options->endpoint ? options->endpoint : "tcp://127.0.0.1:7711",
        .keys = &cluster->keys,
        .admit = admit,
        .on_message = worker_on_message,
        .context = cluster,
    };
    if (!load_keys(cluster, err))
        goto failed;
    cluster->admitted = admitted_open(loop, options->keys_dir);
    if (!net_router_open(loop, &router, &cluster->router, err))
        goto failed;
    uv_timer_start(cluster->tick, on_tick, TICK_MS, TICK_MS);
    *out = cluster;
    return true;
failed:
    cluster->closing = true;
    stop_handles(cluster);
    cluster_free(cluster);
    return false;
}

struct scheduler *cluster_scheduler(struct cluster *cluster)
{
    return cluster->scheduler;
}

const char *cluster_endpoint(const struct cluster *cluster)
{
    return net_router_endpoint(cluster->router);
}

const char *cluster_public_key(const struct cluster *cluster)
{
    return cluster->keys.public_key;
}

static void on_recovered(struct cluster *cluster, const struct error *err)
{
    cluster->recovering = false;
    if (err && err->code == ERROR_CANCELLED)
        return;
    if (err) {
        log_error_value(LOG_LEVEL_ERROR, "unfinished jobs cannot be read", err);
        return;
    }
    cluster->serving = true;
    scheduler_pause(cluster->scheduler, store_state(cluster->store) != STORE_ACTIVE);
    log_info(
        "waiting for workers", "endpoint", cluster_endpoint(cluster), "key", cluster_public_key(cluster));
}

void cluster_serve(struct cluster *cluster)
{
    if (cluster->closing)
        return;
    if (cluster->serving) {
        scheduler_pause(cluster->scheduler, false);
    } else if (!cluster->recovering) {
        cluster->recovering = true;
        jobs_recover(cluster, on_recovered);
    }
}

void cluster_pause(struct cluster *cluster)
{
    if (!cluster->closing)
        scheduler_pause(cluster->scheduler, true);
}

void cluster_reload_keys(struct cluster *cluster)
{
    admitted_reload(cluster->admitted);
}

void cluster_close(struct cluster *cluster, uint32_t grace_ms, void (*done)(void *context), void *context)
{
    cluster->closing = true;
    cluster->close_by_ms = now_ms(cluster) + grace_ms;
    cluster->closed = done;
    cluster->closed_context = context;
}
