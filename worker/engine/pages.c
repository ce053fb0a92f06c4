#include "worker/engine/pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/backend/backend.h"

bool page_pool_open(struct page_pool *pool, size_t total, struct error *err)
{
    memset(pool, 0, sizeof *pool);
    pool->holders = calloc(total + 1, sizeof *pool->holders);
    pool->free = malloc((total + 1) * sizeof *pool->free);
    if (!pool->holders || !pool->free) {
        page_pool_close(pool);
        return error_set(err, ERROR_MEMORY, "cache: out of memory for %zu pages", total);
    }
    pool->total = pool->free_count = total;
    for (size_t i = 0; i < total; i++)
        pool->free[i] = (int32_t)(total - 1 - i);
    return true;
}

void page_pool_close(struct page_pool *pool)
{
    free(pool->holders);
    free(pool->free);
    memset(pool, 0, sizeof *pool);
}

bool page_pool_promise(struct page_pool *pool, size_t pages)
{
    if (pages > pool->total - pool->promised)
        return false;
    pool->promised += pages;
    return true;
}

void page_pool_release_promise(struct page_pool *pool, size_t pages)
{
    assert(pages <= pool->promised);
    pool->promised -= pages;
}

static int32_t take(struct page_pool *pool)
{
    assert(pool->free_count > 0);
    int32_t page = pool->free[--pool->free_count];
    assert(pool->holders[page] == 0);
    pool->holders[page] = 1;
    return page;
}

static void drop(struct page_pool *pool, int32_t page)
{
    assert(pool->holders[page] > 0);
    if (--pool->holders[page] == 0)
        pool->free[pool->free_count++] = page;
}

bool page_table_open(struct page_table *table, size_t capacity, struct error *err)
{
    table->pages = malloc((capacity + 1) * sizeof *table->pages);
    table->count = 0;
    table->capacity = capacity;
    return table->pages || error_set(err, ERROR_MEMORY, "cache: out of memory");
}

void page_table_clear(struct page_pool *pool, struct page_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        drop(pool, table->pages[i]);
    table->count = 0;
}

void page_table_close(struct page_pool *pool, struct page_table *table)
{
    page_table_clear(pool, table);
    free(table->pages);
    table->pages = NULL;
}

void page_table_share(
    struct page_pool *pool, struct page_table *to, const struct page_table *from, size_t count)
{
    assert(to->count == 0 && count <= from->count && count <= to->capacity);
    for (size_t i = 0; i < count; i++) {
        to->pages[i] = from->pages[i];
        pool->holders[to->pages[i]]++;
    }
    to->count = count;
}

bool page_table_prepare(
    struct page_pool *pool, struct page_table *table, size_t first, size_t rows, struct page_copy *copy)
{
    static_assert(KV_PAGE_TOKENS == 16, "pages_for counts pages of 16");
    bool copied = false;
    size_t at = first / KV_PAGE_TOKENS, needed = pages_for(first + rows);
    assert(needed <= table->capacity && at <= table->count);
    if (first % KV_PAGE_TOKENS != 0 && pool->holders[table->pages[at]] > 1) {
        *copy = (struct page_copy){table->pages[at], take(pool)};
        drop(pool, table->pages[at]);
        table->pages[at] = copy->to;
        copied = true;
    }
    while (table->count < needed)
        table->pages[table->count++] = take(pool);
    return copied;
}
