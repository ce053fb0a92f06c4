#include "worker/model/hub_http.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    CONNECT_TIMEOUT_S = 15,
    STALL_TIMEOUT_S = 30,
    REDIRECTS_MAX = 5,
    RETRY_FIRST_MS = 250,
    RETRY_AFTER_MAX_S = 60,
    TOKEN_BYTES_MAX = 512,
};

static char *copy_text(const char *text, struct error *err)
{
    char *copy = strdup(text);
    if (copy == NULL)
        error_set(err, ERROR_MEMORY, "no memory for a request to the hub");
    return copy;
}

/* HF_TOKEN, else the file that `huggingface-cli login` writes. */
static bool read_token(char token[TOKEN_BYTES_MAX])
{
    const char *value = getenv("HF_TOKEN"), *home = getenv("HF_HOME"), *user = getenv("HOME");
    token[0] = '\0';
    if (value != NULL && *value != '\0') {
        snprintf(token, TOKEN_BYTES_MAX, "%s", value);
    } else {
        char path[1024];
        if (home != NULL && *home != '\0')
            snprintf(path, sizeof path, "%s/token", home);
        else
            snprintf(path, sizeof path, "%s/.cache/huggingface/token", user != NULL ? user : "");
        FILE *file = fopen(path, "re");
        if (file == NULL)
            return false;
        if (fgets(token, TOKEN_BYTES_MAX, file) == NULL)
            token[0] = '\0';
        fclose(file);
    }
    token[strcspn(token, "\r\n \t")] = '\0'; /* nothing that could start another header */
    return token[0] != '\0';
}

static bool add_header(struct hub_session *session, const char *line, struct error *err)
{
    struct curl_slist *longer = curl_slist_append(session->headers, line);
    if (longer == NULL)
        return error_set(err, ERROR_MEMORY, "no memory for a request to the hub");
    session->headers = longer;
    return true;
}

static bool set_endpoint(struct hub_session *session, struct error *err)
{
    const char *value = getenv("HF_ENDPOINT");
    if (value == NULL || *value == '\0')
        value = "https://huggingface.co";
    if (strncmp(value, "http://", 7) != 0 && strncmp(value, "https://", 8) != 0)
        return error_set(err, ERROR_INVALID, "HF_ENDPOINT must begin with http:// or https://");
    session->endpoint = copy_text(value, err);
    if (session->endpoint == NULL)
        return false;
    for (size_t len = strlen(session->endpoint); len > 0 && session->endpoint[len - 1] == '/'; len--)
        session->endpoint[len - 1] = '\0';
    return true;
}

bool hub_session_open(struct hub_session *session, const char *repository, struct error *err)
{
    char token[TOKEN_BYTES_MAX], line[TOKEN_BYTES_MAX + 32];
    memset(session, 0, sizeof *session);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || sodium_init() < 0)
        return error_set(err, ERROR_INTERNAL, "libcurl or libsodium does not start");
    session->repository = copy_text(repository, err);
    bool ok = session->repository != NULL && set_endpoint(session, err) &&
              add_header(session, "User-Agent: lumigrid/" LUMIGRID_VERSION, err);
    if (ok && read_token(token)) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", token);
        ok = add_header(session, line, err);
        session->has_token = true;
        sodium_memzero(token, sizeof token);
        sodium_memzero(line, sizeof line);
    }
    if (!ok)
        hub_session_close(session);
    return ok;
}

void hub_session_close(struct hub_session *session)
{
    free(session->endpoint);
    free(session->repository);
    curl_slist_free_all(session->headers);
    memset(session, 0, sizeof *session);
}

char *hub_encode(const char *text, bool keep_slashes, struct error *err)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = malloc(strlen(text) * 3 + 1), *at = out;
    if (out == NULL) {
        error_set(err, ERROR_MEMORY, "no memory for a request to the hub");
        return NULL;
    }
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (isalnum(*c) || strchr("-._~", *c) != NULL || (keep_slashes && *c == '/')) {
            *at++ = (char)*c;
        } else {
            *at++ = '%';
            *at++ = digits[*c >> 4];
            *at++ = digits[*c & 15];
        }
    }
    *at = '\0';
    return out;
}

