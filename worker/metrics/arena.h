/* Scratch memory of one sample: many small allocations, freed at once. Lives on the stack of the function
 * that scores; its first 32 KiB need no malloc, which is enough for ordinary texts. */
#ifndef LUMIGRID_WORKER_METRICS_ARENA_H
#define LUMIGRID_WORKER_METRICS_ARENA_H

#include <stddef.h>

#include "common/error.h"

#define METRIC_ARENA_INLINE_BYTES ((size_t)32 * 1024)

struct metric_arena_chunk;
struct metric_arena {
    struct metric_arena_chunk *chunks; /* malloc'd, newest first */
    char *next;
    size_t left;
    _Alignas(16) char first[METRIC_ARENA_INLINE_BYTES];
};

void metric_arena_open(struct metric_arena *arena);
void metric_arena_close(struct metric_arena *arena);

/* `count` items of `size` bytes, 16-byte aligned, not cleared; valid until the arena closes. NULL with
 * ERROR_MEMORY when there is no memory or the size overflows. count 0 gives a valid pointer. */
void *metric_arena_alloc(struct metric_arena *arena, size_t count, size_t size, struct error *err);

/* The same, set to zero. */
void *metric_arena_zalloc(struct metric_arena *arena, size_t count, size_t size, struct error *err);

#endif
