#include "worker/model/tokenizer/charsmap.h"

#include <stdlib.h>
#include <string.h>

/* A unit of the array (darts-clone): bits 0-7 label, 8 has-leaf, 9 offset is shifted by 8, 10-30 offset, 31
 * leaf. */
static uint32_t label_of(uint32_t unit)
{
    return unit & (1u << 31 | 0xFF);
}

static uint32_t offset_of(uint32_t unit)
{
    return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

bool charsmap_open(struct charsmap *map, const char *blob, size_t len, struct error *err)
{
    *map = (struct charsmap){0};
    if (!len)
        return true;
    uint32_t bytes = 0;
    if (len >= 4)
        memcpy(&bytes, blob, 4);
    if (len < 4 || bytes % 4 || bytes > len - 4 || bytes < 4 || len - 4 - bytes == 0 || blob[len - 1] != '\0')
        return error_set(
            err, ERROR_INVALID, "the precompiled character map is cut or malformed (%zu bytes)", len);
    map->unit_count = bytes / 4;
    map->replacement_bytes = len - 4 - bytes;
    map->units = malloc(bytes);
    map->replacements = malloc(map->replacement_bytes);
    if (!map->units || !map->replacements) {
        charsmap_free(map);
        return error_set(err, ERROR_MEMORY, "no memory for a character map");
    }
    memcpy(map->units, blob + 4, bytes);
    memcpy(map->replacements, blob + 4 + bytes, map->replacement_bytes);
    return true;
}

void charsmap_free(struct charsmap *map)
{
    free(map->units);
    free(map->replacements);
    *map = (struct charsmap){0};
}

/* Walks the array; stops at the first or the longest key. */
static size_t walk(const struct charsmap *map, const char *text, size_t len, bool first, uint32_t *value)
{
    size_t found = 0;
    if (!map->unit_count)
        return 0;
    uint32_t node = offset_of(map->units[0]);
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)text[i];
        node ^= byte;
        if (!byte || node >= map->unit_count || label_of(map->units[node]) != byte)
            break;
        uint32_t unit = map->units[node];
        node ^= offset_of(unit);
        if (unit >> 8 & 1) {
            if (node >= map->unit_count)
                break;
            uint32_t leaf = map->units[node] & 0x7FFFFFFF;
            if (leaf < map->replacement_bytes) {
                found = i + 1;
                *value = leaf;
                if (first)
                    break;
            }
        }
    }
    return found;
}

size_t charsmap_longest(const struct charsmap *map, const char *text, size_t len, const char **replacement,
    size_t *replacement_len)
{
    uint32_t at = 0;
    size_t found = walk(map, text, len, false, &at);
    if (found) {
        *replacement = map->replacements + at;
        *replacement_len = strlen(*replacement);
    }
    return found;
}

bool charsmap_first(const struct charsmap *map, const char *text, size_t len, const char **replacement,
    size_t *replacement_len)
{
    uint32_t at = 0;
    if (!walk(map, text, len, true, &at))
        return false;
    *replacement = map->replacements + at;
    *replacement_len = strlen(*replacement);
    return true;
}