char *hub_file_path(
    const struct hub_session *session, const char *commit, const char *file, struct error *err)
{
    char *encoded = hub_encode(file, true, err), *path = NULL;
    if (encoded != NULL && asprintf(&path, "/%s/resolve/%s/%s", session->repository, commit, encoded) < 0) {
        path = NULL;
        error_set(err, ERROR_MEMORY, "no memory for a request to the hub");
    }
    free(encoded);
    return path;
}

/* An ETag without its quotes and weakness mark. */
static void keep_etag(struct hub_answer *answer, const char *value)
{
    if (strncmp(value, "W/", 2) == 0)
        value += 2;
    if (*value == '"')
        value++;
    char etag[HUB_ETAG_BYTES];
    size_t len = strcspn(value, "\"");
    if (len >= sizeof etag)
        return;
    memcpy(etag, value, len);
    etag[len] = '\0';
    if (!hub_is_etag(etag))
        return;
    memcpy(answer->head.etag, etag, len + 1);
    answer->has_etag = true;
}

static bool read_size(const char *text, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || value > INT64_MAX)
        return false;
    *out = value;
    return true;
}

static void keep_header(struct hub_answer *answer, const char *name, const char *value)
{
    if (strcasecmp(name, "x-linked-etag") == 0) {
        answer->is_linked = true;
        keep_etag(answer, value);
    } else if (strcasecmp(name, "etag") == 0 && !answer->is_linked) {
        keep_etag(answer, value);
    } else if (strcasecmp(name, "x-linked-size") == 0) {
        answer->is_linked = true;
        answer->has_size = read_size(value, &answer->head.size_bytes);
    } else if (strcasecmp(name, "content-length") == 0 && !answer->is_linked) {
        answer->has_size = read_size(value, &answer->head.size_bytes);
    } else if (strcasecmp(name, "x-repo-commit") == 0 && hub_is_commit(value)) {
        memcpy(answer->head.commit, value, HUB_COMMIT_BYTES);
    } else if (strcasecmp(name, "location") == 0) {
        snprintf(answer->location, sizeof answer->location, "%s", value);
    } else if (strcasecmp(name, "x-error-code") == 0) {
        snprintf(answer->error_code, sizeof answer->error_code, "%s", value);
    } else if (strcasecmp(name, "retry-after") == 0) {
        uint64_t seconds;
        if (read_size(value, &seconds))
            answer->retry_after_s = seconds < RETRY_AFTER_MAX_S ? (unsigned)seconds : RETRY_AFTER_MAX_S;
    } else if (strcasecmp(name, "content-range") == 0 && strncasecmp(value, "bytes ", 6) == 0) {
        answer->has_range_start = read_size(value + 6, &answer->range_start_bytes);
    }
}

size_t hub_read_header(char *line, size_t size, size_t count, void *context)
{
    struct hub_answer *answer = context;
    size_t len = size * count;
    char text[2304];
    if (len >= 5 && strncmp(line, "HTTP/", 5) == 0) {
        memset(answer, 0, sizeof *answer);
        return len;
    }
    if (len >= sizeof text)
        return len;
    memcpy(text, line, len);
    text[len] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    char *colon = strchr(text, ':');
    if (colon == NULL)
        return len;
    *colon = '\0';
    keep_header(answer, text, colon + 1 + strspn(colon + 1, " \t"));
    return len;
}

void hub_prepare(const struct hub_session *session, CURL *curl)
{
    bool is_secure = strncmp(session->endpoint, "https://", 8) == 0;
    /* libcurl drops the Authorization header when a redirect leaves the host, the port or the scheme. */
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, session->headers);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, is_secure ? "https" : "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, is_secure ? "https" : "http,https");
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, hub_read_header);
}

