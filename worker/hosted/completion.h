/* The chat completions API's bodies. Private to the hosted room. */
#ifndef LUMIGRID_WORKER_HOSTED_COMPLETION_H
#define LUMIGRID_WORKER_HOSTED_COMPLETION_H

#include "worker/hosted/target.h"

/* The request's body; NULL: a setting that a hosted model does not take. `new_tokens_max` is what it asks
 * for, for the rate limit's estimate. The caller frees. */
char *completion_request(const struct target *target, const struct hosted_request *request,
    uint32_t *new_tokens_max, struct error *err);

/* Reads an answer's body. ERROR_UNAVAILABLE: it is no completion. The answer's strings live in `root`, which
 * the caller frees in any case. */
bool completion_parse(
    const char *body, size_t size, json_t **root, struct hosted_answer *out, struct error *err);

#endif
