#include "worker/metrics/vocabulary.h"

#include <assert.h>
#include <string.h>

/* A multiply-and-fold hash; the constant is 2^64 divided by the golden ratio, made odd. */
static uint64_t mix(uint64_t value)
{
    __uint128_t product = (__uint128_t)value * 0x9E3779B97F4A7C15u;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_bytes(const void *key, size_t bytes)
{
    const unsigned char *p = key;
    uint64_t hash = bytes;
    for (; bytes >= 8; p += 8, bytes -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        hash = mix(hash ^ word);
    }
    uint64_t tail = 0;
    for (size_t i = 0; i < bytes; i++)
        tail |= (uint64_t)p[i] << (8 * i);
    return mix(hash ^ tail ^ 0x5851F42D4C957F2Du);
}

/* At least twice the capacity, so that a probe ends after one or two steps. */
static size_t slot_count(size_t capacity)
{
    size_t slots = 16;
    while (slots / 2 < capacity)
        slots *= 2;
    return slots;
}

bool metric_vocabulary_open(
    struct metric_vocabulary *vocabulary, struct metric_arena *arena, size_t capacity, struct error *err)
{
    if (capacity >= METRIC_NO_ID / 4)
        return error_set(err, ERROR_TOO_LARGE, "the sample has too many words to score (%zu)", capacity);
    size_t slots = slot_count(capacity);
    *vocabulary = (struct metric_vocabulary){.mask = slots - 1, .capacity = (uint32_t)capacity};
    vocabulary->entries = metric_arena_alloc(arena, capacity, sizeof *vocabulary->entries, err);
    if (!vocabulary->entries)
        return false;
    vocabulary->slots = metric_arena_zalloc(arena, slots, sizeof *vocabulary->slots, err);
    return vocabulary->slots != NULL;
}

static size_t find_slot(
    const struct metric_vocabulary *vocabulary, const void *key, size_t bytes, uint64_t hash)
{
    size_t slot = hash & vocabulary->mask;
    while (vocabulary->slots[slot]) {
        const struct metric_vocabulary_entry *entry = &vocabulary->entries[vocabulary->slots[slot] - 1];
        if (entry->hash == hash && entry->bytes == bytes && memcmp(entry->key, key, bytes) == 0)
            break;
        slot = (slot + 1) & vocabulary->mask;
    }
    return slot;
}

uint32_t metric_vocabulary_add(struct metric_vocabulary *vocabulary, const void *key, size_t bytes)
{
    uint64_t hash = hash_bytes(key, bytes);
    size_t slot = find_slot(vocabulary, key, bytes, hash);
    if (!vocabulary->slots[slot]) {
        assert(vocabulary->count < vocabulary->capacity);
        vocabulary->entries[vocabulary->count] = (struct metric_vocabulary_entry){key, bytes, hash};
        vocabulary->slots[slot] = ++vocabulary->count;
    }
    return vocabulary->slots[slot] - 1;
}

uint32_t metric_vocabulary_find(const struct metric_vocabulary *vocabulary, const void *key, size_t bytes)
{
    size_t slot = find_slot(vocabulary, key, bytes, hash_bytes(key, bytes));
    return vocabulary->slots[slot] ? vocabulary->slots[slot] - 1 : METRIC_NO_ID;
}

bool metric_pairs_open(
    struct metric_pairs *pairs, struct metric_arena *arena, size_t capacity, struct error *err)
{
    if (capacity >= METRIC_NO_ID / 4)
        return error_set(err, ERROR_TOO_LARGE, "the sample has too many n-grams to score (%zu)", capacity);
    size_t slots = slot_count(capacity);
    *pairs = (struct metric_pairs){.mask = slots - 1, .capacity = (uint32_t)capacity};
    pairs->keys = metric_arena_alloc(arena, slots, sizeof *pairs->keys, err);
    if (!pairs->keys)
        return false;
    pairs->values = metric_arena_zalloc(arena, slots, sizeof *pairs->values, err);
    return pairs->values != NULL;
}

static size_t find_pair(const struct metric_pairs *pairs, uint64_t key)
{
    size_t slot = mix(key) & pairs->mask;
    while (pairs->values[slot] && pairs->keys[slot] != key)
        slot = (slot + 1) & pairs->mask;
    return slot;
}

uint32_t metric_pairs_add(struct metric_pairs *pairs, uint32_t first, uint32_t second)
{
    uint64_t key = (uint64_t)first << 32 | second;
    size_t slot = find_pair(pairs, key);
    if (!pairs->values[slot]) {
        assert(pairs->count < pairs->capacity);
        pairs->keys[slot] = key;
        pairs->values[slot] = ++pairs->count;
    }
    return pairs->values[slot] - 1;
}

uint32_t metric_pairs_find(const struct metric_pairs *pairs, uint32_t first, uint32_t second)
{
    size_t slot = find_pair(pairs, (uint64_t)first << 32 | second);
    return pairs->values[slot] ? pairs->values[slot] - 1 : METRIC_NO_ID;
}
