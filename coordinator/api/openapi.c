#include "coordinator/api/openapi.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/api/route.h"

static json_t *reference(const char *schema)
{
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", schema));
}

static json_t *content(const char *media, json_t *schema)
{
    return json_pack("{s:{s:o}}", media, "schema", schema);
}

static void add_answer(
    json_t *answers, unsigned status, const char *media, const char *schema, const char *description)
{
    char key[12];
    json_t *answer = json_pack("{s:s}", "description", description);
    snprintf(key, sizeof(key), "%u", status);
    if (schema)
        json_object_set_new(answer, "content", content("application/json", reference(schema)));
    else if (media)
        json_object_set_new(answer, "content",
            content(media, strcmp(media, "application/json") == 0 ? json_pack("{s:s}", "type", "object")
                                                                  : json_pack("{s:s}", "type", "string")));
    json_object_set_new(answers, key, answer);
}

static bool validates(const struct route *route)
{
    return route->body != BODY_NONE || route->query || strchr(route->path, '{');
}

static json_t *answers_of(const struct route *route)
{
    json_t *answers = json_object();
    if (validates(route))
        add_answer(answers, 422, NULL, "ValidationError", "a field or parameter is wrong");
    if (route->role != ROLE_NOBODY) {
        add_answer(answers, 401, NULL, "Detail", "a token is needed");
        add_answer(answers, 403, NULL, "Detail", "the token's role does not allow it");
    }
    if (route->body != BODY_NONE) {
        add_answer(answers, 411, NULL, "Detail", "neither a length nor chunks");
        add_answer(answers, 413, NULL, "Detail", "larger than the limit");
    }
    if (strncmp(route->path, "/api/", 5) == 0)
        add_answer(answers, 503, NULL, "Detail", "the database is away, or another coordinator is active");
    for (const struct route_answer *a = route->answers; a->status; a++)
        add_answer(answers, a->status, a->media, a->schema, a->description);
    return answers;
}

static bool is_uuid(const char *name)
{
    size_t len = strlen(name);
    return len > 3 && strcmp(name + len - 3, "_id") == 0;
}

static json_t *schema_of_query(const struct route_query *q)
{
    if (q->list)
        return reference(q->list);
    if (q->type == VALUE_TEXT)
        return json_pack("{s:s}", "type", "string");
    if (q->type == VALUE_BOOLEAN)
        return json_pack("{s:s, s:b}", "type", "boolean", "default", q->fallback != 0);
    json_t *schema = json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)q->minimum,
        "maximum", (json_int_t)q->maximum);
    if (!q->required)
        json_object_set_new(schema, "default", json_integer(q->fallback));
    return schema;
}

static json_t *parameters_of(const struct route *route)
{
    json_t *list = json_array();
    char name[64];
    for (size_t i = 0; route_parameter_name(route, i, name, sizeof(name)); i++) {
        json_t *schema = json_pack("{s:s}", "type", "string");
        if (is_uuid(name))
            json_object_set_new(schema, "format", json_string("uuid"));
        else
            json_object_set_new(schema, "pattern", json_string(ROUTE_NAME_PATTERN));
        json_array_append_new(list,
            json_pack("{s:s, s:s, s:b, s:o}", "name", name, "in", "path", "required", 1, "schema", schema));
    }
    for (const struct route_query *q = route->query; q && q->name; q++)
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", q->name, "in", "query", "required",
                      q->required, "description", q->description, "schema", schema_of_query(q)));
    return list;
}

static json_t *body_of(const struct route *route)
{
    bool form = route->body == BODY_DATASET;
    json_t *described =
        content(form ? "multipart/form-data" : "application/json", reference(route->body_schema));
    if (form)
        json_object_set_new(json_object_get(described, "multipart/form-data"), "encoding",
            json_pack("{s:{s:s}}", "dataset", "contentType", "text/csv"));
    return json_pack("{s:b, s:o}", "required", 1, "content", described);
}

static json_t *operation_of(const struct route *route)
{
    json_t *operation =
        json_pack("{s:s, s:s, s:[s], s:o, s:o}", "operationId", route->operation, "summary", route->summary,
            "tags", route->tag, "parameters", parameters_of(route), "responses", answers_of(route));
    if (route->body != BODY_NONE)
        json_object_set_new(operation, "requestBody", body_of(route));
    if (route->role != ROLE_NOBODY)
        json_object_set_new(operation, "security", json_pack("[{}, {s:[]}]", "bearer"));
    return operation;
}

char *openapi_text(const struct schemas *schemas, struct error *err)
{
    json_t *paths = json_object();
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        const struct route *route = &ROUTES[i];
        char method[8];
        size_t n = 0;
        for (; route->method[n]; n++)
            method[n] = (char)(route->method[n] | 0x20);
        method[n] = '\0';
        json_t *item = json_object_get(paths, route->path);
        if (!item) {
            item = json_object();
            json_object_set_new(paths, route->path, item);
        }
        json_object_set_new(item, method, operation_of(route));
    }
    json_t *document = json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:O, s:{s:{s:s, s:s}}}}", "openapi",
        "3.1.0", "info", "title", "Lumigrid", "version", LUMIGRID_VERSION, "description",
        "Which language model should we use for our texts? Paths work with and without a trailing slash.",
        "paths", paths, "components", "schemas", schemas_all(schemas), "securitySchemes", "bearer", "type",
        "http", "scheme", "bearer");
    char *text = document ? json_dumps(document, JSON_INDENT(1)) : NULL;
    json_decref(document);
    if (!text)
        error_set(err, ERROR_MEMORY, "not enough memory for the API's description");
    return text;
}
