/* The door between the host side of the CUDA backend (C) and its kernels (CUDA C++): plain structs that are
 * passed to kernels by value, and one launcher a kernel. A launcher queues on `stream` and returns the
 * launch's error; it checks nothing, and reads its arguments before it returns.
 *
 * Matrices are float32, row-major, with a stride in elements. Pointers are device pointers. */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_KERNELS_H
#define LUMIGRID_WORKER_BACKEND_CUDA_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a weight's row is stored. Rows of the first four are padded with zeros to a multiple of eight values,
 * so that kernels read whole vectors; block formats are as in the file. */
enum form {
    FORM_F32,
    FORM_F16,
    FORM_BF16,
    FORM_I8, /* a scale a row, applied to the finished sum */
    FORM_Q4_0,
    FORM_Q5_0,
    FORM_Q8_0,
    FORM_Q4_K,
    FORM_Q5_K,
    FORM_Q6_K,
};

/* What products are computed in. */
enum precision {
    PRECISION_EXACT, /* float32 throughout */
    PRECISION_F16,   /* tensor cores: both factors rounded to 16 bits, sums in float32 */
    PRECISION_BF16,
};

/* Rows of a weight that are stored alike, one after another. */
struct segment {
    const uint8_t *data;
    const float *scales; /* FORM_I8: one a row */
    size_t row_bytes;
    int rows;
    enum form form;
};

enum { SEGMENTS_MAX = 4 };

/* ---- rows.cu: a block a row, bound by memory: each operand is read once and the result written once ---- */

struct embed_kernel {
    float *out;
    size_t out_stride;
    int rows, width, terms;
    struct {
        struct segment segments[SEGMENTS_MAX];
        const int32_t *ids;
        float scale;
    } term[3];
};
cudaError_t embed_launch(const struct embed_kernel *k, cudaStream_t stream);

struct norm_kernel {
    float *out, *sum;
    const float *in, *residual, *after, *weight, *bias; /* NULL: none */
    size_t out_stride, sum_stride, in_stride, residual_stride, after_stride;
    int rows, width, group;
    bool centred; /* layer norm: the mean is subtracted */
    float epsilon;
};
cudaError_t norm_launch(const struct norm_kernel *k, cudaStream_t stream);

struct rope_kernel {
    float *x;
    size_t stride;
    const int32_t *positions;
    const float *inverse_frequency;
    int rows, heads, head_dim, pairs;
    float scale;
    bool interleaved;
};
cudaError_t rope_launch(const struct rope_kernel *k, cudaStream_t stream);

/* out[to ? to[i] : i] = in[from ? from[i] : i] for each row. */
struct move_kernel {
    float *out;
    const float *in;
    size_t out_stride, in_stride;
    const int32_t *from, *to;
    int rows, width;
};
cudaError_t move_launch(const struct move_kernel *k, cudaStream_t stream);

/* out = soft_cap(scale * (x [+ y])). */
struct add_kernel {
    float *out;
    const float *x, *y; /* y: NULL for none */
    size_t out_stride, x_stride, y_stride;
    int rows, width;
    float scale, soft_cap; /* soft_cap 0: none */
};
cudaError_t add_launch(const struct add_kernel *k, cudaStream_t stream);

/* out = activation(gate) * up [+ residual], gate and up being the halves of `in`. */
struct gate_kernel {
    float *out;
    const float *in, *residual;
    size_t out_stride, in_stride, residual_stride;
    int rows, width, activation;
};
cudaError_t gate_launch(const struct gate_kernel *k, cudaStream_t stream);

/* ---- products: out [rows, segment.rows] = in [rows, k] * segment', then bias, activation, residual ---- */

struct product_kernel {
    float *out;
    const float *in;
    size_t out_stride, in_stride;
    struct segment weight;
    const float *bias, *residual; /* NULL: none; bias is [segment.rows] */
    size_t residual_stride;
    int rows, k, activation;
    /* Tensor cores only: `in` in 16 bits, [rows][half_stride], and what each row was divided by. */
    const uint16_t *halves;
    size_t half_stride;
    const float *row_scales;
};
enum { FEW_ROWS = 16 }; /* up to so many rows, a product reads weights as a vector product does */
cudaError_t product_exact_launch(const struct product_kernel *k, cudaStream_t stream);
/* Opts in to the shared memory that tiles need; once a device. */
cudaError_t product_prepare(void);
cudaError_t product_tensor_launch(
    const struct product_kernel *k, enum precision precision, cudaStream_t stream);

/* A row of activations in 16 bits, divided by a power of two such that nothing overflows; k is filled up with
 * zeros to `half_stride`. */
