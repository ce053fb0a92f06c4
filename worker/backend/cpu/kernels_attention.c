/* Attention of a few queries over all pages of one key head, with a running maximum and sum (online softmax),
 * https://arxiv.org/abs/1805.02867. Blocks of pages begin at key 0, so a query's result depends on its own
 * keys only, however queries are grouped into tiles. */
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/vector.h"

enum { PAGE = KV_PAGE_TOKENS, BLOCK = ATTENTION_BLOCK_PAGES * PAGE, ROWS = ATTENTION_TILE_ROWS };

void KERNEL(attend)(const struct attend_tile *tile);

struct running {
    int32_t first[ROWS], end[ROWS]; /* keys that a row sees, the global ones aside */
    float maximum[ROWS], sum[ROWS];
    float correction[ROWS]; /* of what was accumulated before this block */
    float scores[ROWS][BLOCK];
};

/* scores[r][0 .. 16 pages) = q_r k', one multiply-add after the other along the head. */
INLINE void score_pages(
    const struct attend_tile *t, const float *const *k, float (*scores)[BLOCK], size_t rows, size_t pages)
{
    f8 sums[ROWS][2 * ATTENTION_BLOCK_PAGES];
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < 2 * pages; v++)
            sums[r][v] = f8_set(0.0F);
    for (size_t d = 0; d < t->head_dim; d++) {
#pragma GCC unroll 4
        for (size_t p = 0; p < pages; p++) {
            f8 low = f8_load(k[p] + d * PAGE), high = f8_load(k[p] + d * PAGE + 8);
#pragma GCC unroll 6
            for (size_t r = 0; r < rows; r++) {
                f8 q = f8_set(t->q[r][d]);
                sums[r][2 * p] += q * low;
                sums[r][2 * p + 1] += q * high;
            }
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < 2 * pages; v++)
            f8_store(scores[r] + 8 * v, sums[r][v]);
}

INLINE void score_block(
    const struct attend_tile *t, const float *const *k, size_t pages, float (*scores)[BLOCK])
{
    if (t->rows == 1 && pages == ATTENTION_BLOCK_PAGES) {
        score_pages(t, k, scores, 1, ATTENTION_BLOCK_PAGES);
        return;
    }
    for (size_t p = 0; p < pages; p++) {
        float(*part)[BLOCK] = (float(*)[BLOCK])(scores[0] + p * PAGE);
        switch (t->rows) {
        case 1: score_pages(t, k + p, part, 1, 1); break;
        case 2: score_pages(t, k + p, part, 2, 1); break;
        case 3: score_pages(t, k + p, part, 3, 1); break;
        case 4: score_pages(t, k + p, part, 4, 1); break;
        case 5: score_pages(t, k + p, part, 5, 1); break;
        default: score_pages(t, k + p, part, 6, 1); break;
        }
    }
}

/* Scores of one row become weights e^(score - maximum); the running maximum, sum and correction follow. */
INLINE void weigh_row(const struct attend_tile *t, struct running *run, size_t r, int32_t block_first)
{
    const i8x32 lane = {0, 1, 2, 3, 4, 5, 6, 7};
    float *scores = run->scores[r];
    int32_t first = run->first[r], end = run->end[r];
    int32_t global_end = (int32_t)(t->global_keys < t->keys ? t->global_keys : t->keys);
    bool all_seen = (first <= block_first || global_end >= block_first + BLOCK) && end >= block_first + BLOCK;
    f8 best = f8_set(-__builtin_inff());
    for (int32_t i = 0; i < BLOCK; i += 8) {
        f8 s = f8_load(scores + i) * t->scale;
        if (t->bias[r])
            s += f8_load(t->bias[r] + block_first + i);
        if (t->soft_cap > 0.0F)
            s = t->soft_cap * f8_tanh(s / t->soft_cap);
        if (!all_seen) {
            i8x32 key = lane + (block_first + i);
            i8x32 seen = ((key >= first) & (key < end)) | (key < global_end);
            s = f8_choose(seen, s, f8_set(-__builtin_inff()));
        }
        best = f8_max(s, best);
        f8_store(scores + i, s);
    }
    float maximum = f8_max_lane(best);
    maximum = maximum > run->maximum[r] ? maximum : run->maximum[r];
    float shift = maximum == -__builtin_inff() ? 0.0F : maximum; /* nothing seen yet */
    run->correction[r] = f8_exp(f8_set(run->maximum[r] - shift))[0];
    run->maximum[r] = maximum;
    f8 sum = f8_set(0.0F);
    for (int32_t i = 0; i < BLOCK; i += 8) {
        f8 weight = f8_exp(f8_load(scores + i) - shift);
        f8_store(scores + i, weight);
        sum += weight;
    }
    run->sum[r] = run->sum[r] * run->correction[r] + f8_sum(sum);
    /* All that this row sees: its weights are divided, not what they gather. */
    if (end <= BLOCK && global_end <= BLOCK && run->sum[r] > 0.0F) {
        for (int32_t i = 0; i < BLOCK; i += 8)
            f8_store(scores + i, f8_load(scores + i) / run->sum[r]);
        run->sum[r] = 1.0F;
    }
}

