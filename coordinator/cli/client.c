#include "coordinator/cli/client.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/cli/terminal.h"

enum { ANSWER_BYTES_MAX = 256 << 20, PAGE_ROWS = 100, CONNECT_TIMEOUT_S = 5 };

static struct {
    const char *server, *token;
    CURL *curl;
} client;

struct answer {
    char *text;
    size_t len;
    FILE *to; /* instead of text */
};

void client_configure(const char *server, const char *token)
{
    client.server = server;
    client.token = token;
}

const char *client_server(void)
{
    return client.server;
}

void client_close(void)
{
    if (client.curl) {
        curl_easy_cleanup(client.curl);
        client.curl = NULL;
        curl_global_cleanup();
    }
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct answer *answer = context;
    size_t len = size * count;
    if (answer->to)
        return fwrite(data, 1, len, answer->to);
    if (answer->len + len > ANSWER_BYTES_MAX)
        return 0;
    answer->text = alloc_resize(answer->text, answer->len + len + 1, 1);
    memcpy(answer->text + answer->len, data, len);
    answer->len += len;
    answer->text[answer->len] = '\0';
    return len;
}

/* A fresh request on the kept connection. */
static CURL *prepare(const char *url, struct answer *answer, struct curl_slist **headers)
{
    if (!client.curl) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        client.curl = curl_easy_init();
    }
    CURL *curl = client.curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "lumigrid/" LUMIGRID_VERSION);
    *headers = curl_slist_append(NULL, "Expect:");
    if (client.token) {
        char *line = alloc_format("Authorization: Bearer %s", client.token);
        *headers = curl_slist_append(*headers, line);
        free(line);
    }
    return curl;
}

/* FastAPI's list of bad fields, as one line. */
static void describe_fields(const json_t *detail, char *out, size_t size)
{
    size_t index, used = 0;
    json_t *item;
    out[0] = '\0';
    json_array_foreach(detail, index, item)
    {
        const json_t *loc = json_object_get(item, "loc");
        const char *message = json_string_value(json_object_get(item, "msg"));
        const char *field = json_string_value(json_array_get(loc, json_array_size(loc) - 1));
        int written = snprintf(out + used, size - used, "%s%s: %s", index ? "; " : "", field ? field : "body",
            message ? message : "not valid");
        if (written < 0 || (size_t)written >= size - used)
            return;
        used += (size_t)written;
    }
}

static bool answer_error(long status, const struct answer *answer, struct error *err)
{
    static const struct {
        long status;
        enum error_code code;
    } codes[] = {{400, ERROR_INVALID}, {401, ERROR_DENIED}, {403, ERROR_DENIED}, {404, ERROR_NOT_FOUND},
        {409, ERROR_CONFLICT}, {413, ERROR_TOO_LARGE}, {422, ERROR_INVALID}, {501, ERROR_UNSUPPORTED},
        {503, ERROR_UNAVAILABLE}};
    enum error_code code = ERROR_INTERNAL;
    char text[400];
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].status == status)
            code = codes[i].code;
    json_t *body = answer->text ? json_loads(answer->text, 0, NULL) : NULL;
    const json_t *detail = json_object_get(body, "detail");
    if (json_is_array(detail))
        describe_fields(detail, text, sizeof(text));
    else
        snprintf(
            text, sizeof(text), "%s", json_is_string(detail) ? json_string_value(detail) : "no explanation");
    error_set(err, code, "%s (HTTP %ld)", text, status);
    if (status == 401)
        error_hint(err, "give a token with --token or LUMIGRID_TOKEN");
    json_decref(body);
    return false;
}

