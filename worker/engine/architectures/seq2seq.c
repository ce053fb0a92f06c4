#include "worker/engine/architectures/seq2seq.h"

#include <math.h>
#include <stdio.h>

#include "worker/engine/architectures/led.h"

struct layer {
    struct attention self, cross;
    struct led_attention *local; /* LED's encoder; NULL: `self` */
    struct norm self_norm, cross_norm, feed_norm;
    struct feed_forward feed;
};

struct stack {
    const struct weight *words, *positions;
    struct norm embedding_norm, final_norm;
    struct layer *layers;
    size_t layer_count;
};

struct seq2seq {
    struct seq2seq_options options;
    struct stack encoder, decoder;
    const struct weight *head;
    float word_scale;
    int32_t pad;
};

/* ---- loading ---- */

static struct attention load_attention(
    struct loader *l, size_t width, size_t heads, const char *name, bool cross)
{
    struct part q = part(width, true, "%s.q_proj", name), k = part(width, true, "%s.k_proj", name),
                v = part(width, true, "%s.v_proj", name);
    struct attention a = {.heads = heads,
        .kv_heads = heads,
        .head_dim = heads ? width / heads : 0,
        .window_left = -1,
        .window_right = -1};
    if (heads == 0 || width % heads != 0) {
        loader_fail(l, ERROR_INVALID, "config.json: d_model is not a multiple of the attention heads");
        return a;
    }
    a.scale = attention_scale(a.head_dim);
    if (cross) {
        a.q = loader_linear(l, width, q);
        a.kv = loader_joined(l, width, (struct part[]){k, v}, 2);
    } else {
        a.qkv = loader_joined(l, width, (struct part[]){q, k, v}, 3);
    }
    a.out = loader_linear(l, width, part(width, true, "%s.out_proj", name));
    return a;
}

static void load_layer(struct loader *l, struct layer *layer, const char *side, size_t index, bool is_decoder)
{
    const struct seq2seq *model = l->network->own;
    char name[64], at[96], key[48];
    size_t width = l->network->hidden;
    snprintf(name, sizeof name, "%s.layers.%zu", side, index);
    snprintf(at, sizeof at, "%s.self_attn", name);
    snprintf(key, sizeof key, "%s_attention_heads", side);
    size_t heads = loader_size(l, key, 0);
    snprintf(key, sizeof key, "%s_ffn_dim", side);
    layer->feed.inner = loader_size(l, key, 0);
    layer->feed.activation = loader_activation(l, "activation_function", model->options.activation);
    if (!is_decoder && model->options.long_input)
        layer->local = led_attention_load(l, width, heads, at, index);
    else
        layer->self = load_attention(l, width, heads, at, false);
    if (is_decoder) {
        layer->self.window_right = 0;
        snprintf(at, sizeof at, "%s.encoder_attn", name);
        layer->cross = load_attention(l, width, heads, at, true);
        layer->cross_norm = loader_layer_norm(l, width, 1e-5, "%s.encoder_attn_layer_norm", name);
    }
    layer->self_norm = loader_layer_norm(l, width, 1e-5, "%s.self_attn_layer_norm", name);
    layer->feed_norm = loader_layer_norm(l, width, 1e-5, "%s.final_layer_norm", name);
    layer->feed.up = loader_linear(l, width, part(layer->feed.inner, true, "%s.fc1", name));
    layer->feed.down = loader_linear(l, layer->feed.inner, part(width, true, "%s.fc2", name));
}

/* Room for a table that is computed, not read; a configuration must not ask for more than any model has. */
static float *computed_values(struct loader *l, size_t rows, size_t width)
{
    enum { VALUES_MAX = 1 << 28 };
    if (rows > VALUES_MAX / width)
        loader_fail(l, ERROR_INVALID, "config.json: %zu positions of %zu are too many", rows, width);
    return loader_alloc(l, rows * width, sizeof(float));
}

/* The position's part of a frequency table is computed in double, rounded once, as the reference does. */
static const struct weight *sinusoid_table(struct loader *l, size_t rows, size_t width)
{
    float *values = computed_values(l, rows, width);
    size_t half = (width + 1) / 2;
    for (size_t p = 0; values && p < rows; p++)
        for (size_t j = 0; j < width; j++) {
            size_t pair = j / 2;
            double angle = (double)p / pow(10000, 2.0 * (double)pair / (double)width);
            values[p * width + (j % 2 ? half + pair : pair)] = (float)(j % 2 ? cos(angle) : sin(angle));
        }
    return values ? loader_computed_table(l, values, rows, width) : NULL;
}

