/* What a try's end means: an answer, another try, or an error. Pure functions. Private to the hosted room. */
#ifndef LUMIGRID_WORKER_HOSTED_VERDICT_H
#define LUMIGRID_WORKER_HOSTED_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* What headers said; -1: nothing. */
struct limits {
    double retry_after_s;
    double requests_limit, requests_remaining, requests_reset_s;
    double tokens_limit, tokens_remaining, tokens_reset_s;
};
void limits_clear(struct limits *limits);
/* One header line, not terminated. */
void limits_read(struct limits *limits, const char *line, size_t len);

enum verdict {
    VERDICT_DONE,    /* 2xx: the body tells the rest */
    VERDICT_AGAIN,   /* may succeed later: counts as a try */
    VERDICT_LIMITED, /* 429: the provider wants fewer requests */
    VERDICT_FAILED,  /* err says why */
};

/* `key` is taken out of what the provider says. err is set unless DONE. */
enum verdict verdict_of(long status, const char *url, const char *model, const char *body, size_t size,
    const char *key, struct error *err);

#endif
