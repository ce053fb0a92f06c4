/* GPT-2: learned positions, layer norms before each branch, weights stored [in, out].
 * https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf */
#include <stdio.h>

#include "worker/engine/loader.h"

struct layer {
    struct norm attention_norm, feed_norm;
    struct attention attention;
    struct feed_forward feed;
};

struct gpt2 {
    const struct weight *words, *positions, *head;
    struct layer *layers;
    struct norm final_norm;
};

/* The hub stores [in, out]; GGUF files hold what every other model has. */
static const struct weight *load_linear(struct loader *l, size_t in, struct part p)
{
    return loader_converted(l, "linear_transposed") ? loader_linear(l, in, p)
                                                    : loader_linear_transposed(l, in, p);
}

static void load_layer(
    struct loader *l, struct layer *layer, size_t i, size_t heads, size_t inner, double epsilon)
{
    size_t width = l->network->hidden;
    bool by_layer = loader_bool(l, "scale_attn_by_inverse_layer_idx", false);
    bool scaled = loader_bool(l, "scale_attn_weights", true);
    double scale = scaled ? (double)attention_scale(width / heads) : 1;
    layer->attention = (struct attention){.heads = heads,
        .kv_heads = heads,
        .head_dim = width / heads,
        .scale = (float)(by_layer ? scale / (double)(i + 1) : scale),
        .window_left = -1};
    layer->attention.qkv = load_linear(l, width, part(3 * width, true, "h.%zu.attn.c_attn", i));
    layer->attention.out = load_linear(l, width, part(width, true, "h.%zu.attn.c_proj", i));
    layer->feed = (struct feed_forward){
        .inner = inner, .activation = loader_activation(l, "activation_function", "gelu_new")};
    layer->feed.up = load_linear(l, width, part(inner, true, "h.%zu.mlp.c_fc", i));
    layer->feed.down = load_linear(l, inner, part(width, true, "h.%zu.mlp.c_proj", i));
    layer->attention_norm = loader_layer_norm(l, width, epsilon, "h.%zu.ln_1", i);
    layer->feed_norm = loader_layer_norm(l, width, epsilon, "h.%zu.ln_2", i);
}

static void load(struct network *network, struct loader *l)
{
    static const char *const head_names[] = {"lm_head.weight", NULL};
    struct gpt2 *m = network->own = loader_alloc(l, 1, sizeof *m);
    if (!m)
        return;
    size_t vocabulary = network->vocabulary = loader_size(l, "vocab_size", 0);
    size_t width = network->hidden = loader_size(l, "n_embd", 0);
    size_t layers = network->cache_layers = loader_size(l, "n_layer", 0);
    size_t positions = loader_size(l, "n_positions", 0), heads = loader_size(l, "n_head", 0);
    size_t inner = loader_size(l, "n_inner", 4 * width);
    double epsilon = loader_real(l, "layer_norm_epsilon", 1e-5);
    if (l->failed || width % heads != 0) {
        loader_fail(l, ERROR_INVALID, "config.json: n_embd is not a multiple of n_head");
        return;
    }
    network->token_positions = network->trained_positions = positions;
    network->kv_heads = heads;
    network->head_dim = width / heads;
    loader_choose_prefix(l, "wte.weight", (const char *[]){"transformer.", "", NULL});
    const struct tensor_view *words = loader_tensor(l, vocabulary, width, "wte.weight");
    m->words = loader_table(l, words, vocabulary, width);
    m->positions = loader_table(l, loader_tensor(l, positions, width, "wpe.weight"), positions, width);
    bool tied = loader_bool(l, "tie_word_embeddings", true);
    m->head = loader_head(l, tied ? words : loader_first(l, head_names), NULL, vocabulary, width);
    m->layers = loader_alloc(l, layers, sizeof *m->layers);
    for (size_t i = 0; i < layers && !l->failed; i++)
        load_layer(l, &m->layers[i], i, heads, inner, epsilon);
    m->final_norm = loader_layer_norm(l, width, epsilon, "ln_f");
}

static struct tensor decode(const struct network *network, struct forward *f)
{
    const struct gpt2 *m = network->own;
    struct tensor x = forward_slot(f, SLOT_STREAM, f->rows, network->hidden);
    struct tensor y = forward_slot(f, SLOT_NORMED, f->rows, network->hidden);
    f->backend->ops->embed(f->backend,
        &(struct embed_args){
            .out = x, .terms = {{m->words, f->ids, 1}, {m->positions, f->positions, 1}}, .term_count = 2});
    for (size_t i = 0; i < network->cache_layers; i++) {
        const struct layer *layer = &m->layers[i];
        norm(f, &layer->attention_norm, x, y);
        attention_self(f, &layer->attention, i, y, x, &x);
        norm(f, &layer->feed_norm, x, y);
        feed_forward(f, &layer->feed, y, x, &x);
    }
    norm(f, &m->final_norm, x, x);
    return x;
}

static struct tensor head(const struct network *network, struct forward *f, struct tensor states)
{
    const struct gpt2 *m = network->own;
    struct tensor logits = f->backend->ops->scratch(f->backend, states.rows, network->vocabulary);
    linear(f, m->head, ACTIVATION_NONE, states, logits, NULL);
    return logits;
}

const struct architecture architecture_gpt2 = {"gpt2", ENGINE_DECODER, load, NULL, decode, head};
