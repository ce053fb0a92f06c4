/* What architectures are made of: attention, feed-forward, norms, positions; over the backend's operations.
 *
 * A block reads `in` and writes `out` (both [rows, width]); with `residual` it adds to it. Rows are the
 * ragged tokens of one forward pass. */
#ifndef LUMIGRID_WORKER_ENGINE_BLOCKS_H
#define LUMIGRID_WORKER_ENGINE_BLOCKS_H

#include "worker/backend/backend.h"

/* Intermediate results that live as long as one layer and are reused by the next. */
enum slot {
    SLOT_STREAM,  /* the residual stream */
    SLOT_NORMED,  /* a sublayer's input */
    SLOT_QKV,     /* queries, keys, values */
    SLOT_CONTEXT, /* attention's output before its projection */
    SLOT_INNER,   /* inside the feed-forward */
    SLOT_BRANCH,  /* a sublayer's output before it joins the stream */
    SLOT_EXTRA,   /* an architecture's own */
    SLOT_EXTRA2,
    SLOT_COUNT,
};

/* One pass over the rows of many samples. Host arrays are the caller's. */
struct forward {
    struct backend *backend;
    size_t rows;
    const int32_t *ids, *positions;             /* [rows] */
    int32_t *spare;                             /* [rows], for an architecture's own row numbers */
    const int32_t *zeros;                       /* [rows] */
    struct attention_sequence *spare_sequences; /* [sequence_count] */
    /* Self-attention: with a cache (decoder) or among the rows themselves (encoder). */
    const struct attention_sequence *sequences;
    size_t sequence_count;
    struct kv_cache *cache;
    const struct kv_append_sequence *appends;
    size_t append_count;
    /* Decoder of an encoder-decoder: which pages hold the encoder's keys. */
    const struct attention_sequence *crosses;
    size_t cross_count;
    /* Encoder of an encoder-decoder: where its cross keys go. */
    const struct kv_append_sequence *cross_appends;
    size_t cross_append_count;
    /* Called with the states after the embeddings (0) and after each layer; NULL: nobody listens. */
    void (*on_layer)(void *context, size_t layer, struct tensor states);
    void *context;
    size_t layers_unused; /* so many last layers that nobody listens to; encoder-only models leave them out */

    struct tensor slots[SLOT_COUNT];
};

struct tensor forward_slot(struct forward *f, enum slot slot, size_t rows, size_t width);
void forward_layer_done(const struct forward *f, size_t layer, struct tensor states);

struct norm {
    const struct vector *weight, *bias;
    enum norm_kind kind;
    float epsilon;
};
void norm(const struct forward *f, const struct norm *n, struct tensor in, struct tensor out);
/* out = after + norm(in) */
void norm_add(
    const struct forward *f, const struct norm *n, struct tensor in, struct tensor after, struct tensor out);

struct rope {
    float *inverse_frequency; /* [pairs] */
    size_t pairs;
    float scale;
    bool interleaved; /* pairs are neighbours */
    /* Dynamic scaling: beyond `dynamic_limit` positions the base grows with the length; 0: it does not. */
    size_t dynamic_limit;
    double base, dynamic_factor;
    /* longrope: beyond `long_limit` positions these frequencies hold; NULL: there are none. */
    float *long_inverse_frequency;
    size_t long_limit;
};

struct attention {
    const struct weight *qkv;    /* self-attention: q, k, v in one */
    const struct weight *q, *kv; /* cross-attention: of the decoder's rows; of the encoder's */
    const struct weight *out;
    size_t heads, kv_heads, head_dim;
    float scale, soft_cap;
    int32_t window_left, window_right; /* as in backend.h */
    size_t global_keys;
    const struct rope *rope;            /* NULL: none */
    const struct norm *q_norm, *k_norm; /* each head by itself; NULL: none */
    const struct weight *relative_bias; /* T5's; NULL: none */
    int32_t relative_max_distance;
    bool relative_bidirectional;
};
/* 1 / sqrt(width), the usual scale of heads that wide. */
float attention_scale(size_t width);
void attention_self(struct forward *f, const struct attention *a, size_t layer, struct tensor in,
    struct tensor out, const struct tensor *residual);
void attention_cross(struct forward *f, const struct attention *a, size_t layer, struct tensor in,
    struct tensor out, const struct tensor *residual);
/* The same without the output projection: what each row's heads have gathered, in SLOT_CONTEXT. */
struct tensor attention_self_context(
    struct forward *f, const struct attention *a, size_t layer, struct tensor in);
/* Keys and values of the encoder's states into the cache. */
void attention_cross_store(struct forward *f, const struct attention *a, size_t layer, struct tensor states);

struct feed_forward {
    const struct weight *up, *down; /* up: (gate, up) in one when gated */
    enum activation activation;
    bool gated;
    size_t inner;
};
void feed_forward(struct forward *f, const struct feed_forward *ff, struct tensor in, struct tensor out,
    const struct tensor *residual);

/* out = in W' + b [+ residual] */
void linear(const struct forward *f, const struct weight *w, enum activation activation, struct tensor in,
    struct tensor out, const struct tensor *residual);

#endif
