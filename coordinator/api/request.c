#include "coordinator/api/request.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/api/auth.h"
#include "coordinator/api/problems.h"
#include "coordinator/api/server.h"

enum {
    STREAM_BLOCK_BYTES = 32 * 1024,
    JSON_FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY
};

bool request_bare(const struct request *request)
{
    size_t len = strlen(request->path);
    return len == 0 || request->path[len - 1] != '/';
}

const char *request_header(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

void request_add_header(struct request *request, const char *name, const char *format, ...)
{
    if (request->header_count == REQUEST_HEADERS_MAX)
        return;
    char *value = request->headers[request->header_count].value;
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof(request->headers[0].value), format, args);
    va_end(args);
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p < ' ' || *p == 0x7F)
            return;
    request->headers[request->header_count++].name = name;
}

static bool origin_is_allowed(const char *list, const char *origin)
{
    size_t len = strlen(origin);
    for (const char *p = list; *p;) {
        size_t item = strcspn(p, ",");
        if ((item == 1 && *p == '*') || (item == len && memcmp(p, origin, len) == 0))
            return true;
        p += item;
        p += strspn(p, ", ");
    }
    return false;
}

static void add_cors(struct request *request, struct MHD_Response *response)
{
    const char *allowed = request->api->options.cors_origins;
    const char *origin = allowed ? request_header(request, "Origin") : NULL;
    if (!origin || !origin_is_allowed(allowed, origin))
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
    MHD_add_response_header(response, "Access-Control-Expose-Headers", "X-Request-ID, Location");
    MHD_add_response_header(response, "Vary", "Origin");
}

/* The one place where every answer passes. */
static void answer(struct request *request, unsigned status, const char *type, struct MHD_Response *response)
{
    if (!request->connection) {
        if (response)
            MHD_destroy_response(response);
        server_request_abandoned(request);
        return;
    }
    if (!response) {
        response = MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT);
        status = MHD_HTTP_SERVICE_UNAVAILABLE;
        if (!response)
            abort();
    }
    if (type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, "X-Request-ID", request->id);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    for (size_t i = 0; i < request->header_count; i++)
        MHD_add_response_header(response, request->headers[i].name, request->headers[i].value);
    add_cors(request, response);
    request->status = status;
    request->response = response;
    request_wake(request);
}

void request_wake(struct request *request)
{
    if (request->suspended) {
        request->suspended = false;
        MHD_resume_connection(request->connection);
        server_kick(request->api);
    } else {
        request->woken = true;
    }
}

void request_answer_json(struct request *request, unsigned status, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_FLAGS) : NULL;
    json_decref(value);
    if (text)
        request_answer_bytes(request, status, "application/json", text, strlen(text));
    else
        request_answer_static(request, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json",
            "{\"detail\":\"not enough memory for the answer\"}", 45);
}

void request_answer_detail(struct request *request, unsigned status, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_t *detail = json_string(text);
    if (!detail) /* cut inside a character, or the message repeats bytes that are no UTF-8 */
        detail = json_string("the request is wrong, and so is its encoding");
    request_answer_json(request, status, json_pack("{s:o}", "detail", detail));
}

static unsigned status_of(enum error_code code)
{
    switch (code) {
    case ERROR_INVALID: return MHD_HTTP_UNPROCESSABLE_CONTENT;
    case ERROR_NOT_FOUND: return MHD_HTTP_NOT_FOUND;
    case ERROR_DENIED: return MHD_HTTP_FORBIDDEN;
    case ERROR_TOO_LARGE: return MHD_HTTP_CONTENT_TOO_LARGE;
    case ERROR_MEMORY:
    case ERROR_UNAVAILABLE: return MHD_HTTP_SERVICE_UNAVAILABLE;
    case ERROR_CONFLICT:
    case ERROR_CANCELLED: return MHD_HTTP_CONFLICT;
    case ERROR_UNSUPPORTED: return MHD_HTTP_NOT_IMPLEMENTED;
    case ERROR_NONE:
    case ERROR_INTERNAL: break;
    }
    return MHD_HTTP_INTERNAL_SERVER_ERROR;
}

void request_answer_error(struct request *request, const struct error *err)
{
    unsigned status = status_of(err->code);
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE)
        request_add_header(request, "Retry-After", "1");
    request_answer_detail(request, status, "%s%s%s", err->message, err->hint[0] ? "; " : "", err->hint);
}

