/* Pages of the KV cache: who holds which, and how many are promised.
 *
 * Beams of a sample and prompts with a common beginning share pages; a shared page is copied before it is
 * written. A sample is admitted only when its worst case is still unpromised, so that taking a page never
 * fails afterwards: the distinct pages of all live samples never exceed the sum of their worst cases. */
#ifndef LUMIGRID_WORKER_ENGINE_PAGES_H
#define LUMIGRID_WORKER_ENGINE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct page_pool {
    uint32_t *holders; /* of each page */
    int32_t *free;     /* a stack: what was used last is used first, so that few pages are ever touched */
    size_t total, free_count, promised;
};
bool page_pool_open(struct page_pool *pool, size_t total, struct error *err);
void page_pool_close(struct page_pool *pool);
bool page_pool_promise(struct page_pool *pool, size_t pages);
void page_pool_release_promise(struct page_pool *pool, size_t pages);

/* The pages of one sequence, in order of position. */
struct page_table {
    int32_t *pages;
    size_t count, capacity; /* capacity is fixed when made: the sequence's longest length */
};
bool page_table_open(struct page_table *table, size_t capacity, struct error *err);
void page_table_close(struct page_pool *pool, struct page_table *table);
void page_table_clear(struct page_pool *pool, struct page_table *table);
/* `to` holds the first `count` pages of `from` too. */
void page_table_share(
    struct page_pool *pool, struct page_table *to, const struct page_table *from, size_t count);

/* A page whose content must be copied before it is written. */
struct page_copy {
    int32_t from, to;
};
/* Makes positions [first, first + rows) writable. Returns whether `copy` was filled (at most the page of
 * `first` is ever shared and partly filled). */
bool page_table_prepare(
    struct page_pool *pool, struct page_table *table, size_t first, size_t rows, struct page_copy *copy);

static inline size_t pages_for(size_t tokens)
{
    enum { TOKENS = 16 }; /* KV_PAGE_TOKENS */
    return (tokens + TOKENS - 1) / TOKENS;
}

#endif
