#include "worker/metrics/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)256 * 1024)

struct metric_arena_chunk {
    struct metric_arena_chunk *next;
    _Alignas(16) char data[];
};

void metric_arena_open(struct metric_arena *arena)
{
    arena->chunks = NULL;
    arena->next = arena->first;
    arena->left = METRIC_ARENA_INLINE_BYTES;
}

void metric_arena_close(struct metric_arena *arena)
{
    while (arena->chunks) {
        struct metric_arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    arena->left = 0;
}

static bool add_chunk(struct metric_arena *arena, size_t bytes)
{
    size_t data = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    struct metric_arena_chunk *chunk = malloc(sizeof *chunk + data);
    if (!chunk)
        return false;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena->next = chunk->data;
    arena->left = data;
    return true;
}

void *metric_arena_alloc(struct metric_arena *arena, size_t count, size_t size, struct error *err)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        error_set(err, ERROR_MEMORY, "the sample is too large to score");
        return NULL;
    }
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > arena->left && !add_chunk(arena, bytes)) {
        error_set(err, ERROR_MEMORY, "not enough memory to score the sample (%zu bytes asked for)", bytes);
        return NULL;
    }
    void *result = arena->next;
    arena->next += bytes;
    arena->left -= bytes;
    return result;
}

void *metric_arena_zalloc(struct metric_arena *arena, size_t count, size_t size, struct error *err)
{
    void *result = metric_arena_alloc(arena, count, size, err);
    if (result)
        memset(result, 0, count * size);
    return result;
}
