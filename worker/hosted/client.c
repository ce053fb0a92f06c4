/* The client's thread: what is asked for waits at its provider until the limits leave room, flies, and ends
 * or waits again. */
#include <curl/curl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/outbound.h"
#include "worker/hosted/bucket.h"
#include "worker/hosted/completion.h"
#include "worker/hosted/hosted.h"
#include "worker/hosted/prices.h"
#include "worker/hosted/target.h"
#include "worker/hosted/verdict.h"

enum {
    CONCURRENCY = 16,
    TIMEOUT_S = 120,
    CONNECT_TIMEOUT_S = 15,
    ANSWER_BYTES_MAX = 8 << 20,
    RETRY_FIRST_MS = 500,
    RETRY_MAX_MS = 8000,
    LIMITED_MAX_S = 600, /* how long one prompt is held up by rate limits */
    POLL_MAX_MS = 60000,
    BYTES_PER_TOKEN = 4, /* an estimate, for token limits */
    PROVIDER_KEY_BYTES = 32,
};

struct call {
    struct call *next;
    struct provider *provider;
    const void *owner;
    struct target target;
    char *body;
    double tokens; /* estimate of what it costs */
    uint32_t max_retries, tries;
    uint64_t asked_ns, due_ns, started_ns;
    CURL *easy; /* while it flies */
    struct curl_slist *headers;
    char *answer;
    size_t answer_size;
    bool too_large, blocked;
    struct limits limits;
    char reason[CURL_ERROR_SIZE];
    void (*on_done)(void *context, const struct hosted_answer *answer, const struct error *error);
    void *context;
};

/* A server and a key: what limits hold for. */
struct provider {
    struct provider *next;
    unsigned char key[PROVIDER_KEY_BYTES]; /* a digest */
    struct call *first, **last;            /* waiting, oldest first */
    double room; /* requests at once: shrinks when the provider refuses, grows back */
    uint32_t flying;
    uint64_t not_before_ns;
    struct bucket own, requests, tokens;
};

struct cancel_order {
    struct cancel_order *next;
    const void *owner;
    bool done;
};

struct hosted {
    struct hosted_options options;
    json_t *prices;
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t lock; /* guards up to `stop` */
    pthread_cond_t cancelled;
    struct call *inbox, **inbox_last;
    struct cancel_order *cancellations;
    bool stop;
    struct provider *providers; /* the thread's own, from here */
    struct call *flying;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- one try ---- */

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct call *call = context;
    size_t len = size * count;
    if (len > ANSWER_BYTES_MAX - call->answer_size) {
        call->too_large = true;
        return 0;
    }
    call->answer = alloc_resize(call->answer, call->answer_size + len + 1, 1);
    memcpy(call->answer + call->answer_size, data, len);
    call->answer_size += len;
    return len;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    limits_read(&((struct call *)context)->limits, data, size * count);
    return size * count;
}

/* The address is judged here, after the name was resolved: a name cannot promise one and mean another. */
static curl_socket_t on_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct call *call = context;
    (void)purpose;
    if (!call->target.vouched && !outbound_address_public(&address->addr)) {
        call->blocked = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static struct curl_slist *headers_of(const struct target *target)
{
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    list = curl_slist_append(list, "Accept: application/json");
    list = curl_slist_append(list, "Expect:");
    if (target->key) {
        char *line = alloc_format("Authorization: Bearer %s", target->key);
        list = curl_slist_append(list, line);
        sodium_memzero(line, strlen(line));
        free(line);
    }
    return list;
}

static void start(struct hosted *hosted, struct call *call, uint64_t now)
{
    CURL *easy = curl_easy_init();
    call->easy = easy;
    call->headers = headers_of(&call->target);
    call->answer_size = 0;
    call->reason[0] = '\0';
    call->started_ns = now;
    limits_clear(&call->limits);
    curl_easy_setopt(easy, CURLOPT_URL, call->target.url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "lumigrid/" LUMIGRID_VERSION);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->body));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->reason);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, (long)hosted->options.timeout_s);
    if (call->target.users) {
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket);
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    }
    call->provider->flying++;
    call->next = hosted->flying;
    hosted->flying = call;
    curl_multi_add_handle(hosted->multi, easy);
}

