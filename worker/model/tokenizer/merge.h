/* Merging neighbours in a list of symbols, always the pair that comes first in order (ties: the leftmost),
 * until no pair merges: what every BPE has in common. O(n log n). */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_MERGE_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct merge_symbol {
    int32_t id;
    uint32_t begin; /* for callers that merge by text */
    uint32_t len;   /* 0: merged away */
    uint32_t previous, next;
};

struct merge_list {
    struct merge_symbol *symbols;
    size_t count, capacity;
};

struct merge_found {
    double order; /* lower merges first */
    int32_t id;
};

/* Whether two neighbours merge. */
typedef bool (*merge_find)(const void *context, const struct merge_symbol *left,
    const struct merge_symbol *right, struct merge_found *out);

void merge_list_free(struct merge_list *list);
bool merge_list_push(struct merge_list *list, int32_t id, uint32_t len, struct error *err);
bool merge_list_run(struct merge_list *list, merge_find find, const void *context, struct error *err);

#endif
