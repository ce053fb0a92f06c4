/* A device: memory and the operations that models are made of.
 *
 * `struct backend` is a table of functions over device tensors. The engine is written once against it and
 * never touches device memory: values go in and out by upload, download and select.
 *
 * Batches are ragged. An activation is a matrix [rows, width] in which the rows (tokens) of many samples
 * stand one after another, without padding; operations that need to know which row belongs to which sample
 * take a host array saying so. A row's result depends on that row's own sample only, bit for bit: never on
 * how many rows there are, on where it stands, on the number of threads, or on what else is in the batch.
 *
 * Operations are queued in order and may run later. They do not return errors: the first failure (memory, a
 * device fault) makes the backend failed, later operations do nothing, and the next call marked "waits"
 * returns the error. scratch_reset makes a failed backend usable again. Host arrays and argument structs are
 * read before an operation returns; what a weight was loaded from must live as long as the weight. Shapes
 * that do not fit together and ids out of range are the caller's defects: they are asserted.
 *
 * A backend and everything made by it belong to one thread at a time. */
#ifndef LUMIGRID_WORKER_BACKEND_BACKEND_H
#define LUMIGRID_WORKER_BACKEND_BACKEND_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/model/model.h"

struct backend;
struct weight;   /* a matrix of parameters, in the form the device computes with */
struct vector;   /* a vector of parameters, float32 */
struct kv_cache; /* pages of keys and values, for every layer of a model */

/* A view of a matrix [rows, width] in device memory. Held by value; tensor_rows and tensor_columns make views
 * of parts. `data` is NULL when allocation failed (the backend is failed then). */
struct tensor {
    void *data;    /* the device's handle of the allocation */
    size_t offset; /* elements from there to row 0, column 0 */
    size_t stride; /* elements from one row to the next */
    size_t rows, width;
};

static inline struct tensor tensor_columns(struct tensor t, size_t first, size_t width)
{
    assert(first + width <= t.width);
    t.offset += first;
    t.width = width;
    return t;
}

static inline struct tensor tensor_rows(struct tensor t, size_t first, size_t rows)
{
    assert(first + rows <= t.rows);
    t.offset += first * t.stride;
    t.rows = rows;
    return t;
}

/* ---- weights ---- */

enum { WEIGHT_PARTS_MAX = 4 };

struct weight_args {
    /* Matrices [out, in] with the same `in`, joined along their outputs in this order: (q, k, v) or
     * (gate, up) in one. */
    const struct tensor_view *parts[WEIGHT_PARTS_MAX];
    size_t part_count;
    /* Outputs of each part to be added: [out], or NULL for none. */
    const struct tensor_view *biases[WEIGHT_PARTS_MAX];
    /* DTYPE_F32: values as the file has them. Stored f16 and bf16 stay 16 bits wide, and so do GGUF blocks:
     * they are decoded where they are used. Arithmetic is float32; with GGUF blocks, activations may be
     * rounded to 16 bits first.
     * DTYPE_F16, DTYPE_BF16: float32 values are rounded to 16 bits first.
     * DTYPE_I8: each output's values are rounded to 8 bits or fewer with one scale, and rows of activations
     * to 8 bits or more, with a scale a row or a part of it, when used. GGUF blocks are never requantised. */
    enum dtype compute;
    bool transposed; /* parts are [in, out] (GPT-2's Conv1D); not for GGUF blocks */
    bool lookup;     /* only for embed: nothing is converted, whatever `compute` says */
};

/* ---- operations ---- */

enum activation {
    ACTIVATION_NONE,
    ACTIVATION_RELU,
    ACTIVATION_GELU,      /* x/2 (1 + erf(x/sqrt 2)) */
    ACTIVATION_GELU_TANH, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): gelu_new, gelu_pytorch_tanh */
    ACTIVATION_SILU,      /* x / (1 + e^-x): swish */
    ACTIVATION_TANH,
    ACTIVATION_QUICK_GELU, /* x / (1 + e^-1.702x) */
};

struct embed_args {
    struct tensor out; /* [rows, width] */
    struct {
        const struct weight *table; /* [ids, width] */
        const int32_t *ids;         /* host, [rows] */
        float scale;                /* the row is multiplied by it before it is added */
    } terms[3];                     /* words, positions, token types; summed in order */
    size_t term_count;
};

struct linear_args {
    struct tensor out, in; /* [rows, out], [rows, in]; must not overlap */
    const struct weight *weight;
    enum activation activation;
    /* The weight's outputs are two halves, (gate, up): out is activation(gate) * up, half as wide. */
    bool gated;
    const struct tensor *residual; /* added after the activation; may be `out` itself; NULL: none */
};

enum norm_kind {
    NORM_LAYER, /* (x - mean) / sqrt(variance + eps) * weight + bias */
    NORM_RMS,   /* x / sqrt(mean of squares + eps) * weight */
};

