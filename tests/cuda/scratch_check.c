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

/* What no tensor has, of all chunks. */
static void mark_free(struct cuda_backend *cuda)
{
    for (size_t i = 0; i < cuda->scratch.count; i++) {
        struct chunk *chunk = &cuda->scratch.chunks[i];
        size_t used = i <= cuda->scratch.current ? chunk->used : 0;
        cuda_emulation_mark(chunk->data + used, chunk->bytes - used, false, cuda->stream);
    }
}

void *__wrap_scratch_take(struct cuda_backend *cuda, size_t count, size_t element_bytes)
{
    size_t bytes, chunks = cuda->scratch.count;
    char *memory = __builtin_mul_overflow(count, element_bytes, &bytes) || bytes > SIZE_MAX / 4
                       ? __real_scratch_take(cuda, count, element_bytes)
                       : __real_scratch_take(cuda, bytes + GAP_BYTES, 1);
    if (memory && cuda->scratch.count != chunks)
        mark_free(cuda);
    if (memory) {
        cuda_emulation_mark(memory, bytes, true, cuda->stream);
        cuda_emulation_mark(memory + bytes, GAP_BYTES, false, cuda->stream);
    }
    return memory;
}

void __wrap_scratch_release(struct cuda_backend *cuda, size_t mark)
{
    __real_scratch_release(cuda, mark);
    mark_free(cuda);
}

void __wrap_scratch_reset(struct cuda_backend *cuda)
{
    __real_scratch_reset(cuda);
    mark_free(cuda);
}
