#include "coordinator/api/audit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/api/auth.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

/* The client's address, as text. */
static void peer_address(struct MHD_Connection *connection, char *out, socklen_t size)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    const void *bytes = !address ? NULL
                        : address->sa_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    if (!bytes || !inet_ntop(address->sa_family, bytes, out, size))
        snprintf(out, size, "-");
}

void audit_request(const struct request *r, struct MHD_Connection *connection)
{
    bool asks =
        strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0 || strcmp(r->method, "OPTIONS") == 0;
    bool refused = r->status == MHD_HTTP_UNAUTHORIZED || r->status == MHD_HTTP_FORBIDDEN;
    char address[INET6_ADDRSTRLEN];
    if (!r->route || (asks && !refused) || r->status == 0)
        return;
    peer_address(connection, address, sizeof(address));
    const struct store_audit entry = {.actor = r->actor[0] ? r->actor : "-",
        .role = auth_role_name(r->role),
        .address = address,
        .method = r->method,
        .path = r->path,
        .status = r->status,
        .request_id = r->id};
    store_audit_append(r->api->store, &entry);
}

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
