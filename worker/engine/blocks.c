#include "worker/engine/blocks.h"

#include <assert.h>
#include <math.h>

enum { PAIRS_MAX = 1024 };

struct tensor forward_slot(struct forward *f, enum slot slot, size_t rows, size_t width)
{
    struct tensor *t = &f->slots[slot];
    if (!t->data || t->rows * t->width < rows * width)
        *t = f->backend->ops->scratch(f->backend, rows, width);
    struct tensor view = *t;
    view.rows = rows;
    view.width = view.stride = width;
    return view;
}

void forward_layer_done(const struct forward *f, size_t layer, struct tensor states)
{
    if (f->on_layer)
        f->on_layer(f->context, layer, states);
}

void norm_add(
    const struct forward *f, const struct norm *n, struct tensor in, struct tensor after, struct tensor out)
{
    f->backend->ops->norm(f->backend, &(struct norm_args){.out = out,
                                          .in = in,
                                          .after = after.data ? &after : NULL,
                                          .weight = n->weight,
                                          .bias = n->bias,
                                          .kind = n->kind,
                                          .epsilon = n->epsilon});
}

void norm(const struct forward *f, const struct norm *n, struct tensor in, struct tensor out)
{
    norm_add(f, n, in, (struct tensor){0}, out);
}

/* Each head by itself. */
static void norm_heads(const struct forward *f, const struct norm *n, struct tensor x, size_t head_dim)
{
    f->backend->ops->norm(f->backend, &(struct norm_args){.out = x,
                                          .in = x,
                                          .weight = n->weight,
                                          .bias = n->bias,
                                          .kind = n->kind,
                                          .epsilon = n->epsilon,
                                          .group = head_dim});
}

void linear(const struct forward *f, const struct weight *w, enum activation activation, struct tensor in,
    struct tensor out, const struct tensor *residual)
{
    f->backend->ops->linear(
        f->backend, &(struct linear_args){
                        .out = out, .in = in, .weight = w, .activation = activation, .residual = residual});
}

/* ---- rotary positions ---- */

static void rotate(const struct forward *f, const struct rope *r, struct tensor x, size_t first, size_t rows,
    size_t head_dim, const float *inverse_frequency)
{
    f->backend->ops->rope(f->backend, &(struct rope_args){.x = tensor_rows(x, first, rows),
                                          .positions = f->positions + first,
                                          .inverse_frequency = inverse_frequency,
                                          .pairs = r->pairs,
                                          .head_dim = head_dim,
                                          .scale = r->scale,
                                          .interleaved = r->interleaved});
}

/* Frequencies for a sequence that is `length` long, where they depend on it. */
static const float *frequencies_for(const struct rope *r, size_t length, float *buffer)
{
    if (r->long_inverse_frequency && length > r->long_limit)
        return r->long_inverse_frequency;
    if (r->dynamic_limit == 0 || length <= r->dynamic_limit)
        return r->inverse_frequency;
    double dim = 2.0 * (double)r->pairs, limit = (double)r->dynamic_limit;
    double grown = r->dynamic_factor * (double)length / limit - (r->dynamic_factor - 1);
    double base = r->base * pow(grown, dim / (dim - 2));
    for (size_t i = 0; i < r->pairs; i++)
        buffer[i] = (float)(1 / pow(base, 2.0 * (double)i / dim));
    return buffer;
}

static void apply_rope(const struct forward *f, const struct rope *r, struct tensor x, size_t head_dim)
{
    float buffer[PAIRS_MAX];
    assert(r->pairs <= PAIRS_MAX);
    if (r->dynamic_limit == 0 && !r->long_inverse_frequency) {
        rotate(f, r, x, 0, f->rows, head_dim, r->inverse_frequency);
        return;
    }
    for (size_t i = 0; i < f->sequence_count; i++) {
        const struct attention_sequence *s = &f->sequences[i];
        rotate(f, r, x, s->q_row, s->q_rows, head_dim, frequencies_for(r, s->k_rows, buffer));
    }
}

/* ---- attention ---- */

float attention_scale(size_t width)
{
    return (float)pow((double)width, -0.5);
}

