/* The KV cache: one allocation of pages, and where rows go in it. */
#include <stdlib.h>

#include "worker/backend/cuda/device.h"

static bool cache_bytes(const struct kv_cache_args *args, size_t element_bytes, size_t *out)
{
    size_t elements;
    return args->head_dim <= HEAD_DIM_MAX && args->value_dim <= HEAD_DIM_MAX &&
           args->pages <= INT32_MAX / KV_PAGE_TOKENS &&
           !__builtin_mul_overflow(
               (args->head_dim + args->value_dim) * KV_PAGE_TOKENS, args->kv_heads, &elements) &&
           !__builtin_mul_overflow(elements, args->pages, &elements) &&
           !__builtin_mul_overflow(elements, args->layers, &elements) &&
           !__builtin_mul_overflow(elements, element_bytes, out);
}

bool cuda_kv_cache_create(
    struct backend *b, const struct kv_cache_args *args, struct kv_cache **out, struct error *err)
{
    struct cuda_backend *cuda = cuda_of(b);
    assert(args->layers > 0 && args->kv_heads > 0 && args->head_dim > 0 && args->value_dim > 0);
    size_t bytes = 0;
    if (args->head_dim > HEAD_DIM_MAX || args->value_dim > HEAD_DIM_MAX)
        return error_set(err, ERROR_UNSUPPORTED, "cuda: attention heads of %zu; up to %d are supported",
            args->head_dim > args->value_dim ? args->head_dim : args->value_dim, (int)HEAD_DIM_MAX);
    if (!cache_bytes(args, sizeof(float), &bytes))
        return error_set(err, ERROR_MEMORY, "no memory for a cache of %zu pages", args->pages);
    struct kv_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return error_set(err, ERROR_MEMORY, "no memory for a cache");
    cache->shape = *args;
    cache->bytes = bytes;
    cache->pages = (struct pages){
        .precision = PRECISION_EXACT,
        .count = (int)args->pages,
        .layers = (int)args->layers,
        .heads = (int)args->kv_heads,
        .head_dim = (int)args->head_dim,
        .value_dim = (int)args->value_dim,
    };
    cache->pages.data = cuda_take(cuda, bytes, err, "allocating the KV cache");
    if (!cache->pages.data) {
        free(cache);
        return false;
    }
    cuda->cache_bytes += bytes;
    cudaError_t status = cudaMemsetAsync(cache->pages.data, 0, bytes > 0 ? bytes : 1, cuda->stream);
    if (status != cudaSuccess) {
        cuda_kv_cache_free(b, cache);
        return cuda_error(cuda, status, err, "clearing the KV cache");
    }
    *out = cache;
    return true;
}

void cuda_kv_cache_free(struct backend *b, struct kv_cache *cache)
{
    if (!cache)
        return;
    struct cuda_backend *cuda = cuda_of(b);
    cuda->cache_bytes -= cache->bytes;
    cuda_give(cuda, cache->pages.data);
    free(cache);
}

/* from, then slots. */
static void lay_out_rows(const struct kv_cache *cache, const struct kv_append_sequence *sequences,
    size_t count, size_t rows, int32_t *out)
{
    for (size_t i = 0, at = 0; i < count; i++)
        for (size_t r = 0; r < sequences[i].rows; r++, at++) {
            size_t position = (size_t)sequences[i].position + r;
            int32_t page = sequences[i].pages[position / KV_PAGE_TOKENS];
            assert(page >= 0 && (size_t)page < cache->shape.pages);
            out[at] = (int32_t)(sequences[i].row + r);
            out[rows + at] = page * KV_PAGE_TOKENS + (int32_t)(position % KV_PAGE_TOKENS);
        }
}

void cuda_kv_append(struct backend *b, struct kv_cache *cache, size_t layer, struct tensor k, struct tensor v,
    const struct kv_append_sequence *sequences, size_t count)
{
    struct cuda_backend *cuda = cuda_of(b);
    assert(layer < cache->shape.layers && k.rows == v.rows);
    assert(k.width == cache->shape.kv_heads * cache->shape.head_dim);
    assert(v.width == cache->shape.kv_heads * cache->shape.value_dim);
    size_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        assert(sequences[i].row + sequences[i].rows <= k.rows && sequences[i].position >= 0);
        rows += sequences[i].rows;
    }
    if (cuda->failed || rows == 0)
        return;
    int32_t *places = staging_take(cuda, 2 * rows * sizeof *places);
    if (!places)
        return;
    lay_out_rows(cache, sequences, count, rows, places);
    const int32_t *sent = staging_send(cuda, places, 2 * rows * sizeof *places);
    if (!sent)
        return;
    struct kv_append_kernel kernel = {
        .pages = cache->pages,
        .layer = (int)layer,
        .rows = (int)rows,
        .k = tensor_at(k),
        .k_stride = k.stride,
        .v = tensor_at(v),
        .v_stride = v.stride,
        .from = sent,
        .slots = sent + rows,
    };
    cuda_check(cuda, kv_append_launch(&kernel, cuda->stream), "appending to the KV cache");
}

void cuda_kv_copy(
    struct backend *b, struct kv_cache *cache, const int32_t *from, const int32_t *to, size_t count)
{
    struct cuda_backend *cuda = cuda_of(b);
    for (size_t i = 0; i < count; i++)
        assert((size_t)from[i] < cache->shape.pages && (size_t)to[i] < cache->shape.pages);
    if (cuda->failed || count == 0)
        return;
    struct kv_copy_kernel kernel = {
        .pages = cache->pages,
        .from = cuda_send(cuda, from, count, sizeof *from),
        .to = cuda_send(cuda, to, count, sizeof *to),
        .count = (int)count,
    };
    if (!cuda->failed)
        cuda_check(cuda, kv_copy_launch(&kernel, cuda->stream), "copying pages");
}
