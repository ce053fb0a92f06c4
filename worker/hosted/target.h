/* From a model reference to a server, a model's name and a key. Private to the hosted room. */
#ifndef LUMIGRID_WORKER_HOSTED_TARGET_H
#define LUMIGRID_WORKER_HOSTED_TARGET_H

#include "worker/hosted/hosted.h"

enum { TARGET_KEY_BYTES = 8192 };

struct target {
    char *url;   /* of chat completions */
    char *model; /* as the provider names it */
    char *key;   /* NULL: none; wiped when freed */
    bool own;    /* OpenAI's names for settings that others call otherwise */
    bool mistral;
    bool vouched; /* the administrator named the host: it may have a private address */
    bool users;   /* the address was given by a user: no proxy stands between the check and the server */
};

/* Reads the environment (OPENAI_API_BASE, OPENAI_API_KEY, …). ERROR_DENIED: the host may not be called.
 * `allowed_hosts` as in common/outbound.h. Free with target_free in any case. */
bool target_resolve(
    const struct hosted_request *request, const char *allowed_hosts, struct target *out, struct error *err);
void target_free(struct target *target);

#endif
