#include "coordinator/api/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

enum {
    TICK_MS = 250,
    REFRESH_MS = 2000,            /* asks even when nobody said that something changed */
    FIGURES_MS = 2000,            /* partial means cost a pass over the job's results … */
    FIGURES_SAMPLES_MAX = 200000, /* … and are left out for large jobs */
    SILENCE_MS = 15000,           /* then a comment, so that a dead connection is noticed */
};

struct watcher {
    struct request *request;
    char job_id[STORE_ID_BYTES];
    bool changed, busy, ended, closed;
    uint64_t asked_ms, figures_ms, sent_ms;
    json_t *event; /* being put together */
    bool last;
    char *last_text; /* what was sent last: the same is not sent twice */
    char *text;      /* to be sent */
    size_t size, read;
    struct watcher *next;
};

struct watchers {
    uv_timer_t timer;
    struct watcher *first;
    bool ended;
};

static void watcher_free(struct watcher *w)
{
    json_decref(w->event);
    free(w->last_text);
    free(w->text);
    free(w);
}

static void say(struct watcher *w, char *text)
{
    free(w->text);
    w->text = text;
    w->size = strlen(text);
    w->read = 0;
    w->sent_ms = uv_now(w->request->api->loop);
    request_wake(w->request);
}

/* Sends the event, unless it is the one that was sent before. */
static void say_event(struct watcher *w)
{
    char *json = json_dumps(w->event, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(w->event);
    w->event = NULL;
    if (!json || (!w->last && w->last_text && strcmp(json, w->last_text) == 0)) {
        free(json);
        return;
    }
    free(w->last_text);
    w->last_text = json;
    w->ended = w->ended || w->last;
    say(w, alloc_format("event: %s\ndata: %s\n\n", w->last ? "end" : "progress", json));
}

/* A call came back. False: the watcher was closed meanwhile and is freed here. */
static bool call_ended(struct watcher *w)
{
    w->busy = false;
    if (!w->closed)
        return true;
    watcher_free(w);
    return false;
}

static void on_figures(void *context, const char *json, const struct error *err)
{
    struct watcher *w = context;
    if (!call_ended(w))
        return;
    json_t *figures = err || !json ? NULL : json_loads(json, 0, NULL);
    json_t *means = json_object_get(figures, "means");
    if (means)
        json_object_set(w->event, "means", means);
    json_decref(figures);
    say_event(w);
}

static void on_job(void *context, const struct store_job *job, const struct error *err)
{
    struct watcher *w = context;
    if (!call_ended(w))
        return;
    const struct api *api = w->request->api;
    if (err) {
        w->ended = err->code == ERROR_NOT_FOUND;
        request_wake(w->request);
        return;
    }
    w->event = job->kind == STORE_JOB_EXPERIMENT ? view_experiment(api, job) : view_job_details(api, job);
    w->last = job->finished_ms != 0;
    if (w->last || job->status != STORE_JOB_RUNNING || job->sample_count > FIGURES_SAMPLES_MAX ||
        uv_now(api->loop) - w->figures_ms < FIGURES_MS) {
        say_event(w);
        return;
    }
    w->figures_ms = uv_now(api->loop);
    w->busy = true;
    store_job_figures(api->store, w->job_id, on_figures, w);
}

static void ask(struct watcher *w)
{
    w->changed = false;
    w->busy = true;
    w->asked_ms = uv_now(w->request->api->loop);
    store_job_get(w->request->api->store, w->job_id, on_job, w);
}

static void on_tick(uv_timer_t *timer)
{
    struct api *api = timer->data;
    uint64_t now = uv_now(api->loop);
    for (struct watcher *w = api->watchers->first, *next; w; w = next) {
        next = w->next;
        if (api->watchers->ended) {
            w->ended = true;
            request_wake(w->request);
        } else if (w->busy || w->ended || w->read < w->size) {
            continue; /* the client has not taken the last event yet */
        } else if (w->changed || now - w->asked_ms >= REFRESH_MS) {
            ask(w);
        } else if (now - w->sent_ms >= SILENCE_MS) {
            say(w, alloc_string(": still here\n\n"));
        }
    }
}

static ssize_t watcher_read(void *context, char *buffer, size_t max)
{
    struct watcher *w = context;
    if (w->read < w->size) {
        size_t n = w->size - w->read < max ? w->size - w->read : max;
        memcpy(buffer, w->text + w->read, n);
        w->read += n;
        return (ssize_t)n;
    }
    return w->ended ? STREAM_END : 0;
}

static void watcher_close(void *context)
{
    struct watcher *w = context;
    struct watchers *watchers = w->request->api->watchers;
    for (struct watcher **p = &watchers->first; *p; p = &(*p)->next) {
        if (*p != w)
            continue;
        *p = w->next;
        break;
    }
    if (!watchers->first)
        uv_timer_stop(&watchers->timer);
    w->closed = true;
    if (!w->busy)
        watcher_free(w);
}

static void on_watched(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    struct watchers *watchers = request->api->watchers;
    struct watcher *w = alloc_zero(1, sizeof(*w));
    w->request = request;
    w->changed = true;
    w->ended = watchers->ended;
    memcpy(w->job_id, job->id, sizeof(w->job_id));
    w->next = watchers->first;
    watchers->first = w;
    if (!uv_is_active((uv_handle_t *)&watchers->timer))
        uv_timer_start(&watchers->timer, on_tick, 0, TICK_MS);
    request_add_header(request, "Cache-Control", "no-store");
    struct stream stream = {watcher_read, watcher_close, w, 0};
    request_answer_stream(request, MHD_HTTP_OK, "text/event-stream", stream);
}

void handle_events(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_watched, request);
}

void events_open(struct api *api)
{
    api->watchers = alloc_zero(1, sizeof(*api->watchers));
    uv_timer_init(api->loop, &api->watchers->timer);
    api->watchers->timer.data = api;
    api->handles_open++;
}

void events_changed(struct api *api, const char *job_id)
{
    for (struct watcher *w = api->watchers->first; w; w = w->next)
        if (strcmp(w->job_id, job_id) == 0)
            w->changed = true;
}

void events_end(struct api *api)
{
    api->watchers->ended = true;
    uv_timer_start(&api->watchers->timer, on_tick, 0, TICK_MS);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct api *api = handle->data;
    free(api->watchers);
    api->watchers = NULL;
    server_handle_closed(api);
}

void events_close(struct api *api)
{
    uv_close((uv_handle_t *)&api->watchers->timer, on_timer_closed);
}
