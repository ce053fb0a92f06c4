#include "worker/engine/sampling.h"

#include <math.h>
#include <stdlib.h>

static double total_weight(const struct candidate *c, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += exp((double)c[i].score - (double)c[0].score);
    return sum;
}

/* The smallest set of the likeliest whose probabilities reach top_p. */
static size_t keep_top_p(const struct candidate *c, size_t count, double top_p, size_t keep_min)
{
    double total = total_weight(c, count), tail = 0;
    size_t kept = count;
    while (kept > keep_min) {
        tail += exp((double)c[kept - 1].score - (double)c[0].score) / total;
        if (tail > 1 - top_p)
            break;
        kept--;
    }
    return kept;
}

static size_t keep_min_p(const struct candidate *c, size_t count, double min_p, size_t keep_min)
{
    size_t kept = count;
    while (kept > keep_min && exp((double)c[kept - 1].score - (double)c[0].score) < min_p)
        kept--;
    return kept;
}

struct surprise {
    double distance, probability;
    size_t index;
};

static int by_distance(const void *a, const void *b)
{
    const struct surprise *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The set whose surprise is nearest to the distribution's entropy. https://arxiv.org/abs/2202.00666 */
static size_t keep_typical(struct candidate *c, size_t count, double mass, size_t keep_min)
{
    struct surprise *s = malloc(count * sizeof *s);
    if (!s)
        return count; /* nothing is removed: a wider draw rather than none */
    double best = c[0].score, total = total_weight(c, count), entropy = 0, reached = 0;
    for (size_t i = 0; i < count; i++) {
        double log_p = (double)c[i].score - best - log(total);
        s[i] = (struct surprise){-log_p, exp(log_p), i};
        if (s[i].probability > 0)
            entropy -= log_p * s[i].probability;
    }
    for (size_t i = 0; i < count; i++)
        s[i].distance = fabs(s[i].distance - entropy);
    qsort(s, count, sizeof *s, by_distance);
    size_t last = 0;
    while (last < count - 1 && (reached += s[last].probability) < mass)
        last++;
    double limit = s[last < keep_min - 1 ? keep_min - 1 : last].distance;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        double log_p = (double)c[i].score - best - log(total);
        if (fabs(-log_p - entropy) <= limit)
            c[kept++] = c[i];
    }
    free(s);
    return kept;
}

size_t sampling_warp(const struct generation_settings *s, struct candidate *c, size_t count, size_t keep_min)
{
    while (count > 1 && c[count - 1].score == -INFINITY)
        count--;
    if (s->temperature != 1)
        for (size_t i = 0; i < count; i++)
            c[i].score /= (float)s->temperature;
    size_t top_k = (size_t)s->top_k < keep_min ? keep_min : (size_t)s->top_k;
    if (s->top_k > 0 && count > top_k)
        count = top_k;
    if (keep_min > count)
        keep_min = count;
    if (s->top_p < 1)
        count = keep_top_p(c, count, s->top_p, keep_min);
    if (s->min_p > 0)
        count = keep_min_p(c, count, s->min_p, keep_min);
    if (s->typical_p < 1)
        count = keep_typical(c, count, s->typical_p, keep_min);
    return count;
}

/* SplitMix64's finaliser: every bit of the input reaches every bit of the output. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double sampling_uniform(uint64_t key, uint64_t a, uint64_t b)
{
    uint64_t bits = mix(mix(mix(key) ^ a) ^ b);
    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}

uint64_t sampling_key(uint64_t seed, const int32_t *ids, size_t count)
{
    uint64_t key = mix(seed);
    for (size_t i = 0; i < count; i++)
        key = mix(key ^ (uint32_t)ids[i]);
    return key;
}

size_t sampling_draw(const struct candidate *c, size_t count, double uniform)
{
    double target = uniform * total_weight(c, count), sum = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        sum += exp((double)c[i].score - (double)c[0].score);
        if (target < sum)
            return i;
    }
    return count - 1;
}
