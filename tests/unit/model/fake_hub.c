#include "tests/unit/model/fake_hub.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool count_down(atomic_int *counter)
{
    int left = atomic_load(counter);
    while (left > 0) {
        if (atomic_compare_exchange_weak(counter, &left, left - 1))
            return true;
    }
    return false;
}

static void etag_of(const struct fake_hub *hub, const struct fake_file *file, char *out, size_t size)
{
    uint8_t hash[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof hash + 1];
    crypto_hash_sha256(hash, file->data, file->len);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    if (!file->is_lfs)
        hex[40] = '\0'; /* as long as Git's hash */
    snprintf(out, size, "%s", hub->faults.bad_etag != NULL ? hub->faults.bad_etag : hex);
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status, const char *text,
    const char *header, const char *value)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);
    if (header != NULL)
        MHD_add_response_header(response, header, value);
    if (status == 429)
        MHD_add_response_header(response, "Retry-After", "1");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_list(struct fake_hub *hub, struct MHD_Connection *connection)
{
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "{\"sha\":\"%s\",\"siblings\":[", FAKE_HUB_COMMIT);
    if (hub->faults.bad_list != NULL)
        return answer_text(connection, 200, hub->faults.bad_list, NULL, NULL);
    for (size_t i = 0; i < hub->file_count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s{\"rfilename\":\"%s\"}",
            i > 0 ? "," : "", hub->files[i].name);
    snprintf(text + used, sizeof text - used, "]}");
    return answer_text(connection, 200, text, "Content-Type", "application/json");
}

struct body {
    uint8_t *data;
    size_t len, end; /* ends (or breaks off, when breaks) at `end` */
    bool breaks;
};

static ssize_t send_body(void *context, uint64_t at, char *out, size_t max)
{
    const struct body *body = context;
    if (at >= body->end)
        return body->breaks ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    size_t count = body->end - at < max ? body->end - (size_t)at : max;
    memcpy(out, body->data + at, count);
    return (ssize_t)count;
}

static void free_body(void *context)
{
    struct body *body = context;
    free(body->data);
    free(body);
}

static enum MHD_Result send_file(
    struct fake_hub *hub, struct MHD_Connection *connection, const struct fake_file *file, bool is_get)
{
    struct fake_faults *faults = &hub->faults;
    const char *range = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Range");
    size_t start = 0, extra = faults->sends_extra ? 7 : 0;
    if (is_get)
        atomic_fetch_add(&hub->downloads, 1);
    if (range != NULL) {
        atomic_fetch_add(&hub->range_requests, 1);
        start = faults->ignores_ranges ? 0 : (size_t)strtoull(range + strlen("bytes="), NULL, 10);
        if (start >= file->len)
            return answer_text(connection, 416, "", NULL, NULL);
    }
    struct body *body = calloc(1, sizeof *body);
    body->len = body->end = file->len - start + extra;
    body->data = calloc(1, body->len + 1);
    memcpy(body->data, (const uint8_t *)file->data + start, file->len - start);
    if (file->is_lfs && (faults->corrupts || (is_get && count_down(&faults->corrupt_downloads))))
        body->data[body->len - 1] ^= 1;
    if (is_get && (faults->always_cut_at_once || count_down(&faults->cut_downloads))) {
        body->breaks = true;
        body->end = faults->always_cut_at_once ? 0 : body->len / 2;
    }
    struct MHD_Response *response =
        MHD_create_response_from_callback(body->len, 1 << 14, send_body, body, free_body);
    char etag[256], quoted[260], number[128];
    etag_of(hub, file, etag, sizeof etag);
    snprintf(quoted, sizeof quoted, "\"%s\"", etag);
    MHD_add_response_header(response, "ETag", quoted);
    MHD_add_response_header(response, "X-Repo-Commit", FAKE_HUB_COMMIT);
    if (start > 0) {
        snprintf(number, sizeof number, "bytes %zu-%zu/%zu", start, file->len - 1, file->len);
        MHD_add_response_header(response, "Content-Range", number);
    }
    enum MHD_Result result = MHD_queue_response(connection, start > 0 ? 206 : 200, response);
    MHD_destroy_response(response);
    return result;
}

