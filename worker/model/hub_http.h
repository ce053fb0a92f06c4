/* Small requests to the hub (the file list, a file's headers), and what its answers mean. */
#ifndef LUMIGRID_WORKER_MODEL_HUB_HTTP_H
#define LUMIGRID_WORKER_MODEL_HUB_HTTP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/model/hub_cache.h"

/* One session fetches one model, on one thread. */
struct hub_session {
    char *endpoint;   /* HF_ENDPOINT or the public hub; no slash at the end */
    char *repository; /* for messages and URLs */
    struct curl_slist *headers;
    bool has_token;
};

bool hub_session_open(struct hub_session *session, const char *repository, struct error *err);
void hub_session_close(struct hub_session *session);

/* What the hub says about a file without sending it. */
struct hub_head {
    char commit[HUB_COMMIT_BYTES]; /* empty: not said */
    char etag[HUB_ETAG_BYTES];
    uint64_t size_bytes;
};

/* The headers of an answer that matter here; filled by hub_read_header. */
struct hub_answer {
    long status;
    struct hub_head head;
    bool has_etag, has_size;
    bool is_linked; /* etag and size are those of the LFS object behind a redirect */
    char location[2048];
    char error_code[64]; /* X-Error-Code: "GatedRepo", "RepoNotFound", … */
    unsigned retry_after_s;
    bool has_range_start;
    uint64_t range_start_bytes; /* of Content-Range */
};

/* GETs endpoint + path, at most `bytes_max`, with retries. *body is malloc'd and zero-terminated. */
bool hub_get(struct hub_session *session, const char *path, size_t bytes_max, char **body, size_t *len,
    struct error *err);

/* HEADs endpoint + path, following redirects on the same host only (a redirect elsewhere is where an LFS
 * object lies, and its headers stand in the first answer). */
bool hub_head(struct hub_session *session, const char *path, struct hub_head *out, struct error *err);

/* "/<repository>/resolve/<commit>/<file>", percent-encoded; malloc'd. */
char *hub_file_path(
    const struct hub_session *session, const char *commit, const char *file, struct error *err);

/* Percent-encodes everything but unreserved characters (and '/' when `keep_slashes`); malloc'd. */
char *hub_encode(const char *text, bool keep_slashes, struct error *err);

/* Settings that every request shares: headers, protocols, time limits, redirects. */
void hub_prepare(const struct hub_session *session, CURL *curl);

/* CURLOPT_HEADERFUNCTION; `answer` is a struct hub_answer, reset at every status line. */
size_t hub_read_header(char *line, size_t size, size_t count, void *answer);

/* Whether trying again may help: 408, 429 and 5xx; connections that failed or broke off. */
bool hub_status_is_transient(long status);
bool hub_curl_is_transient(CURLcode code);

/* Sets the error of an answer with a status of 300 or more, or of a transfer that failed. Return false. */
bool hub_status_error(
    const struct hub_session *session, const struct hub_answer *answer, const char *what, struct error *err);
bool hub_curl_error(const struct hub_session *session, CURLcode code, const char *detail, const char *what,
    struct error *err);

/* Milliseconds to wait before attempt `attempt` (1 is the first retry): doubling, with jitter, at least what
 * the answer's Retry-After asks for within reason. */
unsigned hub_retry_delay_ms(unsigned attempt, const struct hub_answer *answer);

enum { HUB_ATTEMPTS_MAX = 5 };

#endif
