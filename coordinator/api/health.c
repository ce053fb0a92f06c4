#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

enum { HEALTH_JOBS_MAX = 1000 };

void handle_health(struct request *request)
{
    const char *text = request->api->health_text;
    request_answer_static(request, MHD_HTTP_OK, "application/json", text, strlen(text));
}

static void on_jobs(
    void *context, uint64_t total, const struct store_job *items, size_t count, const struct error *err)
{
    (void)total;
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, view_ray_job(&items[i]));
    request_answer_json(request, MHD_HTTP_OK, list);
}

void handle_health_jobs(struct request *request)
{
    struct store_job_filter all = {0};
    store_job_list(request->api->store, &all, 0, HEALTH_JOBS_MAX, on_jobs, request);
}

static void on_job(void *context, const struct store_job *job, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        request_answer_json(request, MHD_HTTP_OK, view_ray_job(job));
}

void handle_health_job(struct request *request)
{
    store_job_get(request->api->store, request_parameter(request, 0), on_job, request);
}

void handle_live(struct request *request)
{
    request_answer_static(request, MHD_HTTP_OK, "text/plain; charset=utf-8", "OK\n", 3);
}

static const char *why_not_ready(enum store_state state)
{
    switch (state) {
    case STORE_CONNECTING: return "Postgres does not answer";
    case STORE_STANDBY: return "standing by: another coordinator is active";
    case STORE_MIGRATING: return "bringing the database up to date";
    case STORE_REFUSED: return "the database cannot be used; see the coordinator's log";
    case STORE_ACTIVE: break;
    }
    return NULL;
}

void handle_ready(struct request *request)
{
    const char *reason = why_not_ready(store_state(request->api->store));
    if (reason)
        request_answer_json(
            request, MHD_HTTP_SERVICE_UNAVAILABLE, json_pack("{s:b, s:s}", "ready", 0, "reason", reason));
    else
        request_answer_json(request, MHD_HTTP_OK, json_pack("{s:b}", "ready", 1));
}
