#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/store/store.h"

static json_t *names(const char *const *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, view_text(items[i]));
    return list;
}

static json_t *view_device(const struct api_device *d)
{
    return json_pack("{s:o, s:o, s:I, s:I, s:i, s:f, s:f}", "name", view_text(d->name), "description",
        view_text(d->description), "memory_bytes", (json_int_t)d->memory_bytes, "memory_free_bytes",
        (json_int_t)d->memory_free_bytes, "slots", (int)d->slots, "utilisation", d->utilisation,
        "temperature_celsius", d->temperature_celsius);
}

static json_t *view_worker(const struct api *api, const struct api_worker *w)
{
    struct scheduler_worker_load load = {0};
    scheduler_worker_load(api->scheduler, w->id, uv_now(api->loop), &load);
    json_t *devices = json_array();
    for (size_t i = 0; i < w->device_count; i++)
        json_array_append_new(devices, view_device(&w->devices[i]));
    json_t *value = json_pack("{s:o, s:o, s:I, s:o, s:s, s:o, s:o}", "id", view_text(w->id), "host",
        view_text(w->host), "pid", (json_int_t)w->pid, "version", view_text(w->version), "state", w->state,
        "reason", view_text(w->reason), "devices", devices);
    json_object_set_new(value, "slots", json_integer(load.slots));
    json_object_set_new(value, "tasks", json_integer(load.tasks));
    json_object_set_new(value, "samples_per_s", json_real(load.samples_per_s));
    json_object_set_new(value, "metrics", names(w->metrics, w->metric_count));
    json_object_set_new(value, "schemes", names(w->schemes, w->scheme_count));
    json_object_set_new(value, "resident_models", names(w->resident_models, w->resident_count));
    json_object_set_new(value, "resident_bytes", json_integer((json_int_t)w->resident_bytes));
    json_object_set_new(value, "joined_at", view_time(w->joined_ms));
    json_object_set_new(value, "seen_at", view_time(w->seen_ms));
    return value;
}

struct collected {
    const struct api *api;
    const char *id; /* NULL: all */
    json_t *list;
};

static void collect(void *context, const struct api_worker *worker)
{
    struct collected *c = context;
    if (!c->id || strcmp(c->id, worker->id) == 0)
        json_array_append_new(c->list, view_worker(c->api, worker));
}

static json_t *workers(const struct api *api, const char *id)
{
    struct collected c = {api, id, json_array()};
    api->cluster.workers(api->cluster.context, collect, &c);
    return c.list;
}

void handle_worker_list(struct request *request)
{
    json_t *list = workers(request->api, NULL);
    request_answer_json(request, MHD_HTTP_OK, view_listing(json_array_size(list), list));
}

static void answer_unknown(struct request *request)
{
    request_answer_detail(request, MHD_HTTP_NOT_FOUND, "there is no such worker");
}

void handle_worker_get(struct request *request)
{
    json_t *list = workers(request->api, request_parameter(request, 0));
    json_t *one = json_incref(json_array_get(list, 0));
    json_decref(list);
    if (one)
        request_answer_json(request, MHD_HTTP_OK, one);
    else
        answer_unknown(request);
}

static void answer_action(struct request *request, bool known, const char *state)
{
    if (known)
        request_answer_json(request, MHD_HTTP_OK,
            json_pack("{s:s, s:s}", "id", request_parameter(request, 0), "state", state));
    else
        answer_unknown(request);
}

static const char ASKED[] = "asked for through the API";

void handle_worker_drain(struct request *request)
{
    const struct api_cluster *cluster = &request->api->cluster;
    answer_action(
        request, cluster->drain(cluster->context, request_parameter(request, 0), ASKED), "draining");
}

void handle_worker_resume(struct request *request)
{
    const struct api_cluster *cluster = &request->api->cluster;
    answer_action(request, cluster->resume(cluster->context, request_parameter(request, 0)), "online");
}

void handle_worker_evict(struct request *request)
{
    const struct api_cluster *cluster = &request->api->cluster;
    answer_action(request, cluster->evict(cluster->context, request_parameter(request, 0), ASKED), "evicted");
}

static const char *database_state(enum store_state state)
{
    static const char *const NAMES[] = {"connecting", "standby", "migrating", "active", "refused"};
    return NAMES[state];
}

void handle_cluster_status(struct request *request)
{
    const struct api *api = request->api;
    struct scheduler_counts c;
    scheduler_counts(api->scheduler, &c);
    json_t *since = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "tasks_assigned",
        (json_int_t)c.tasks_assigned, "tasks_done", (json_int_t)c.tasks_done, "tasks_failed",
        (json_int_t)c.tasks_failed, "leases_expired", (json_int_t)c.leases_expired, "samples_committed",
        (json_int_t)c.samples_committed, "samples_given_up", (json_int_t)c.samples_given_up, "duplicates",
        (json_int_t)c.duplicates);
    request_answer_json(request, MHD_HTTP_OK,
        json_pack("{s:s, s:o, s:s, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "version", LUMIGRID_VERSION,
            "coordinator_id", view_text(api->options.coordinator_id), "database",
            database_state(store_state(api->store)), "uptime_s",
            (double)(uv_hrtime() - api->started_ns) / 1e9, "workers", (json_int_t)c.workers, "slots",
            (json_int_t)c.slots, "tasks", (json_int_t)c.tasks, "jobs", (json_int_t)c.jobs,
            "samples_remaining", (json_int_t)c.samples_remaining, "samples_leased",
            (json_int_t)c.samples_leased, "since_start", since));
}
