/* What the files of the CPU backend share. Nothing outside worker/backend/cpu includes this. */
#ifndef LUMIGRID_WORKER_BACKEND_CPU_CPU_H
#define LUMIGRID_WORKER_BACKEND_CPU_CPU_H

#include "worker/backend/backend.h"
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/threads.h"

enum {
    CHUNK_OUTPUTS = 48, /* outputs that one thread computes at a time; with GEMM_K_BLOCK they fit L2 packed */
    CHUNK_ROWS = 384,   /* rows it computes them for */
};

struct weight_part {
    size_t rows, row_bytes;
    enum dtype dtype;
    const uint8_t *data;
    float *scales;        /* DTYPE_I8: one a row; its values are stored as linear_int8.h says */
    int32_t *corrections; /* DTYPE_I8, likewise */
};

/* Some rows of activations times some outputs of a part that is multiplied in integers. */
struct part_product {
    const struct weight_part *part;
    size_t first, count; /* the part's rows: at most CHUNK_OUTPUTS */
    size_t first_row, rows;
    float *c; /* [rows][c_stride] */
    size_t c_stride;
    void *scratch; /* room as the product asks for */
};

struct weight {
    size_t out, in;
    struct weight_part parts[WEIGHT_PARTS_MAX];
    size_t part_count;
    float *bias;                   /* [out]; NULL: none */
    void *owned[WEIGHT_PARTS_MAX]; /* a part's values, where they are not the file's */
    uint64_t bytes;                /* allocated */
};

struct vector {
    size_t count;
    float values[];
};

struct kv_cache {
    struct kv_cache_args shape;
    size_t value_stride; /* of a token in a page: value_dim, rounded up */
    size_t head_floats;  /* of a page's key head: keys [head_dim][16], then values [16][value_stride] */
    size_t layer_floats;
    size_t bytes;
    float *data; /* [layers][pages][kv_heads][head_floats] */
};

/* Address space is reserved once; the system provides memory as it is touched. */
struct arena {
    uint8_t *base;
    size_t reserved_bytes;
    size_t used_bytes;
    size_t touched_bytes; /* may hold memory */
    size_t step_bytes;    /* most used since the last reset */
};

struct cpu_backend {
    struct backend base;
    const struct kernels *kernels;
    struct threads *threads;
    struct arena arena;
    float **chunks; /* a thread's: products [CHUNK_ROWS][2 * CHUNK_OUTPUTS], then packed weights */
    bool failed;
    struct error failure;
    uint64_t weight_bytes, cache_bytes, tensor_bytes;
    char description[160];
};

static inline struct cpu_backend *cpu_of(struct backend *b)
{
    return (struct cpu_backend *)b;
}

static inline float *tensor_row(struct tensor t, size_t row)
{
    return (float *)t.data + t.offset + row * t.stride;
}

static inline size_t round_up(size_t value, size_t step)
{
    return (value + step - 1) / step * step;
}

/* Makes the backend failed, unless it is already. */
void cpu_fail(struct cpu_backend *cpu, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Scratch for an operation's own use, 64-byte aligned: taken after a mark, given back by release. NULL, and
 * the backend failed, when there is no more. */
bool arena_open(struct arena *arena, struct error *err);
void arena_close(struct arena *arena);
void *arena_alloc(struct cpu_backend *cpu, size_t count, size_t element_bytes);
size_t arena_mark(const struct cpu_backend *cpu);
void arena_release(struct cpu_backend *cpu, size_t mark);
void arena_reset(struct arena *arena);

/* Row `row` of a weight as floats; `out` has room for `in` rounded up to 8. */
void weight_row(const struct cpu_backend *cpu, const struct weight *weight, size_t row, float *out);

/* Calls run over [0, total), on this thread alone when there is little work. */
void cpu_run(struct cpu_backend *cpu, size_t total, double work,
    void (*run)(void *context, size_t index, size_t thread), void *context);

/* The operations; see backend.h. */
bool cpu_weight_load(
    struct backend *b, const struct weight_args *args, struct weight **out, struct error *err);
void cpu_weight_free(struct backend *b, struct weight *weight);
void cpu_weight_shape(const struct weight *weight, size_t *out_width, size_t *in_width);
bool cpu_vector_load(
    struct backend *b, const struct tensor_view *view, float offset, struct vector **out, struct error *err);
void cpu_vector_free(struct backend *b, struct vector *vector);
bool cpu_kv_cache_create(
    struct backend *b, const struct kv_cache_args *args, struct kv_cache **out, struct error *err);
void cpu_kv_cache_free(struct backend *b, struct kv_cache *cache);
void cpu_kv_append(struct backend *b, struct kv_cache *cache, size_t layer, struct tensor k, struct tensor v,
    const struct kv_append_sequence *sequences, size_t count);
void cpu_kv_copy(
    struct backend *b, struct kv_cache *cache, const int32_t *from, const int32_t *to, size_t count);
void cpu_embed(struct backend *b, const struct embed_args *args);
void cpu_linear(struct backend *b, const struct linear_args *args);
void cpu_norm(struct backend *b, const struct norm_args *args);
void cpu_rope(struct backend *b, const struct rope_args *args);
void cpu_attention(struct backend *b, const struct attention_args *args);
void cpu_gather(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows);
void cpu_scatter(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows);
void cpu_add(struct backend *b, struct tensor out, struct tensor x, struct tensor y);
void cpu_scale(struct backend *b, struct tensor x, float scale, float soft_cap);
bool cpu_select(struct backend *b, const struct select_args *args, struct error *err);

/* Writes keys and values of `rows` tokens of one key head into a page from `slot` on. */
void page_write(float *page, size_t slot, size_t rows, const float *k, size_t k_stride, size_t head_dim,
    const float *v, size_t v_stride, size_t value_dim, size_t value_stride);

/* Distance biases of attention: what query row r of a sequence adds to its scores. */
struct attention_bias {
    const float *by_distance; /* T5: [heads][span], entry j - i + zero; NULL: none */
    size_t span, zero;
};
bool attention_bias_prepare(
    struct cpu_backend *cpu, const struct attention_args *args, struct attention_bias *out);

/* DeBERTa: attention with terms of content and position. */
void attention_disentangled(struct cpu_backend *cpu, const struct attention_args *args);

#endif
