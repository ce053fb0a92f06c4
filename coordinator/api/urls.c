#include "coordinator/api/urls.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "coordinator/api/server.h"

/* What the client itself calls us, or our own address when it sent nothing sane. */
static void base_url(const struct request *request, char *out, size_t size)
{
    const struct api *api = request->api;
    const char *host = request_header(request, "Host");
    if (api->options.public_url) {
        snprintf(out, size, "%s", api->options.public_url);
        return;
    }
    size_t len =
        host ? strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]_") : 0;
    const char *scheme = api->tls_key ? "https" : "http";
    if (len > 0 && len < 256 && host[len] == '\0')
        snprintf(out, size, "%s://%s", scheme, host);
    else
        snprintf(out, size, "%s://%s:%u", scheme, api->options.address, api->port);
}

json_t *url_plain(const struct request *request, const char *path)
{
    char base[512];
    base_url(request, base, sizeof(base));
    return json_sprintf("%s%s", base, path);
}

json_t *url_signed(const struct request *request, const char *path)
{
    char base[512], signature[KEYS_SIGNATURE_CHARS + 1];
    int64_t expires = (int64_t)time(NULL) + request->api->options.download_expiry_s;
    base_url(request, base, sizeof(base));
    keys_sign(&request->api->keys, path, expires, signature);
    return json_sprintf("%s%s?expires=%lld&signature=%s", base, path, (long long)expires, signature);
}

bool url_check(struct request *request)
{
    char path[REQUEST_PATH_BYTES_MAX];
    int64_t expires = request_query_integer(request, "expires");
    snprintf(path, sizeof(path), "%s", request->path);
    size_t len = strlen(path);
    if (len > 1 && path[len - 1] == '/')
        path[len - 1] = '\0';
    switch (keys_check(
        &request->api->keys, path, expires, request_query_text(request, "signature"), time(NULL))) {
    case KEYS_GOOD: return true;
    case KEYS_EXPIRED:
        request_answer_detail(request, MHD_HTTP_FORBIDDEN, "the download URL has expired: ask for a new one");
        return false;
    case KEYS_FORGED: break;
    }
    request_answer_detail(request, MHD_HTTP_FORBIDDEN, "the download URL's signature is wrong");
    return false;
}

void url_add_disposition(struct request *request, const char *filename)
{
    char plain[128], encoded[384];
    size_t used = 0, n = 0;
    for (const unsigned char *p = (const unsigned char *)filename; *p && used + 4 < sizeof(encoded); p++) {
        bool simple = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                      strchr("-_.", *p) != NULL;
        if (n + 1 < sizeof(plain))
            plain[n++] = simple ? (char)*p : '_';
        used += (size_t)(simple ? sprintf(encoded + used, "%c", *p) : sprintf(encoded + used, "%%%02X", *p));
    }
    plain[n] = '\0';
    encoded[used] = '\0';
    request_add_header(
        request, "Content-Disposition", "attachment; filename=\"%s\"; filename*=UTF-8''%s", plain, encoded);
}