/* out = norm(in [+ residual]) [+ after]. May write over its inputs. */
struct norm_args {
    struct tensor out, in;
    const struct tensor *residual; /* added before the norm; NULL: none */
    const struct tensor *sum;      /* where in + residual is kept (the residual stream); NULL: nowhere */
    const struct tensor *after;    /* added after the norm (Gemma's post norms); NULL: none */
    const struct vector *weight;   /* [group, or in.width]; NULL: ones */
    const struct vector *bias;     /* NULL: zeros */
    enum norm_kind kind;
    float epsilon;
    size_t group; /* each group of so many columns is normed by itself (q and k norms); 0: the whole row */
};

/* Rotates pairs of each head's first 2 * pairs columns by angle position * inverse_frequency[pair], in place.
 * https://arxiv.org/abs/2104.09864 */
struct rope_args {
    struct tensor x;                /* [rows, heads * head_dim] */
    const int32_t *positions;       /* host, [rows] */
    const float *inverse_frequency; /* host, [pairs] */
    size_t pairs, head_dim;
    float scale;      /* multiplies sine and cosine (yarn, longrope: attention factor); 1 otherwise */
    bool interleaved; /* pairs are columns (2i, 2i+1); otherwise (i, i + pairs): the hub's layout */
};

/* Tokens in one page of a KV cache. */
enum { KV_PAGE_TOKENS = 16 };

struct kv_cache_args {
    size_t layers, kv_heads, head_dim, value_dim; /* value_dim: a value head's width, mostly head_dim */
    size_t pages;                                 /* each is a page in every layer */
};

/* Keys and values of one sequence and the query rows that look at them. */
struct attention_sequence {
    size_t q_row, q_rows; /* rows of q and out */
    int32_t q_position;   /* position of the first of these rows; keys start at position 0 */
    size_t k_rows;        /* how many keys there are, those of this call's own tokens included */
    size_t k_row;         /* without a cache: the first row of k and v */
    const int32_t *pages; /* with a cache: host, [ceil(k_rows / KV_PAGE_TOKENS)] */
};

/* Appends rows [row, row + rows) of k and v to a sequence, at positions position... */
struct kv_append_sequence {
    size_t row, rows;
    int32_t position;
    const int32_t *pages; /* host; covers position + rows */
};

/* softmax(mask(soft_cap(scale * q k' + bias))) v for every head, never holding the score matrix.
 *
 * A query at position i sees the key at position j when i - window_left <= j <= i + window_right, or j <
 * global_keys; a negative window is unbounded. So: (-1, -1) is an encoder's attention and cross-attention,
 * (-1, 0) causal, (w - 1, 0) a causal sliding window of w, (w/2, w/2) with global_keys LED's local attention.
 * A query that sees no key gets zeros. Query head h uses key head h / (heads / kv_heads).
 *
 * The beams of a sample share its encoder's keys: one sequence with a query row a beam. Beams of a decoder
 * are one sequence each, and may share pages. */
struct attention_args {
    struct tensor out, q; /* [rows, heads * value_dim], [rows, heads * head_dim] */
    struct tensor k, v;   /* [rows, kv_heads * head_dim], [rows, kv_heads * value_dim]; without a cache */
    const struct kv_cache *cache; /* NULL: k and v */
    size_t layer;                 /* of the cache */
    const struct attention_sequence *sequences;
    size_t sequence_count;
    size_t heads, kv_heads, head_dim, value_dim;
    float scale;
    float soft_cap; /* c tanh(score / c); 0: none */
    int32_t window_left, window_right;
    size_t global_keys;

    /* T5's bias by distance: relative_bias [buckets, heads], as the hub stores it; NULL: none.
     * https://arxiv.org/abs/1910.10683, mapping as in its reference code. */
    const struct weight *relative_bias;
    int32_t relative_max_distance;
    bool relative_bidirectional;

    /* DeBERTa's disentangled terms: position_key and position_query are [2 * position_span, heads * head_dim]
     * and each may be NULL in `data`. Row r = clamp(bucket(i - j) + position_span, 0, 2 * position_span - 1):
     * score = scale * (q_i k_j + q_i position_key_r(i,j) + k_j position_query_r(i,j)), where bucket is
     * logarithmic beyond half of position_buckets when that is > 0. https://arxiv.org/abs/2006.03654 */
    struct tensor position_key, position_query;
    int32_t position_span, position_buckets, position_max;
};

/* ---- selection ---- */

enum edit_kind {
    EDIT_BAN,     /* minus infinity */
    EDIT_ADD,     /* + value: biases, frequency and presence penalties */
    EDIT_PENALTY, /* repetition penalty: positive scores / value, negative ones * value */
    EDIT_ONLY,    /* every other id of the row is banned, and this one scores 0: forced tokens */
};

struct edit {
    int32_t row, id;
    enum edit_kind kind;
    float value;
};

/* Scores of the next token, the best `top` of each row to the host. Scores are logits (soft-capped when
 * asked), edited and then put through log-softmax; or, with edits_after (beam search in transformers),
 * log-softmax first and then edited without renormalising. Edits of one id apply in their order. Equal scores
 * go to the lower id. NaN counts as minus infinity. */
