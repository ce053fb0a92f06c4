/* The CUDA backend's scratch is a stack inside large allocations. Linked with --wrap, these functions stand
 * before its own, and tell the emulation where each tensor begins and ends, so that it finds what goes beyond
 * one, or reads what an earlier one left. */
#include "emulation.h"
#include "worker/backend/cuda/device.h"

enum { GAP_BYTES = 256 };

void *__real_scratch_take(struct cuda_backend *cuda, size_t count, size_t element_bytes);
void *__wrap_scratch_take(struct cuda_backend *cuda, size_t count, size_t element_bytes);
void __real_scratch_release(struct cuda_backend *cuda, size_t mark);
void __wrap_scratch_release(struct cuda_backend *cuda, size_t mark);
void __real_scratch_reset(struct cuda_backend *cuda);
void __wrap_scratch_reset(struct cuda_backend *cuda);

/* How much of each chunk was used before a call, then what became free by it. */
static void note_used(const struct cuda_backend *cuda, size_t used[CHUNKS_MAX])
{
    for (size_t i = 0; i < CHUNKS_MAX; i++)
        used[i] = i < cuda->scratch.count ? cuda->scratch.chunks[i].used : 0;
}

static void mark_freed(struct cuda_backend *cuda, const size_t used[CHUNKS_MAX])
{
    for (size_t i = 0; i < cuda->scratch.count; i++) {
        struct chunk *chunk = &cuda->scratch.chunks[i];
        if (used[i] > chunk->used && used[i] <= chunk->bytes)
            cuda_emulation_mark(chunk->data + chunk->used, used[i] - chunk->used, false, cuda->stream);
    }
}

void *__wrap_scratch_take(struct cuda_backend *cuda, size_t count, size_t element_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, element_bytes, &bytes) || bytes > SIZE_MAX / 4)
        return __real_scratch_take(cuda, count, element_bytes);
    char *memory = __real_scratch_take(cuda, bytes + GAP_BYTES, 1);
    if (memory) {
        cuda_emulation_mark(memory, bytes, true, cuda->stream);
        cuda_emulation_mark(memory + bytes, GAP_BYTES, false, cuda->stream);
    }
    return memory;
}

void __wrap_scratch_release(struct cuda_backend *cuda, size_t mark)
{
    size_t used[CHUNKS_MAX];
    note_used(cuda, used);
    __real_scratch_release(cuda, mark);
    mark_freed(cuda, used);
}

void __wrap_scratch_reset(struct cuda_backend *cuda)
{
    size_t used[CHUNKS_MAX];
    note_used(cuda, used);
    __real_scratch_reset(cuda);
    mark_freed(cuda, used);
}