static void land(struct hosted *hosted, struct call *call)
{
    struct call **link = &hosted->flying;
    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    call->provider->flying--;
    curl_multi_remove_handle(hosted->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    call->easy = NULL;
    call->headers = NULL;
}

static void call_free(struct call *call)
{
    target_free(&call->target);
    free(call->body);
    free(call->answer);
    free(call);
}

/* ---- waiting ---- */

static struct provider *provider_of(struct hosted *hosted, const struct target *target)
{
    unsigned char key[PROVIDER_KEY_BYTES];
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, sizeof(key));
    crypto_generichash_update(&state, (const unsigned char *)target->url, strlen(target->url) + 1);
    if (target->key)
        crypto_generichash_update(&state, (const unsigned char *)target->key, strlen(target->key));
    crypto_generichash_final(&state, key, sizeof(key));
    for (struct provider *p = hosted->providers; p; p = p->next)
        if (sodium_memcmp(p->key, key, sizeof(key)) == 0)
            return p;
    struct provider *provider = alloc_zero(1, sizeof(*provider));
    memcpy(provider->key, key, sizeof(key));
    provider->last = &provider->first;
    provider->room = hosted->options.concurrency;
    if (hosted->options.requests_per_minute)
        bucket_limit(&provider->own, hosted->options.requests_per_minute, now_ns());
    provider->next = hosted->providers;
    hosted->providers = provider;
    return provider;
}

static void wait_again(struct call *call, uint64_t due_ns)
{
    call->due_ns = due_ns;
    call->next = NULL;
    *call->provider->last = call;
    call->provider->last = &call->next;
}

/* The oldest call that is due, taken out; NULL: none, and when the next one will be. */
static struct call *take_due(struct provider *provider, uint64_t now, uint64_t *next_ns)
{
    for (struct call **link = &provider->first; *link; link = &(*link)->next) {
        struct call *call = *link;
        if (call->due_ns > now) {
            if (call->due_ns < *next_ns)
                *next_ns = call->due_ns;
            continue;
        }
        *link = call->next;
        if (!*link)
            provider->last = link;
        return call;
    }
    return NULL;
}

static void put_first(struct provider *provider, struct call *call)
{
    call->next = provider->first;
    if (!provider->first)
        provider->last = &call->next;
    provider->first = call;
}

static uint64_t limits_wait_ns(struct provider *provider, const struct call *call, uint64_t now)
{
    uint64_t own = bucket_wait_ns(&provider->own, 1, now),
             requests = bucket_wait_ns(&provider->requests, 1, now);
    uint64_t tokens = bucket_wait_ns(&provider->tokens, call->tokens, now);
    uint64_t longest = own > requests ? own : requests;
    return longest > tokens ? longest : tokens;
}

static void earlier(uint64_t *next_ns, uint64_t at_ns)
{
    if (at_ns < *next_ns)
        *next_ns = at_ns;
}

/* Starts what may start at this provider; lowers `next_ns` to when there may be more. */
static void start_due(struct hosted *hosted, struct provider *provider, uint64_t now, uint64_t *next_ns)
{
    while (provider->first && provider->flying < (provider->room < 1 ? 1 : (uint32_t)provider->room)) {
        if (provider->not_before_ns > now) {
            earlier(next_ns, provider->not_before_ns);
            return;
        }
        struct call *call = take_due(provider, now, next_ns);
        if (!call)
            return;
        uint64_t wait_ns = limits_wait_ns(provider, call, now);
        if (wait_ns) {
            put_first(provider, call);
            earlier(next_ns, now + wait_ns);
            return;
        }
        bucket_take(&provider->own, 1);
        bucket_take(&provider->requests, 1);
        bucket_take(&provider->tokens, call->tokens);
        start(hosted, call, now);
    }
}

/* ---- ends ---- */

static void give_up(struct call *call, const struct error *error)
{
    call->on_done(call->context, NULL, error);
    call_free(call);
}

/* Between half of the time and all of it, so that calls that failed together do not come back together. */
static uint64_t jittered_ns(double ms)
{
    return (uint64_t)(ms * 1e6 * (0.5 + randombytes_uniform(1000) / 2000.0));
}

static void try_again(struct call *call, enum verdict verdict, const struct error *why, uint64_t now)
{
    struct provider *provider = call->provider;
    double ms = RETRY_FIRST_MS * (double)(1u << (call->tries < 5 ? call->tries : 5));
    uint64_t due_ns = now + jittered_ns(ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS);
    if (call->limits.retry_after_s > 0) {
        uint64_t asked_ns =
            now + (uint64_t)((call->limits.retry_after_s < 86400 ? call->limits.retry_after_s : 86400) * 1e9);
        due_ns = due_ns > asked_ns ? due_ns : asked_ns;
        if (provider->not_before_ns < asked_ns)
            provider->not_before_ns = asked_ns;
    }
    if (verdict == VERDICT_LIMITED)
        provider->room = provider->room > 2 ? provider->room / 2 : 1;
    else
        call->tries++;
    bool late = due_ns - call->asked_ns > (uint64_t)LIMITED_MAX_S * 1000000000u;
    if (call->tries > call->max_retries || (verdict == VERDICT_LIMITED && (late || call->max_retries == 0))) {
        struct error error = *why;
        if (call->max_retries)
            error_context(&error, "after %u tries: ", call->tries > 1 ? call->tries : 1);
        give_up(call, &error);
        return;
    }
    log_debug("a hosted model is asked again", "reason", why->message, "tries", LOG_INT(call->tries));
    wait_again(call, due_ns);
}

