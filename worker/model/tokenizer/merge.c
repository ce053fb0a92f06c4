#include "worker/model/tokenizer/merge.h"

#include <stdlib.h>

#include "worker/model/tokenizer/buffer.h"

enum { NONE = UINT32_MAX, SHORT_LIST = 24 };

/* A pair that may merge. It is stale when either symbol has changed since. */
struct candidate {
    double order;
    uint32_t left;
    int32_t id;
    int32_t left_id, right_id;
    uint32_t len; /* of both together */
};

struct heap {
    struct candidate *items;
    size_t count, capacity;
};

void merge_list_free(struct merge_list *list)
{
    free(list->symbols);
    *list = (struct merge_list){0};
}

bool merge_list_push(struct merge_list *list, int32_t id, uint32_t len, struct error *err)
{
    if (list->count >= NONE - 1)
        return error_set(err, ERROR_TOO_LARGE, "a word is too long to be tokenized");
    struct merge_symbol *symbols =
        array_grow(list->symbols, &list->capacity, list->count + 1, sizeof(*symbols), err);
    if (!symbols)
        return false;
    list->symbols = symbols;
    uint32_t begin = list->count ? symbols[list->count - 1].begin + symbols[list->count - 1].len : 0;
    symbols[list->count] = (struct merge_symbol){.id = id, .begin = begin, .len = len};
    list->count++;
    return true;
}

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->order != b->order ? a->order < b->order : a->left < b->left;
}

static bool heap_push(struct heap *heap, struct candidate item, struct error *err)
{
    struct candidate *items = array_grow(heap->items, &heap->capacity, heap->count + 1, sizeof(*items), err);
    if (!items)
        return false;
    heap->items = items;
    size_t i = heap->count++;
    for (; i > 0 && before(&item, &items[(i - 1) / 2]); i = (i - 1) / 2)
        items[i] = items[(i - 1) / 2];
    items[i] = item;
    return true;
}

static struct candidate heap_pop(struct heap *heap)
{
    struct candidate top = heap->items[0], last = heap->items[--heap->count];
    size_t i = 0;
    for (;;) {
        size_t child = i * 2 + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(&heap->items[child + 1], &heap->items[child]))
            child++;
        if (!before(&heap->items[child], &last))
            break;
        heap->items[i] = heap->items[child];
        i = child;
    }
    heap->items[i] = last;
    return top;
}

/* Joins symbols[left] with its right neighbour. */
static void join(struct merge_symbol *symbols, uint32_t left, int32_t id)
{
    struct merge_symbol *a = &symbols[left], *b = &symbols[a->next];
    a->id = id;
    a->len += b->len;
    b->len = 0;
    a->next = b->next;
    if (b->next != NONE)
        symbols[b->next].previous = left;
}

/* Few symbols: looking through all of them each time beats keeping a heap. */
static void run_short(struct merge_list *list, merge_find find, const void *context)
{
    struct merge_found found[SHORT_LIST];
    bool merges[SHORT_LIST];
    struct merge_symbol *s = list->symbols;
    for (uint32_t i = 0; i != NONE; i = s[i].next)
        merges[i] = s[i].next != NONE && find(context, &s[i], &s[s[i].next], &found[i]);
    for (;;) {
        uint32_t best = NONE;
        for (uint32_t i = 0; i != NONE; i = s[i].next) {
            if (merges[i] && (best == NONE || found[i].order < found[best].order))
                best = i;
        }
        if (best == NONE)
            return;
        join(s, best, found[best].id);
        uint32_t next = s[best].next, previous = s[best].previous;
        merges[best] = next != NONE && find(context, &s[best], &s[next], &found[best]);
        if (previous != NONE)
            merges[previous] = find(context, &s[previous], &s[best], &found[previous]);
    }
}

static bool offer(struct heap *heap, const struct merge_list *list, uint32_t left, merge_find find,
    const void *context, struct error *err)
{
    const struct merge_symbol *a = &list->symbols[left];
    struct merge_found found;
    if (a->next == NONE)
        return true;
    const struct merge_symbol *b = &list->symbols[a->next];
    if (!find(context, a, b, &found))
        return true;
    return heap_push(
        heap, (struct candidate){found.order, left, found.id, a->id, b->id, a->len + b->len}, err);
}

static bool run_long(struct merge_list *list, merge_find find, const void *context, struct error *err)
{
    struct heap heap = {0};
    struct merge_symbol *s = list->symbols;
    bool ok = true;
    for (uint32_t i = 0; ok && i < list->count; i++)
        ok = offer(&heap, list, i, find, context, err);
    while (ok && heap.count) {
        struct candidate c = heap_pop(&heap);
        struct merge_symbol *a = &s[c.left];
        if (!a->len || a->next == NONE || a->id != c.left_id || s[a->next].id != c.right_id ||
            a->len + s[a->next].len != c.len)
            continue;
        join(s, c.left, c.id);
        ok = offer(&heap, list, c.left, find, context, err) &&
             (a->previous == NONE || offer(&heap, list, a->previous, find, context, err));
    }
    free(heap.items);
    return ok;
}

bool merge_list_run(struct merge_list *list, merge_find find, const void *context, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        list->symbols[i].previous = i ? (uint32_t)i - 1 : NONE;
        list->symbols[i].next = i + 1 < list->count ? (uint32_t)i + 1 : NONE;
    }
    if (list->count < 2)
        return true;
    if (list->count <= SHORT_LIST) {
        run_short(list, find, context);
        return true;
    }
    return run_long(list, find, context, err);
}
