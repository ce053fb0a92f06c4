/* The samples of a job that wait to be leased: sorted, disjoint spans with what is known of earlier failures.
 */
#ifndef LUMIGRID_COORDINATOR_SCHEDULER_SPANS_H
#define LUMIGRID_COORDINATOR_SCHEDULER_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a group of samples may be leased again. */
struct retry {
    uint64_t not_before_ms;
    uint32_t limit; /* largest task, 0: no limit; shrinks while a guilty sample is searched */
    uint32_t alone; /* failed leases of the sample alone */
};

struct span {
    uint64_t first;
    uint64_t count;
    struct retry retry;
};

struct spans {
    struct span *items;
    size_t count, capacity;
    uint64_t total; /* samples in all */
};

void spans_free(struct spans *spans);

/* Adds samples that are not in it; joins neighbours with the same retry. */
void spans_add(struct spans *spans, uint64_t first, uint64_t count, struct retry retry);

/* Takes samples [first, first+count) out, which must lie in item `at`. */
void spans_cut(struct spans *spans, size_t at, uint64_t first, uint64_t count);

/* The first item that ends after `index` (items.count when none). */
size_t spans_find(const struct spans *spans, uint64_t index);

/* Takes one sample out; false when it is not in it. */
bool spans_take(struct spans *spans, uint64_t index);

#endif
