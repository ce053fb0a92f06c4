#include "coordinator/scheduler/spans.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"

void spans_free(struct spans *spans)
{
    free(spans->items);
    *spans = (struct spans){0};
}

size_t spans_find(const struct spans *spans, uint64_t index)
{
    size_t low = 0, high = spans->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct span *item = &spans->items[middle];
        if (item->first + item->count <= index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void open_gap(struct spans *spans, size_t at)
{
    if (spans->count == spans->capacity) {
        spans->capacity = spans->capacity ? spans->capacity * 2 : 8;
        spans->items = alloc_resize(spans->items, spans->capacity, sizeof *spans->items);
    }
    assert(spans->items && at <= spans->count);
    memmove(&spans->items[at + 1], &spans->items[at], (spans->count - at) * sizeof *spans->items);
    spans->count++;
}

static void close_gap(struct spans *spans, size_t at)
{
    assert(spans->items && at < spans->count);
    spans->count--;
    memmove(&spans->items[at], &spans->items[at + 1], (spans->count - at) * sizeof *spans->items);
}

static bool same_retry(const struct retry *a, const struct retry *b)
{
    return a->limit == b->limit && a->alone == b->alone && a->not_before_ms == b->not_before_ms;
}

void spans_add(struct spans *spans, uint64_t first, uint64_t count, struct retry retry)
{
    if (!count)
        return;
    size_t at = spans_find(spans, first);
    assert(at == spans->count || spans->items[at].first >= first + count);
    spans->total += count;
    struct span *before = at ? &spans->items[at - 1] : NULL;
    struct span *after = at < spans->count ? &spans->items[at] : NULL;
    bool joins_before =
        before && before->first + before->count == first && same_retry(&before->retry, &retry);
    bool joins_after = after && first + count == after->first && same_retry(&after->retry, &retry);
    if (joins_before && joins_after) {
        before->count += count + after->count;
        close_gap(spans, at);
    } else if (joins_before) {
        before->count += count;
    } else if (joins_after) {
        after->first = first;
        after->count += count;
    } else {
        open_gap(spans, at);
        spans->items[at] = (struct span){.first = first, .count = count, .retry = retry};
    }
}

void spans_cut(struct spans *spans, size_t at, uint64_t first, uint64_t count)
{
    assert(at < spans->count && count);
    struct span *item = &spans->items[at];
    uint64_t end = item->first + item->count;
    assert(first >= item->first && first + count <= end);
    spans->total -= count;
    if (first == item->first && first + count == end) {
        close_gap(spans, at);
    } else if (first == item->first) {
        item->first += count;
        item->count -= count;
    } else if (first + count == end) {
        item->count -= count;
    } else {
        struct retry retry = item->retry;
        item->count = first - item->first;
        open_gap(spans, at + 1);
        spans->items[at + 1] =
            (struct span){.first = first + count, .count = end - first - count, .retry = retry};
    }
}

bool spans_take(struct spans *spans, uint64_t index)
{
    size_t at = spans_find(spans, index);
    if (at == spans->count || spans->items[at].first > index)
        return false;
    spans_cut(spans, at, index, 1);
    return true;
}
