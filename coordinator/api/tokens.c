#include <stdlib.h>
#include <time.h>

#include "common/alloc.h"
#include "coordinator/api/auth.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

static json_t *view_token(const struct store_token *t)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "id", t->id, "name", view_text(t->name), "role",
        view_text(t->role), "created_at", view_time(t->created_ms), "expires_at", view_time(t->expires_ms),
        "used_at", view_time(t->used_ms));
}

static void on_list(void *context, const struct store_token *items, size_t count, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, view_token(&items[i]));
    request_answer_json(request, MHD_HTTP_OK, view_listing(count, list));
}

void handle_token_list(struct request *request)
{
    store_token_list(request->api->store, on_list, request);
}

struct creation {
    struct request *request;
    char token[AUTH_TOKEN_CHARS + 1];
};

static void on_created(void *context, const struct store_token *token, const struct error *err)
{
    struct creation *creation = context;
    struct request *request = creation->request;
    if (err) {
        request_answer_error(request, err);
    } else {
        json_t *value = view_token(token);
        json_object_set_new(value, "token", json_string(creation->token));
        request_answer_json(request, MHD_HTTP_CREATED, value);
    }
    sodium_memzero(creation->token, sizeof(creation->token));
    free(creation);
}

void handle_token_create(struct request *request)
{
    struct creation *creation = alloc_zero(1, sizeof(*creation));
    unsigned char hash[AUTH_HASH_BYTES];
    int64_t life_s = json_integer_value(json_object_get(request->json, "expires_in_s"));
    creation->request = request;
    auth_token_new(creation->token);
    auth_token_hash(creation->token, hash);
    struct store_token token = {
        .name = json_string_value(json_object_get(request->json, "name")),
        .role = json_string_value(json_object_get(request->json, "role")),
        .hash = hash,
        .expires_ms = life_s > 0 ? ((int64_t)time(NULL) + life_s) * 1000 : 0,
    };
    store_id_new(token.id);
    store_token_insert(request->api->store, &token, on_created, creation);
}

static void on_deleted(void *context, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    auth_forget(request->api);
    request_answer_empty(request, MHD_HTTP_NO_CONTENT);
}

void handle_token_delete(struct request *request)
{
    store_token_delete(request->api->store, request_parameter(request, 0), on_deleted, request);
}
