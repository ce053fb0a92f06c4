/* A token bucket: what a provider's rate limit leaves, by its own headers. Pure logic over a clock. Private
 * to the hosted room. */
#ifndef LUMIGRID_WORKER_HOSTED_BUCKET_H
#define LUMIGRID_WORKER_HOSTED_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    bool known; /* false: no limit has been heard of */
    double capacity, level, per_s;
    uint64_t updated_ns;
};

/* A limit that is ours: `per_minute` a minute, in even steps. */
void bucket_limit(struct bucket *bucket, double per_minute, uint64_t now_ns);

/* A provider said: `remaining` of `limit` are left, and all of them again in `reset_s` seconds. `unseen` of
 * what was sent may not be counted in that yet. The lower of this and what was known holds. */
void bucket_heard(
    struct bucket *bucket, double limit, double remaining, double reset_s, double unseen, uint64_t now_ns);

/* How long until `cost` is there; 0: it is. More than the whole bucket counts as the whole. */
uint64_t bucket_wait_ns(struct bucket *bucket, double cost, uint64_t now_ns);

/* Takes it out. */
void bucket_take(struct bucket *bucket, double cost);

/* "1s", "6m0s", "20ms", "1h2m3.5s", or a bare number of seconds; -1: none of these. */
double bucket_parse_duration(const char *text);

#endif