static void answer(struct hosted *hosted, struct call *call, uint64_t now)
{
    struct hosted_answer out = {0};
    struct error err;
    json_t *root = NULL;
    if (completion_parse(call->answer, call->answer_size, &root, &out, &err)) {
        out.seconds = (double)(now - call->started_ns) / 1e9;
        out.price_usd = prices_of(hosted->prices, call->target.model, out.prompt_tokens, out.new_tokens);
        if (call->provider->room < hosted->options.concurrency)
            call->provider->room += 1 / call->provider->room;
        call->on_done(call->context, &out, NULL);
        call_free(call);
    } else if (err.code == ERROR_UNAVAILABLE) {
        error_context(&err, "%.100s: ", call->target.url);
        try_again(call, VERDICT_AGAIN, &err, now);
    } else {
        give_up(call, &err);
    }
    json_decref(root);
}

/* What the headers leave, less what is on its way. */
static void hear_limits(struct provider *provider, const struct limits *limits, uint64_t now)
{
    bucket_heard(&provider->requests, limits->requests_limit, limits->requests_remaining,
        limits->requests_reset_s, provider->flying, now);
    bucket_heard(
        &provider->tokens, limits->tokens_limit, limits->tokens_remaining, limits->tokens_reset_s, 0, now);
}

static void ended(struct hosted *hosted, CURL *easy, CURLcode code)
{
    struct call *call = NULL;
    struct error err = {0};
    long status = 0;
    uint64_t now = now_ns();
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    land(hosted, call);
    hear_limits(call->provider, &call->limits, now);
    if (call->blocked) {
        error_set(&err, ERROR_DENIED, "%.200s leads to a private address", call->target.url);
        error_hint(&err, "an administrator can allow the host by its name (option outbound-hosts)");
        give_up(call, &err);
    } else if (call->too_large) {
        error_set(&err, ERROR_INVALID, "%.200s answers with more than %d bytes", call->target.url,
            ANSWER_BYTES_MAX);
        give_up(call, &err);
    } else if (code != CURLE_OK) {
        error_set(&err, ERROR_UNAVAILABLE, "%.200s: %.200s", call->target.url,
            call->reason[0] ? call->reason : curl_easy_strerror(code));
        try_again(call, VERDICT_AGAIN, &err, now);
    } else {
        enum verdict verdict = verdict_of(status, call->target.url, call->target.model, call->answer,
            call->answer_size, call->target.key, &err);
        if (verdict == VERDICT_DONE)
            answer(hosted, call, now);
        else if (verdict == VERDICT_FAILED)
            give_up(call, &err);
        else
            try_again(call, verdict, &err, now);
    }
}

/* ---- the thread ---- */

static void drop_calls(struct hosted *hosted, const void *owner, bool all)
{
    for (struct call *call = hosted->flying, *next; call; call = next) {
        next = call->next;
        if (!all && call->owner != owner)
            continue;
        land(hosted, call);
        call_free(call);
    }
    for (struct provider *p = hosted->providers; p; p = p->next) {
        struct call *call = p->first, *next;
        p->first = NULL;
        p->last = &p->first;
        for (; call; call = next) {
            next = call->next;
            if (all || call->owner == owner)
                call_free(call);
            else
                wait_again(call, call->due_ns);
        }
    }
}

/* False: the thread is to end. */
static bool take_orders(struct hosted *hosted)
{
    pthread_mutex_lock(&hosted->lock);
    struct call *arrived = hosted->inbox;
    hosted->inbox = NULL;
    hosted->inbox_last = &hosted->inbox;
    while (arrived) {
        struct call *call = arrived;
        arrived = call->next;
        call->provider = provider_of(hosted, &call->target);
        wait_again(call, 0);
    }
    for (; hosted->cancellations; hosted->cancellations = hosted->cancellations->next) {
        drop_calls(hosted, hosted->cancellations->owner, false);
        hosted->cancellations->done = true;
    }
    pthread_cond_broadcast(&hosted->cancelled);
    bool stop = hosted->stop;
    pthread_mutex_unlock(&hosted->lock);
    return !stop;
}

