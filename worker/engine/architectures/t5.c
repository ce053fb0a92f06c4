/* T5, mT5: pre-norm (RMS) layers without biases, attention unscaled with a learned bias by distance that the
 * first layer owns and all share. https://arxiv.org/abs/1910.10683, v1.1: https://arxiv.org/abs/2002.05202 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "worker/engine/loader.h"

struct layer {
    struct attention self, cross;
    struct norm self_norm, cross_norm, feed_norm;
    struct feed_forward feed;
};

struct stack {
    struct layer *layers;
    size_t layer_count;
    struct norm final_norm;
};

struct t5 {
    const struct weight *words, *head;
    struct stack encoder, decoder;
    float head_scale; /* of the states before a tied head */
    size_t heads, head_dim, inner, buckets;
    int32_t max_distance;
    double epsilon;
    enum activation activation;
    bool gated;
};

static void read_config(struct loader *l, struct t5 *m)
{
    m->heads = loader_size(l, "num_heads", 0);
    m->head_dim = loader_size(l, "d_kv", 64);
    m->inner = loader_size(l, "d_ff", 0);
    m->buckets = loader_size(l, "relative_attention_num_buckets", 32);
    m->max_distance = (int32_t)loader_size(l, "relative_attention_max_distance", 128);
    m->epsilon = loader_real(l, "layer_norm_epsilon", 1e-6);
    /* Half of the buckets are single distances; the rest reach from there to the greatest, by logarithm. */
    if (m->buckets < 4 || m->buckets % 2 != 0 || (size_t)m->max_distance <= m->buckets / 2)
        loader_fail(l, ERROR_INVALID, "config.json: %zu relative attention buckets up to a distance of %d",
            m->buckets, m->max_distance);
    const char *kind = json_string_value(json_object_get(l->config, "feed_forward_proj"));
    if (!kind)
        kind = strcmp(l->network->architecture->model_type, "mt5") == 0 ? "gated-gelu" : "relu";
    m->gated = strncmp(kind, "gated-", 6) == 0;
    if (strcmp(kind, "gated-gelu") == 0)
        m->activation = ACTIVATION_GELU_TANH;
    else
        m->activation = loader_activation_named(l, m->gated ? kind + 6 : kind);
}

static struct attention load_attention(struct loader *l, const struct t5 *m, const char *name, bool cross)
{
    size_t width = l->network->hidden, inner = m->heads * m->head_dim;
    struct part q = part(inner, false, "%s.q", name), k = part(inner, false, "%s.k", name),
                v = part(inner, false, "%s.v", name);
    struct attention a = {.heads = m->heads,
        .kv_heads = m->heads,
        .head_dim = m->head_dim,
        .scale = 1,
        .window_left = -1,
        .window_right = -1};
    if (cross) {
        a.q = loader_linear(l, width, q);
        a.kv = loader_joined(l, width, (struct part[]){k, v}, 2);
    } else {
        a.qkv = loader_joined(l, width, (struct part[]){q, k, v}, 3);
    }
    a.out = loader_linear(l, inner, part(width, false, "%s.o", name));
    return a;
}

static struct feed_forward load_feed(struct loader *l, const struct t5 *m, const char *name)
{
    size_t width = l->network->hidden;
    struct feed_forward ff = {.activation = m->activation, .gated = m->gated, .inner = m->inner};
    if (m->gated)
        ff.up = loader_joined(l, width,
            (struct part[]){part(m->inner, false, "%s.wi_0", name), part(m->inner, false, "%s.wi_1", name)},
            2);
    else
        ff.up = loader_linear(l, width, part(m->inner, false, "%s.wi", name));
    ff.down = loader_linear(l, m->inner, part(width, false, "%s.wo", name));
    return ff;
}

static void load_stack(
    struct loader *l, const struct t5 *m, struct stack *stack, const char *side, size_t layers)
{
    bool decoder = side[0] == 'd';
    size_t width = l->network->hidden;
    char at[80], name[112];
    stack->layers = loader_alloc(l, layers, sizeof *stack->layers);
    stack->layer_count = layers;
    stack->final_norm = loader_rms_norm(l, width, m->epsilon, 0, "%s.final_layer_norm", side);
    snprintf(name, sizeof name, "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight", side);
    const struct weight *bias =
        loader_table(l, loader_tensor(l, m->buckets, m->heads, name), m->buckets, m->heads);
    for (size_t i = 0; i < layers && !l->failed; i++) {
        struct layer *layer = &stack->layers[i];
        snprintf(at, sizeof at, "%s.block.%zu.layer", side, i);
        snprintf(name, sizeof name, "%s.0.SelfAttention", at);
        layer->self = load_attention(l, m, name, false);
        layer->self.window_right = decoder ? 0 : -1;
        layer->self.relative_bias = bias;
        layer->self.relative_max_distance = m->max_distance;
        layer->self.relative_bidirectional = !decoder;
        layer->self_norm = loader_rms_norm(l, width, m->epsilon, 0, "%s.0.layer_norm", at);
        if (decoder) {
            snprintf(name, sizeof name, "%s.1.EncDecAttention", at);
            layer->cross = load_attention(l, m, name, true);
            layer->cross_norm = loader_rms_norm(l, width, m->epsilon, 0, "%s.1.layer_norm", at);
        }
        snprintf(name, sizeof name, "%s.%d.DenseReluDense", at, decoder ? 2 : 1);
        layer->feed = load_feed(l, m, name);
        layer->feed_norm = loader_rms_norm(l, width, m->epsilon, 0, "%s.%d.layer_norm", at, decoder ? 2 : 1);
    }
}

