/* What the host files of the CUDA backend share. Nothing outside worker/backend/cuda includes this. */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_DEVICE_H
#define LUMIGRID_WORKER_BACKEND_CUDA_DEVICE_H

#include "worker/backend/backend.h"
#include "worker/backend/cuda/kernels.h"

/* Memory taken from the device's pool in a few large pieces and handed out as a stack: no allocation in the
 * loop once a step's size has been seen. Offsets count through all chunks, so that a mark is one number. */
struct chunk {
    char *data, *host; /* host: its pinned twin, of staging only */
    size_t bytes, start, used;
};

enum { CHUNKS_MAX = 64 };

struct stack {
    struct chunk chunks[CHUNKS_MAX];
    size_t count, current, step_bytes; /* most used since the last reset */
    bool pinned;
};

/* A host array that was sent in this step: one that is sent again (every layer has the same sequences) is
 * found. */
struct sent {
    const void *host;
    void *device;
    size_t bytes;
};

enum { SENT_MAX = 48 };

struct weight {
    size_t out, in;
    struct segment segments[SEGMENTS_MAX];
    int segment_count;
    float *bias; /* [out]; NULL: none */
    enum precision precisions[SEGMENTS_MAX];
    void *owned[2 * SEGMENTS_MAX + 1];
    int owned_count;
    uint64_t bytes;
};

struct vector {
    size_t count;
    float *values;
};

struct kv_cache {
    struct kv_cache_args shape;
    struct pages pages;
    uint64_t bytes;
};

struct cuda_backend {
    struct backend base;
    int device, multiprocessors;
    cudaStream_t stream;
    struct stack scratch, staging;
    struct sent sent[SENT_MAX];
    size_t sent_count;
    bool failed, lost; /* lost: the device needs more than a new step */
    struct error failure;
    uint64_t weight_bytes, cache_bytes, tensor_bytes;
    char description[256];
};

/* The backend behind `b`, its device made current on this thread. */
struct cuda_backend *cuda_of(struct backend *b);

/* Makes the backend failed, unless it is already. */
void cuda_fail(struct cuda_backend *cuda, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* True when status is cudaSuccess; else the backend is failed: out of memory until the next step, anything
 * else for good. `what` says what was being done. */
bool cuda_check(struct cuda_backend *cuda, cudaError_t status, const char *what);
/* Why an allocation or copy outside of a step did not work. Returns false. */
bool cuda_error(struct cuda_backend *cuda, cudaError_t status, struct error *err, const char *what);

/* Device memory from the pool, in stream order; NULL, and the error, when there is none. */
void *cuda_take(struct cuda_backend *cuda, size_t bytes, struct error *err, const char *what);
void cuda_give(struct cuda_backend *cuda, void *memory);

/* Scratch, 256-byte aligned; NULL, and the backend failed, when there is none. */
void *scratch_take(struct cuda_backend *cuda, size_t count, size_t element_bytes);
size_t scratch_mark(const struct cuda_backend *cuda);
void scratch_release(struct cuda_backend *cuda, size_t mark);
void scratch_reset(struct cuda_backend *cuda);
void scratch_close(struct cuda_backend *cuda);
/* Room to fill on the host (`*host`), then to be sent by `send`: arrays built for a kernel. */
void *staging_take(struct cuda_backend *cuda, size_t bytes);
/* The device's copy of host memory that came from staging_take; the same bytes are sent once a step. */
const void *staging_send(struct cuda_backend *cuda, const void *host, size_t bytes);
/* The same for the caller's array. */
const void *cuda_send(struct cuda_backend *cuda, const void *array, size_t count, size_t element_bytes);

static inline float *tensor_at(struct tensor t)
{
    return (float *)t.data + t.offset;
}

static inline size_t round_up(size_t value, size_t step)
{
    return (value + step - 1) / step * step;
}

static inline size_t pages_of(size_t tokens)
{
    return (tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}

/* The operations; see backend.h. */
bool cuda_weight_load(
    struct backend *b, const struct weight_args *args, struct weight **out, struct error *err);
void cuda_weight_free(struct backend *b, struct weight *weight);
void cuda_weight_shape(const struct weight *weight, size_t *out_width, size_t *in_width);
bool cuda_vector_load(
    struct backend *b, const struct tensor_view *view, float offset, struct vector **out, struct error *err);
void cuda_vector_free(struct backend *b, struct vector *vector);
bool cuda_kv_cache_create(
    struct backend *b, const struct kv_cache_args *args, struct kv_cache **out, struct error *err);
void cuda_kv_cache_free(struct backend *b, struct kv_cache *cache);
void cuda_kv_append(struct backend *b, struct kv_cache *cache, size_t layer, struct tensor k, struct tensor v,
    const struct kv_append_sequence *sequences, size_t count);
void cuda_kv_copy(
    struct backend *b, struct kv_cache *cache, const int32_t *from, const int32_t *to, size_t count);
void cuda_embed(struct backend *b, const struct embed_args *args);
void cuda_linear(struct backend *b, const struct linear_args *args);
void cuda_norm(struct backend *b, const struct norm_args *args);
void cuda_rope(struct backend *b, const struct rope_args *args);
void cuda_attention(struct backend *b, const struct attention_args *args);
void cuda_gather(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows);
void cuda_scatter(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows);
void cuda_add(struct backend *b, struct tensor out, struct tensor x, struct tensor y);
void cuda_scale(struct backend *b, struct tensor x, float scale, float soft_cap);
bool cuda_select(struct backend *b, const struct select_args *args, struct error *err);

/* Rows `ids` of a table as they stand, scratch: [count, weight's in]. */
struct tensor cuda_table_rows(struct cuda_backend *cuda, const struct weight *table, size_t count);

#endif
