#include "worker/hosted/target.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/alloc.h"
#include "common/outbound.h"

static const struct provider_kind {
    const char *provider, *scheme, *base, *base_variable, *key_variable;
} KINDS[] = {
    {"openai", "oai", "https://api.openai.com/v1", "OPENAI_API_BASE", "OPENAI_API_KEY"},
    {"mistral", "mistral", "https://api.mistral.ai/v1", "MISTRAL_API_BASE", "MISTRAL_API_KEY"},
    {"deepseek", NULL, "https://api.deepseek.com/v1", "DEEPSEEK_API_BASE", "DEEPSEEK_API_KEY"},
};

static bool has_scheme(const char *reference, const char *scheme)
{
    size_t len = strlen(scheme);
    return strncmp(reference, scheme, len) == 0 && strncmp(reference + len, "://", 3) == 0;
}

bool hosted_scheme(const char *reference)
{
    return has_scheme(reference, "oai") || has_scheme(reference, "mistral") ||
           has_scheme(reference, "http") || has_scheme(reference, "https");
}

static const struct provider_kind *kind_of(const struct hosted_request *request)
{
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++)
        if (request->provider && strcmp(KINDS[i].provider, request->provider) == 0)
            return &KINDS[i];
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++)
        if (KINDS[i].scheme && has_scheme(request->reference, KINDS[i].scheme) &&
            (!request->provider || strcmp(request->provider, "hosted_vllm") != 0))
            return &KINDS[i];
    return NULL;
}

/* Where chat completions are: a server alone serves them under /v1. */
static char *completions_url(const char *base)
{
    static const char END[] = "/chat/completions";
    size_t len = strcspn(base, "?#");
    while (len > 0 && base[len - 1] == '/')
        len--;
    if (len >= sizeof(END) - 1 && strncmp(base + len - (sizeof(END) - 1), END, sizeof(END) - 1) == 0)
        return alloc_format("%.*s", (int)len, base);
    const char *host = strstr(base, "://");
    const char *path = host ? memchr(host + 3, '/', len - (size_t)(host + 3 - base)) : NULL;
    return alloc_format("%.*s%s%s", (int)len, base, path ? "" : "/v1", END);
}

/* The name that a reference gives: after "://", or after '#' where that is an address. */
static char *model_name(const char *reference)
{
    const char *rest = strstr(reference, "://");
    if (has_scheme(reference, "http") || has_scheme(reference, "https")) {
        const char *name = strchr(reference, '#');
        return alloc_string(name && name[1] ? name + 1 : "default");
    }
    return alloc_string(rest ? rest + 3 : reference);
}

/* Nothing in a key may begin another header. */
static bool take_key(const char *key, struct target *out, struct error *err)
{
    size_t len = strlen(key);
    while (len > 0 && strchr(" \t\r\n", key[len - 1]))
        len--;
    if (len == 0)
        return true;
    for (size_t i = 0; i < len; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return error_set(
                err, ERROR_INVALID, "the key for %.200s has characters that no key has", out->url);
    if (len > TARGET_KEY_BYTES)
        return error_set(err, ERROR_TOO_LARGE, "the key for %.200s is too long", out->url);
    out->key = alloc_copy(key, len);
    return true;
}

bool target_resolve(
    const struct hosted_request *request, const char *allowed_hosts, struct target *out, struct error *err)
{
    const struct provider_kind *kind = kind_of(request);
    const char *base = request->base_url && *request->base_url ? request->base_url : NULL;
    const char *own = kind ? getenv(kind->base_variable) : NULL, *key = request->key;
    memset(out, 0, sizeof(*out));
    if (kind && (!own || !*own))
        own = kind->base;
    if (!base && !own && hosted_scheme(request->reference))
        base = request->reference;
    out->users = base && !(own && strcmp(base, own) == 0);
    if (!base)
        base = own;
    if (!base)
        return error_set(
            err, ERROR_INVALID, "%.200s needs a base_url: the server that hosts it", request->reference);
    if (!out->users)
        out->vouched = true; /* the provider's own address, or the administrator's choice */
    else if (!outbound_url_allowed(base, allowed_hosts, &out->vouched, err))
        return false;
    out->url = completions_url(base);
    out->model = model_name(request->reference);
    out->own = kind == &KINDS[0] && !out->users;
    out->mistral = kind == &KINDS[1];
    /* The worker's own key is for the provider, not for an address that a user names. */
    if ((!key || !*key) && kind && !out->users)
        key = getenv(kind->key_variable);
    return !key || take_key(key, out, err);
}

void target_free(struct target *target)
{
    if (target->key)
        sodium_memzero(target->key, strlen(target->key));
    free(target->key);
    free(target->url);
    free(target->model);
    memset(target, 0, sizeof(*target));
}
