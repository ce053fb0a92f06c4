/* Scratch memory: a stack in one reserved range of addresses. */
#include <stdlib.h>
#include <sys/mman.h>

#include "worker/backend/cpu/cpu.h"

enum { ALIGNMENT = 64, KEPT_BYTES = 32 << 20 };

bool arena_open(struct arena *arena, struct error *err)
{
    *arena = (struct arena){0};
    for (size_t bytes = (size_t)1 << 38; bytes >= (size_t)1 << 28; bytes /= 2) {
        void *base =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED)
            continue;
        madvise(base, bytes, MADV_HUGEPAGE); /* a wish */
        madvise(base, bytes, MADV_DONTDUMP);
        arena->base = base;
        arena->reserved_bytes = bytes;
        return true;
    }
    return error_set(err, ERROR_MEMORY, "no address space for scratch memory");
}

void arena_close(struct arena *arena)
{
    if (arena->base)
        munmap(arena->base, arena->reserved_bytes);
}

void *arena_alloc(struct cpu_backend *cpu, size_t count, size_t element_bytes)
{
    struct arena *arena = &cpu->arena;
    size_t bytes;
    if (cpu->failed)
        return NULL;
    if (__builtin_mul_overflow(count, element_bytes, &bytes) ||
        bytes > arena->reserved_bytes - arena->used_bytes - ALIGNMENT) {
        cpu_fail(cpu, ERROR_MEMORY, "a step needs more than %zu MiB of scratch memory",
            arena->reserved_bytes >> 20);
        return NULL;
    }
    void *memory = arena->base + arena->used_bytes;
    arena->used_bytes += round_up(bytes, ALIGNMENT);
    if (arena->used_bytes > arena->step_bytes)
        arena->step_bytes = arena->used_bytes;
    return memory;
}

size_t arena_mark(const struct cpu_backend *cpu)
{
    return cpu->arena.used_bytes;
}

void arena_release(struct cpu_backend *cpu, size_t mark)
{
    assert(mark <= cpu->arena.used_bytes);
    cpu->arena.used_bytes = mark;
}

/* Memory beyond twice what the last step used goes back to the system: a long input is not paid for ever. */
void arena_reset(struct arena *arena)
{
    if (arena->step_bytes > arena->touched_bytes)
        arena->touched_bytes = arena->step_bytes;
    size_t keep = round_up(2 * arena->step_bytes + KEPT_BYTES, (size_t)2 << 20);
    if (arena->touched_bytes > keep) {
        madvise(arena->base + keep, round_up(arena->touched_bytes - keep, (size_t)2 << 20), MADV_DONTNEED);
        arena->touched_bytes = keep;
    }
    arena->used_bytes = 0;
    arena->step_bytes = 0;
}
