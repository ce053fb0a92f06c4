#include "worker/engine/architectures/causal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "worker/engine/rope.h"

struct layer {
    struct attention attention;
    struct norm attention_norm, attention_post_norm, feed_norm, feed_post_norm, q_norm, k_norm;
    struct feed_forward feed;
};

struct causal {
    struct causal_options options;
    const struct weight *words, *head;
    float word_scale, logits_cap;
    double epsilon;
    const struct rope *rope, *local_rope;
    size_t heads, kv_heads, head_dim, inner;
    struct layer *layers;
    struct norm final_norm;
};

/* ---- loading ---- */

static bool is_sliding(struct loader *l, enum causal_windows windows, size_t layer)
{
    const char *type = json_string_value(json_array_get(json_object_get(l->config, "layer_types"), layer));
    if (type)
        return strcmp(type, "sliding_attention") == 0;
    switch (windows) {
    case WINDOWS_NONE: return false;
    case WINDOWS_ALL: return true;
    case WINDOWS_UPPER:
        return loader_bool(l, "use_sliding_window", false) &&
               (int64_t)layer >= loader_integer(l, "max_window_layers", 28);
    case WINDOWS_EVEN: return layer % 2 == 0;
    case WINDOWS_PATTERN: return (layer + 1) % loader_size(l, "sliding_window_pattern", 6) != 0;
    }
    return false;
}

/* null says that there is none. */
static float soft_cap(struct loader *l, const char *name, double fallback)
{
    return json_is_null(json_object_get(l->config, name)) ? 0 : (float)loader_real(l, name, fallback);
}

static void load_projections(struct loader *l, const struct causal *m, struct layer *layer, const char *at)
{
    size_t width = l->network->hidden, q = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    bool named = m->options.bias_named && loader_bool(l, "attention_bias", false);
    bool bias = m->options.qkv_bias || named;
    if (m->options.joined)
        layer->attention.qkv = loader_linear(l, width, part(q + 2 * kv, bias, "%s.self_attn.qkv_proj", at));
    else
        layer->attention.qkv = loader_joined(l, width,
            (struct part[]){part(q, bias, "%s.self_attn.q_proj", at),
                part(kv, bias, "%s.self_attn.k_proj", at), part(kv, bias, "%s.self_attn.v_proj", at)},
            3);
    layer->attention.out = loader_linear(l, q, part(width, named, "%s.self_attn.o_proj", at));
}

static void load_attention(
    struct loader *l, const struct causal *m, struct layer *layer, const char *at, size_t i)
{
    float offset = m->options.norm_offset;
    bool sliding = is_sliding(l, m->options.windows, i);
    int64_t window = sliding ? loader_integer(l, "sliding_window", -1) : -1;
    double scalar = loader_real(l, "query_pre_attn_scalar", (double)m->head_dim);
    layer->attention = (struct attention){.heads = m->heads,
        .kv_heads = m->kv_heads,
        .head_dim = m->head_dim,
        .scale = (float)pow(scalar, -0.5),
        .window_left = window > 0 ? (int32_t)window - 1 : -1,
        .rope = sliding && m->local_rope ? m->local_rope : m->rope};
    if (m->options.soft_caps)
        layer->attention.soft_cap = soft_cap(l, "attn_logit_softcapping", 50);
    load_projections(l, m, layer, at);
    if (m->options.head_norms) {
        layer->q_norm = loader_rms_norm(l, m->head_dim, m->epsilon, offset, "%s.self_attn.q_norm", at);
        layer->k_norm = loader_rms_norm(l, m->head_dim, m->epsilon, offset, "%s.self_attn.k_norm", at);
        layer->attention.q_norm = &layer->q_norm;
        layer->attention.k_norm = &layer->k_norm;
    }
}

static void load_feed(struct loader *l, const struct causal *m, struct layer *layer, const char *at)
{
    size_t width = l->network->hidden;
    bool bias = m->options.bias_named && loader_bool(l, "mlp_bias", false);
    const char *named = json_object_get(l->config, "hidden_activation") ? "hidden_activation" : "hidden_act";
    layer->feed = (struct feed_forward){
        .inner = m->inner, .gated = true, .activation = loader_activation(l, named, m->options.activation)};
    if (m->options.joined)
        layer->feed.up = loader_linear(l, width, part(2 * m->inner, bias, "%s.mlp.gate_up_proj", at));
    else
        layer->feed.up = loader_joined(l, width,
            (struct part[]){
                part(m->inner, bias, "%s.mlp.gate_proj", at), part(m->inner, bias, "%s.mlp.up_proj", at)},
            2);
    layer->feed.down = loader_linear(l, m->inner, part(width, bias, "%s.mlp.down_proj", at));
}

static void load_layer(struct loader *l, const struct causal *m, struct layer *layer, size_t i)
{
    char at[48];
    size_t width = l->network->hidden;
    float offset = m->options.norm_offset;
    snprintf(at, sizeof at, "layers.%zu", i);
    load_attention(l, m, layer, at, i);
    load_feed(l, m, layer, at);
    layer->attention_norm = loader_rms_norm(l, width, m->epsilon, offset, "%s.input_layernorm", at);
    if (!m->options.post_norms) {
        layer->feed_norm = loader_rms_norm(l, width, m->epsilon, offset, "%s.post_attention_layernorm", at);
        return;
    }
    layer->attention_post_norm =
        loader_rms_norm(l, width, m->epsilon, offset, "%s.post_attention_layernorm", at);
    layer->feed_norm = loader_rms_norm(l, width, m->epsilon, offset, "%s.pre_feedforward_layernorm", at);
    layer->feed_post_norm =
        loader_rms_norm(l, width, m->epsilon, offset, "%s.post_feedforward_layernorm", at);
}