bool hub_status_is_transient(long status)
{
    return status == 408 || status == 429 || status >= 500;
}

bool hub_curl_is_transient(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR: return true;
    default: return false;
    }
}

static bool gated_error(const struct hub_session *session, struct error *err)
{
    error_set(err, ERROR_DENIED, "hf://%s is gated: the hub does not give it to %s", session->repository,
        session->has_token ? "the account of this token" : "anyone without a token");
    return error_hint(
        err, "accept the licence at %s/%s and set HF_TOKEN", session->endpoint, session->repository);
}

bool hub_status_error(
    const struct hub_session *session, const struct hub_answer *answer, const char *what, struct error *err)
{
    const char *repository = session->repository;
    if (strcmp(answer->error_code, "GatedRepo") == 0)
        return gated_error(session, err);
    if (strcmp(answer->error_code, "RevisionNotFound") == 0)
        return error_set(err, ERROR_NOT_FOUND, "hf://%s has no such revision (%s)", repository, what);
    if (strcmp(answer->error_code, "EntryNotFound") == 0)
        return error_set(err, ERROR_NOT_FOUND, "hf://%s has no file %s", repository, what);
    switch (answer->status) {
    case 401:
        error_set(err, ERROR_DENIED, "the hub refuses hf://%s: it does not exist, or it is private%s",
            repository, session->has_token ? " and the token is not accepted" : "");
        return error_hint(
            err, "check the name; for a private model set HF_TOKEN to a token that may read it");
    case 403:
        if (session->has_token)
            error_set(err, ERROR_DENIED, "the hub does not let this token read hf://%s", repository);
        else
            error_set(
                err, ERROR_DENIED, "the hub does not give hf://%s to anyone without a token", repository);
        return error_hint(err, "accept the licence at %s/%s and set HF_TOKEN", session->endpoint, repository);
    case 404:
        error_set(err, ERROR_NOT_FOUND, "the hub has no hf://%s (%s)", repository, what);
        return error_hint(err, "check the name and the revision at %s", session->endpoint);
    case 429:
        error_set(err, ERROR_UNAVAILABLE, "the hub limits requests (429) for hf://%s", repository);
        return error_hint(err, "try again later; with HF_TOKEN set the limit is higher");
    default:
        return error_set(err, ERROR_UNAVAILABLE, "the hub answers %ld for %s of hf://%s", answer->status,
            what, repository);
    }
}

bool hub_curl_error(
    const struct hub_session *session, CURLcode code, const char *detail, const char *what, struct error *err)
{
    error_set(err, ERROR_UNAVAILABLE, "cannot fetch %s of hf://%s from %s: %s", what, session->repository,
        session->endpoint, detail != NULL && *detail != '\0' ? detail : curl_easy_strerror(code));
    return error_hint(err, "check the network and HF_ENDPOINT; models in the cache open without the hub");
}

unsigned hub_retry_delay_ms(unsigned attempt, const struct hub_answer *answer)
{
    unsigned base = RETRY_FIRST_MS << (attempt < 6 ? attempt - 1 : 5);
    unsigned delay = base / 2 + randombytes_uniform(base / 2 + 1);
    unsigned asked = answer->retry_after_s * 1000;
    return delay > asked ? delay : asked;
}

struct body {
    char *bytes;
    size_t len, bytes_max;
    bool is_over;
};

static size_t write_body(char *data, size_t size, size_t count, void *context)
{
    struct body *body = context;
    size_t len = size * count;
    if (len > body->bytes_max - body->len) {
        body->is_over = true;
        return 0;
    }
    char *grown = realloc(body->bytes, body->len + len + 1);
    if (grown == NULL)
        return 0;
    memcpy(grown + body->len, data, len);
    body->bytes = grown;
    body->len += len;
    grown[body->len] = '\0';
    return len;
}

static void wait_ms(unsigned ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}

