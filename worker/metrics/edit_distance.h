/* The edit distance that TER is built on: word insertions, deletions and substitutions cost 1, and only cells
 * near the diagonal are computed, within the same beam as sacrebleu's. */
#ifndef LUMIGRID_WORKER_METRICS_EDIT_DISTANCE_H
#define LUMIGRID_WORKER_METRICS_EDIT_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/metrics/arena.h"

/* Operations that rewrite the hypothesis into the reference: INSERT adds a reference word, DELETE drops a
 * hypothesis word. */
enum edit_operation { EDIT_KEEP, EDIT_SUBSTITUTE, EDIT_INSERT, EDIT_DELETE };

struct edit_distance {
    const uint32_t *reference; /* words as numbers, borrowed */
    size_t reference_count;
    size_t hypothesis_count;
    double length_ratio;
    size_t beam, width; /* of a row */
    int32_t *costs;     /* the base hypothesis' rows: [hypothesis_count + 1][width] */
    uint8_t *operations;
    int32_t *scratch; /* two rows */
    int32_t base_distance;
};

/* For hypotheses of exactly `hypothesis_count` words. The reference must not be empty. */
bool edit_distance_open(struct edit_distance *edit, struct metric_arena *arena, const uint32_t *reference,
    size_t reference_count, size_t hypothesis_count, struct error *err);

/* The distance; the hypothesis becomes the base of the calls below. */
int32_t edit_distance_set_base(struct edit_distance *edit, const uint32_t *hypothesis);

/* The distance of a hypothesis that differs from the base only within the words [from, to). Where it cannot
 * be `gain` below the base's distance or better, any greater distance may be returned instead, which is
 * quicker. */
int32_t edit_distance_of(
    const struct edit_distance *edit, const uint32_t *hypothesis, size_t from, size_t to, int32_t gain);

/* The base's operations from the texts' ends to their beginnings; `out` has room for both lengths together.
 * Returns how many. Where several are cheapest: keep or substitute, else delete, else insert. */
size_t edit_distance_trace(const struct edit_distance *edit, uint8_t *out);

#endif
