#include "worker/hosted/bucket.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MAX_S = 300 };

void bucket_limit(struct bucket *bucket, double per_minute, uint64_t now_ns)
{
    *bucket = (struct bucket){
        .known = true, .capacity = 1, .level = 1, .per_s = per_minute / 60, .updated_ns = now_ns};
}

static void refill(struct bucket *bucket, uint64_t now_ns)
{
    if (now_ns > bucket->updated_ns) {
        bucket->level += bucket->per_s * (double)(now_ns - bucket->updated_ns) / 1e9;
        bucket->updated_ns = now_ns;
    }
    if (bucket->level > bucket->capacity)
        bucket->level = bucket->capacity;
}

void bucket_heard(
    struct bucket *bucket, double limit, double remaining, double reset_s, double unseen, uint64_t now_ns)
{
    double level = remaining - unseen;
    double missing = limit > remaining ? limit - remaining : 0;
    if (!(limit >= 1) || !(remaining >= 0))
        return;
    if (bucket->known)
        refill(bucket, now_ns);
    if (!bucket->known || level < bucket->level)
        bucket->level = level;
    /* Without a time, a minute: what most limits are counted by. */
    bucket->per_s = reset_s > 0 && missing > 0 ? missing / reset_s : limit / 60;
    bucket->capacity = limit;
    bucket->known = true;
    bucket->updated_ns = now_ns;
}

uint64_t bucket_wait_ns(struct bucket *bucket, double cost, uint64_t now_ns)
{
    if (!bucket->known)
        return 0;
    refill(bucket, now_ns);
    cost = fmin(cost, bucket->capacity);
    if (bucket->level >= cost)
        return 0;
    double wait_s = bucket->per_s > 0 ? (cost - bucket->level) / bucket->per_s : WAIT_MAX_S;
    return (uint64_t)(fmin(wait_s, WAIT_MAX_S) * 1e9) + 1000000;
}

void bucket_take(struct bucket *bucket, double cost)
{
    if (bucket->known)
        bucket->level -= fmin(cost, bucket->capacity);
}

double bucket_parse_duration(const char *text)
{
    static const struct {
        const char *name;
        double seconds;
    } UNITS[] = {{"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    double sum = 0;
    if (!*text)
        return -1;
    while (*text) {
        char *end;
        size_t unit = 0;
        double number = strtod(text, &end);
        if (end == text || !(number >= 0) || number > 1e9)
            return -1;
        if (!*end && sum == 0)
            return number;
        while (unit < sizeof(UNITS) / sizeof(UNITS[0]) &&
               strncmp(end, UNITS[unit].name, strlen(UNITS[unit].name)) != 0)
            unit++;
        if (unit == sizeof(UNITS) / sizeof(UNITS[0]))
            return -1;
        sum += number * UNITS[unit].seconds;
        text = end + strlen(UNITS[unit].name);
    }
    return sum;
}