struct select_args {
    struct tensor logits; /* [rows, vocabulary]; overwritten */
    float soft_cap;       /* 0: none */
    const struct edit *edits;
    size_t edit_count; /* in order of row */
    bool edits_after;
    bool raw; /* no log-softmax at all: scores are edited logits, for sampling on the host */
    size_t top;
    int32_t *ids;  /* host, [rows, top] */
    float *scores; /* host, [rows, top] */
};

/* ---- the table ---- */

struct backend_memory {
    uint64_t total_bytes, free_bytes; /* of the device, as far as this process may use it */
    uint64_t weight_bytes;            /* held for weights; mapped ones are the file's */
    uint64_t cache_bytes, scratch_bytes;
};

struct backend_ops {
    const char *name; /* "cpu" */
    void (*close)(struct backend *b);
    void (*memory)(struct backend *b, struct backend_memory *out);
    /* What the device is, for logs and results: "AMD EPYC, avx2, 2 threads". Lives as long as the backend. */
    const char *(*describe)(struct backend *b);

    /* Waits. False, and the error, when an operation failed since the last scratch_reset. */
    bool (*sync)(struct backend *b, struct error *err);

    /* Scratch: uninitialised, alive until scratch_reset. Called once a step, before the step's first
     * allocation. */
    struct tensor (*scratch)(struct backend *b, size_t rows, size_t width);
    void (*scratch_reset)(struct backend *b);
    /* What was allocated after the mark is given back: a layer's tensors before the next layer's. */
    size_t (*scratch_mark)(struct backend *b);
    void (*scratch_release)(struct backend *b, size_t mark);
    /* Long-lived, zeroed. Freed by tensor_free, which takes the tensor as it was made. */
    bool (*tensor_create)(
        struct backend *b, size_t rows, size_t width, struct tensor *out, struct error *err);
    void (*tensor_free)(struct backend *b, struct tensor *tensor);
    void (*upload)(struct backend *b, struct tensor to, const float *from); /* row-major, dense */
    bool (*download)(struct backend *b, struct tensor from, float *to, struct error *err); /* waits */

    /* Weights. ERROR_INVALID for shapes that do not join; ERROR_UNSUPPORTED for a dtype that cannot be used.
     */
    bool (*weight_load)(
        struct backend *b, const struct weight_args *args, struct weight **out, struct error *err);
    void (*weight_free)(struct backend *b, struct weight *weight); /* NULL is fine */
    void (*weight_shape)(const struct weight *weight, size_t *out_width, size_t *in_width);
    /* A vector of `view`'s elements (f32, f16, bf16) plus `offset` (Gemma's 1 + weight). */
    bool (*vector_load)(struct backend *b, const struct tensor_view *view, float offset, struct vector **out,
        struct error *err);
    void (*vector_free)(struct backend *b, struct vector *vector); /* NULL is fine */

    bool (*kv_cache_create)(
        struct backend *b, const struct kv_cache_args *args, struct kv_cache **out, struct error *err);
    void (*kv_cache_free)(struct backend *b, struct kv_cache *cache); /* NULL is fine */
    void (*kv_append)(struct backend *b, struct kv_cache *cache, size_t layer, struct tensor k,
        struct tensor v, const struct kv_append_sequence *sequences, size_t count);
    /* Page `from[i]` is copied to `to[i]` in every layer: before a shared page is written. */
    void (*kv_copy)(
        struct backend *b, struct kv_cache *cache, const int32_t *from, const int32_t *to, size_t count);

    void (*embed)(struct backend *b, const struct embed_args *args);
    void (*linear)(struct backend *b, const struct linear_args *args);
    void (*norm)(struct backend *b, const struct norm_args *args);
    void (*rope)(struct backend *b, const struct rope_args *args);
    void (*attention)(struct backend *b, const struct attention_args *args);
    /* out row i = in row rows[i]: the last row of each sample before the head, say. */
    void (*gather)(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows);
    /* out row rows[i] = in row i: the inverse, for rows computed apart (LED's global tokens). */
    void (*scatter)(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows);
    /* out = a + b; may write over either. */
    void (*add)(struct backend *b, struct tensor out, struct tensor x, struct tensor y);
    /* x = scale * x, then soft-capped when soft_cap > 0. In place. */
    void (*scale)(struct backend *b, struct tensor x, float scale, float soft_cap);
    bool (*select)(struct backend *b, const struct select_args *args, struct error *err); /* waits */
};

struct backend {
    const struct backend_ops *ops;
};

struct backend_options {
    int threads; /* CPU: 0 is one a core */
};

/* Opens "cpu" or "cuda:N" ("cuda" is cuda:0): the latter from the CUDA module, which is looked for when it is
 * first asked for. Options may be NULL. */
bool backend_open(
    const char *device, const struct backend_options *options, struct backend **out, struct error *err);
/* How many CUDA devices this process may use; 0, and why, when there are none or no module. */
int backend_cuda_count(struct error *err);
void backend_close(struct backend *backend); /* everything made by it is freed first; NULL is fine */

#endif
