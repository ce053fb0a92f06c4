#include "worker/metrics/lcs.h"

#include <string.h>

#include "worker/metrics/vocabulary.h"

/* Backtracking keeps all columns up to this size, else every k-th one and those of one stretch. */
#define COLUMNS_WHOLE_BYTES ((size_t)1 << 20)

bool metric_lcs_open(struct metric_lcs *lcs, struct metric_arena *arena, uint32_t item_limit, size_t longest,
    uint64_t steps_max, struct error *err)
{
    *lcs = (struct metric_lcs){.arena = arena, .steps_max = steps_max};
    size_t words = longest / 64 + 1;
    lcs->head = metric_arena_alloc(arena, item_limit, sizeof *lcs->head, err);
    lcs->next = lcs->head ? metric_arena_alloc(arena, longest, sizeof *lcs->next, err) : NULL;
    lcs->repeats = lcs->next ? metric_arena_zalloc(arena, item_limit, sizeof *lcs->repeats, err) : NULL;
    lcs->dense = lcs->repeats ? metric_arena_alloc(arena, item_limit, sizeof *lcs->dense, err) : NULL;
    lcs->mask = lcs->dense ? metric_arena_zalloc(arena, words, sizeof *lcs->mask, err) : NULL;
    lcs->column = lcs->mask ? metric_arena_alloc(arena, words, sizeof *lcs->column, err) : NULL;
    if (!lcs->column)
        return false;
    memset(lcs->head, 0xFF, item_limit * sizeof *lcs->head);
    memset(lcs->dense, 0xFF, item_limit * sizeof *lcs->dense);
    return true;
}

static void forget_reference(struct metric_lcs *lcs)
{
    for (size_t i = 0; i < lcs->length; i++) {
        uint32_t item = lcs->reference[i];
        lcs->head[item] = METRIC_NO_ID;
        lcs->dense[item] = METRIC_NO_ID;
        lcs->repeats[item] = 0;
    }
    lcs->length = 0;
}

bool metric_lcs_set_reference(
    struct metric_lcs *lcs, const uint32_t *reference, size_t length, struct error *err)
{
    forget_reference(lcs);
    lcs->reference = reference;
    lcs->length = length;
    lcs->words = (length + 63) / 64;
    size_t frequent = 0;
    for (size_t i = length; i-- > 0;) {
        uint32_t item = reference[i];
        lcs->next[i] = lcs->head[item];
        lcs->head[item] = (uint32_t)i;
        /* More repeats than words: copying bits one by one would cost more than the column itself. There are
         * at most 64 such items. */
        if (++lcs->repeats[item] == lcs->words + 1 && lcs->words > 1)
            lcs->dense[item] = (uint32_t)frequent++;
    }
    if (frequent == 0)
        return true;
    lcs->dense_masks = metric_arena_zalloc(lcs->arena, frequent * lcs->words, sizeof *lcs->dense_masks, err);
    if (!lcs->dense_masks)
        return false;
    for (size_t i = 0; i < length; i++)
        if (lcs->dense[reference[i]] != METRIC_NO_ID)
            lcs->dense_masks[lcs->dense[reference[i]] * lcs->words + i / 64] |= (uint64_t)1 << (i % 64);
    return true;
}

/* Turns the column before `item` into the one after it. */
static void advance(struct metric_lcs *lcs, uint64_t *column, uint32_t item)
{
    if (lcs->head[item] == METRIC_NO_ID)
        return;
    bool dense = lcs->dense[item] != METRIC_NO_ID;
    uint64_t *mask = dense ? lcs->dense_masks + lcs->dense[item] * lcs->words : lcs->mask;
    if (!dense)
        for (uint32_t i = lcs->head[item]; i != METRIC_NO_ID; i = lcs->next[i])
            mask[i / 64] |= (uint64_t)1 << (i % 64);
    uint64_t carry = 0;
    for (size_t w = 0; w < lcs->words; w++) {
        uint64_t sum;
        uint64_t over = __builtin_add_overflow(column[w], column[w] & mask[w], &sum);
        carry = __builtin_add_overflow(sum, carry, &sum) | over;
        column[w] = sum | (column[w] & ~mask[w]);
    }
    lcs->steps += lcs->words;
    if (!dense)
        for (uint32_t i = lcs->head[item]; i != METRIC_NO_ID; i = lcs->next[i])
            mask[i / 64] = 0;
}

