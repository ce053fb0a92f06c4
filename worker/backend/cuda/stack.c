/* Scratch and staging: stacks in large chunks of the device's pool. */
#include <string.h>

#include "worker/backend/cuda/device.h"

static const size_t scratch_chunk_bytes = (size_t)32 << 20, staging_chunk_bytes = (size_t)1 << 20;
enum { ALIGNMENT = 256 };

static void close_chunk(struct cuda_backend *cuda, struct chunk *chunk)
{
    cudaFreeAsync(chunk->data, cuda->stream);
    if (chunk->host)
        cudaFreeHost(chunk->host);
    *chunk = (struct chunk){0};
}

static bool open_chunk(struct cuda_backend *cuda, struct stack *stack, size_t bytes)
{
    struct chunk *chunk = &stack->chunks[stack->count];
    void *data = NULL, *host = NULL;
    if (stack->count == CHUNKS_MAX) {
        cuda_fail(cuda, ERROR_MEMORY, "a step needs scratch memory in more than %d pieces", (int)CHUNKS_MAX);
        return false;
    }
    if (!cuda_check(cuda, cudaMallocAsync(&data, bytes, cuda->stream), "allocating scratch memory"))
        return false;
    if (stack->pinned &&
        !cuda_check(cuda, cudaHostAlloc(&host, bytes, cudaHostAllocDefault), "pinning memory")) {
        cudaFreeAsync(data, cuda->stream);
        return false;
    }
    *chunk = (struct chunk){.data = data, .host = host, .bytes = bytes};
    if (stack->count > 0)
        chunk->start = chunk[-1].start + chunk[-1].bytes;
    stack->count++;
    return true;
}

/* The chunk that has room for `bytes`; its place in it is chunk->used. */
static struct chunk *room_for(struct cuda_backend *cuda, struct stack *stack, size_t bytes)
{
    size_t least = stack->pinned ? staging_chunk_bytes : scratch_chunk_bytes;
    while (stack->current < stack->count) {
        struct chunk *chunk = &stack->chunks[stack->current];
        if (bytes <= chunk->bytes - chunk->used)
            return chunk;
        if (chunk->used == 0 && stack->current + 1 == stack->count) { /* the last, and too small */
            close_chunk(cuda, chunk);
            stack->count--;
            break;
        }
        stack->current++;
    }
    if (!open_chunk(cuda, stack, bytes > least ? round_up(bytes, least) : least))
        return NULL;
    stack->current = stack->count - 1;
    return &stack->chunks[stack->current];
}

static struct chunk *take(struct cuda_backend *cuda, struct stack *stack, size_t bytes)
{
    if (cuda->failed)
        return NULL;
    struct chunk *chunk = room_for(cuda, stack, bytes);
    if (!chunk)
        return NULL;
    chunk->used += bytes;
    if (chunk->start + chunk->used > stack->step_bytes)
        stack->step_bytes = chunk->start + chunk->used;
    return chunk;
}

void *scratch_take(struct cuda_backend *cuda, size_t count, size_t element_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, element_bytes, &bytes) || bytes > SIZE_MAX / 4) {
        cuda_fail(cuda, ERROR_MEMORY, "a step needs more scratch memory than there can be");
        return NULL;
    }
    bytes = round_up(bytes > 0 ? bytes : 1, ALIGNMENT);
    struct chunk *chunk = take(cuda, &cuda->scratch, bytes);
    return chunk ? chunk->data + chunk->used - bytes : NULL;
}

size_t scratch_mark(const struct cuda_backend *cuda)
{
    const struct stack *stack = &cuda->scratch;
    if (stack->count == 0)
        return 0;
    return stack->chunks[stack->current].start + stack->chunks[stack->current].used;
}

void scratch_release(struct cuda_backend *cuda, size_t mark)
{
    struct stack *stack = &cuda->scratch;
    for (; stack->current > 0 && stack->chunks[stack->current].start > mark; stack->current--)
        stack->chunks[stack->current].used = 0;
    if (stack->count > 0 && mark >= stack->chunks[stack->current].start)
        stack->chunks[stack->current].used = mark - stack->chunks[stack->current].start;
}

/* A step that went over several chunks gets one that holds all of it from then on; one much larger than what
 * steps use goes back to the pool: a long input is not paid for ever. */
static void reset(struct cuda_backend *cuda, struct stack *stack)
{
    size_t least = stack->pinned ? staging_chunk_bytes : scratch_chunk_bytes;
    bool wasteful = stack->count == 1 && stack->chunks[0].bytes > 4 * stack->step_bytes + 2 * least;
    if (stack->count > 1 || wasteful) {
        while (stack->count > 0)
            close_chunk(cuda, &stack->chunks[--stack->count]);
        open_chunk(cuda, stack, round_up(stack->step_bytes + least / 4, least));
    }
    if (stack->count == 1)
        stack->chunks[0].used = 0;
    stack->current = 0;
    stack->step_bytes = 0;
}

/* What was staged must have been read before it is written again; callers have mostly waited already. */
void scratch_reset(struct cuda_backend *cuda)
{
    cuda_check(cuda, cudaStreamSynchronize(cuda->stream), "waiting for the last step");
    if (!cuda->lost) {
        cuda->failed = false;
        cuda->failure = (struct error){0};
    }
    cuda->sent_count = 0;
    if (cuda->failed)
        return;
    reset(cuda, &cuda->scratch);
    reset(cuda, &cuda->staging);
}

void scratch_close(struct cuda_backend *cuda)
{
    while (cuda->scratch.count > 0)
        close_chunk(cuda, &cuda->scratch.chunks[--cuda->scratch.count]);
    while (cuda->staging.count > 0)
        close_chunk(cuda, &cuda->staging.chunks[--cuda->staging.count]);
}

void *staging_take(struct cuda_backend *cuda, size_t bytes)
{
    bytes = round_up(bytes > 0 ? bytes : 1, ALIGNMENT);
    struct chunk *chunk = take(cuda, &cuda->staging, bytes);
    return chunk ? chunk->host + chunk->used - bytes : NULL;
}

static const void *find_sent(const struct cuda_backend *cuda, const void *array, size_t bytes)
{
    for (size_t i = 0; i < cuda->sent_count; i++)
        if (cuda->sent[i].bytes == bytes && memcmp(cuda->sent[i].host, array, bytes) == 0)
            return cuda->sent[i].device;
    return NULL;
}

const void *staging_send(struct cuda_backend *cuda, const void *host, size_t bytes)
{
    if (!host || cuda->failed)
        return NULL;
    const void *found = find_sent(cuda, host, bytes);
    struct chunk *chunk = &cuda->staging.chunks[cuda->staging.current];
    if (found) { /* what was filled for nothing is given back: it was the last taken */
        chunk->used = (size_t)((const char *)host - chunk->host);
        return found;
    }
    void *device = chunk->data + ((const char *)host - chunk->host);
    if (!cuda_check(cuda, cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, cuda->stream),
            "sending arguments"))
        return NULL;
    if (cuda->sent_count < SENT_MAX)
        cuda->sent[cuda->sent_count++] = (struct sent){.host = host, .device = device, .bytes = bytes};
    return device;
}

const void *cuda_send(struct cuda_backend *cuda, const void *array, size_t count, size_t element_bytes)
{
    size_t bytes = count * element_bytes;
    const void *found = cuda->failed ? NULL : find_sent(cuda, array, bytes);
    if (found)
        return found;
    void *host = staging_take(cuda, bytes);
    if (!host)
        return NULL;
    memcpy(host, array, bytes);
    return staging_send(cuda, host, bytes);
}
