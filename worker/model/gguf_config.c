#include "worker/model/gguf_names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_BYTES = 128,
    LAYERS_MAX = 1024,
    SIZE_MAX_ELEMENTS = 1 << 24, /* hidden sizes, context lengths: far above any model's */
    FACTORS_MAX = 1024,
    GEMMA2_PATTERN = 2,
    GEMMA3_PATTERN = 6,
    GEMMA2_27B_LAYERS = 46,
    GEMMA3_27B_LAYERS = 62,
};

/* Collects keys; the first failure is kept and everything after it does nothing. */
struct builder {
    const struct gguf *file;
    const struct gguf_architecture *architecture;
    json_t *config, *gguf;
    struct error *err;
    bool failed;
};

static void set(struct builder *b, json_t *object, const char *key, json_t *value)
{
    if (b->failed) {
        json_decref(value);
        return;
    }
    if (value == NULL || json_object_set_new(object, key, value) != 0) {
        b->failed = true;
        error_set(b->err, ERROR_MEMORY, "no memory for the GGUF file's configuration");
    }
}

/* "<architecture>.<suffix>" */
static const char *arch_key(const struct builder *b, const char *suffix, char *out)
{
    snprintf(out, KEY_BYTES, "%s.%s", b->architecture->name, suffix);
    return out;
}

static void refuse(struct builder *b, const char *key, const char *why)
{
    if (!b->failed)
        error_set(b->err, ERROR_INVALID, "GGUF metadata %s %s", key, why);
    b->failed = true;
}

/* A size: from 1 to `max`. Without the key: `missing`, or an error when that is 0. An array (one size a
 * layer) must hold one value throughout. */
static int64_t get_size(struct builder *b, const char *suffix, int64_t max, int64_t missing)
{
    char key[KEY_BYTES];
    int64_t value = 0;
    enum gguf_type element;
    size_t count = 0;
    arch_key(b, suffix, key);
    if (gguf_get_array(b->file, key, &element, &count)) {
        for (size_t i = 0; i < count; i++) {
            int64_t item;
            if (!gguf_array_int(b->file, key, i, &item) || (i > 0 && item != value)) {
                refuse(b, key, "differs between layers, which is not supported");
                return 1;
            }
            value = item;
        }
    } else if (!gguf_get_int(b->file, key, &value)) {
        if (missing == 0)
            refuse(b, key, gguf_has(b->file, key) ? "is no integer" : "is missing");
        return missing != 0 ? missing : 1;
    }
    if (value < 1 || value > max) {
        refuse(b, key, "is out of range");
        return 1;
    }
    return value;
}

/* A finite number; `missing` when the key is not there. */
static double get_number(struct builder *b, const char *suffix, double missing)
{
    char key[KEY_BYTES];
    double value = missing;
    arch_key(b, suffix, key);
    if (gguf_has(b->file, key) && (!gguf_get_float(b->file, key, &value) || !isfinite(value)))
        refuse(b, key, "is no finite number");
    return isfinite(value) ? value : 0;
}

static bool has(const struct builder *b, const char *suffix)
{
    char key[KEY_BYTES];
    return gguf_has(b->file, arch_key(b, suffix, key));
}

/* Converters write a window of 0 for models without one. */
static bool has_window(const struct builder *b)
{
    char key[KEY_BYTES];
    int64_t window = 0;
    return gguf_get_int(b->file, arch_key(b, "attention.sliding_window", key), &window) && window != 0;
}

static bool string_is(const struct gguf *file, const char *key, const char *text)
{
    struct gguf_string value;
    return gguf_get_string(file, key, &value) && value.len == strlen(text) &&
           memcmp(value.data, text, value.len) == 0;
}

/* A float32 tensor of positive factors as a JSON array; NULL when the file has none. */
static json_t *get_factors(struct builder *b, const char *name)
{
    const struct tensor_view *tensor = gguf_tensor(b->file, name);
    if (tensor == NULL || b->failed)
        return NULL;
    if (tensor->dtype != DTYPE_F32 || tensor->rank != 1 || tensor->shape[0] > FACTORS_MAX) {
        refuse(b, name, "is no list of float32 factors");
        return NULL;
    }
    const float *values = tensor->data;
    json_t *list = json_array();
    for (int64_t i = 0; i < tensor->shape[0]; i++) {
        if (!isfinite(values[i]) || values[i] <= 0) {
            refuse(b, name, "holds a factor that is not positive");
            break;
        }
        json_array_append_new(list, json_real((double)values[i]));
    }
    return list;
}