/* accumulator[r] = accumulator[r] * correction[r] + weights_r v, over `vectors` vectors of columns. */
INLINE void gather_values(const struct attend_tile *t, const struct running *run, const float *const *v,
    size_t keys, size_t column, size_t rows, size_t vectors)
{
    f8 sums[ROWS][8];
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < vectors; c++)
            sums[r][c] = f8_load(t->accumulator + r * t->value_stride + column + 8 * c) * run->correction[r];
    for (size_t first = 0; first < keys; first += PAGE) {
        const float *values = v[first / PAGE] + column;
        size_t count = keys - first < PAGE ? keys - first : PAGE;
        for (size_t i = 0; i < count; i++, values += t->value_stride) {
#pragma GCC unroll 8
            for (size_t c = 0; c < vectors; c++) {
                f8 value = f8_load(values + 8 * c);
#pragma GCC unroll 6
                for (size_t r = 0; r < rows; r++)
                    sums[r][c] += f8_set(run->scores[r][first + i]) * value;
            }
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < vectors; c++)
            f8_store(t->accumulator + r * t->value_stride + column + 8 * c, sums[r][c]);
}

INLINE void gather_block(
    const struct attend_tile *t, const struct running *run, const float *const *v, size_t keys)
{
    size_t column = 0;
    if (t->rows == 1)
        for (; column + 64 <= t->value_stride; column += 64)
            gather_values(t, run, v, keys, column, 1, 8);
    for (; column < t->value_stride; column += 16)
        switch (t->rows) {
        case 1: gather_values(t, run, v, keys, column, 1, 2); break;
        case 2: gather_values(t, run, v, keys, column, 2, 2); break;
        case 3: gather_values(t, run, v, keys, column, 3, 2); break;
        case 4: gather_values(t, run, v, keys, column, 4, 2); break;
        case 5: gather_values(t, run, v, keys, column, 5, 2); break;
        default: gather_values(t, run, v, keys, column, 6, 2); break;
        }
}

/* Which keys each row sees; returns the whole tile's range in first and end. */
static void find_ranges(const struct attend_tile *t, struct running *run, int32_t *first, int32_t *end)
{
    int32_t keys = (int32_t)t->keys;
    *first = keys;
    *end = 0;
    for (size_t r = 0; r < t->rows; r++) {
        int32_t position = t->position[r];
        run->first[r] = t->window_left < 0 || position < t->window_left ? 0 : position - t->window_left;
        run->end[r] =
            t->window_right < 0 || position >= keys - t->window_right ? keys : position + t->window_right + 1;
        run->maximum[r] = -__builtin_inff();
        run->sum[r] = 0.0F;
        *first = run->first[r] < *first ? run->first[r] : *first;
        *end = run->end[r] > *end ? run->end[r] : *end;
    }
}

void KERNEL(attend)(const struct attend_tile *t)
{
    struct running run;
    int32_t first, end;
    find_ranges(t, &run, &first, &end);
    memset(t->accumulator, 0, t->rows * t->value_stride * sizeof(float));
    for (size_t start = 0; start < t->keys; start += BLOCK) {
        bool seen = (int32_t)start < end && (int32_t)(start + BLOCK) > first;
        if (!seen && start >= t->global_keys)
            continue;
        size_t keys = t->keys - start < BLOCK ? t->keys - start : BLOCK;
        size_t pages = (keys + PAGE - 1) / PAGE;
        const float *k[ATTENTION_BLOCK_PAGES], *v[ATTENTION_BLOCK_PAGES];
        for (size_t p = 0; p < pages; p++) {
            size_t page = start / PAGE + p;
            k[p] = t->pages + (t->page_ids ? (size_t)t->page_ids[page] : page) * t->page_stride;
            v[p] = k[p] + t->head_dim * PAGE;
        }
        for (size_t r = 0; r < t->rows; r++) /* pages that are not there: masked below, but must be numbers */
            memset(run.scores[r] + pages * PAGE, 0, (BLOCK - pages * PAGE) * sizeof(float));
        score_block(t, k, pages, run.scores);
        for (size_t r = 0; r < t->rows; r++)
            weigh_row(t, &run, r, (int32_t)start);
        gather_block(t, &run, v, keys);
    }
    for (size_t r = 0; r < t->rows; r++) {
        float inverse = run.sum[r] == 0.0F ? 0.0F : 1.0F / run.sum[r];
        for (size_t c = 0; c < t->value_dim; c++)
            t->out[r][c] = t->accumulator[r * t->value_stride + c] * inverse;
    }
}
