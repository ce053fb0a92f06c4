#include "worker/hosted/verdict.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/alloc.h"
#include "common/text.h"
#include "worker/hosted/bucket.h"

void limits_clear(struct limits *limits)
{
    *limits = (struct limits){-1, -1, -1, -1, -1, -1, -1};
}

static double seconds_until(const char *value)
{
    double seconds = bucket_parse_duration(value);
    time_t when = seconds < 0 ? curl_getdate(value, NULL) : -1;
    return seconds >= 0 ? seconds : when >= 0 ? (double)(when - time(NULL)) : -1;
}

void limits_read(struct limits *limits, const char *line, size_t len)
{
    const struct {
        const char *name;
        double *to, unit;
    } HEADERS[] = {
        {"retry-after", &limits->retry_after_s, 1},
        {"retry-after-ms", &limits->retry_after_s, 1e-3},
        {"x-ratelimit-limit-requests", &limits->requests_limit, 1},
        {"x-ratelimit-remaining-requests", &limits->requests_remaining, 1},
        {"x-ratelimit-reset-requests", &limits->requests_reset_s, 1},
        {"x-ratelimit-limit-tokens", &limits->tokens_limit, 1},
        {"x-ratelimit-remaining-tokens", &limits->tokens_remaining, 1},
        {"x-ratelimit-reset-tokens", &limits->tokens_reset_s, 1},
    };
    char text[256];
    const char *colon = memchr(line, ':', len);
    if (!colon || len >= sizeof(text))
        return;
    memcpy(text, line, len);
    text[len] = '\0';
    char *value = text + (colon - line);
    *value++ = '\0';
    value += strspn(value, " \t");
    value[strcspn(value, "\r\n")] = '\0';
    for (size_t i = 0; i < sizeof(HEADERS) / sizeof(HEADERS[0]); i++)
        if (strcasecmp(text, HEADERS[i].name) == 0)
            *HEADERS[i].to = seconds_until(value) * HEADERS[i].unit;
}

/* The provider's words, on one line, without the key. */
static void reason_of(
    const char *body, size_t size, const char *key, char *out, size_t out_size, char *code, size_t code_size)
{
    json_t *root = json_loadb(body ? body : "", size, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *text = json_string_value(json_object_get(error, "message"));
    const char *names[] = {"message", "detail"};
    for (size_t i = 0; !text && i < 2; i++)
        text = json_string_value(json_object_get(root, names[i]));
    if (!text)
        text = json_string_value(error);
    const char *kind = json_string_value(json_object_get(error, "code"));
    snprintf(code, code_size, "%s", kind ? kind : "");
    char *plain = alloc_string(text ? text : "");
    json_decref(root);
    for (char *at; key && *key && (at = strstr(plain, key));)
        memset(at, '*', strlen(key));
    snprintf(out, out_size, "%s", plain);
    free(plain);
    size_t len = strlen(out);
    while (len > 0 && !text_valid(out, len))
        out[--len] = '\0'; /* a character that was cut */
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7F)
            *p = ' ';
}

enum verdict verdict_of(long status, const char *url, const char *model, const char *body, size_t size,
    const char *key, struct error *err)
{
    char reason[240], code[64];
    if (status >= 200 && status < 300)
        return VERDICT_DONE;
    reason_of(body, size, key, reason, sizeof(reason), code, sizeof(code));
    const char *colon = reason[0] ? ": " : "";
    if (status == 401 || status == 403) {
        error_set(err, ERROR_DENIED, "%.100s refuses the key%s%s", url, colon, reason);
        error_hint(err, "name a secret in secret_key_name (lumigrid secret set), or set the worker's "
                        "environment, such as OPENAI_API_KEY");
        return VERDICT_FAILED;
    }
    if (status == 404) {
        error_set(err, ERROR_NOT_FOUND, "%.100s has no model \"%.60s\"%s%s", url, model, colon, reason);
        return VERDICT_FAILED;
    }
    if (status == 402 || (status == 429 && strcmp(code, "insufficient_quota") == 0)) {
        error_set(err, ERROR_DENIED, "%.100s: the account's credit is used up%s%s", url, colon, reason);
        return VERDICT_FAILED;
    }
    if (status >= 300 && status < 400) {
        error_set(err, ERROR_INVALID, "%.100s answers with a redirection, which is not followed", url);
        error_hint(err, "give the address that it leads to");
        return VERDICT_FAILED;
    }
    bool again = status == 408 || status == 409 || status == 429 || status >= 500;
    error_set(
        err, again ? ERROR_UNAVAILABLE : ERROR_INVALID, "%.100s answers %ld%s%s", url, status, colon, reason);
    return !again ? VERDICT_FAILED : status == 429 ? VERDICT_LIMITED : VERDICT_AGAIN;
}