static struct attention_args attention_base(
    const struct attention *a, size_t layer, struct tensor q, struct tensor context)
{
    return (struct attention_args){.out = context,
        .q = q,
        .layer = layer,
        .heads = a->heads,
        .kv_heads = a->kv_heads,
        .head_dim = a->head_dim,
        .value_dim = a->head_dim,
        .scale = a->scale,
        .soft_cap = a->soft_cap,
        .window_left = a->window_left,
        .window_right = a->window_right,
        .global_keys = a->global_keys,
        .relative_bias = a->relative_bias,
        .relative_max_distance = a->relative_max_distance,
        .relative_bidirectional = a->relative_bidirectional};
}

struct tensor attention_self_context(
    struct forward *f, const struct attention *a, size_t layer, struct tensor in)
{
    const struct backend_ops *ops = f->backend->ops;
    size_t q_width = a->heads * a->head_dim, kv_width = a->kv_heads * a->head_dim;
    struct tensor qkv = forward_slot(f, SLOT_QKV, f->rows, q_width + 2 * kv_width);
    linear(f, a->qkv, ACTIVATION_NONE, in, qkv, NULL);
    struct tensor q = tensor_columns(qkv, 0, q_width);
    struct tensor k = tensor_columns(qkv, q_width, kv_width);
    struct tensor v = tensor_columns(qkv, q_width + kv_width, kv_width);
    if (a->q_norm)
        norm_heads(f, a->q_norm, q, a->head_dim);
    if (a->k_norm)
        norm_heads(f, a->k_norm, k, a->head_dim);
    if (a->rope) {
        apply_rope(f, a->rope, q, a->head_dim);
        apply_rope(f, a->rope, k, a->head_dim);
    }
    struct tensor context = forward_slot(f, SLOT_CONTEXT, f->rows, q_width);
    struct attention_args args = attention_base(a, layer, q, context);
    args.sequences = f->sequences;
    args.sequence_count = f->sequence_count;
    if (f->cache) {
        ops->kv_append(f->backend, f->cache, layer, k, v, f->appends, f->append_count);
        args.cache = f->cache;
    } else {
        args.k = k;
        args.v = v;
    }
    ops->attention(f->backend, &args);
    return context;
}

void attention_self(struct forward *f, const struct attention *a, size_t layer, struct tensor in,
    struct tensor out, const struct tensor *residual)
{
    struct tensor context = attention_self_context(f, a, layer, in);
    linear(f, a->out, ACTIVATION_NONE, context, out, residual);
}

void attention_cross(struct forward *f, const struct attention *a, size_t layer, struct tensor in,
    struct tensor out, const struct tensor *residual)
{
    size_t width = a->heads * a->head_dim;
    struct tensor q = forward_slot(f, SLOT_QKV, f->rows, width);
    linear(f, a->q, ACTIVATION_NONE, in, q, NULL);
    struct tensor context = forward_slot(f, SLOT_CONTEXT, f->rows, width);
    struct attention_args args = attention_base(a, layer, q, context);
    args.cache = f->cache;
    args.sequences = f->crosses;
    args.sequence_count = f->cross_count;
    f->backend->ops->attention(f->backend, &args);
    linear(f, a->out, ACTIVATION_NONE, context, out, residual);
}

void attention_cross_store(struct forward *f, const struct attention *a, size_t layer, struct tensor states)
{
    size_t width = a->kv_heads * a->head_dim;
    struct tensor kv = forward_slot(f, SLOT_QKV, f->rows, 2 * width);
    linear(f, a->kv, ACTIVATION_NONE, states, kv, NULL);
    f->backend->ops->kv_append(f->backend, f->cache, layer, tensor_columns(kv, 0, width),
        tensor_columns(kv, width, width), f->cross_appends, f->cross_append_count);
}

/* ---- feed-forward ---- */

void feed_forward(struct forward *f, const struct feed_forward *ff, struct tensor in, struct tensor out,
    const struct tensor *residual)
{
    struct tensor inner = forward_slot(f, SLOT_INNER, f->rows, ff->inner);
    f->backend->ops->linear(f->backend,
        &(struct linear_args){
            .out = inner, .in = in, .weight = ff->up, .activation = ff->activation, .gated = ff->gated});
    linear(f, ff->down, ACTIVATION_NONE, inner, out, residual);
}
