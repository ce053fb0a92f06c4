/* GET /auth/audit: who did what. */
#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

static json_t *view_entry(const struct store_audit *entry)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o}", "at", view_time(entry->at_ms), "actor",
        view_text(entry->actor), "role", view_text(entry->role), "address", view_text(entry->address),
        "method", view_text(entry->method), "path", view_text(entry->path), "status", (int)entry->status,
        "request_id", view_text(entry->request_id));
}

static void on_list(
    void *context, uint64_t total, const struct store_audit *items, size_t count, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, view_entry(&items[i]));
    request_answer_json(request, MHD_HTTP_OK, view_listing(total, list));
}

void handle_audit_list(struct request *request)
{
    store_audit_list(request->api->store, (uint64_t)request_query_integer(request, "skip"),
        (uint64_t)request_query_integer(request, "limit"), on_list, request);
}
