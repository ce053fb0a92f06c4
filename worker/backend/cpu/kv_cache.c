/* Pages of keys and values. A page's keys are transposed, [head_dim][16], so that scores of 16 keys are
 * computed side by side; values are rows. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "worker/backend/cpu/cpu.h"

bool cpu_kv_cache_create(
    struct backend *b, const struct kv_cache_args *args, struct kv_cache **out, struct error *err)
{
    assert(args->layers > 0 && args->kv_heads > 0 && args->head_dim > 0 && args->value_dim > 0);
    struct kv_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return error_set(err, ERROR_MEMORY, "no memory for a cache");
    cache->shape = *args;
    cache->value_stride = round_up(args->value_dim, 16);
    size_t floats = 0;
    bool overflow = __builtin_mul_overflow(
                        args->head_dim + cache->value_stride, (size_t)KV_PAGE_TOKENS, &cache->head_floats) ||
                    __builtin_mul_overflow(cache->head_floats, args->kv_heads, &floats) ||
                    __builtin_mul_overflow(floats, args->pages, &cache->layer_floats) ||
                    __builtin_mul_overflow(cache->layer_floats, args->layers, &floats) ||
                    __builtin_mul_overflow(floats, sizeof(float), &cache->bytes);
    if (!overflow && cache->bytes > 0) {
        /* zeroed by the system when first touched */
        void *data = mmap(
            NULL, cache->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        cache->data = data == MAP_FAILED ? NULL : data;
    }
    if (overflow || (cache->bytes > 0 && !cache->data)) {
        error_set(err, ERROR_MEMORY, "no memory for a cache of %zu pages, %zu MiB", args->pages,
            overflow ? SIZE_MAX >> 20 : cache->bytes >> 20);
        free(cache);
        return false;
    }
    if (cache->bytes > 0)
        madvise(cache->data, cache->bytes, MADV_HUGEPAGE); /* a wish */
    cpu_of(b)->cache_bytes += cache->bytes;
    *out = cache;
    return true;
}

void cpu_kv_cache_free(struct backend *b, struct kv_cache *cache)
{
    if (!cache)
        return;
    cpu_of(b)->cache_bytes -= cache->bytes;
    if (cache->data)
        munmap(cache->data, cache->bytes);
    free(cache);
}

void page_write(float *page, size_t slot, size_t rows, const float *k, size_t k_stride, size_t head_dim,
    const float *v, size_t v_stride, size_t value_dim, size_t value_stride)
{
    for (size_t d = 0; d < head_dim; d++)
        for (size_t r = 0; r < rows; r++)
            page[d * KV_PAGE_TOKENS + slot + r] = k[r * k_stride + d];
    float *values = page + head_dim * KV_PAGE_TOKENS + slot * value_stride;
    for (size_t r = 0; r < rows; r++, values += value_stride)
        memcpy(values, v + r * v_stride, value_dim * sizeof(float));
}

struct append_job {
    struct kv_cache *cache;
    size_t layer;
    struct tensor k, v;
    const struct kv_append_sequence *sequences;
};

static void append_head(void *context, size_t index, size_t thread)
{
    (void)thread;
    const struct append_job *job = context;
    const struct kv_cache *cache = job->cache;
    const struct kv_cache_args *shape = &cache->shape;
    const struct kv_append_sequence *sequence = &job->sequences[index / shape->kv_heads];
    size_t head = index % shape->kv_heads;
    for (size_t done = 0, count; done < sequence->rows; done += count) {
        size_t position = (size_t)sequence->position + done, slot = position % KV_PAGE_TOKENS;
        count = KV_PAGE_TOKENS - slot;
        count = count < sequence->rows - done ? count : sequence->rows - done;
        size_t page = (size_t)sequence->pages[position / KV_PAGE_TOKENS];
        assert(page < shape->pages);
        float *to = cache->data + job->layer * cache->layer_floats +
                    (page * shape->kv_heads + head) * cache->head_floats;
        page_write(to, slot, count, tensor_row(job->k, sequence->row + done) + head * shape->head_dim,
            job->k.stride, shape->head_dim,
            tensor_row(job->v, sequence->row + done) + head * shape->value_dim, job->v.stride,
            shape->value_dim, cache->value_stride);
    }
}

void cpu_kv_append(struct backend *b, struct kv_cache *cache, size_t layer, struct tensor k, struct tensor v,
    const struct kv_append_sequence *sequences, size_t count)
{
    struct cpu_backend *cpu = cpu_of(b);
    assert(layer < cache->shape.layers);
    assert(k.width == cache->shape.kv_heads * cache->shape.head_dim);
    assert(v.width == cache->shape.kv_heads * cache->shape.value_dim);
    size_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        assert(sequences[i].row + sequences[i].rows <= k.rows && k.rows == v.rows);
        assert(sequences[i].position >= 0);
        rows += sequences[i].rows;
    }
    struct append_job job = {.cache = cache, .layer = layer, .k = k, .v = v, .sequences = sequences};
    cpu_run(
        cpu, count * cache->shape.kv_heads, (double)rows * (double)(k.width + v.width), append_head, &job);
}

void cpu_kv_copy(
    struct backend *b, struct kv_cache *cache, const int32_t *from, const int32_t *to, size_t count)
{
    if (cpu_of(b)->failed)
        return;
    size_t page_floats = cache->head_floats * cache->shape.kv_heads;
    for (size_t i = 0; i < count; i++) {
        assert((size_t)from[i] < cache->shape.pages && (size_t)to[i] < cache->shape.pages);
        for (size_t layer = 0; layer < cache->shape.layers; layer++) {
            float *pages = cache->data + layer * cache->layer_floats;
            memcpy(pages + (size_t)to[i] * page_floats, pages + (size_t)from[i] * page_floats,
                page_floats * sizeof(float));
        }
    }
}
