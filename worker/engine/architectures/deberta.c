/* DeBERTa-v2 and v3: an encoder whose attention adds content-to-position and position-to-content terms, and
 * may mix neighbours by a convolution after the first layer. https://arxiv.org/abs/2006.03654 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "worker/engine/loader.h"

struct layer {
    struct attention attention;
    const struct weight *position_key, *position_query; /* NULL: those of the content */
    struct norm attention_norm, feed_norm;
    struct feed_forward feed;
};

struct deberta {
    const struct weight *words, *positions, *types, *relative;
    struct norm embedding_norm, relative_norm, conv_norm;
    struct layer *layers;
    const struct weight *conv; /* [hidden, taps * hidden]; NULL: none */
    size_t conv_taps;
    enum activation conv_activation;
    bool content_to_position, position_to_content, share_keys, norm_relative;
    size_t span; /* rows of `relative` to each side */
    int32_t buckets, position_max;
    int32_t *relative_ids; /* 0 … 2 span - 1 */
    float *zeros;          /* [hidden] */
};

/* ---- loading ---- */

static bool has_word(const struct loader *l, const char *name, const char *word)
{
    const json_t *value = json_object_get(l->config, name), *item;
    size_t i;
    if (json_is_string(value))
        return strstr(json_string_value(value), word) != NULL;
    json_array_foreach(
        value, i, item) if (json_is_string(item) && strcmp(json_string_value(item), word) == 0) return true;
    return false;
}

static void load_positions(struct loader *l, struct deberta *m, double epsilon)
{
    size_t width = l->network->hidden, longest = loader_size(l, "max_position_embeddings", 512);
    int64_t most = loader_integer(l, "max_relative_positions", -1);
    int64_t buckets = loader_integer(l, "position_buckets", -1);
    m->position_max = most < 1 ? (int32_t)longest : (int32_t)most;
    m->buckets = buckets > 0 ? (int32_t)buckets : 0;
    m->span = (size_t)(buckets > 0 ? m->buckets : m->position_max);
    m->content_to_position = has_word(l, "pos_att_type", "c2p");
    m->position_to_content = has_word(l, "pos_att_type", "p2c");
    m->share_keys = loader_bool(l, "share_att_key", false);
    m->norm_relative = has_word(l, "norm_rel_ebd", "layer_norm");
    m->relative_ids = loader_alloc(l, 2 * m->span, sizeof *m->relative_ids);
    for (size_t i = 0; m->relative_ids && i < 2 * m->span; i++)
        m->relative_ids[i] = (int32_t)i;
    m->relative = loader_table(
        l, loader_tensor(l, 2 * m->span, width, "encoder.rel_embeddings.weight"), 2 * m->span, width);
    if (m->norm_relative)
        m->relative_norm = loader_layer_norm(l, width, epsilon, "encoder.LayerNorm");
}

/* IEEE 754 binary16. */
static float half_value(uint16_t half)
{
    int exponent = (half >> 10) & 31, fraction = half & 1023;
    double value = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    if (exponent == 31)
        value = fraction ? NAN : INFINITY;
    return (float)(half & 0x8000 ? -value : value);
}

static float element(const struct tensor_view *view, size_t i)
{
    uint32_t bits;
    float value;
    switch (view->dtype) {
    case DTYPE_F32: return ((const float *)view->data)[i];
    case DTYPE_BF16:
        bits = (uint32_t)((const uint16_t *)view->data)[i] << 16;
        memcpy(&value, &bits, sizeof value);
        return value;
    default: return half_value(((const uint16_t *)view->data)[i]);
    }
}

/* The convolution as one product: its taps, each [out, in], stand side by side. */
static void load_conv(struct loader *l, struct deberta *m, double epsilon)
{
    size_t width = l->network->hidden, taps = (size_t)loader_integer(l, "conv_kernel_size", 0);
    if (taps == 0 || taps == SIZE_MAX || l->failed)
        return;
    const struct tensor_view *view = NULL;
    char name[64];
    snprintf(name, sizeof name, "%sencoder.conv.conv.weight", l->prefix);
    view = model_tensor(l->model, name);
    bool fits = view && view->rank == 3 && view->shape[0] == (int64_t)width &&
                view->shape[1] == (int64_t)width && view->shape[2] == (int64_t)taps && taps % 2 == 1 &&
                taps < 16 && view->dtype <= DTYPE_BF16;
    float *joined = fits ? loader_alloc(l, width * width * taps, sizeof *joined) : NULL;
    if (!joined) {
        loader_fail(
            l, ERROR_INVALID, "tensor %s is missing or is not [%zu, %zu, %zu]", name, width, width, taps);
        return;
    }
    for (size_t o = 0; o < width; o++)
        for (size_t i = 0; i < width; i++)
            for (size_t t = 0; t < taps; t++)
                joined[(o * taps + t) * width + i] = element(view, (o * width + i) * taps + t);
    struct tensor_view matrix = {.name = view->name,
        .dtype = DTYPE_F32,
        .rank = 2,
        .shape = {(int64_t)width, (int64_t)(width * taps)},
        .data = joined,
        .bytes = width * width * taps * sizeof *joined};
    m->conv =
        loader_head(l, &matrix, loader_tensor(l, width, 0, "encoder.conv.conv.bias"), width, width * taps);
    m->conv_taps = taps;
    m->conv_activation = loader_activation(l, "conv_act", "tanh");
    m->conv_norm = loader_layer_norm(l, width, epsilon, "encoder.conv.LayerNorm");
    m->zeros = loader_alloc(l, width, sizeof *m->zeros);
}