static bool affordable(const struct metric_lcs *lcs, struct error *err)
{
    if (lcs->steps <= lcs->steps_max)
        return true;
    return error_set(err, ERROR_TOO_LARGE, "the texts are too long to compare");
}

bool metric_lcs_length(
    struct metric_lcs *lcs, const uint32_t *candidate, size_t length, size_t *out, struct error *err)
{
    memset(lcs->column, 0xFF, lcs->words * sizeof *lcs->column);
    for (size_t j = 0; j < length; j++) {
        advance(lcs, lcs->column, candidate[j]);
        if (!affordable(lcs, err))
            return false;
    }
    size_t total = 0;
    for (size_t w = 0; w < lcs->words; w++)
        total += (size_t)__builtin_popcountll(~lcs->column[w]);
    *out = total; /* bits past the reference's end stay 1: the or in advance() restores them */
    return true;
}

/* Columns kept: one every `stride` from the start, then one for each candidate item of a stretch. */
static bool reserve_columns(struct metric_lcs *lcs, size_t count, struct error *err)
{
    size_t needed;
    if (__builtin_mul_overflow(count, lcs->words, &needed))
        return error_set(err, ERROR_TOO_LARGE, "the texts are too long to compare");
    if (needed <= lcs->columns_capacity)
        return true;
    size_t capacity = needed < SIZE_MAX / 2 ? needed * 2 : needed;
    lcs->columns = metric_arena_alloc(lcs->arena, capacity, sizeof *lcs->columns, err);
    lcs->columns_capacity = lcs->columns ? capacity : 0;
    return lcs->columns != NULL;
}

static size_t stretch_length(const struct metric_lcs *lcs, size_t length)
{
    if (length <= COLUMNS_WHOLE_BYTES / (lcs->words * sizeof(uint64_t)))
        return length;
    size_t root = 1;
    while (root * root < length)
        root++;
    return root;
}

static bool shares_item(const struct metric_lcs *lcs, const uint32_t *candidate, size_t length)
{
    for (size_t j = 0; j < length; j++)
        if (lcs->head[candidate[j]] != METRIC_NO_ID)
            return true;
    return false;
}

bool metric_lcs_mark(struct metric_lcs *lcs, const uint32_t *candidate, size_t length, bool *marks,
    size_t *added, struct error *err)
{
    *added = 0;
    if (!shares_item(lcs, candidate, length))
        return true;
    size_t words = lcs->words;
    size_t stretch = stretch_length(lcs, length);
    size_t stretches = (length + stretch - 1) / stretch;
    if (!reserve_columns(lcs, stretches + stretch, err))
        return false;
    uint64_t *starts = lcs->columns; /* the column before each stretch */
    uint64_t *inside = lcs->columns + stretches * words;
    memset(lcs->column, 0xFF, words * sizeof *lcs->column);
    for (size_t j = 0; j < length; j++) {
        if (j % stretch == 0)
            memcpy(starts + j / stretch * words, lcs->column, words * sizeof *starts);
        if (stretches > 1)
            advance(lcs, lcs->column, candidate[j]);
        if (!affordable(lcs, err))
            return false;
    }
    size_t i = lcs->length;
    for (size_t s = stretches; s-- > 0 && i > 0;) {
        size_t first = s * stretch;
        size_t last = first + stretch < length ? first + stretch : length;
        const uint64_t *before = starts + s * words;
        for (size_t j = first; j < last; j++) {
            uint64_t *column = inside + (j - first) * words;
            memcpy(column, before, words * sizeof *column);
            advance(lcs, column, candidate[j]);
            before = column;
        }
        for (size_t j = last; j > first && i > 0;) {
            const uint64_t *column = inside + (j - 1 - first) * words;
            if (lcs->reference[i - 1] == candidate[j - 1]) {
                *added += !marks[i - 1];
                marks[i - 1] = true;
                i--;
                j--;
            } else if (!(column[(i - 1) / 64] >> ((i - 1) % 64) & 1)) {
                j--;
            } else {
                i--;
            }
        }
    }
    return affordable(lcs, err);
}
