/* Gives equal keys (words as bytes or code points) equal small numbers, so that everything after it compares
 * and counts integers. */
#ifndef LUMIGRID_WORKER_METRICS_VOCABULARY_H
#define LUMIGRID_WORKER_METRICS_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/metrics/arena.h"

#define METRIC_NO_ID UINT32_MAX

struct metric_vocabulary_entry {
    const void *key; /* borrowed: must live as long as the vocabulary */
    size_t bytes;
    uint64_t hash;
};

struct metric_vocabulary {
    struct metric_vocabulary_entry *entries; /* by number, 0 to count - 1 */
    uint32_t *slots;                         /* number + 1; 0: free */
    size_t mask;
    uint32_t count, capacity;
};

/* Room for `capacity` different keys, taken from the arena. */
bool metric_vocabulary_open(
    struct metric_vocabulary *vocabulary, struct metric_arena *arena, size_t capacity, struct error *err);

/* The key's number, a new one when it is not known yet. More than `capacity` keys must not be given. */
uint32_t metric_vocabulary_add(struct metric_vocabulary *vocabulary, const void *key, size_t bytes);

/* The key's number, or METRIC_NO_ID. */
uint32_t metric_vocabulary_find(const struct metric_vocabulary *vocabulary, const void *key, size_t bytes);

/* Counts of pairs of numbers: n-grams built one item at a time, an n-gram being (the n-1-gram before, item).
 */
struct metric_pairs {
    uint64_t *keys;   /* by slot */
    uint32_t *values; /* number + 1; 0: free */
    size_t mask;
    uint32_t count, capacity;
};

bool metric_pairs_open(
    struct metric_pairs *pairs, struct metric_arena *arena, size_t capacity, struct error *err);
uint32_t metric_pairs_add(struct metric_pairs *pairs, uint32_t first, uint32_t second);
uint32_t metric_pairs_find(const struct metric_pairs *pairs, uint32_t first, uint32_t second);

#endif