static bool perform(CURL *curl, const struct answer *answer, struct error *err)
{
    CURLcode result = curl_easy_perform(curl);
    long status = 0;
    if (result != CURLE_OK) {
        error_set(
            err, ERROR_UNAVAILABLE, "%s does not answer: %s", client.server, curl_easy_strerror(result));
        return error_hint(err, "start a cluster with: lumigrid up, or name one with --server");
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status < 400 || answer_error(status, answer, err);
}

static json_t *parse_answer(struct answer *answer, bool ok, struct error *err)
{
    json_t *json = NULL;
    json_error_t where;
    if (ok && answer->len == 0)
        json = json_object();
    else if (ok)
        json = json_loads(answer->text, JSON_DECODE_ANY, &where);
    if (ok && !json)
        error_set(err, ERROR_INTERNAL, "%s answered with something that is no JSON; is it a coordinator?",
            client.server);
    free(answer->text);
    return json;
}

json_t *client_call(const char *method, const char *path, const json_t *body, struct error *err)
{
    struct answer answer = {0};
    struct curl_slist *headers;
    char *url = alloc_format("%s/api/v1%s", client.server, path);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    CURL *curl = prepare(url, &answer, &headers);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (text || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text ? text : "");
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    bool ok = perform(curl, &answer, err);
    curl_slist_free_all(headers);
    free(text);
    free(url);
    return parse_answer(&answer, ok, err);
}

json_t *client_list(const char *path, size_t limit, struct error *err)
{
    json_t *all = json_array();
    while (json_array_size(all) < limit) {
        char *page_path = alloc_format(
            "%s%cskip=%zu&limit=%d", path, strchr(path, '?') ? '&' : '?', json_array_size(all), PAGE_ROWS);
        json_t *page = client_call("GET", page_path, NULL, err);
        free(page_path);
        if (!page) {
            json_decref(all);
            return NULL;
        }
        json_t *items = json_object_get(page, "items");
        size_t count = json_array_size(items);
        json_int_t total = json_integer_value(json_object_get(page, "total"));
        json_array_extend(all, items);
        json_decref(page);
        if (count < PAGE_ROWS || (json_int_t)json_array_size(all) >= total)
            break;
    }
    return all;
}

static int on_upload_progress(
    void *context, curl_off_t to_get, curl_off_t got, curl_off_t to_send, curl_off_t sent)
{
    (void)to_get;
    (void)got;
    if (to_send > 0)
        terminal_progress(context, (uint64_t)sent, (uint64_t)to_send);
    return 0;
}

json_t *client_upload(const char *path, const char *file, const char *format, struct error *err)
{
    struct answer answer = {0};
    struct curl_slist *headers;
    FILE *probe = fopen(file, "rb");
    if (!probe) {
        error_set(err, ERROR_NOT_FOUND, "there is no file %s that can be read", file);
        return NULL;
    }
    fclose(probe);
    char *url = alloc_format("%s/api/v1%s", client.server, path);
    CURL *curl = prepare(url, &answer, &headers);
    curl_mime *form = curl_mime_init(curl);
    curl_mimepart *part = curl_mime_addpart(form);
    curl_mime_name(part, "format");
    curl_mime_data(part, format, CURL_ZERO_TERMINATED);
    part = curl_mime_addpart(form);
    curl_mime_name(part, "dataset");
    curl_mime_filedata(part, file);
    curl_easy_setopt(curl, CURLOPT_MIMEPOST, form);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    struct terminal_bar bar = {.label = "upload", .bytes = true};
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_upload_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &bar);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    bool ok = perform(curl, &answer, err);
    terminal_progress_end(&bar);
    curl_mime_free(form);
    curl_slist_free_all(headers);
    free(url);
    return parse_answer(&answer, ok, err);
}

bool client_download(const char *url, FILE *to, struct error *err)
{
    struct answer answer = {.to = to};
    struct curl_slist *headers;
    CURL *curl = prepare(url, &answer, &headers);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    CURLcode result = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    if (result == CURLE_OK && fflush(to) == 0)
        return true;
    return error_set(err, ERROR_UNAVAILABLE, "downloading: %s",
        result == CURLE_OK ? "the file cannot be written" : curl_easy_strerror(result));
}

bool client_ready(const char *path, long timeout_ms)
{
    struct answer answer = {0};
    struct curl_slist *headers;
    long status = 0;
    char *url = alloc_format("%s%s", client.server, path);
    CURL *curl = prepare(url, &answer, &headers);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    if (curl_easy_perform(curl) == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    free(answer.text);
    free(url);
    return status == 200;
}
