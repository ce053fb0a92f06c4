/* Longest common subsequences of number sequences, 64 rows of the table at a time.
 *
 * The table's column for one candidate item is kept as one bit a row: 0 where the value grows by one from the
 * row above. A new column comes from the one before it by an addition, two ands and an or (Hyyrö,
 * "Bit-parallel LCS-length computation revisited", 2004). Memory is linear in the two lengths. */
#ifndef LUMIGRID_WORKER_METRICS_LCS_H
#define LUMIGRID_WORKER_METRICS_LCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/metrics/arena.h"

struct metric_lcs {
    struct metric_arena *arena;
    const uint32_t *reference; /* the current one, borrowed */
    size_t length, words;      /* its length, and in 64-bit words */
    uint32_t *head, *next;     /* its positions by item: first, and following; METRIC_NO_ID ends */
    uint32_t *repeats;         /* by item */
    uint32_t *dense;           /* by item: its mask's index in dense_masks, or METRIC_NO_ID */
    uint64_t *dense_masks;     /* masks of the items that are too frequent to set bit by bit */
    uint64_t *mask, *column;   /* scratch, `words` long */
    uint64_t *columns;         /* scratch of the backtracking */
    size_t columns_capacity;
    uint64_t steps, steps_max; /* words of columns computed, and how many may be */
};

/* For items below `item_limit` and references of at most `longest` items. `steps_max` bounds the work of all
 * calls together; what it would take longer ends in ERROR_TOO_LARGE. */
bool metric_lcs_open(struct metric_lcs *lcs, struct metric_arena *arena, uint32_t item_limit, size_t longest,
    uint64_t steps_max, struct error *err);

/* Makes `reference` the current one. */
bool metric_lcs_set_reference(
    struct metric_lcs *lcs, const uint32_t *reference, size_t length, struct error *err);

/* Length of the longest common subsequence of the current reference and `candidate`. */
bool metric_lcs_length(
    struct metric_lcs *lcs, const uint32_t *candidate, size_t length, size_t *out, struct error *err);

/* Sets marks[i] for the reference's items that are in one longest common subsequence: the one found from the
 * table's end by taking an equal pair, else going to the candidate's previous item if that keeps the greater
 * value, else to the reference's previous item. `added` counts the marks that were not set before. */
bool metric_lcs_mark(struct metric_lcs *lcs, const uint32_t *candidate, size_t length, bool *marks,
    size_t *added, struct error *err);

#endif
