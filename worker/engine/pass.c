#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/batch.h"

static bool grow(void *list, size_t capacity, size_t size)
{
    void **pointer = list;
    void *grown = realloc(*pointer, capacity * size);
    if (!grown)
        return false;
    *pointer = grown;
    return true;
}

bool pass_begin(struct pass *p, size_t rows, size_t sequences, struct error *err)
{
    p->rows = p->sequence_count = p->cross_count = p->copy_count = 0;
    size_t row_capacity = rows > p->row_capacity ? rows * 3 / 2 : p->row_capacity;
    size_t capacity = sequences > p->sequence_capacity ? sequences * 3 / 2 : p->sequence_capacity;
    bool fine = true;
    if (row_capacity != p->row_capacity) {
        fine = grow(&p->ids, row_capacity, sizeof *p->ids) &&
               grow(&p->positions, row_capacity, sizeof *p->positions) &&
               grow(&p->spare, row_capacity, sizeof *p->spare) &&
               grow(&p->zeros, row_capacity, sizeof *p->zeros);
        if (fine)
            memset(p->zeros, 0, row_capacity * sizeof *p->zeros);
    }
    if (fine && capacity != p->sequence_capacity)
        fine = grow(&p->sequences, capacity, sizeof *p->sequences) &&
               grow(&p->spare_sequences, capacity, sizeof *p->spare_sequences) &&
               grow(&p->crosses, capacity, sizeof *p->crosses) &&
               grow(&p->appends, capacity, sizeof *p->appends) &&
               grow(&p->last_rows, capacity, sizeof *p->last_rows) &&
               grow(&p->copy_from, capacity, sizeof *p->copy_from) &&
               grow(&p->copy_to, capacity, sizeof *p->copy_to);
    if (!fine)
        return error_set(err, ERROR_MEMORY, "engine: out of memory for a batch of %zu tokens", rows);
    p->row_capacity = row_capacity;
    p->sequence_capacity = capacity;
    return true;
}

void pass_free(struct pass *p)
{
    void *lists[] = {p->ids, p->positions, p->spare, p->zeros, p->last_rows, p->sequences, p->spare_sequences,
        p->crosses, p->appends, p->copy_from, p->copy_to};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        free(lists[i]);
    memset(p, 0, sizeof *p);
}

/* Keys start at position 0; those that are not in the pass are in the pages. */
static void add(struct pass *p, const int32_t *ids, size_t count, size_t first, const int32_t *keys,
    const int32_t *append_to)
{
    assert(p->rows + count <= p->row_capacity && p->sequence_count < p->sequence_capacity);
    memcpy(p->ids + p->rows, ids, count * sizeof *ids);
    for (size_t i = 0; i < count; i++)
        p->positions[p->rows + i] = (int32_t)(first + i);
    p->sequences[p->sequence_count] = (struct attention_sequence){.q_row = p->rows,
        .q_rows = count,
        .q_position = (int32_t)first,
        .k_rows = first + count,
        .k_row = p->rows,
        .pages = keys};
    p->appends[p->sequence_count] = (struct kv_append_sequence){
        .row = p->rows, .rows = count, .position = (int32_t)first, .pages = append_to};
    p->rows += count;
    p->last_rows[p->sequence_count++] = (int32_t)(p->rows - 1);
}

void pass_add(struct pass *p, const int32_t *ids, size_t count, size_t first, const struct page_table *table)
{
    add(p, ids, count, first, table->pages, table->pages);
}

void pass_add_input(struct pass *p, const int32_t *ids, size_t count, const struct page_table *cross)
{
    add(p, ids, count, 0, NULL, cross ? cross->pages : NULL);
}

/* Neighbouring rows that look at the same encoder are one sequence: its keys are read once for all beams. */
void pass_add_cross(struct pass *p, const struct page_table *table, size_t keys)
{
    assert(p->crosses && p->sequence_count > 0);
    const struct attention_sequence *own = &p->sequences[p->sequence_count - 1];
    struct attention_sequence *last = p->cross_count ? &p->crosses[p->cross_count - 1] : NULL;
    if (last && last->pages == table->pages && last->q_row + last->q_rows == own->q_row) {
        last->q_rows += own->q_rows;
        return;
    }
    p->crosses[p->cross_count++] = (struct attention_sequence){
        .q_row = own->q_row, .q_rows = own->q_rows, .k_rows = keys, .pages = table->pages};
}

struct forward pass_forward(const struct pass *p, struct backend *backend, struct kv_cache *cache)
{
    return (struct forward){.backend = backend,
        .rows = p->rows,
        .ids = p->ids,
        .positions = p->positions,
        .spare = p->spare,
        .zeros = p->zeros,
        .spare_sequences = p->spare_sequences,
        .sequences = p->sequences,
        .sequence_count = p->sequence_count,
        .cache = cache,
        .appends = p->appends,
        .append_count = p->sequence_count,
        .crosses = p->crosses,
        .cross_count = p->cross_count};
}