/* One request with retries. For a HEAD (`body` NULL) redirects are left to the caller. */
static bool perform(struct hub_session *session, const char *url, const char *what, struct body *body,
    struct hub_answer *answer, struct error *err)
{
    CURL *curl = curl_easy_init();
    char detail[CURL_ERROR_SIZE] = "";
    if (curl == NULL)
        return error_set(err, ERROR_MEMORY, "no memory for a request to the hub");
    hub_prepare(session, curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, body != NULL ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_NOBODY, body != NULL ? 0L : 1L);
    if (body != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, write_body);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    }
    bool ok = false;
    for (unsigned attempt = 1;; attempt++) {
        memset(answer, 0, sizeof *answer);
        if (body != NULL)
            body->len = 0;
        CURLcode code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
        ok = code == CURLE_OK && answer->status < (body != NULL ? 300 : 400);
        bool transient =
            code == CURLE_OK ? hub_status_is_transient(answer->status) : hub_curl_is_transient(code);
        if (ok || !transient || attempt == HUB_ATTEMPTS_MAX) {
            if (!ok && body != NULL && body->is_over)
                error_set(err, ERROR_TOO_LARGE, "the hub's answer for %s of hf://%s is longer than %zu bytes",
                    what, session->repository, body->bytes_max);
            else if (!ok && code != CURLE_OK)
                hub_curl_error(session, code, detail, what, err);
            else if (!ok)
                hub_status_error(session, answer, what, err);
            break;
        }
        wait_ms(hub_retry_delay_ms(attempt, answer));
    }
    curl_easy_cleanup(curl);
    return ok;
}

static char *join_url(const char *endpoint, const char *path, struct error *err)
{
    char *url = NULL;
    if (asprintf(&url, "%s%s", endpoint, path) < 0) {
        error_set(err, ERROR_MEMORY, "no memory for a request to the hub");
        return NULL;
    }
    return url;
}

bool hub_get(struct hub_session *session, const char *path, size_t bytes_max, char **out, size_t *len,
    struct error *err)
{
    struct body body = {.bytes_max = bytes_max};
    struct hub_answer answer;
    char *url = join_url(session->endpoint, path, err);
    bool ok = url != NULL && perform(session, url, "the file list", &body, &answer, err);
    if (ok && body.bytes == NULL)
        ok =
            error_set(err, ERROR_UNAVAILABLE, "the hub's answer about hf://%s is empty", session->repository);
    free(url);
    if (!ok) {
        free(body.bytes);
        return false;
    }
    *out = body.bytes;
    *len = body.len;
    return true;
}

/* The scheme and host of the endpoint, where a path of a redirect belongs. */
static size_t origin_len(const char *endpoint)
{
    const char *host = strstr(endpoint, "://") + 3;
    return (size_t)(host - endpoint) + strcspn(host, "/");
}

bool hub_head(struct hub_session *session, const char *path, struct hub_head *out, struct error *err)
{
    struct hub_answer answer;
    const char *what = strrchr(path, '/') + 1;
    char *url = join_url(session->endpoint, path, err);
    bool ok = url != NULL;
    for (int redirects = 0; ok; redirects++) {
        ok = perform(session, url, what, NULL, &answer, err);
        if (!ok || answer.status < 300 || answer.location[0] != '/' || answer.location[1] == '/')
            break;
        free(url);
        url = NULL;
        if (redirects == REDIRECTS_MAX)
            ok = error_set(err, ERROR_UNAVAILABLE, "the hub redirects %s of hf://%s in circles", what,
                session->repository);
        else if (asprintf(&url, "%.*s%s", (int)origin_len(session->endpoint), session->endpoint,
                     answer.location) < 0)
            ok = error_set(err, ERROR_MEMORY, "no memory for a request to the hub");
    }
    free(url);
    if (!ok)
        return false;
    if (!answer.has_etag || !answer.has_size)
        return error_set(err, ERROR_UNAVAILABLE, "the hub does not say the %s of %s of hf://%s",
            answer.has_etag ? "size" : "ETag", what, session->repository);
    *out = answer.head;
    return true;
}
