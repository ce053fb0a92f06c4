/* BERT, RoBERTa, XLM-RoBERTa: a post-norm encoder over words, learned positions and token types.
 * https://arxiv.org/abs/1810.04805, https://arxiv.org/abs/1907.11692 */
#include <stdio.h>
#include <string.h>

#include "worker/engine/loader.h"

struct layer {
    struct attention attention;
    struct norm attention_norm, feed_norm;
    struct feed_forward feed;
};

struct bert {
    const struct weight *words, *positions, *types;
    struct norm embedding_norm;
    struct layer *layers;
    bool positions_after_pad; /* RoBERTa: positions count from pad + 1, and a pad has its own */
    int32_t pad;
};

static void load_layer(
    struct loader *l, struct layer *layer, size_t i, size_t heads, size_t inner, double epsilon)
{
    size_t width = l->network->hidden;
    char at[48];
    snprintf(at, sizeof at, "encoder.layer.%zu", i);
    layer->attention = (struct attention){.heads = heads,
        .kv_heads = heads,
        .head_dim = width / heads,
        .scale = attention_scale(width / heads),
        .window_left = -1,
        .window_right = -1};
    layer->attention.qkv = loader_joined(l, width,
        (struct part[]){part(width, true, "%s.attention.self.query", at),
            part(width, true, "%s.attention.self.key", at), part(width, true, "%s.attention.self.value", at)},
        3);
    layer->attention.out = loader_linear(l, width, part(width, true, "%s.attention.output.dense", at));
    layer->attention_norm = loader_layer_norm(l, width, epsilon, "%s.attention.output.LayerNorm", at);
    layer->feed =
        (struct feed_forward){.inner = inner, .activation = loader_activation(l, "hidden_act", "gelu")};
    layer->feed.up = loader_linear(l, width, part(inner, true, "%s.intermediate.dense", at));
    layer->feed.down = loader_linear(l, inner, part(width, true, "%s.output.dense", at));
    layer->feed_norm = loader_layer_norm(l, width, epsilon, "%s.output.LayerNorm", at);
}

static void load_embeddings(struct loader *l, struct bert *m, double epsilon)
{
    size_t width = l->network->hidden, vocabulary = l->network->vocabulary;
    size_t positions = loader_size(l, "max_position_embeddings", 512);
    size_t types = loader_size(l, "type_vocab_size", 2);
    int64_t pad = loader_integer(l, "pad_token_id", 1);
    m->pad = pad >= 0 && pad < (int64_t)positions - 1 ? (int32_t)pad : 1;
    m->positions_after_pad = strcmp(l->network->architecture->model_type, "bert") != 0;
    m->words = loader_table(
        l, loader_tensor(l, vocabulary, width, "embeddings.word_embeddings.weight"), vocabulary, width);
    m->positions = loader_table(
        l, loader_tensor(l, positions, width, "embeddings.position_embeddings.weight"), positions, width);
    m->types = loader_table(
        l, loader_tensor(l, types, width, "embeddings.token_type_embeddings.weight"), types, width);
    m->embedding_norm = loader_layer_norm(l, width, epsilon, "embeddings.LayerNorm");
    size_t before = m->positions_after_pad ? (size_t)m->pad + 1 : 0;
    if (positions <= before)
        loader_fail(
            l, ERROR_INVALID, "config.json: max_position_embeddings leaves no position after the pad's");
    l->network->input_positions = positions - before;
}

static void load(struct network *network, struct loader *l)
{
    struct bert *m = network->own = loader_alloc(l, 1, sizeof *m);
    if (!m)
        return;
    network->vocabulary = loader_size(l, "vocab_size", 0);
    size_t width = network->hidden = loader_size(l, "hidden_size", 0);
    size_t layers = network->encoder_layers = loader_size(l, "num_hidden_layers", 0);
    size_t heads = loader_size(l, "num_attention_heads", 0), inner = loader_size(l, "intermediate_size", 0);
    double epsilon = loader_real(l, "layer_norm_eps", 1e-12);
    if (l->failed || width % heads != 0) {
        loader_fail(l, ERROR_INVALID, "config.json: hidden_size is not a multiple of num_attention_heads");
        return;
    }
    loader_choose_prefix(
        l, "embeddings.word_embeddings.weight", (const char *[]){"", "bert.", "roberta.", NULL});
    load_embeddings(l, m, epsilon);
    m->layers = loader_alloc(l, layers, sizeof *m->layers);
    for (size_t i = 0; i < layers && !l->failed; i++)
        load_layer(l, &m->layers[i], i, heads, inner, epsilon);
}

static const int32_t *position_rows(const struct bert *m, const struct forward *f)
{
    if (!m->positions_after_pad)
        return f->positions;
    for (size_t i = 0; i < f->rows; i++)
        f->spare[i] = f->ids[i] == m->pad ? m->pad : m->pad + 1 + f->positions[i];
    return f->spare;
}

static struct tensor encode(const struct network *network, struct forward *f)
{
    const struct bert *m = network->own;
    struct tensor x = forward_slot(f, SLOT_STREAM, f->rows, network->hidden);
    f->backend->ops->embed(f->backend,
        &(struct embed_args){.out = x,
            .terms = {{m->words, f->ids, 1}, {m->types, f->zeros, 1}, {m->positions, position_rows(m, f), 1}},
            .term_count = 3});
    norm(f, &m->embedding_norm, x, x);
    forward_layer_done(f, 0, x);
    for (size_t i = 0; i + f->layers_unused < network->encoder_layers; i++) {
        const struct layer *layer = &m->layers[i];
        attention_self(f, &layer->attention, i, x, x, &x);
        norm(f, &layer->attention_norm, x, x);
        feed_forward(f, &layer->feed, x, x, &x);
        norm(f, &layer->feed_norm, x, x);
        forward_layer_done(f, i + 1, x);
    }
    return x;
}

const struct architecture architecture_bert = {"bert", ENGINE_ENCODER, load, encode, NULL, NULL};
const struct architecture architecture_roberta = {"roberta", ENGINE_ENCODER, load, encode, NULL, NULL};
const struct architecture architecture_xlm_roberta = {
    "xlm-roberta", ENGINE_ENCODER, load, encode, NULL, NULL};
