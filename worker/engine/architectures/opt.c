/* OPT: learned positions, layer norms before each branch (after it in the 350M model), a plain feed-forward.
 * Words may be narrower than the stream. https://arxiv.org/abs/2205.01068 */
#include "worker/engine/loader.h"

enum { POSITION_OFFSET = 2 }; /* the table's first rows are never used */

struct layer {
    struct attention attention;
    struct feed_forward feed;
    struct norm attention_norm, feed_norm;
};

struct opt {
    const struct weight *words, *positions, *head;
    const struct weight *words_in, *words_out; /* between words and the stream; NULL: as wide */
    size_t word_width;
    bool norm_first;
    struct layer *layers;
    struct norm final_norm; /* weight NULL: none */
};

static void load_layer(struct loader *l, struct layer *layer, size_t i, size_t heads, size_t inner)
{
    size_t width = l->network->hidden;
    bool bias = loader_bool(l, "enable_bias", true);
    layer->attention = (struct attention){.heads = heads,
        .kv_heads = heads,
        .head_dim = width / heads,
        .scale = attention_scale(width / heads),
        .window_left = -1};
    layer->attention.qkv = loader_joined(l, width,
        (struct part[]){part(width, bias, "layers.%zu.self_attn.q_proj", i),
            part(width, bias, "layers.%zu.self_attn.k_proj", i),
            part(width, bias, "layers.%zu.self_attn.v_proj", i)},
        3);
    layer->attention.out = loader_linear(l, width, part(width, bias, "layers.%zu.self_attn.out_proj", i));
    layer->feed = (struct feed_forward){
        .inner = inner, .activation = loader_activation(l, "activation_function", "relu")};
    layer->feed.up = loader_linear(l, width, part(inner, bias, "layers.%zu.fc1", i));
    layer->feed.down = loader_linear(l, inner, part(width, bias, "layers.%zu.fc2", i));
    layer->attention_norm = loader_layer_norm(l, width, 1e-5, "layers.%zu.self_attn_layer_norm", i);
    layer->feed_norm = loader_layer_norm(l, width, 1e-5, "layers.%zu.final_layer_norm", i);
}

static void load_words(struct loader *l, struct opt *m, size_t positions)
{
    static const char *const heads[] = {"lm_head.weight", NULL};
    size_t vocabulary = l->network->vocabulary, width = l->network->hidden, narrow = m->word_width;
    const struct tensor_view *words = loader_tensor(l, vocabulary, narrow, "embed_tokens.weight");
    m->words = loader_table(l, words, vocabulary, narrow);
    m->positions = loader_table_from(l, "embed_positions.weight", positions, width, POSITION_OFFSET);
    bool tied = loader_bool(l, "tie_word_embeddings", true);
    m->head = loader_head(l, tied ? words : loader_first(l, heads), NULL, vocabulary, narrow);
    if (narrow == width)
        return;
    m->words_in = loader_linear(l, narrow, part(width, false, "project_in"));
    m->words_out = loader_linear(l, width, part(narrow, false, "project_out"));
}

static void load(struct network *network, struct loader *l)
{
    struct opt *m = network->own = loader_alloc(l, 1, sizeof *m);
    if (!m)
        return;
    network->vocabulary = loader_size(l, "vocab_size", 0);
    size_t width = network->hidden = loader_size(l, "hidden_size", 0);
    size_t layers = network->cache_layers = loader_size(l, "num_hidden_layers", 0);
    size_t positions = loader_size(l, "max_position_embeddings", 2048);
    size_t heads = loader_size(l, "num_attention_heads", 0), inner = loader_size(l, "ffn_dim", 0);
    if (l->failed || width % heads != 0) {
        loader_fail(l, ERROR_INVALID, "config.json: hidden_size is not a multiple of num_attention_heads");
        return;
    }
    m->word_width = loader_size(l, "word_embed_proj_dim", width);
    m->norm_first = loader_bool(l, "do_layer_norm_before", true);
    network->token_positions = network->trained_positions = positions;
    network->kv_heads = heads;
    network->head_dim = width / heads;
    loader_choose_prefix(l, "embed_tokens.weight", (const char *[]){"model.decoder.", "decoder.", "", NULL});
    load_words(l, m, positions);
    m->layers = loader_alloc(l, layers, sizeof *m->layers);
    for (size_t i = 0; i < layers && !l->failed; i++)
        load_layer(l, &m->layers[i], i, heads, inner);
    if (m->norm_first && !loader_bool(l, "_remove_final_layer_norm", false))
        m->final_norm = loader_layer_norm(l, width, 1e-5, "final_layer_norm");
}

static struct tensor embed(const struct opt *m, struct forward *f, size_t width)
{
    const struct backend_ops *ops = f->backend->ops;
    struct tensor x = forward_slot(f, SLOT_STREAM, f->rows, width);
    struct embed_args args = {
        .out = x, .terms = {{m->positions, f->positions, 1}, {m->words, f->ids, 1}}, .term_count = 2};
    if (m->words_in) {
        struct tensor words = forward_slot(f, SLOT_EXTRA, f->rows, m->word_width);
        ops->embed(f->backend,
            &(struct embed_args){.out = words, .terms = {{m->words, f->ids, 1}}, .term_count = 1});
        args.term_count = 1;
        ops->embed(f->backend, &args);
        linear(f, m->words_in, ACTIVATION_NONE, words, x, &x);
    } else {
        ops->embed(f->backend, &args);
    }
    return x;
}

static struct tensor decode(const struct network *network, struct forward *f)
{
    const struct opt *m = network->own;
    struct tensor x = embed(m, f, network->hidden);
    struct tensor y = forward_slot(f, SLOT_NORMED, f->rows, network->hidden);
    for (size_t i = 0; i < network->cache_layers; i++) {
        const struct layer *layer = &m->layers[i];
        if (m->norm_first)
            norm(f, &layer->attention_norm, x, y);
        attention_self(f, &layer->attention, i, m->norm_first ? y : x, x, &x);
        norm(f, m->norm_first ? &layer->feed_norm : &layer->attention_norm, x, m->norm_first ? y : x);
        feed_forward(f, &layer->feed, m->norm_first ? y : x, x, &x);
        if (!m->norm_first)
            norm(f, &layer->feed_norm, x, x);
    }
    if (m->final_norm.weight)
        norm(f, &m->final_norm, x, x);
    return x;
}

static struct tensor head(const struct network *network, struct forward *f, struct tensor states)
{
    const struct opt *m = network->own;
    const struct backend_ops *ops = f->backend->ops;
    if (m->words_out) {
        struct tensor narrow = ops->scratch(f->backend, states.rows, m->word_width);
        linear(f, m->words_out, ACTIVATION_NONE, states, narrow, NULL);
        states = narrow;
    }
    struct tensor logits = ops->scratch(f->backend, states.rows, network->vocabulary);
    linear(f, m->head, ACTIVATION_NONE, states, logits, NULL);
    return logits;
}

const struct architecture architecture_opt = {"opt", ENGINE_DECODER, load, NULL, decode, head};
