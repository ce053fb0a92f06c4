/* A backend that computes nothing and counts everything: what an engine asks of a device, for `bench --plan`.
 */
#ifndef LUMIGRID_WORKER_TOOLS_COUNTING_H
#define LUMIGRID_WORKER_TOOLS_COUNTING_H

#include <stdint.h>

#include "worker/backend/backend.h"

/* Sums over operations. Each operation reads its inputs once and writes its result once, as if nothing stayed
 * in a cache between two operations, and nothing was read twice in one. */
struct counts {
    uint64_t operations;
    uint64_t products, product_flops; /* `linear`: 2 * rows * outputs * inputs */
    uint64_t weight_bytes;            /* parameters read, as they are stored */
    uint64_t attention_flops;         /* 2 * (head + value width) for each query, head and key that it sees */
    uint64_t cache_bytes;             /* keys and values read and written, of a cache or not, float32 */
    uint64_t activation_bytes;        /* everything else, float32 */
    uint64_t host_bytes; /* between host and device: ids, positions, page numbers, edits, results */
};

/* Its memory has no end, and tensors in it no contents: downloads and scores are zeros, chosen ids are small
 * ones that are no end token of a usual vocabulary. Weights are never read. Closed by backend_close. */
bool counting_open(struct backend **out, struct error *err);
struct counts counting_now(const struct backend *backend);

#endif
