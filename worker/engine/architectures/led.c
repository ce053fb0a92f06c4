#include "worker/engine/architectures/led.h"

#include "worker/engine/architectures/seq2seq.h"

static const struct seq2seq_options options = {
    .embedding_norm = true,
    .logits_bias = true,
    .long_input = true,
    .positions = POSITIONS_LEARNED,
    .prefix = "led.",
    .activation = "gelu",
};

struct led_attention {
    struct attention local;
    const struct weight *global_q, *global_kv;
};

static int32_t window_of(struct loader *l, size_t layer)
{
    const json_t *value = json_object_get(l->config, "attention_window");
    if (json_is_array(value))
        value = json_array_get(value, layer);
    json_int_t window = json_is_integer(value) ? json_integer_value(value) : 512;
    if (window < 2 || window > INT32_MAX / 2 || window % 2)
        loader_fail(l, ERROR_INVALID, "config.json: attention_window must be even and positive");
    return (int32_t)window;
}

struct led_attention *led_attention_load(
    struct loader *l, size_t width, size_t heads, const char *name, size_t layer)
{
    struct led_attention *a = loader_alloc(l, 1, sizeof *a);
    if (!a)
        return NULL;
    if (heads == 0 || width % heads != 0) {
        loader_fail(l, ERROR_INVALID, "config.json: d_model is not a multiple of the attention heads");
        return NULL;
    }
    struct part parts[6];
    static const char *const names[] = {
        "query", "key", "value", "query_global", "key_global", "value_global"};
    for (size_t i = 0; i < 6; i++)
        parts[i] = part(width, true, "%s.longformer_self_attn.%s", name, names[i]);
    a->local = (struct attention){.heads = heads,
        .kv_heads = heads,
        .head_dim = width / heads,
        .scale = attention_scale(width / heads),
        .window_left = window_of(l, layer) / 2,
        .global_keys = 1};
    a->local.window_right = a->local.window_left;
    a->local.qkv = loader_joined(l, width, parts, 3);
    a->local.out = loader_linear(l, width, part(width, true, "%s.output", name));
    a->global_q = loader_linear(l, width, parts[3]);
    a->global_kv = loader_joined(l, width, parts + 4, 2);
    return a;
}

/* The first token of each sample sees every token, in its own projection. */
static void run_global(
    struct forward *f, const struct led_attention *a, struct tensor in, struct tensor context)
{
    const struct backend_ops *ops = f->backend->ops;
    size_t width = in.width, count = f->sequence_count;
    struct tensor kv = forward_slot(f, SLOT_EXTRA, f->rows, 2 * width);
    struct tensor firsts = ops->scratch(f->backend, 3 * count, width);
    struct tensor x = tensor_rows(firsts, 0, count), q = tensor_rows(firsts, count, count),
                  out = tensor_rows(firsts, 2 * count, count);
    struct attention_sequence *sequences = f->spare_sequences;
    for (size_t i = 0; i < count; i++) {
        sequences[i] = f->sequences[i];
        sequences[i].q_row = i;
        sequences[i].q_rows = 1;
        f->spare[i] = (int32_t)f->sequences[i].q_row;
    }
    linear(f, a->global_kv, ACTIVATION_NONE, in, kv, NULL);
    ops->gather(f->backend, x, in, f->spare);
    linear(f, a->global_q, ACTIVATION_NONE, x, q, NULL);
    ops->attention(f->backend, &(struct attention_args){.out = out,
                                   .q = q,
                                   .k = tensor_columns(kv, 0, width),
                                   .v = tensor_columns(kv, width, width),
                                   .sequences = sequences,
                                   .sequence_count = count,
                                   .heads = a->local.heads,
                                   .kv_heads = a->local.heads,
                                   .head_dim = a->local.head_dim,
                                   .value_dim = a->local.head_dim,
                                   .scale = a->local.scale,
                                   .window_left = -1,
                                   .window_right = -1});
    ops->scatter(f->backend, context, out, f->spare);
}

void led_attention_run(struct forward *f, const struct led_attention *a, struct tensor in, struct tensor out,
    const struct tensor *residual)
{
    struct tensor context = attention_self_context(f, &a->local, 0, in);
    run_global(f, a, in, context);
    linear(f, a->local.out, ACTIVATION_NONE, context, out, residual);
}

static void load(struct network *network, struct loader *l)
{
    seq2seq_load(network, l, &options);
}

const struct architecture architecture_led = {
    "led", ENGINE_ENCODER_DECODER, load, seq2seq_encode, seq2seq_decode, seq2seq_head};