static void load_layer(
    struct loader *l, const struct deberta *m, struct layer *layer, size_t i, size_t heads, double epsilon)
{
    size_t width = l->network->hidden, inner = loader_size(l, "intermediate_size", 0);
    size_t terms = 1 + (size_t)m->content_to_position + (size_t)m->position_to_content;
    char at[48];
    snprintf(at, sizeof at, "encoder.layer.%zu", i);
    layer->attention = (struct attention){.heads = heads,
        .kv_heads = heads,
        .head_dim = width / heads,
        .scale = attention_scale(width / heads * terms)};
    layer->attention.qkv = loader_joined(l, width,
        (struct part[]){part(width, true, "%s.attention.self.query_proj", at),
            part(width, true, "%s.attention.self.key_proj", at),
            part(width, true, "%s.attention.self.value_proj", at)},
        3);
    if (!m->share_keys && m->content_to_position)
        layer->position_key =
            loader_linear(l, width, part(width, true, "%s.attention.self.pos_key_proj", at));
    if (!m->share_keys && m->position_to_content)
        layer->position_query =
            loader_linear(l, width, part(width, true, "%s.attention.self.pos_query_proj", at));
    layer->attention.out = loader_linear(l, width, part(width, true, "%s.attention.output.dense", at));
    layer->attention_norm = loader_layer_norm(l, width, epsilon, "%s.attention.output.LayerNorm", at);
    layer->feed =
        (struct feed_forward){.inner = inner, .activation = loader_activation(l, "hidden_act", "gelu")};
    layer->feed.up = loader_linear(l, width, part(inner, true, "%s.intermediate.dense", at));
    layer->feed.down = loader_linear(l, inner, part(width, true, "%s.output.dense", at));
    layer->feed_norm = loader_layer_norm(l, width, epsilon, "%s.output.LayerNorm", at);
}

static void load_embeddings(struct loader *l, struct deberta *m, double epsilon)
{
    size_t width = l->network->hidden, vocabulary = l->network->vocabulary;
    size_t positions = loader_size(l, "max_position_embeddings", 512);
    size_t types = json_integer_value(json_object_get(l->config, "type_vocab_size")) > 0
                       ? loader_size(l, "type_vocab_size", 0)
                       : 0;
    if (loader_size(l, "embedding_size", width) != width)
        loader_fail(l, ERROR_UNSUPPORTED, "an embedding_size other than hidden_size is not implemented");
    m->words = loader_table(
        l, loader_tensor(l, vocabulary, width, "embeddings.word_embeddings.weight"), vocabulary, width);
    if (loader_bool(l, "position_biased_input", true)) {
        m->positions = loader_table(
            l, loader_tensor(l, positions, width, "embeddings.position_embeddings.weight"), positions, width);
        l->network->input_positions = positions;
    }
    if (types > 0)
        m->types = loader_table(
            l, loader_tensor(l, types, width, "embeddings.token_type_embeddings.weight"), types, width);
    m->embedding_norm = loader_layer_norm(l, width, epsilon, "embeddings.LayerNorm");
}

static void load(struct network *network, struct loader *l)
{
    struct deberta *m = network->own = loader_alloc(l, 1, sizeof *m);
    if (!m)
        return;
    network->vocabulary = loader_size(l, "vocab_size", 0);
    size_t width = network->hidden = loader_size(l, "hidden_size", 0);
    size_t layers = network->encoder_layers = loader_size(l, "num_hidden_layers", 0);
    size_t heads = loader_size(l, "num_attention_heads", 0);
    double epsilon = loader_real(l, "layer_norm_eps", 1e-7);
    if (l->failed || width % heads != 0) {
        loader_fail(l, ERROR_INVALID, "config.json: hidden_size is not a multiple of num_attention_heads");
        return;
    }
    loader_choose_prefix(l, "embeddings.word_embeddings.weight", (const char *[]){"", "deberta.", NULL});
    load_embeddings(l, m, epsilon);
    if (loader_bool(l, "relative_attention", false))
        load_positions(l, m, epsilon);
    load_conv(l, m, epsilon);
    m->layers = loader_alloc(l, layers, sizeof *m->layers);
    for (size_t i = 0; i < layers && !l->failed; i++)
        load_layer(l, m, &m->layers[i], i, heads, epsilon);
}

/* ---- running ---- */

/* The embeddings of relative positions, the same for every layer. */
static struct tensor relative_states(
    const struct network *network, struct forward *f, const struct deberta *m)
{
    struct tensor states = {0};
    if (!m->relative)
        return states;
    states = f->backend->ops->scratch(f->backend, 2 * m->span, network->hidden);
    f->backend->ops->embed(f->backend,
        &(struct embed_args){.out = states, .terms = {{m->relative, m->relative_ids, 1}}, .term_count = 1});
    if (m->norm_relative)
        norm(f, &m->relative_norm, states, states);
    return states;
}

