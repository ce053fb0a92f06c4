#include "worker/model/tokenizer/trie.h"

#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/buffer.h"

struct span {
    size_t begin, end; /* keys that share the node's prefix */
    uint32_t node;
    uint32_t depth;
};

static int compare_keys(const void *a, const void *b)
{
    const struct trie_key *x = a, *y = b;
    size_t shorter = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->data, y->data, shorter);
    if (order)
        return order;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

static bool push_node(struct trie *trie, uint8_t byte, struct error *err)
{
    if (trie->count >= UINT32_MAX)
        return error_set(err, ERROR_TOO_LARGE, "a vocabulary's tokens share too few letters to be indexed");
    struct trie_node *nodes = array_grow(trie->nodes, &trie->capacity, trie->count + 1, sizeof(*nodes), err);
    if (!nodes)
        return false;
    trie->nodes = nodes;
    nodes[trie->count++] = (struct trie_node){.byte = byte, .value = -1};
    return true;
}

/* Adds the children of one node and leaves their spans in `next`. */
static bool expand(struct trie *trie, const struct trie_key *keys, struct span span, struct span **next,
    size_t *next_count, size_t *next_capacity, struct error *err)
{
    size_t i = span.begin;
    while (i < span.end && keys[i].len == span.depth)
        trie->nodes[span.node].value = keys[i++].value;
    trie->nodes[span.node].first_child = (uint32_t)trie->count;
    while (i < span.end) {
        uint8_t byte = (uint8_t)keys[i].data[span.depth];
        size_t begin = i;
        while (i < span.end && (uint8_t)keys[i].data[span.depth] == byte)
            i++;
        struct span *spans = array_grow(*next, next_capacity, *next_count + 1, sizeof(*spans), err);
        if (!spans)
            return false;
        *next = spans;
        spans[(*next_count)++] = (struct span){begin, i, (uint32_t)trie->count, span.depth + 1};
        if (!push_node(trie, byte, err))
            return false;
        trie->nodes[span.node].child_count++;
    }
    return true;
}

bool trie_build(struct trie *trie, struct trie_key *keys, size_t count, struct error *err)
{
    *trie = (struct trie){0};
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (keys[i].len)
            keys[kept++] = keys[i];
    }
    if (kept)
        qsort(keys, kept, sizeof(*keys), compare_keys);
    struct span *spans = NULL;
    size_t span_count = 0, span_capacity = 0;
    bool ok = push_node(trie, 0, err) &&
              expand(trie, keys, (struct span){0, kept, 0, 0}, &spans, &span_count, &span_capacity, err);
    for (size_t i = 0; ok && i < span_count; i++)
        ok = expand(trie, keys, spans[i], &spans, &span_count, &span_capacity, err);
    free(spans);
    if (!ok) {
        trie_free(trie);
        return false;
    }
    for (uint32_t i = 0; i < trie->nodes[0].child_count; i++)
        trie->roots[trie->nodes[1 + i].byte] = 1 + i;
    return true;
}

void trie_free(struct trie *trie)
{
    free(trie->nodes);
    *trie = (struct trie){0};
}

int32_t trie_longest(const struct trie *trie, const char *text, size_t len, size_t *token_len)
{
    int32_t found = -1;
    uint32_t node = 0;
    if (!trie->count)
        return -1;
    for (size_t i = 0; i < len; i++) {
        node = trie_child(trie, node, (uint8_t)text[i]);
        if (!node)
            break;
        if (trie->nodes[node].value >= 0) {
            found = trie->nodes[node].value;
            *token_len = i + 1;
        }
    }
    return found;
}
