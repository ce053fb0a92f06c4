#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/api/views.h"
#include "coordinator/store/store.h"

enum { NAME_BYTES_MAX = 100, VALUE_BYTES_MAX = 4 * 1024 };

static bool check_name(struct request *request)
{
    const char *name = request_parameter(request, 0);
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    if (len > 0 && len <= NAME_BYTES_MAX && name[len] == '\0' && name[0] != '.') /* ROUTE_NAME_PATTERN */
        return true;
    json_t *input = json_string(name);
    request_answer_invalid(request, "path", "secret_name", "string_pattern_mismatch",
        "A secret's name has 1 to 100 letters, digits, '_', '-' or '.', and begins with no '.'", input);
    json_decref(input);
    return false;
}

/* lumigator-sdk looks for names in lower case. */
static json_t *name_of(const struct store_secret *secret, bool lower)
{
    char name[NAME_BYTES_MAX + 1];
    snprintf(name, sizeof(name), "%s", secret->name);
    for (char *p = name; lower && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return view_text(name);
}

/* lumigator-sdk takes a bare list, every other client a listing. */
static void on_list(void *context, const struct store_secret *items, size_t count, const struct error *err)
{
    struct request *request = context;
    if (err) {
        request_answer_error(request, err);
        return;
    }
    bool bare = request_bare(request);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:o, s:o}", "name", name_of(&items[i], bare), "description",
                                        view_text(items[i].description)));
    request_answer_json(request, MHD_HTTP_OK, bare ? list : view_listing(count, list));
}

void handle_secret_list(struct request *request)
{
    store_secret_list(request->api->store, on_list, request);
}

static void on_put(void *context, bool created, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else if (created)
        request_answer_json(
            request, MHD_HTTP_CREATED, json_pack("{s:s}", "name", request_parameter(request, 0)));
    else
        request_answer_empty(request, MHD_HTTP_NO_CONTENT);
}

void handle_secret_put(struct request *request)
{
    if (!check_name(request))
        return;
    json_t *value = json_object_get(request->json, "value");
    size_t size = json_string_length(value);
    unsigned char sealed[VALUE_BYTES_MAX + KEYS_SEAL_OVERHEAD];
    if (size > VALUE_BYTES_MAX) {
        request_answer_invalid(
            request, "body", "value", "string_too_long", "String should have at most 1024 characters", NULL);
        return;
    }
    struct store_secret secret = {
        .name = request_parameter(request, 0),
        .description = json_string_value(json_object_get(request->json, "description")),
        .sealed = sealed,
        .sealed_size = size + KEYS_SEAL_OVERHEAD,
    };
    keys_seal(&request->api->keys, secret.name, json_string_value(value), size, sealed);
    store_secret_put(request->api->store, &secret, on_put, request);
    json_decref(request->json);
    request->json = NULL;
}

void handle_secret_delete(struct request *request)
{
    if (check_name(request))
        store_secret_delete(
            request->api->store, request_parameter(request, 0), request_answer_deleted, request);
}
