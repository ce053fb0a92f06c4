#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/backend/backend.h"
#include "worker/task/active.h"
#include "worker/task/hosted_task.h"
#include "worker/task/infer.h"
#include "worker/task/resident.h"
#include "worker/task/simulate.h"
#include "worker/task/task.h"

enum { PROGRESS_INTERVAL_MS = 500 };

struct cancellation {
    struct cancellation *next;
    char *job_id; /* NULL: everything */
    uint64_t task_id, attempt;
};

struct runner {
    struct runner_options options;
    struct runner_events events;
    struct backend *backend;
    struct resident_set *residents;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what stands below, up to `active` */
    pthread_cond_t changed;
    bool stop, woken;
    struct active *inbox;
    struct cancellation *cancellations;
    uint64_t busy_ns, memory_free_bytes;
    size_t task_count;
    char (*models)[512];
    size_t model_count;
    struct active *active; /* runner's thread only */
    uint64_t progress_due_ns;
};

static void wake(void *context)
{
    struct runner *runner = context;
    pthread_mutex_lock(&runner->lock);
    runner->woken = true;
    pthread_cond_signal(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
}

void runner_submit(struct runner *runner, Lumigrid__Assign *task)
{
    struct active *active = active_open(task, &runner->events);
    if (!active) {
        log_error("no memory for a task; its lease will expire");
        return;
    }
    pthread_mutex_lock(&runner->lock);
    struct active **last = &runner->inbox;
    while (*last)
        last = &(*last)->next;
    *last = active;
    runner->task_count++;
    runner->woken = true;
    pthread_cond_signal(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
}

void runner_cancel(struct runner *runner, const char *job_id, uint64_t task_id, uint64_t attempt)
{
    struct cancellation *order = calloc(1, sizeof(*order));
    if (!order)
        return; /* the lease ends the attempt for everybody else */
    order->job_id = job_id ? strdup(job_id) : NULL;
    order->task_id = task_id;
    order->attempt = attempt;
    pthread_mutex_lock(&runner->lock);
    order->next = runner->cancellations;
    runner->cancellations = order;
    runner->woken = true;
    pthread_cond_signal(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
}

static bool cancels(const struct cancellation *order, const Lumigrid__Assign *assign)
{
    return !order->job_id || (strcmp(order->job_id, assign->job_id) == 0 &&
                                 order->task_id == assign->task_id && order->attempt == assign->attempt);
}

/* Takes new tasks and cancellations over from other threads. */
static void take_orders(struct runner *runner)
{
    pthread_mutex_lock(&runner->lock);
    struct active *arrived = runner->inbox;
    struct cancellation *orders = runner->cancellations;
    runner->inbox = NULL;
    runner->cancellations = NULL;
    runner->woken = false;
    pthread_mutex_unlock(&runner->lock);
    struct active **last = &runner->active;
    while (*last)
        last = &(*last)->next;
    *last = arrived;
    while (orders) {
        struct cancellation *order = orders;
        orders = order->next;
        for (struct active *a = runner->active; a; a = a->next) {
            if (!cancels(order, a->assign) || active_done(a))
                continue;
            a->cancelled = true;
            infer_cancel(a);
        }
        free(order->job_id);
        free(order);
    }
}

/* The encoder of a task's metrics, in float32 whatever the task's model computes in. False: not there yet, or
 * failed. */
static bool encoder_ready(struct runner *runner, struct active *active)
{
    struct error err = {0};
    const struct task_settings *settings = &active->settings;
    if (!active->encoder)
        active->encoder = resident_acquire(runner->residents, settings->bertscore_model, DTYPE_F32, &err);
    if (!active->encoder) {
        active_fail(active, &err);
        return false;
    }
    struct resident *encoder = active->encoder;
    if (encoder->state == RESIDENT_FAILED)
        active_fail(active, &encoder->error);
    if (encoder->state != RESIDENT_READY)
        return false;
    if (!bertscore_encoder_init(
            encoder->model, encoder->engine, settings->bertscore_layer, &active->bertscore, &err)) {
        active_fail(active, &err);
        return false;
    }
    const char *name = strstr(encoder->reference, "://");
    snprintf(active->encoder_name, sizeof active->encoder_name, "%.200s_L%d",
        name ? name + 3 : encoder->reference, active->bertscore.layer);
    return true;
}

static void begin_hosted(struct runner *runner, struct active *active)
{
    struct error err;
    if (runner->options.hosted) {
        hosted_task_begin(active, runner->options.hosted, wake, runner);
        return;
    }
    error_set(&err, ERROR_UNSUPPORTED, "this worker calls no other servers");
    active_fail(active, &err);
}

/* Gives a task that has not begun its model, and begins it once the model is there. */
static void begin(struct runner *runner, struct active *active)
{
    struct error err = {0};
    if (active->needs_encoder && !encoder_ready(runner, active))
        return;
    if (active->assign->kind == LUMIGRID__TASK_KIND__TASK_KIND_SCORE) {
        infer_score_only(active);
        return;
    }
    if (simulate_matches(active->assign->model)) {
        active->begun = true;
        simulate_open(active);
        return;
    }
    if (hosted_task_matches(active)) {
        begin_hosted(runner, active);
        return;
    }
    if (!active->resident) {
        enum dtype dtype = active->settings.has_dtype ? active->settings.dtype : runner->options.dtype;
        active->resident = resident_acquire(runner->residents, active->assign->model, dtype, &err);
        if (!active->resident) {
            active_fail(active, &err);
            return;
        }
    }
    if (active->resident->state == RESIDENT_FAILED)
        active_fail(active, &active->resident->error);
    else if (active->resident->state == RESIDENT_READY)
        infer_begin(active);
}

static void tell_progress(struct runner *runner, struct active *active)
{
    struct resident_progress progress;
    struct resident *loading = active->resident ? active->resident : active->encoder;
    if (!loading || active->begun || !resident_progress(loading, &progress))
        return;
    runner->events.on_progress(runner->events.context, active->assign,
        progress.downloading ? "download" : "load", progress.file, progress.done_bytes, progress.total_bytes);
}

static void end(struct runner *runner, struct active *active)
{
    if (!active->cancelled) {
        if (active->failed)
            infer_cancel(active);
        double seconds = (double)(active_now_ns() - active->started_ns) / 1e9;
        runner->events.on_end(
            runner->events.context, active->assign, active->failed ? &active->error : NULL, seconds);
    }
    if (active->simulation)
        simulate_close(active);
    if (active->hosted)
        hosted_task_close(active);
    if (active->resident)
        resident_release(active->resident);
    if (active->encoder)
        resident_release(active->encoder);
    active_close(active);
    pthread_mutex_lock(&runner->lock);
    runner->task_count--;
    pthread_mutex_unlock(&runner->lock);
}

static void reap(struct runner *runner)
{
    for (struct active **link = &runner->active; *link;) {
        struct active *active = *link;
        if (active_done(active)) {
            *link = active->next;
            end(runner, active);
        } else {
            link = &active->next;
        }
    }
}

/* One round over everything that runs. Returns when to look again: 0 at once, UINT64_MAX when woken. */
static uint64_t advance(struct runner *runner)
{
    uint64_t due_ns = UINT64_MAX;
    uint64_t now_ns = active_now_ns();
    bool tell = now_ns >= runner->progress_due_ns;
    if (tell)
        runner->progress_due_ns = now_ns + PROGRESS_INTERVAL_MS * 1000000ull;
    resident_set_poll(runner->residents);
    for (struct active *a = runner->active; a; a = a->next) {
        if (active_done(a))
            continue;
        if (!a->begun)
            begin(runner, a);
        if (!a->begun && !a->failed) {
            if (tell)
                tell_progress(runner, a);
            if (runner->progress_due_ns < due_ns)
                due_ns = runner->progress_due_ns;
        }
        if (a->hosted)
            hosted_task_step(a);
        if (a->simulation && !active_done(a)) {
            uint64_t next_ns = simulate_step(a, now_ns);
            due_ns = next_ns < due_ns ? next_ns : due_ns;
        }
    }
    for (struct resident *r = resident_first(runner->residents); r; r = r->next) {
        if (r->state == RESIDENT_READY && r->live > 0)
            r->live = engine_step(r->engine);
        if (r->live > 0)
            due_ns = 0;
    }
    for (struct active *a = runner->active; a; a = a->next)
        active_score_waiting(a);
    reap(runner);
    return due_ns;
}

/* What heartbeats report, put where other threads may read it. */
static void publish(struct runner *runner, uint64_t busy_ns)
{
    struct backend_memory memory;
    runner->backend->ops->memory(runner->backend, &memory);
    size_t count = 0;
    for (struct resident *r = resident_first(runner->residents); r; r = r->next)
        count += r->state == RESIDENT_READY;
    char(*models)[512] = calloc(count + 1, sizeof(*models));
    size_t filled = 0;
    for (struct resident *r = resident_first(runner->residents); models && r; r = r->next)
        if (r->state == RESIDENT_READY)
            snprintf(models[filled++], sizeof(models[0]), "%s", r->reference);
    pthread_mutex_lock(&runner->lock);
    free(runner->models);
    runner->models = models;
    runner->model_count = filled;
    runner->memory_free_bytes = memory.free_bytes;
    runner->busy_ns += busy_ns;
    pthread_mutex_unlock(&runner->lock);
}

static bool wait_for_work(struct runner *runner, uint64_t due_ns)
{
    pthread_mutex_lock(&runner->lock);
    while (!runner->stop && !runner->woken) {
        if (due_ns == UINT64_MAX) {
            pthread_cond_wait(&runner->changed, &runner->lock);
            continue;
        }
        struct timespec until = {(time_t)(due_ns / 1000000000u), (long)(due_ns % 1000000000u)};
        if (due_ns == 0 || pthread_cond_timedwait(&runner->changed, &runner->lock, &until) == ETIMEDOUT)
            break;
    }
    bool stop = runner->stop;
    pthread_mutex_unlock(&runner->lock);
    return !stop;
}

static void *run(void *argument)
{
    struct runner *runner = argument;
    uint64_t due_ns = UINT64_MAX;
    uint64_t published_ns = 0, busy_ns = 0;
    while (wait_for_work(runner, due_ns)) {
        uint64_t started_ns = active_now_ns();
        take_orders(runner);
        due_ns = advance(runner);
        uint64_t ended_ns = active_now_ns();
        busy_ns += ended_ns - started_ns;
        if (due_ns > 0 || ended_ns - published_ns > PROGRESS_INTERVAL_MS * 1000000ull) {
            publish(runner, busy_ns);
            published_ns = ended_ns;
            busy_ns = 0;
        }
    }
    return NULL;
}

static uint64_t default_memory_limit(struct backend *backend)
{
    struct backend_memory memory;
    backend->ops->memory(backend, &memory);
    return memory.free_bytes / 10 * 8; /* the rest is for the other programs of the machine */
}

bool runner_open(const struct runner_options *options, const struct runner_events *events,
    struct runner **out, struct error *err)
{
    struct runner *runner = calloc(1, sizeof(*runner));
    if (!runner)
        return error_set(err, ERROR_MEMORY, "no memory for a runner");
    runner->options = *options;
    runner->events = *events;
    pthread_mutex_init(&runner->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&runner->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    struct backend_options how = {.threads = options->threads};
    if (!backend_open(options->device, &how, &runner->backend, err))
        goto failed;
    if (!runner->options.memory_bytes_max)
        runner->options.memory_bytes_max = default_memory_limit(runner->backend);
    runner->residents = resident_set_open(runner->backend, &runner->options, wake, runner, err);
    if (!runner->residents)
        goto failed;
    publish(runner, 0);
    int status = pthread_create(&runner->thread, NULL, run, runner);
    if (status != 0) {
        error_set(err, ERROR_MEMORY, "starting the runner's thread: %s", strerror(status));
        goto failed;
    }
    *out = runner;
    return true;
failed:
    resident_set_close(runner->residents);
    backend_close(runner->backend);
    pthread_cond_destroy(&runner->changed);
    pthread_mutex_destroy(&runner->lock);
    free(runner->models);
    free(runner);
    return false;
}

bool runner_status(struct runner *runner, struct runner_status *out, struct error *err)
{
    memset(out, 0, sizeof(*out));
    out->description = runner->backend->ops->describe(runner->backend);
    out->memory_bytes = runner->options.memory_bytes_max;
    pthread_mutex_lock(&runner->lock);
    out->memory_free_bytes = runner->memory_free_bytes;
    out->tasks = runner->task_count;
    out->busy_seconds = (double)runner->busy_ns / 1e9;
    out->models = calloc(runner->model_count + 1, sizeof(*out->models));
    if (out->models && runner->model_count) {
        memcpy(out->models, runner->models, runner->model_count * sizeof(*out->models));
        out->model_count = runner->model_count;
    }
    pthread_mutex_unlock(&runner->lock);
    return out->models || error_set(err, ERROR_MEMORY, "no memory for a status");
}

void runner_close(struct runner *runner)
{
    if (!runner)
        return;
    runner_cancel(runner, NULL, 0, 0);
    pthread_mutex_lock(&runner->lock);
    runner->stop = true;
    pthread_cond_signal(&runner->changed);
    pthread_mutex_unlock(&runner->lock);
    pthread_join(runner->thread, NULL);
    take_orders(runner); /* what arrived last, and the cancellation of all of it */
    reap(runner);
    resident_set_close(runner->residents);
    backend_close(runner->backend);
    pthread_cond_destroy(&runner->changed);
    pthread_mutex_destroy(&runner->lock);
    free(runner->models);
    free(runner);
}