static void *run(void *argument)
{
    struct hosted *hosted = argument;
    while (take_orders(hosted)) {
        int running = 0, left = 0;
        uint64_t now = now_ns(), next_ns = now + (uint64_t)POLL_MAX_MS * 1000000;
        for (struct provider *p = hosted->providers; p; p = p->next)
            start_due(hosted, p, now, &next_ns);
        curl_multi_perform(hosted->multi, &running);
        bool any = false;
        for (CURLMsg *message; (message = curl_multi_info_read(hosted->multi, &left));) {
            if (message->msg != CURLMSG_DONE)
                continue;
            ended(hosted, message->easy_handle, message->data.result);
            any = true;
        }
        if (!any)
            curl_multi_poll(hosted->multi, NULL, 0, (int)((next_ns - now) / 1000000) + 1, NULL);
    }
    drop_calls(hosted, NULL, true);
    return NULL;
}

bool hosted_open(const struct hosted_options *options, struct hosted **out, struct error *err)
{
    struct hosted *hosted = alloc_zero(1, sizeof(*hosted));
    hosted->options = *options;
    if (!hosted->options.allowed_hosts)
        hosted->options.allowed_hosts = OUTBOUND_HOSTS_DEFAULT;
    if (!hosted->options.concurrency)
        hosted->options.concurrency = CONCURRENCY;
    if (!hosted->options.timeout_s)
        hosted->options.timeout_s = TIMEOUT_S;
    hosted->inbox_last = &hosted->inbox;
    pthread_mutex_init(&hosted->lock, NULL);
    pthread_cond_init(&hosted->cancelled, NULL);
    hosted->prices = prices_open(options->prices_file, err);
    if (!hosted->prices)
        goto failed;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 || sodium_init() < 0 ||
        !(hosted->multi = curl_multi_init())) {
        error_set(err, ERROR_INTERNAL, "libcurl or libsodium does not start");
        goto failed;
    }
    int status = pthread_create(&hosted->thread, NULL, run, hosted);
    if (status != 0) {
        error_set(err, ERROR_MEMORY, "starting the thread for hosted models: %s", strerror(status));
        goto failed;
    }
    *out = hosted;
    return true;
failed:
    json_decref(hosted->prices);
    curl_multi_cleanup(hosted->multi);
    pthread_cond_destroy(&hosted->cancelled);
    pthread_mutex_destroy(&hosted->lock);
    free(hosted);
    return false;
}

bool hosted_submit(struct hosted *hosted, const struct hosted_request *request, struct error *err)
{
    struct call *call = alloc_zero(1, sizeof(*call));
    uint32_t new_tokens = 0;
    if (!target_resolve(request, hosted->options.allowed_hosts, &call->target, err) ||
        !(call->body = completion_request(&call->target, request, &new_tokens, err))) {
        call_free(call);
        return false;
    }
    call->owner = request->owner;
    call->max_retries = request->max_retries;
    call->tokens = (double)strlen(call->body) / BYTES_PER_TOKEN + new_tokens;
    call->on_done = request->on_done;
    call->context = request->context;
    call->asked_ns = now_ns();
    pthread_mutex_lock(&hosted->lock);
    *hosted->inbox_last = call;
    hosted->inbox_last = &call->next;
    pthread_mutex_unlock(&hosted->lock);
    curl_multi_wakeup(hosted->multi);
    return true;
}

void hosted_cancel(struct hosted *hosted, const void *owner)
{
    struct cancel_order order = {.owner = owner};
    pthread_mutex_lock(&hosted->lock);
    order.next = hosted->cancellations;
    hosted->cancellations = &order;
    curl_multi_wakeup(hosted->multi);
    while (!order.done)
        pthread_cond_wait(&hosted->cancelled, &hosted->lock);
    pthread_mutex_unlock(&hosted->lock);
}

void hosted_close(struct hosted *hosted)
{
    if (!hosted)
        return;
    pthread_mutex_lock(&hosted->lock);
    hosted->stop = true;
    pthread_mutex_unlock(&hosted->lock);
    curl_multi_wakeup(hosted->multi);
    pthread_join(hosted->thread, NULL);
    while (hosted->providers) {
        struct provider *gone = hosted->providers;
        hosted->providers = gone->next;
        free(gone);
    }
    json_decref(hosted->prices);
    curl_multi_cleanup(hosted->multi);
    pthread_cond_destroy(&hosted->cancelled);
    pthread_mutex_destroy(&hosted->lock);
    free(hosted);
}