struct halve_kernel {
    uint16_t *halves;
    float *row_scales;
    const float *in;
    size_t half_stride, in_stride;
    int rows, k;
};
cudaError_t halve_launch(const struct halve_kernel *k, enum precision precision, cudaStream_t stream);

/* ---- convert.cu: weights, once at load ---- */

/* Values of a matrix [out, in] (stored [in, out] when transposed), f32, f16 or bf16, written in `to.form`. */
struct convert_kernel {
    uint8_t *to;
    float *scales; /* FORM_I8 */
    const uint8_t *from;
    size_t to_row_bytes, from_row_bytes;
    int out, in;
    enum form from_form, to_form;
    bool transposed;
    float offset; /* added to each value */
};
cudaError_t convert_launch(const struct convert_kernel *k, cudaStream_t stream);

/* ---- kv.cu: pages of keys and values ----
 *
 * [layer][page][head] { keys [16][head_dim], values [16][value_dim] }, in float32 or 16 bits. */

struct pages {
    void *data;
    enum precision precision;
    int count, layers, heads, head_dim, value_dim;
};

struct kv_append_kernel {
    struct pages pages;
    int layer, rows;
    const float *k, *v;
    size_t k_stride, v_stride;
    const int32_t *from;  /* rows of k and v */
    const int32_t *slots; /* page * 16 + token */
};
cudaError_t kv_append_launch(const struct kv_append_kernel *k, cudaStream_t stream);

struct kv_copy_kernel {
    struct pages pages;
    const int32_t *from, *to;
    int count;
};
cudaError_t kv_copy_launch(const struct kv_copy_kernel *k, cudaStream_t stream);

/* ---- attention ---- */

/* One sequence; rows are of q and out. */
struct sequence {
    int q_row, q_rows, q_position, k_row, k_rows;
    int page; /* with a cache: its first page in `page_ids` */
};

/* A block's work: `rows` (query row, head of the group) pairs of a sequence. */
struct piece {
    int sequence, first;
};

struct attention_kernel {
    float *out;
    const float *q;
    size_t out_stride, q_stride;
    const float *k, *v; /* without a cache */
    size_t k_stride, v_stride;
    struct pages pages; /* data NULL: k and v */
    int layer;
    const int32_t *page_ids;
    const struct sequence *sequences;
    const struct piece *pieces;
    int piece_count, piece_rows;
    int heads, kv_heads, head_dim, value_dim;
    float scale, soft_cap;
    int window_left, window_right, global_keys; /* negative windows: unbounded */
    /* Bias by distance: table[bucket[key - query + bucket_zero] * heads + head]; NULL: none. */
    const float *bias;
    const int32_t *buckets;
    int bucket_zero;
    /* Disentangled terms: scale * (by_query[q row][head][p] + by_key[k row][head][p]), p = buckets[...];
     * NULL: none. */
    const float *by_query, *by_key;
    int positions;
    /* Splits of the keys are computed by blocks of their own, and joined by attention_join_launch. */
    int splits;       /* 1: no joining */
    float *parts;     /* [splits][q rows * heads][value_dim] */
    float *part_sums; /* [splits][q rows * heads][2]: maximum, sum */
    int part_rows;    /* q rows * heads */
};
enum {
    SPLIT_KEYS = 256, /* keys between two joins: part of what defines a result */
    MANY_PIECE_ROWS = 16,
    FEW_PIECE_ROWS = 4,
    HEAD_DIM_MAX = 256,
};
/* Opts in to the shared memory that attention needs; once a device. */
cudaError_t attention_prepare(void);
cudaError_t attention_exact_launch(const struct attention_kernel *k, cudaStream_t stream);
cudaError_t attention_join_launch(const struct attention_kernel *k, cudaStream_t stream);

/* out[row][head][p] = x[row, head] . position[p, head]. */
struct position_kernel {
    float *out;
    const float *x, *position;
    size_t x_stride, position_stride;
    int rows, positions, heads, head_dim;
};
cudaError_t position_launch(const struct position_kernel *k, cudaStream_t stream);

/* ---- select.cu ---- */

enum { TOP_MAX = 64 }; /* more than so many of a row are chosen on the host */

struct device_edit {
    int32_t id, kind; /* enum edit_kind */
    float value;
};

struct select_kernel {
    float *logits;
    size_t stride;
    int rows, vocabulary, top; /* top 0: scores are left in `logits` only */
    float soft_cap;
    const struct device_edit *edits;
    const int32_t *first_edit; /* [rows + 1] */
    const int32_t *only;       /* [rows]: the row's last EDIT_ONLY, -1: none */
    bool edits_after, raw;
    int32_t *ids;
    float *scores;
};
cudaError_t select_launch(const struct select_kernel *k, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