static const struct weight *fairseq_sinusoid_table(struct loader *l, size_t rows, size_t width, int32_t pad)
{
    float *values = computed_values(l, rows, width);
    size_t half = width / 2;
    float step = half > 1 ? (float)(log(10000) / ((double)half - 1)) : 0;
    for (size_t p = 0; values && p < rows; p++)
        for (size_t i = 0; i < half && (int64_t)p != pad; i++) {
            float angle = (float)p * expf((float)i * -step);
            values[p * width + i] = sinf(angle);
            values[p * width + half + i] = cosf(angle);
        }
    return values ? loader_computed_table(l, values, rows, width) : NULL;
}

static const struct weight *load_positions(
    struct loader *l, const struct seq2seq *model, const char *side, size_t positions)
{
    size_t width = l->network->hidden;
    char name[64];
    snprintf(name, sizeof name, "%s.embed_positions.weight", side);
    switch (model->options.positions) {
    case POSITIONS_SINUSOID:
        if (!loader_has(l, "%s", name))
            return sinusoid_table(l, positions, width);
        return loader_table(l, loader_tensor(l, positions, width, name), positions, width);
    case POSITIONS_SINUSOID_PADS:
        return fairseq_sinusoid_table(l, positions + (size_t)model->pad + 1, width, model->pad);
    case POSITIONS_LEARNED: break;
    }
    return loader_table_from(l, name, positions, width, model->options.position_offset);
}

static void load_stack(
    struct loader *l, struct stack *stack, const char *side, size_t layers, size_t positions)
{
    const struct seq2seq *model = l->network->own;
    size_t width = l->network->hidden;
    stack->positions = load_positions(l, model, side, positions);
    if (model->options.embedding_norm)
        stack->embedding_norm = loader_layer_norm(l, width, 1e-5, "%s.layernorm_embedding", side);
    if (model->options.final_norm)
        stack->final_norm = loader_layer_norm(l, width, 1e-5, "%s.layer_norm", side);
    stack->layers = loader_alloc(l, layers, sizeof *stack->layers);
    for (size_t i = 0; i < layers && !l->failed; i++)
        load_layer(l, &stack->layers[i], side, i, side[0] == 'd');
    stack->layer_count = layers;
}

static const struct tensor_view *first_of(
    struct loader *l, const char *a, const char *b, const char *c, const char *d)
{
    char names[8][96];
    const char *list[9] = {0};
    const char *base[] = {a, b, c, d};
    size_t n = 0;
    for (size_t i = 0; i < 4; i++)
        if (base[i]) {
            snprintf(names[n], sizeof names[n], "%s%s", l->prefix, base[i]);
            list[n] = names[n];
            n++;
        }
    list[n] = "lm_head.weight";
    return loader_first(l, list);
}

static void load_words(struct loader *l, struct seq2seq *model)
{
    size_t width = l->network->hidden, vocabulary = l->network->vocabulary;
    const char *encoder = "encoder.embed_tokens.weight", *decoder = "decoder.embed_tokens.weight";
    const char *head[] = {"lm_head.weight", NULL};
    const struct tensor_view *in, *out;
    if (loader_bool(l, "share_encoder_decoder_embeddings", true)) {
        in = out = first_of(l, "shared.weight", encoder, decoder, NULL);
    } else {
        in = first_of(l, encoder, NULL, NULL, NULL);
        out = first_of(l, decoder, NULL, NULL, NULL);
    }
    model->encoder.words = loader_table(l, in, vocabulary, width);
    model->decoder.words = in == out ? model->encoder.words : loader_table(l, out, vocabulary, width);
    if (!loader_bool(l, "tie_word_embeddings", true))
        out = loader_first(l, head);
    const struct tensor_view *bias =
        model->options.logits_bias ? model_tensor(l->model, "final_logits_bias") : NULL;
    model->head = loader_head(l, out, bias, vocabulary, width);
}

void seq2seq_load(struct network *network, struct loader *l, const struct seq2seq_options *options)
{
    struct seq2seq *model = network->own = loader_alloc(l, 1, sizeof *model);
    if (!model)
        return;
    model->options = *options;
    loader_choose_prefix(
        l, "decoder.layers.0.self_attn.q_proj.weight", (const char *[]){options->prefix, "model.", "", NULL});
    network->vocabulary = loader_size(l, "vocab_size", 0);
    network->hidden = loader_size(l, "d_model", 0);
    network->encoder_layers = loader_size(l, "encoder_layers", 0);
    network->cache_layers = loader_size(l, "decoder_layers", 0);
    size_t in = loader_size(
        l, options->long_input ? "max_encoder_position_embeddings" : "max_position_embeddings", 0);
    size_t out = loader_size(
        l, options->long_input ? "max_decoder_position_embeddings" : "max_position_embeddings", 0);
    int64_t pad = loader_integer(l, "pad_token_id", 1);
    model->pad = pad >= 0 && pad < (int64_t)network->vocabulary ? (int32_t)pad : 0;
    bool scaled = loader_bool(l, "scale_embedding", options->scale_embedding);
    model->word_scale =
        scaled && !options->long_input ? sqrtf((float)network->hidden) : 1; /* LED never scales */
    if (l->failed)
        return;
    load_words(l, model);
    load_stack(l, &model->encoder, "encoder", network->encoder_layers, in);
    load_stack(l, &model->decoder, "decoder", network->cache_layers, out);
    if (l->failed)
        return;
    network->input_positions = in;
    network->token_positions = network->trained_positions = out;
    network->kv_heads = model->decoder.layers[0].self.kv_heads;
    network->head_dim = model->decoder.layers[0].self.head_dim;
}