static void set_rope_scaling(struct builder *b, int64_t context)
{
    char key[KEY_BYTES];
    arch_key(b, "rope.scaling.type", key);
    json_t *factors = get_factors(b, "rope_freqs.weight");
    if (factors != NULL) {
        set(b, b->gguf, "rope_freq_factors", factors);
        return;
    }
    json_t *long_factor = get_factors(b, "rope_factors_long.weight");
    json_t *short_factor = get_factors(b, "rope_factors_short.weight");
    int64_t original = get_size(b, "rope.scaling.original_context_length", SIZE_MAX_ELEMENTS, context);
    double factor = get_number(b, "rope.scaling.factor", get_number(b, "rope.scale_linear", 1));
    const char *type = NULL;
    if (long_factor != NULL && short_factor != NULL)
        type = "longrope";
    else if (string_is(b->file, key, "yarn"))
        type = "yarn";
    else if (factor != 1 && (string_is(b->file, key, "linear") || !gguf_has(b->file, key)))
        type = "linear";
    if (type == NULL) {
        json_decref(long_factor);
        json_decref(short_factor);
        return;
    }
    json_t *scaling = json_object();
    set(b, scaling, "rope_type", json_string(type));
    if (long_factor != NULL && short_factor != NULL) {
        set(b, scaling, "long_factor", long_factor);
        set(b, scaling, "short_factor", short_factor);
        set(b, b->config, "original_max_position_embeddings", json_integer(original));
    } else {
        json_decref(long_factor);
        json_decref(short_factor);
        set(b, scaling, "factor", json_real(factor));
    }
    if (has(b, "rope.scaling.original_context_length"))
        set(b, scaling, "original_max_position_embeddings", json_integer(original));
    if (has(b, "rope.scaling.attn_factor"))
        set(b, scaling, "attention_factor", json_real(get_number(b, "rope.scaling.attn_factor", 1)));
    set(b, b->config, "rope_scaling", scaling);
}

/* `pattern` layers repeat: the last of them sees everything, the others a window. */
static void set_layer_types(struct builder *b, int64_t layers, int pattern)
{
    json_t *types = json_array();
    for (int64_t i = 0; i < layers; i++)
        json_array_append_new(
            types, json_string((i + 1) % pattern == 0 ? "full_attention" : "sliding_attention"));
    set(b, b->config, "layer_types", types);
}

