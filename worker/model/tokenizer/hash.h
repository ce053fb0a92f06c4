/* Hashes for the tokenizer's own tables; not stable between versions, never written anywhere. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_HASH_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    x ^= x >> 29;
    return x;
}

static inline uint32_t hash_bytes(const char *data, size_t len)
{
    uint64_t h = len * 0x9E3779B97F4A7C15u;
    while (len >= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        h = hash_mix(h ^ word) * 0x9E3779B97F4A7C15u;
        data += 8;
        len -= 8;
    }
    if (len) {
        uint64_t word = 0;
        memcpy(&word, data, len);
        h = hash_mix(h ^ word) * 0x9E3779B97F4A7C15u;
    }
    return (uint32_t)(hash_mix(h) >> 7);
}

#endif