static void load_words(struct loader *l, struct t5 *m, bool tied_by_default)
{
    static const char *const names[] = {"shared.weight", "encoder.embed_tokens.weight",
        "decoder.embed_tokens.weight", "transformer.shared.weight", "lm_head.weight", NULL};
    static const char *const head_names[] = {"lm_head.weight", NULL};
    size_t width = l->network->hidden, vocabulary = l->network->vocabulary;
    bool tied = loader_bool(l, "tie_word_embeddings", tied_by_default);
    const struct tensor_view *words = loader_first(l, names);
    m->words = loader_table(l, words, vocabulary, width);
    m->head = loader_head(l, tied ? words : loader_first(l, head_names), NULL, vocabulary, width);
    m->head_scale = tied ? (float)pow((double)width, -0.5) : 1;
}

static void load(struct network *network, struct loader *l)
{
    struct t5 *m = network->own = loader_alloc(l, 1, sizeof *m);
    if (!m)
        return;
    network->vocabulary = loader_size(l, "vocab_size", 0);
    network->hidden = loader_size(l, "d_model", 0);
    network->encoder_layers = loader_size(l, "num_layers", 0);
    network->cache_layers = loader_size(l, "num_decoder_layers", network->encoder_layers);
    read_config(l, m);
    if (l->failed)
        return;
    loader_choose_prefix(l, "decoder.final_layer_norm.weight", (const char *[]){"", "transformer.", NULL});
    load_words(l, m, strcmp(network->architecture->model_type, "t5") == 0);
    load_stack(l, m, &m->encoder, "encoder", network->encoder_layers);
    load_stack(l, m, &m->decoder, "decoder", network->cache_layers);
    network->kv_heads = m->heads;
    network->head_dim = m->head_dim;
}

static struct tensor run_stack(
    const struct network *network, struct forward *f, const struct t5 *m, const struct stack *stack)
{
    struct tensor x = forward_slot(f, SLOT_STREAM, f->rows, network->hidden);
    struct tensor y = forward_slot(f, SLOT_NORMED, f->rows, network->hidden);
    f->backend->ops->embed(
        f->backend, &(struct embed_args){.out = x, .terms = {{m->words, f->ids, 1}}, .term_count = 1});
    forward_layer_done(f, 0, x);
    for (size_t i = 0; i < stack->layer_count; i++) {
        const struct layer *layer = &stack->layers[i];
        norm(f, &layer->self_norm, x, y);
        attention_self(f, &layer->self, i, y, x, &x);
        if (layer->cross.q) {
            norm(f, &layer->cross_norm, x, y);
            attention_cross(f, &layer->cross, i, y, x, &x);
        }
        norm(f, &layer->feed_norm, x, y);
        feed_forward(f, &layer->feed, y, x, &x);
        if (i + 1 == stack->layer_count)
            norm(f, &stack->final_norm, x, x);
        forward_layer_done(f, i + 1, x);
    }
    return x;
}

static struct tensor encode(const struct network *network, struct forward *f)
{
    const struct t5 *m = network->own;
    struct kv_cache *cache = f->cache;
    f->cache = NULL; /* the encoder attends among its own rows */
    struct tensor states = run_stack(network, f, m, &m->encoder);
    f->cache = cache;
    for (size_t i = 0; cache && i < m->decoder.layer_count; i++)
        attention_cross_store(f, &m->decoder.layers[i].cross, i, states);
    return states;
}

static struct tensor decode(const struct network *network, struct forward *f)
{
    const struct t5 *m = network->own;
    return run_stack(network, f, m, &m->decoder);
}

static struct tensor head(const struct network *network, struct forward *f, struct tensor states)
{
    const struct t5 *m = network->own;
    struct tensor logits = f->backend->ops->scratch(f->backend, states.rows, network->vocabulary);
    if (m->head_scale != 1)
        f->backend->ops->scale(f->backend, states, m->head_scale, 0);
    linear(f, m->head, ACTIVATION_NONE, states, logits, NULL);
    return logits;
}

const struct architecture architecture_t5 = {"t5", ENGINE_ENCODER_DECODER, load, encode, decode, head};
const struct architecture architecture_mt5 = {"mt5", ENGINE_ENCODER_DECODER, load, encode, decode, head};