/* ---- running ---- */

/* Rows of the fairseq table: pad's own for a pad, pad + 1 + position for the rest. */
static const int32_t *position_rows(const struct seq2seq *model, const struct forward *f)
{
    if (model->options.positions != POSITIONS_SINUSOID_PADS)
        return f->positions;
    for (size_t i = 0; i < f->rows; i++)
        f->spare[i] = f->ids[i] == model->pad ? model->pad : model->pad + 1 + f->positions[i];
    return f->spare;
}

static struct tensor embed(
    const struct network *network, struct forward *f, const struct seq2seq *model, const struct stack *stack)
{
    struct tensor x = forward_slot(f, SLOT_STREAM, f->rows, network->hidden);
    f->backend->ops->embed(f->backend, &(struct embed_args){.out = x,
                                           .terms = {{stack->words, f->ids, model->word_scale},
                                               {stack->positions, position_rows(model, f), 1}},
                                           .term_count = 2});
    if (model->options.embedding_norm)
        norm(f, &stack->embedding_norm, x, x);
    return x;
}

/* A sublayer's input is its normed stream (pre-norm) or the stream itself, normed when the sublayer is done.
 */
static struct tensor sublayer_in(
    struct forward *f, const struct seq2seq *model, const struct norm *n, struct tensor x)
{
    if (!model->options.pre_norm)
        return x;
    struct tensor y = forward_slot(f, SLOT_NORMED, x.rows, x.width);
    norm(f, n, x, y);
    return y;
}

static void sublayer_out(
    struct forward *f, const struct seq2seq *model, const struct norm *n, struct tensor x)
{
    if (!model->options.pre_norm)
        norm(f, n, x, x);
}

static void run_layer(
    struct forward *f, const struct seq2seq *model, const struct layer *layer, size_t index, struct tensor x)
{
    struct tensor y = sublayer_in(f, model, &layer->self_norm, x);
    if (layer->local)
        led_attention_run(f, layer->local, y, x, &x);
    else
        attention_self(f, &layer->self, index, y, x, &x);
    sublayer_out(f, model, &layer->self_norm, x);
    if (layer->cross.q) {
        y = sublayer_in(f, model, &layer->cross_norm, x);
        attention_cross(f, &layer->cross, index, y, x, &x);
        sublayer_out(f, model, &layer->cross_norm, x);
    }
    y = sublayer_in(f, model, &layer->feed_norm, x);
    feed_forward(f, &layer->feed, y, x, &x);
    sublayer_out(f, model, &layer->feed_norm, x);
}

static struct tensor run_stack(
    const struct network *network, struct forward *f, const struct seq2seq *model, const struct stack *stack)
{
    struct tensor x = embed(network, f, model, stack);
    forward_layer_done(f, 0, x);
    for (size_t i = 0; i < stack->layer_count; i++) {
        run_layer(f, model, &stack->layers[i], i, x);
        if (i + 1 == stack->layer_count && model->options.final_norm)
            norm(f, &stack->final_norm, x, x);
        forward_layer_done(f, i + 1, x);
    }
    return x;
}

struct tensor seq2seq_encode(const struct network *network, struct forward *f)
{
    const struct seq2seq *model = network->own;
    struct kv_cache *cache = f->cache;
    f->cache = NULL; /* the encoder attends among its own rows */
    struct tensor states = run_stack(network, f, model, &model->encoder);
    f->cache = cache;
    for (size_t i = 0; cache && i < model->decoder.layer_count; i++)
        attention_cross_store(f, &model->decoder.layers[i].cross, i, states);
    return states;
}

struct tensor seq2seq_decode(const struct network *network, struct forward *f)
{
    const struct seq2seq *model = network->own;
    return run_stack(network, f, model, &model->decoder);
}

struct tensor seq2seq_head(const struct network *network, struct forward *f, struct tensor states)
{
    const struct seq2seq *model = network->own;
    struct tensor logits = f->backend->ops->scratch(f->backend, states.rows, network->vocabulary);
    linear(f, model->head, ACTIVATION_NONE, states, logits, NULL);
    return logits;
}
