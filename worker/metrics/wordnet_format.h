/* The compiled WordNet: one file that is mapped and read in place, written by wordnet_compile at build time
 * on the machine's own byte order.
 *
 *   header | slots: uint32[slot_count] | words: struct[word_count] | lists: uint32[list_count] | names: bytes
 *
 * A word is found by its name's hash in `slots` (word + 1, 0: free, next slot when taken). Its lists follow
 * each other from `lists`: for each set bit of `kinds`, from the lowest, a count and that many words. Bits 0
 * to 3: for noun, verb, adjective, adverb, the names in the synsets of the word (only lower-case single
 * words: nothing else can be a token's synonym). Bits 4 to 7: for the same parts of speech, the base forms of
 * the exception list. */
#ifndef LUMIGRID_WORKER_METRICS_WORDNET_FORMAT_H
#define LUMIGRID_WORKER_METRICS_WORDNET_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#define WORDNET_MAGIC "LGWORDN1"
#define WORDNET_BYTE_ORDER 0x01020304u
#define WORDNET_PARTS 4
#define WORDNET_NAME_MAX 255

struct wordnet_header {
    char magic[8];
    uint32_t byte_order;
    uint32_t slot_count; /* a power of two */
    uint32_t word_count, list_count, name_bytes;
    uint32_t reserved;
};

struct wordnet_word {
    uint32_t name; /* offset in names */
    uint32_t lists;
    uint8_t name_len, kinds;
    uint16_t reserved;
};

static inline uint32_t wordnet_hash(const char *name, size_t len)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    return hash ^ hash >> 15;
}

#endif