/* LFS files lie elsewhere; the redirect's own headers describe them. */
static enum MHD_Result redirect(
    struct fake_hub *hub, struct MHD_Connection *connection, const struct fake_file *file)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    char etag[256], location[256], number[32];
    etag_of(hub, file, etag, sizeof etag);
    uint64_t size =
        hub->faults.huge_size != 0 ? hub->faults.huge_size : file->len + hub->faults.announced_too_much;
    snprintf(location, sizeof location, "http://127.0.0.1:%u/%s", hub->cdn_port, file->name);
    snprintf(number, sizeof number, "%llu", (unsigned long long)size);
    MHD_add_response_header(response, "X-Linked-ETag", etag);
    MHD_add_response_header(response, "X-Linked-Size", number);
    MHD_add_response_header(response, "X-Repo-Commit", FAKE_HUB_COMMIT);
    MHD_add_response_header(response, "Location", location);
    enum MHD_Result result = MHD_queue_response(connection, 302, response);
    MHD_destroy_response(response);
    return result;
}

static const struct fake_file *find_file(const struct fake_hub *hub, const char *name)
{
    for (size_t i = 0; i < hub->file_count; i++) {
        if (strcmp(hub->files[i].name, name) == 0)
            return &hub->files[i];
    }
    return NULL;
}

static enum MHD_Result serve_hub(void *context, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *upload, size_t *upload_len, void **state)
{
    static const char list[] = "/api/models/org/model/revision/";
    static const char resolve[] = "/org/model/resolve/" FAKE_HUB_COMMIT "/";
    struct fake_hub *hub = context;
    (void)version, (void)upload, (void)upload_len, (void)state;
    atomic_fetch_add(&hub->requests, 1);
    if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization") != NULL)
        atomic_fetch_add(&hub->token_to_hub, 1);
    if (hub->faults.status != 0)
        return answer_text(connection, hub->faults.status, "no",
            hub->faults.error_code != NULL ? "X-Error-Code" : NULL, hub->faults.error_code);
    if (count_down(&hub->faults.transient_failures))
        return answer_text(connection, hub->faults.transient_status != 0 ? hub->faults.transient_status : 503,
            "later", NULL, NULL);
    if (strncmp(url, list, sizeof list - 1) == 0)
        return answer_list(hub, connection);
    const struct fake_file *file =
        strncmp(url, resolve, sizeof resolve - 1) == 0 ? find_file(hub, url + sizeof resolve - 1) : NULL;
    if (file == NULL)
        return answer_text(connection, 404, "none", "X-Error-Code", "EntryNotFound");
    if (hub->faults.redirects_in_circles)
        return answer_text(connection, 307, "", "Location", url);
    if (file->is_lfs)
        return redirect(hub, connection, file);
    return send_file(hub, connection, file, strcmp(method, "GET") == 0);
}

static enum MHD_Result serve_cdn(void *context, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *upload, size_t *upload_len, void **state)
{
    struct fake_hub *hub = context;
    (void)version, (void)upload, (void)upload_len, (void)state;
    if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization") != NULL)
        atomic_fetch_add(&hub->token_to_cdn, 1);
    const struct fake_file *file = find_file(hub, url + 1);
    if (file == NULL)
        return answer_text(connection, 404, "none", NULL, NULL);
    return send_file(hub, connection, file, strcmp(method, "GET") == 0);
}

static struct MHD_Daemon *start_server(MHD_AccessHandlerCallback serve, struct fake_hub *hub, unsigned *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, serve, hub,
        MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
    assert_non_null(daemon);
    *port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return daemon;
}

void fake_hub_start(struct fake_hub *hub)
{
    char endpoint[64];
    assert_true(sodium_init() >= 0);
    hub->hub = start_server(serve_hub, hub, &hub->hub_port);
    hub->cdn = start_server(serve_cdn, hub, &hub->cdn_port);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u", hub->hub_port);
    setenv("HF_ENDPOINT", endpoint, 1);
}

void fake_hub_stop(struct fake_hub *hub)
{
    MHD_stop_daemon(hub->hub);
    MHD_stop_daemon(hub->cdn);
}