void request_answer_empty(struct request *request, unsigned status)
{
    answer(request, status, NULL, MHD_create_response_from_buffer(0, "", MHD_RESPMEM_PERSISTENT));
}

void request_answer_deleted(void *context, const struct error *err)
{
    struct request *request = context;
    if (err)
        request_answer_error(request, err);
    else
        request_answer_empty(request, MHD_HTTP_NO_CONTENT);
}

void request_answer_static(
    struct request *request, unsigned status, const char *type, const void *bytes, size_t size)
{
    answer(request, status, type,
        MHD_create_response_from_buffer(size, (void *)(uintptr_t)bytes, MHD_RESPMEM_PERSISTENT));
}

void request_answer_bytes(
    struct request *request, unsigned status, const char *type, void *bytes, size_t size)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(size, bytes, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(bytes);
    answer(request, status, type, response);
}

static ssize_t stream_read(void *context, uint64_t position, char *buffer, size_t max)
{
    (void)position;
    struct request *request = context;
    for (;;) {
        request->woken = false;
        ssize_t got = request->stream.read(request->stream.context, buffer, max);
        if (got > 0)
            return got;
        if (got == STREAM_END)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (got == STREAM_FAILED)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (request->woken)
            continue;
        request->suspended = true;
        MHD_suspend_connection(request->connection);
        return 0;
    }
}

void request_answer_stream(struct request *request, unsigned status, const char *type, struct stream stream)
{
    if (!request->connection) {
        stream.close(stream.context);
        answer(request, status, type, NULL);
        return;
    }
    request->stream = stream;
    request->stream_open = true;
    answer(request, status, type,
        MHD_create_response_from_callback(
            stream.size ? stream.size : MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES, stream_read, request, NULL));
}

void request_answer_invalid(struct request *request, const char *where, const char *field, const char *type,
    const char *msg, json_t *input)
{
    json_t *problems = json_array();
    problems_add(problems, json_pack("[s,s]", where, field), type, msg, input);
    request_answer_json(request, MHD_HTTP_UNPROCESSABLE_CONTENT, json_pack("{s:o}", "detail", problems));
}

const char *request_parameter(const struct request *request, size_t n)
{
    return request->match.parameters[n];
}

bool request_parse_uuid(const char *text, char out[37])
{
    size_t len = strlen(text);
    bool dashed = len == 36;
    if (!dashed && len != 32)
        return false;
    size_t to = 0;
    for (size_t i = 0; i < len; i++) {
        if (dashed && (i == 8 || i == 13 || i == 18 || i == 23)) {
            if (text[i] != '-')
                return false;
            continue;
        }
        char c = text[i];
        if (c >= 'A' && c <= 'F')
            c = (char)(c - 'A' + 'a');
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        if (to == 8 || to == 13 || to == 18 || to == 23)
            out[to++] = '-';
        out[to++] = c;
    }
    out[to] = '\0';
    return to == 36;
}

static const struct route_query *query_of(const struct request *request, const char *name)
{
    for (const struct route_query *q = request->route->query; q && q->name; q++)
        if (strcmp(q->name, name) == 0)
            return q;
    abort(); /* the route's table lacks a parameter that its handler reads */
}

static bool parse_integer(const char *text, int64_t *out)
{
    char *end;
    if (*text != '-' && (*text < '0' || *text > '9'))
        return false;
    *out = strtoll(text, &end, 10);
    return *end == '\0' && end != text;
}

static bool parse_boolean(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "1", "yes", "on"}, *const no[] = {"false", "0", "no", "off"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *out = strcasecmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

const char *request_query_text(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(
        request->connection, MHD_GET_ARGUMENT_KIND, query_of(request, name)->name);
}

int64_t request_query_integer(const struct request *request, const char *name)
{
    const char *text = request_query_text(request, name);
    int64_t value = 0;
    return text && parse_integer(text, &value) ? value : query_of(request, name)->fallback;
}

bool request_query_boolean(const struct request *request, const char *name)
{
    const char *text = request_query_text(request, name);
    bool value = false;
    return text && parse_boolean(text, &value) ? value : query_of(request, name)->fallback != 0;
}

struct each {
    const char *name;
    void (*call)(void *context, const char *value);
    void *context;
};

static enum MHD_Result on_argument(void *context, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind;
    struct each *each = context;
    if (value && strcmp(key, each->name) == 0)
        each->call(each->context, value);
    return MHD_YES;
}

void request_query_each(const struct request *request, const char *name,
    void (*call)(void *context, const char *value), void *context)
{
    struct each each = {name, call, context};
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, on_argument, &each);
}

