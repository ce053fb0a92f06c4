#include "worker/model/tokenizer/word_cache.h"

#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/hash.h"

enum { SLOTS = 1 << 16, PROBES = 4, WORD_BYTES_MAX = 64 };

struct cached_word {
    uint32_t len, count;
    int32_t ids[]; /* count of them, then the word's bytes */
};

bool word_cache_init(struct word_cache *cache, struct error *err)
{
    cache->slots = calloc(SLOTS, sizeof(*cache->slots));
    return cache->slots || error_set(err, ERROR_MEMORY, "no memory for a tokenizer's cache");
}

void word_cache_free(struct word_cache *cache)
{
    for (size_t i = 0; cache->slots && i < SLOTS; i++)
        free(atomic_load_explicit(&cache->slots[i], memory_order_relaxed));
    free(cache->slots);
    cache->slots = NULL;
}

static bool append(const struct cached_word *entry, struct token_ids *out, struct error *err)
{
    if (out->capacity - out->count >= entry->count && out->ids) {
        memcpy(out->ids + out->count, entry->ids, entry->count * sizeof(int32_t));
        out->count += entry->count;
        return true;
    }
    for (uint32_t i = 0; i < entry->count; i++) {
        if (!token_ids_push(out, entry->ids[i], err))
            return false;
    }
    return true;
}

enum word_cache_result word_cache_get(const struct word_cache *cache, const char *word, size_t len,
    size_t *slot, struct token_ids *out, struct error *err)
{
    *slot = SLOTS;
    if (len > WORD_BYTES_MAX)
        return WORD_CACHE_MISS;
    uint32_t hash = hash_bytes(word, len);
    for (uint32_t probe = 0; probe < PROBES; probe++) {
        size_t at = (hash + probe) & (SLOTS - 1);
        const struct cached_word *entry = atomic_load_explicit(&cache->slots[at], memory_order_acquire);
        if (!entry) {
            *slot = at;
            return WORD_CACHE_MISS;
        }
        if (entry->len == len && memcmp(entry->ids + entry->count, word, len) == 0)
            return append(entry, out, err) ? WORD_CACHE_HIT : WORD_CACHE_ERROR;
    }
    return WORD_CACHE_MISS;
}

void word_cache_keep(const struct word_cache *cache, size_t slot, const char *word, size_t len,
    const int32_t *ids, size_t count)
{
    if (slot >= SLOTS)
        return;
    struct cached_word *entry = malloc(sizeof(*entry) + count * sizeof(int32_t) + len);
    if (!entry) /* the cache is a convenience: without memory it just does not grow */
        return;
    entry->len = (uint32_t)len;
    entry->count = (uint32_t)count;
    if (count)
        memcpy(entry->ids, ids, count * sizeof(int32_t));
    memcpy(entry->ids + count, word, len);
    struct cached_word *expected = NULL;
    if (!atomic_compare_exchange_strong_explicit(
            &cache->slots[slot], &expected, entry, memory_order_release, memory_order_relaxed))
        free(entry);
}
