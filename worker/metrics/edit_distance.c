#include "worker/metrics/edit_distance.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define BEAM 25
/* Cells outside the beam; sums of it and any distance do not overflow. */
#define FAR (INT32_MAX / 2)

bool edit_distance_open(struct edit_distance *edit, struct metric_arena *arena, const uint32_t *reference,
    size_t reference_count, size_t hypothesis_count, struct error *err)
{
    *edit = (struct edit_distance){
        .reference = reference, .reference_count = reference_count, .hypothesis_count = hypothesis_count};
    edit->length_ratio = hypothesis_count ? (double)reference_count / (double)hypothesis_count : 1.0;
    edit->beam = BEAM < edit->length_ratio / 2 ? (size_t)ceil(edit->length_ratio / 2 + BEAM) : BEAM;
    /* The widest row: `beam` on both sides of the diagonal, or to the reference's end in the last one. */
    edit->width = 2 * edit->beam + 3;
    if (edit->width > reference_count + 1)
        edit->width = reference_count + 1;
    if (hypothesis_count >= FAR || reference_count >= FAR)
        return error_set(err, ERROR_TOO_LARGE, "the texts are too long to compare");
    size_t cells;
    if (__builtin_mul_overflow(hypothesis_count + 1, edit->width, &cells))
        return error_set(err, ERROR_TOO_LARGE, "the texts are too long to compare");
    edit->costs = metric_arena_alloc(arena, cells, sizeof *edit->costs, err);
    edit->operations = edit->costs ? metric_arena_alloc(arena, cells, 1, err) : NULL;
    edit->scratch =
        edit->operations ? metric_arena_alloc(arena, 2 * edit->width, sizeof *edit->scratch, err) : NULL;
    return edit->scratch != NULL;
}

/* The columns of row i that are computed: from *first up to but not including *last. */
static void row_bounds(const struct edit_distance *edit, size_t i, size_t *first, size_t *last)
{
    size_t diagonal = (size_t)floor((double)i * edit->length_ratio);
    *first = diagonal > edit->beam ? diagonal - edit->beam : 0;
    *last = diagonal + edit->beam;
    if (*last > edit->reference_count + 1 || i == edit->hypothesis_count)
        *last = edit->reference_count + 1;
    assert(*last > *first && *last - *first <= edit->width);
}

/* A row above: its cost in column j, FAR outside of it. Row 0 is all insertions and not stored. */
struct above {
    const int32_t *costs;
    size_t first, last;
};

static int32_t cost_above(const struct above *above, size_t j)
{
    if (!above->costs)
        return (int32_t)j;
    return j >= above->first && j < above->last ? above->costs[j - above->first] : FAR;
}

/* Fills row i from the row above it. `operations` may be NULL. */
static void fill_row(const struct edit_distance *edit, size_t i, uint32_t word, const struct above *above,
    int32_t *costs, uint8_t *operations)
{
    size_t first;
    size_t last;
    row_bounds(edit, i, &first, &last);
    int32_t left = FAR;
    int32_t corner = first > 0 ? cost_above(above, first - 1) : FAR;
    for (size_t j = first; j < last; j++) {
        int32_t up = cost_above(above, j);
        int32_t best = FAR;
        uint8_t operation = EDIT_DELETE;
        if (j > 0) {
            bool same = word == edit->reference[j - 1];
            best = corner + !same;
            operation = same ? EDIT_KEEP : EDIT_SUBSTITUTE;
        }
        if (up + 1 < best) {
            best = up + 1;
            operation = EDIT_DELETE;
        }
        if (left + 1 < best) {
            best = left + 1;
            operation = EDIT_INSERT;
        }
        best = best < FAR ? best : FAR;
        costs[j - first] = left = best;
        if (operations)
            operations[j - first] = operation;
        corner = up;
    }
}

static struct above stored_row(const struct edit_distance *edit, size_t i)
{
    struct above row = {0};
    if (i > 0) {
        row.costs = edit->costs + i * edit->width;
        row_bounds(edit, i, &row.first, &row.last);
    }
    return row;
}

int32_t edit_distance_set_base(struct edit_distance *edit, const uint32_t *hypothesis)
{
    for (size_t i = 1; i <= edit->hypothesis_count; i++) {
        struct above above = stored_row(edit, i - 1);
        fill_row(edit, i, hypothesis[i - 1], &above, edit->costs + i * edit->width,
            edit->operations + i * edit->width);
    }
    struct above last = stored_row(edit, edit->hypothesis_count);
    edit->base_distance = cost_above(&last, edit->reference_count);
    return edit->base_distance;
}

/* fill_row without operations, under a stored row: where the time goes. */
static void fill_costs(const struct edit_distance *edit, uint32_t word, const struct above *above,
    const struct above *row, int32_t *costs)
{
    const int32_t *up = above->costs + (row->first - above->first);
    size_t shared = above->last - row->first; /* columns that the row above has too */
    size_t count = row->last - row->first;
    size_t k = 0;
    int32_t left = FAR;
    int32_t corner = row->first > above->first ? up[-1] : FAR;
    if (row->first == 0) {
        corner = up[0];
        costs[k++] = left = up[0] + 1;
    }
    const uint32_t *reference = edit->reference + (row->first + k - 1);
    for (; k < count; k++) {
        int32_t over = k < shared ? up[k] : FAR;
        int32_t best = (over < left ? over : left) + 1;
        int32_t diagonal = corner + (*reference++ != word);
        best = diagonal < best ? diagonal : best;
        corner = over;
        costs[k] = left = best;
    }
}

/* How the rows compare: with all words after them equal, no distance changes by more or less than this. */
static void compare_rows(const int32_t *row, const int32_t *base, size_t count, int32_t *low, int32_t *high)
{
    *low = FAR;
    *high = -FAR;
    for (size_t k = 0; k < count; k++) {
        int32_t difference = row[k] - base[k];
        *low = difference < *low ? difference : *low;
        *high = difference > *high ? difference : *high;
    }
}

int32_t edit_distance_of(
    const struct edit_distance *edit, const uint32_t *hypothesis, size_t from, size_t to, int32_t gain)
{
    struct above above = stored_row(edit, from);
    for (size_t i = from + 1; i <= edit->hypothesis_count; i++) {
        int32_t *costs = edit->scratch + (i % 2) * edit->width;
        struct above row = {.costs = costs};
        row_bounds(edit, i, &row.first, &row.last);
        if (above.costs && above.last > row.first)
            fill_costs(edit, hypothesis[i - 1], &above, &row, costs);
        else
            fill_row(edit, i, hypothesis[i - 1], &above, costs, NULL);
        above = row;
        if (i == to) {
            int32_t low;
            int32_t high;
            compare_rows(costs, edit->costs + i * edit->width, row.last - row.first, &low, &high);
            if (low == high || low > -gain)
                return edit->base_distance + low;
        }
    }
    return cost_above(&above, edit->reference_count);
}

size_t edit_distance_trace(const struct edit_distance *edit, uint8_t *out)
{
    size_t i = edit->hypothesis_count;
    size_t j = edit->reference_count;
    size_t count = 0;
    while (i > 0 || j > 0) {
        uint8_t operation = EDIT_INSERT;
        if (i > 0) {
            size_t first;
            size_t last;
            row_bounds(edit, i, &first, &last);
            operation = edit->operations[i * edit->width + j - first];
        }
        out[count++] = operation;
        i -= operation != EDIT_INSERT;
        j -= operation != EDIT_DELETE;
    }
    return count;
}