static void check_query(const struct route_query *q, const char *text, json_t *problems)
{
    int64_t number;
    bool flag;
    char msg[96];
    json_t *input = text ? json_string(text) : NULL;
    json_t *loc = json_pack("[s,s]", "query", q->name);
    if (!text)
        problems_add(problems, loc, "missing", "Field required", NULL);
    else if (!input)
        problems_add(problems, loc, "string_unicode",
            "Input should be a valid string, unable to parse raw data as a unicode string", NULL);
    else if (q->type == VALUE_INTEGER && !parse_integer(text, &number))
        problems_add(problems, loc, "int_parsing",
            "Input should be a valid integer, unable to parse string as an integer", input);
    else if (q->type == VALUE_BOOLEAN && !parse_boolean(text, &flag))
        problems_add(problems, loc, "bool_parsing",
            "Input should be a valid boolean, unable to interpret input", input);
    else if (q->type == VALUE_INTEGER && number < q->minimum) {
        snprintf(msg, sizeof(msg), "Input should be greater than or equal to %" PRId64, q->minimum);
        problems_add(problems, loc, "greater_than_equal", msg, input);
    } else if (q->type == VALUE_INTEGER && number > q->maximum) {
        snprintf(msg, sizeof(msg), "Input should be less than or equal to %" PRId64, q->maximum);
        problems_add(problems, loc, "less_than_equal", msg, input);
    } else {
        json_decref(loc);
    }
    json_decref(input);
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static bool answer_problems(struct request *request, json_t *problems)
{
    if (json_array_size(problems) == 0) {
        json_decref(problems);
        return true;
    }
    request_answer_json(request, MHD_HTTP_UNPROCESSABLE_CONTENT, json_pack("{s:o}", "detail", problems));
    return false;
}

bool request_check_parameters(struct request *request)
{
    json_t *problems = json_array();
    for (size_t i = 0; i < request->match.parameter_count; i++) {
        char name[64], uuid[37];
        char *value = request->match.parameters[i];
        if (!route_parameter_name(request->route, i, name, sizeof(name)) || !ends_with(name, "_id"))
            continue;
        if (request_parse_uuid(value, uuid)) {
            memcpy(value, uuid, sizeof(uuid));
            continue;
        }
        json_t *input = json_string(value);
        problems_add(problems, json_pack("[s,s]", "path", name), "uuid_parsing",
            "Input should be a valid UUID", input);
        json_decref(input);
    }
    for (const struct route_query *q = request->route->query; q && q->name; q++) {
        const char *text = request_query_text(request, q->name);
        if (text || q->required)
            check_query(q, text, problems);
    }
    return answer_problems(request, problems);
}

/* JSON allows \u0000 in texts, which neither Postgres nor C strings hold: it becomes U+FFFD, as what is no
 * UTF-8 does. */
static void replace_nuls(char *json)
{
    for (char *p = json; (p = strchr(p, '\\')); p += 2) {
        if (p[1] == '\0')
            return;
        if (strncmp(p + 1, "u0000", 5) == 0)
            memcpy(p + 2, "fffd", 4);
    }
}

/* An integer that no 64 bits hold is a number all the same: a field that takes integers says what is too
 * large. */
static json_t *parse_body(char *text, size_t size, json_error_t *where)
{
    replace_nuls(text);
    json_t *json = json_loadb(text, size, JSON_DECODE_ANY, where);
    if (!json && json_error_code(where) == json_error_numeric_overflow)
        json = json_loadb(text, size, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, where);
    return json;
}

bool request_check_body(struct request *request)
{
    if (request->route->body != BODY_JSON)
        return true;
    json_t *problems = json_array();
    json_error_t where;
    if (request->body_bytes == 0) {
        problems_add(problems, json_pack("[s]", "body"), "missing", "Field required", NULL);
        return answer_problems(request, problems);
    }
    request->json = parse_body(request->body, request->body_bytes, &where);
    free(request->body);
    request->body = NULL;
    if (request->json)
        schema_validate(request->api->schemas, request->route->body_schema, request->json, problems);
    else
        problems_add_json_error(problems, where.position, where.text);
    return answer_problems(request, problems);
}
