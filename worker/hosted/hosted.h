/* Models that others host: chat completions of OpenAI, Mistral, DeepSeek and of any server that speaks the
 * same (vLLM, llamafile, llama.cpp).
 *
 * One client serves a whole process. It owns a thread on which any number of requests are in flight at once;
 * each provider (a server and a key) has its own limits: how many requests at once, and what the provider's
 * rate-limit headers leave. What may succeed later (408, 409, 429, 5xx, a lost connection, an answer that is
 * none) is tried again. Keys live in memory only, and never enter a message. */
#ifndef LUMIGRID_WORKER_HOSTED_HOSTED_H
#define LUMIGRID_WORKER_HOSTED_HOSTED_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct hosted;

/* Zero or NULL means the default named here. Strings are borrowed. */
struct hosted_options {
    const char *allowed_hosts;    /* OUTBOUND_HOSTS_DEFAULT: what users' URLs may name (common/outbound.h) */
    const char *prices_file;      /* NULL: the built-in table */
    uint32_t concurrency;         /* requests in flight to one provider; 16 */
    uint32_t requests_per_minute; /* to one provider, whatever its headers allow; 0: no limit of ours */
    uint32_t timeout_s;           /* of one try; 120 */
};

struct hosted_answer {
    const char *text; /* UTF-8; lives until the callback returns */
    size_t text_len;
    uint32_t prompt_tokens, new_tokens; /* as the provider counts; 0: it does not say */
    double seconds;                     /* of the try that succeeded */
    double price_usd;                   /* -1: the table has no price for this model */
    const char *finish_reason;          /* "stop", "length", … */
};

/* One prompt. Everything is copied or borrowed for the length of hosted_submit() only. */
struct hosted_request {
    const char *reference; /* oai://NAME, mistral://NAME, http(s)://SERVER[/PATH][#NAME]; another: its part
                              after "://" is the name, and base_url says where */
    const char *provider;  /* "openai", "mistral", "deepseek", "hosted_vllm"; NULL: the scheme says */
    const char *base_url;  /* NULL: the provider's own */
    const char *key;       /* NULL or "": the environment's, which goes to the provider's own address only */
    const char *system_prompt; /* NULL: none */
    const char *text;          /* the user's message */
    size_t text_len;
    const json_t *generation; /* settings by their transformers names, or NULL: max_new_tokens, temperature,
                                 top_p, frequency_penalty, presence_penalty, stop_strings */
    uint64_t seed;            /* 0: none */
    uint32_t max_retries;
    /* Once, on the client's thread: an answer, or why there is none (the other is NULL). DENIED, NOT_FOUND
     * and UNSUPPORTED hold for every prompt to this model; others for this one. */
    void (*on_done)(void *context, const struct hosted_answer *answer, const struct error *error);
    void *context;
    const void *owner; /* for hosted_cancel */
};

bool hosted_open(const struct hosted_options *options, struct hosted **out, struct error *err);
void hosted_close(struct hosted *hosted); /* without requests; NULL is fine */

/* Any thread. False: the request is wrong or not allowed (on_done is not called then). */
bool hosted_submit(struct hosted *hosted, const struct hosted_request *request, struct error *err);

/* Drops every request of the owner: when this returns, no on_done of them is running or will be called. Any
 * thread but the client's own. */
void hosted_cancel(struct hosted *hosted, const void *owner);

/* Whether references of this scheme are run here, whatever the settings: "oai", "mistral", "http", "https".
 */
bool hosted_scheme(const char *reference);

#endif