static void set_gemma(struct builder *b, int64_t layers, int64_t hidden, int64_t heads, int64_t head_dim)
{
    bool is_gemma3 = strcmp(b->architecture->name, "gemma3") == 0;
    int64_t largest = is_gemma3 ? GEMMA3_27B_LAYERS : GEMMA2_27B_LAYERS;
    /* The file does not carry the scale; the 27B models alone scale by hidden size over heads. */
    set(b, b->config, "query_pre_attn_scalar", json_integer(layers == largest ? hidden / heads : head_dim));
    set(b, b->config, "hidden_activation", json_string("gelu_pytorch_tanh"));
    set(b, b->config, "sliding_window",
        json_integer(get_size(b, "attention.sliding_window", SIZE_MAX_ELEMENTS, 4096)));
    set_layer_types(b, layers, is_gemma3 ? GEMMA3_PATTERN : GEMMA2_PATTERN);
    if (is_gemma3) {
        double local = get_number(b, "rope.freq_base_swa", get_number(b, "rope.local.freq_base", 10000));
        set(b, b->config, "rope_local_base_freq", json_real(local));
    }
    /* Files of the first converters lack the caps; the values are the same for every Gemma 2. */
    static const char *const caps[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    static const double gemma2_caps[] = {50, 30};
    for (size_t i = 0; i < 2; i++) {
        bool capped = has(b, caps[i]) || !is_gemma3;
        set(b, b->config, caps[i], capped ? json_real(get_number(b, caps[i], gemma2_caps[i])) : json_null());
    }
}

static void set_decoder(struct builder *b, int64_t layers, int64_t hidden)
{
    int64_t heads = get_size(b, "attention.head_count", SIZE_MAX_ELEMENTS, 0);
    int64_t head_dim =
        get_size(b, "attention.key_length", SIZE_MAX_ELEMENTS, hidden / heads > 0 ? hidden / heads : 1);
    int64_t rotary = get_size(b, "rope.dimension_count", SIZE_MAX_ELEMENTS, head_dim);
    int64_t context = get_size(b, "context_length", SIZE_MAX_ELEMENTS, 0);
    json_t *config = b->config;
    set(b, config, "hidden_size", json_integer(hidden));
    set(b, config, "num_hidden_layers", json_integer(layers));
    set(b, config, "num_attention_heads", json_integer(heads));
    set(b, config, "num_key_value_heads",
        json_integer(get_size(b, "attention.head_count_kv", SIZE_MAX_ELEMENTS, heads)));
    set(b, config, "head_dim", json_integer(head_dim));
    if (rotary != head_dim)
        set(b, config, "partial_rotary_factor", json_real((double)rotary / (double)head_dim));
    set(b, config, "intermediate_size",
        json_integer(get_size(b, "feed_forward_length", SIZE_MAX_ELEMENTS, 0)));
    set(b, config, "max_position_embeddings", json_integer(context));
    set(b, config, "rms_norm_eps", json_real(get_number(b, "attention.layer_norm_rms_epsilon", 1e-6)));
    set(b, config, "rope_theta", json_real(get_number(b, "rope.freq_base", 10000)));
    set(b, config, "attention_bias", json_boolean(gguf_tensor(b->file, "blk.0.attn_q.bias") != NULL));
    set(b, config, "mlp_bias", json_boolean(gguf_tensor(b->file, "blk.0.ffn_up.bias") != NULL));
    set_rope_scaling(b, context);
    if (b->architecture->family == GGUF_FAMILY_GEMMA) {
        set_gemma(b, layers, hidden, heads, head_dim);
        return;
    }
    set(b, config, "hidden_act", json_string("silu"));
    if (has_window(b))
        set(b, config, "sliding_window",
            json_integer(get_size(b, "attention.sliding_window", SIZE_MAX_ELEMENTS, 0)));
}

static void set_gpt2(struct builder *b, int64_t layers, int64_t hidden)
{
    json_t *config = b->config;
    set(b, config, "n_embd", json_integer(hidden));
    set(b, config, "n_layer", json_integer(layers));
    set(b, config, "n_head", json_integer(get_size(b, "attention.head_count", SIZE_MAX_ELEMENTS, 0)));
    set(b, config, "n_inner",
        json_integer(get_size(b, "feed_forward_length", SIZE_MAX_ELEMENTS, 4 * hidden)));
    set(b, config, "n_positions", json_integer(get_size(b, "context_length", SIZE_MAX_ELEMENTS, 0)));
    set(b, config, "layer_norm_epsilon", json_real(get_number(b, "attention.layer_norm_epsilon", 1e-5)));
    set(b, config, "activation_function", json_string("gelu_new"));
}

/* Tokens that end a chat turn beside the end of text, as llama.cpp looks them up by name. */
static bool ends_turn(const struct gguf_string *token)
{
    static const char *const names[] = {"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (token->len == strlen(names[i]) && memcmp(token->data, names[i], token->len) == 0)
            return true;
    }
    return false;
}

static void set_special_tokens(struct builder *b, int64_t vocabulary)
{
    static const char *const names[] = {"bos", "eos", "padding"};
    static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    json_t *ends = json_array();
    int64_t id, eos = -1;
    for (size_t i = 0; i < 3; i++) {
        char key[KEY_BYTES];
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", names[i]);
        bool known = gguf_get_int(b->file, key, &id) && id >= 0 && id < vocabulary;
        set(b, b->config, keys[i], known ? json_integer(id) : json_null());
        if (known && i == 1)
            eos = id;
    }
    if (eos >= 0)
        json_array_append_new(ends, json_integer(eos));
    struct gguf_string token;
    for (size_t i = 0; gguf_array_string(b->file, "tokenizer.ggml.tokens", i, &token); i++) {
        if ((int64_t)i != eos && (int64_t)i < vocabulary && ends_turn(&token))
            json_array_append_new(ends, json_integer((json_int_t)i));
    }
    if (json_array_size(ends) > 1)
        set(b, b->config, "eos_token_id", ends);
    else
        json_decref(ends);
}

static void set_all(struct builder *b)
{
    int64_t experts = 0;
    char key[KEY_BYTES];
    if (gguf_get_int(b->file, arch_key(b, "expert_count", key), &experts) && experts > 0)
        refuse(b, key, "says that the model is a mixture of experts, which is not supported");
    const struct tensor_view *embedding = gguf_tensor(b->file, "token_embd.weight");
    if (embedding == NULL || embedding->rank != 2) {
        refuse(b, "tensor token_embd.weight", "is missing or no matrix");
        return;
    }
    int64_t layers = get_size(b, "block_count", LAYERS_MAX, 0);
    int64_t hidden = get_size(b, "embedding_length", SIZE_MAX_ELEMENTS, 0);
    bool is_mistral = strcmp(b->architecture->name, "llama") == 0 && has_window(b);
    set(b, b->config, "model_type", json_string(is_mistral ? "mistral" : b->architecture->model_type));
    set(b, b->config, "vocab_size", json_integer(embedding->shape[0]));
    set(b, b->config, "tie_word_embeddings", json_boolean(gguf_tensor(b->file, "output.weight") == NULL));
    if (b->architecture->family == GGUF_FAMILY_GPT2)
        set_gpt2(b, layers, hidden);
    else
        set_decoder(b, layers, hidden);
    set_special_tokens(b, embedding->shape[0]);
    set(b, b->gguf, "architecture", json_string(b->architecture->name));
    set(b, b->gguf, "norm_includes_one", json_boolean(b->architecture->family == GGUF_FAMILY_GEMMA));
    set(b, b->gguf, "qk_interleaved", json_boolean(b->architecture->qk_interleaved));
    set(b, b->gguf, "linear_transposed", json_boolean(b->architecture->family == GGUF_FAMILY_GPT2));
}

json_t *gguf_config(const struct gguf *file, const struct gguf_architecture *architecture, struct error *err)
{
    struct builder b = {.file = file,
        .architecture = architecture,
        .config = json_object(),
        .gguf = json_object(),
        .err = err};
    set_all(&b);
    set(&b, b.config, "gguf", b.gguf);
    if (!b.failed)
        return b.config;
    json_decref(b.config);
    return NULL;
}
