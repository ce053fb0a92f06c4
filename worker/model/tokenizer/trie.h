/* A byte trie over token strings, read-only once built: finds every token that is a prefix of a text. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_TRIE_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct trie_key {
    const char *data;
    uint32_t len;
    int32_t value; /* >= 0 */
};

struct trie_node {
    uint32_t first_child; /* children are neighbours, ordered by byte */
    uint16_t child_count;
    uint8_t byte;
    int32_t value; /* -1: no token ends here */
};

struct trie {
    struct trie_node *nodes; /* nodes[0] is the root */
    size_t count;
    size_t capacity;
    uint32_t roots[256]; /* the root's child for a byte, 0: none */
};

/* Builds from keys (reordered in place). Of equal keys the highest value wins. Empty keys are
 * left out. */
bool trie_build(struct trie *trie, struct trie_key *keys, size_t count, struct error *err);
void trie_free(struct trie *trie);

/* The node reached from `node` by `byte`; 0: none. */
static inline uint32_t trie_child(const struct trie *trie, uint32_t node, uint8_t byte)
{
    if (node == 0)
        return trie->roots[byte];
    const struct trie_node *parent = &trie->nodes[node];
    uint32_t low = parent->first_child, high = low + parent->child_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (trie->nodes[middle].byte < byte)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < parent->first_child + parent->child_count && trie->nodes[low].byte == byte)
        return low;
    return 0;
}

/* The longest token at text[0..len): its value and bytes; -1: none. */
int32_t trie_longest(const struct trie *trie, const char *text, size_t len, size_t *token_len);

#endif