static void load_words(struct loader *l, struct causal *m)
{
    static const char *const heads[] = {"lm_head.weight", NULL};
    size_t width = l->network->hidden, vocabulary = l->network->vocabulary;
    const struct tensor_view *words = loader_tensor(l, vocabulary, width, "embed_tokens.weight");
    m->words = loader_table(l, words, vocabulary, width);
    bool tied = loader_bool(l, "tie_word_embeddings", m->options.tied);
    m->head = loader_head(l, tied ? words : loader_first(l, heads), NULL, vocabulary, width);
    m->word_scale = m->options.scaled_words ? sqrtf((float)width) : 1;
}

static void read_config(struct loader *l, struct causal *m)
{
    struct network *network = l->network;
    network->vocabulary = loader_size(l, "vocab_size", 0);
    network->hidden = loader_size(l, "hidden_size", 0);
    network->cache_layers = loader_size(l, "num_hidden_layers", 0);
    network->trained_positions = loader_size(l, "max_position_embeddings", 2048);
    m->heads = loader_size(l, "num_attention_heads", 0);
    m->kv_heads = loader_size(l, "num_key_value_heads", m->heads);
    m->head_dim = loader_size(l, "head_dim", m->heads ? network->hidden / m->heads : 0);
    m->inner = loader_size(l, "intermediate_size", 0);
    m->epsilon = loader_real(l, "rms_norm_eps", 1e-6);
    m->logits_cap = soft_cap(l, "final_logit_softcapping", m->options.soft_caps ? 30 : 0);
    if (!l->failed && (m->kv_heads == 0 || m->heads % m->kv_heads != 0 || m->head_dim > 1024))
        loader_fail(l, ERROR_INVALID, "config.json: %zu heads over %zu key heads of %zu do not fit together",
            m->heads, m->kv_heads, m->head_dim);
    network->kv_heads = m->kv_heads;
    network->head_dim = m->head_dim;
}

void causal_load(struct network *network, struct loader *l, const struct causal_options *options)
{
    struct causal *m = network->own = loader_alloc(l, 1, sizeof *m);
    if (!m)
        return;
    m->options = *options;
    if (loader_converted(l, "norm_includes_one"))
        m->options.norm_offset = 0;
    read_config(l, m);
    if (l->failed)
        return;
    m->rope = rope_load(l, m->head_dim, loader_real(l, "rope_theta", options->theta), true);
    if (options->local_rope)
        m->local_rope = rope_load(l, m->head_dim, loader_real(l, "rope_local_base_freq", 10000), false);
    loader_choose_prefix(l, "embed_tokens.weight",
        (const char *[]){"model.", "", "model.language_model.", "language_model.model.", NULL});
    load_words(l, m);
    m->layers = loader_alloc(l, network->cache_layers, sizeof *m->layers);
    for (size_t i = 0; i < network->cache_layers && !l->failed; i++)
        load_layer(l, m, &m->layers[i], i);
    m->final_norm = loader_rms_norm(l, network->hidden, m->epsilon, m->options.norm_offset, "norm");
}

/* ---- running ---- */

struct tensor causal_decode(const struct network *network, struct forward *f)
{
    const struct causal *m = network->own;
    struct tensor x = forward_slot(f, SLOT_STREAM, f->rows, network->hidden);
    struct tensor y = forward_slot(f, SLOT_NORMED, f->rows, network->hidden);
    f->backend->ops->embed(f->backend,
        &(struct embed_args){.out = x, .terms = {{m->words, f->ids, m->word_scale}}, .term_count = 1});
    for (size_t i = 0; i < network->cache_layers; i++) {
        const struct layer *layer = &m->layers[i];
        norm(f, &layer->attention_norm, x, y);
        if (m->options.post_norms) {
            struct tensor branch = forward_slot(f, SLOT_BRANCH, f->rows, network->hidden);
            attention_self(f, &layer->attention, i, y, branch, NULL);
            norm_add(f, &layer->attention_post_norm, branch, x, x);
            norm(f, &layer->feed_norm, x, y);
            feed_forward(f, &layer->feed, y, branch, NULL);
            norm_add(f, &layer->feed_post_norm, branch, x, x);
        } else {
            attention_self(f, &layer->attention, i, y, x, &x);
            norm(f, &layer->feed_norm, x, y);
            feed_forward(f, &layer->feed, y, x, &x);
        }
    }
    norm(f, &m->final_norm, x, x);
    return x;
}

struct tensor causal_head(const struct network *network, struct forward *f, struct tensor states)
{
    const struct causal *m = network->own;
    struct tensor logits = f->backend->ops->scratch(f->backend, states.rows, network->vocabulary);
    linear(f, m->head, ACTIVATION_NONE, states, logits, NULL);
    if (m->logits_cap > 0)
        f->backend->ops->scale(f->backend, logits, 1, m->logits_cap);
    return logits;
}