static void attend(struct forward *f, const struct deberta *m, const struct layer *layer, struct tensor x,
    struct tensor relative)
{
    const struct attention *a = &layer->attention;
    size_t width = x.width, rows = 2 * m->span;
    struct tensor qkv = forward_slot(f, SLOT_QKV, f->rows, 3 * width);
    struct tensor context = forward_slot(f, SLOT_CONTEXT, f->rows, width);
    linear(f, a->qkv, ACTIVATION_NONE, x, qkv, NULL);
    struct attention_args args = {.out = context,
        .q = tensor_columns(qkv, 0, width),
        .k = tensor_columns(qkv, width, width),
        .v = tensor_columns(qkv, 2 * width, width),
        .sequences = f->sequences,
        .sequence_count = f->sequence_count,
        .heads = a->heads,
        .kv_heads = a->heads,
        .head_dim = a->head_dim,
        .value_dim = a->head_dim,
        .scale = a->scale,
        .window_left = -1,
        .window_right = -1,
        .position_span = (int32_t)m->span,
        .position_buckets = m->buckets,
        .position_max = m->position_max};
    struct tensor positions = {0};
    if (relative.data)
        positions = forward_slot(f, SLOT_EXTRA, rows, 3 * width);
    if (relative.data && m->share_keys)
        linear(f, a->qkv, ACTIVATION_NONE, relative, positions, NULL);
    if (relative.data && m->content_to_position) {
        args.position_key = tensor_columns(positions, width, width);
        if (layer->position_key)
            linear(f, layer->position_key, ACTIVATION_NONE, relative, args.position_key, NULL);
    }
    if (relative.data && m->position_to_content) {
        args.position_query = tensor_columns(positions, 0, width);
        if (layer->position_query)
            linear(f, layer->position_query, ACTIVATION_NONE, relative, args.position_query, NULL);
    }
    f->backend->ops->attention(f->backend, &args);
    linear(f, a->out, ACTIVATION_NONE, context, x, &x);
}

/* x = norm(x + activation(convolution of `words`)); beyond a sample's ends there are zeros. */
static void convolve(struct forward *f, const struct deberta *m, struct tensor words, struct tensor x)
{
    const struct backend_ops *ops = f->backend->ops;
    size_t width = x.width, taps = m->conv_taps;
    struct tensor windows = forward_slot(f, SLOT_INNER, f->rows, taps * width);
    ops->upload(f->backend, tensor_rows(words, f->rows, 1), m->zeros);
    for (size_t t = 0; t < taps; t++) {
        for (size_t s = 0; s < f->sequence_count; s++) {
            const struct attention_sequence *q = &f->sequences[s];
            for (size_t i = 0; i < q->q_rows; i++) {
                bool inside = i + t >= taps / 2 && i + t < q->q_rows + taps / 2;
                f->spare[q->q_row + i] = (int32_t)(inside ? q->q_row + i + t - taps / 2 : f->rows);
            }
        }
        ops->gather(f->backend, tensor_columns(windows, t * width, width), words, f->spare);
    }
    linear(f, m->conv, m->conv_activation, windows, x, &x);
    norm(f, &m->conv_norm, x, x);
}

static struct tensor encode(const struct network *network, struct forward *f)
{
    const struct deberta *m = network->own;
    size_t width = network->hidden;
    struct tensor x = forward_slot(f, SLOT_STREAM, f->rows, width);
    struct tensor words = forward_slot(f, SLOT_EXTRA2, f->rows + 1, width); /* and a row of zeros */
    struct tensor relative = relative_states(network, f, m);
    struct embed_args embed = {.out = x, .terms = {{m->words, f->ids, 1}}, .term_count = 1};
    if (m->positions) {
        embed.terms[embed.term_count].table = m->positions;
        embed.terms[embed.term_count].ids = f->positions;
        embed.terms[embed.term_count++].scale = 1;
    }
    if (m->types) {
        embed.terms[embed.term_count].table = m->types;
        embed.terms[embed.term_count].ids = f->zeros;
        embed.terms[embed.term_count++].scale = 1;
    }
    f->backend->ops->embed(f->backend, &embed);
    norm(f, &m->embedding_norm, x, tensor_rows(words, 0, f->rows));
    norm(f, &m->embedding_norm, x, x);
    forward_layer_done(f, 0, x);
    for (size_t i = 0; i + f->layers_unused < network->encoder_layers; i++) {
        const struct layer *layer = &m->layers[i];
        attend(f, m, layer, x, relative);
        norm(f, &layer->attention_norm, x, x);
        feed_forward(f, &layer->feed, x, x, &x);
        norm(f, &layer->feed_norm, x, x);
        if (i == 0 && m->conv)
            convolve(f, m, words, x);
        forward_layer_done(f, i + 1, x);
    }
    return x;
}

const struct architecture architecture_deberta_v2 = {"deberta-v2", ENGINE_ENCODER, load, encode, NULL, NULL};
