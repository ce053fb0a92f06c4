/* What an engine must know about weights that come from a GGUF file.
 *
 * Tensors appear under the hub's names and shapes, in the file's own dtypes. config.json is synthesised with
 * the keys that transformers' configuration class of the architecture has; special token ids come from
 * tokenizer.ggml.*. What the converter changed in the weights stands in an object "gguf" of that config:
 *
 *   "architecture"        general.architecture, e.g. "llama"
 *   "norm_includes_one"   true for gemma: norm weights are stored as w + 1, so the engine multiplies by them
 * as they are, where the hub's files need (1 + w) "qk_interleaved"      true for llama (and mistral, which is
 * stored as llama): rows of q_proj and k_proj (weights and biases) are permuted within each head so that
 * rotary pairs are neighbours (2i, 2i+1). Row 2i of a head is the hub's row i, row 2i+1 its row i +
 * head_dim/2. Either rotate neighbouring pairs or move the rows back; rows are whole blocks in every dtype
 *   "linear_transposed"   true for gpt2: c_attn, c_proj and c_fc are [out, in] as any Linear; the hub's are
 * Conv1D, [in, out] "rope_freq_factors"   numbers, head_dim/2 of them, only when the file has
 * rope_freqs.weight (llama 3): each rotary frequency is divided by its factor; "rope_scaling" is then absent
 *
 * Windows and patterns: gemma2 and gemma3 get "sliding_window" and "layer_types" (every second, every sixth
 * layer is full); gemma3's local layers rotate with "rope_local_base_freq", without rope_scaling. phi3's
 * longrope factors stand in "rope_scaling". attention's scale for gemma is "query_pre_attn_scalar". Source of
 * names: llama.cpp's gguf-py (constants.py, tensor_mapping.py). */
#include "worker/model/gguf_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct gguf_architecture architectures[] = {
    {"llama", "llama", GGUF_FAMILY_LLAMA, true},
    {"qwen2", "qwen2", GGUF_FAMILY_LLAMA, false},
    {"qwen3", "qwen3", GGUF_FAMILY_LLAMA, false},
    {"gemma2", "gemma2", GGUF_FAMILY_GEMMA, false},
    {"gemma3", "gemma3_text", GGUF_FAMILY_GEMMA, false},
    {"phi3", "phi3", GGUF_FAMILY_PHI3, false},
    {"gpt2", "gpt2", GGUF_FAMILY_GPT2, false},
};

/* Names up to the last ".weight" or ".bias"; of block tensors, what follows "blk.N.". */
struct name_pair {
    const char *gguf;
    const char *hub;
};

static const struct name_pair llama_names[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
    {NULL, NULL},
};
static const struct name_pair llama_blocks[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {NULL, NULL},
};
static const struct name_pair gemma_blocks[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"post_attention_norm", "post_attention_layernorm"},
    {"ffn_norm", "pre_feedforward_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {NULL, NULL},
};
static const struct name_pair phi3_blocks[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_qkv", "self_attn.qkv_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_up", "mlp.gate_up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {NULL, NULL},
};
static const struct name_pair gpt2_names[] = {
    {"token_embd", "transformer.wte"},
    {"position_embd", "transformer.wpe"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
    {NULL, NULL},
};
static const struct name_pair gpt2_blocks[] = {
    {"attn_norm", "ln_1"},
    {"attn_qkv", "attn.c_attn"},
    {"attn_output", "attn.c_proj"},
    {"ffn_norm", "ln_2"},
    {"ffn_up", "mlp.c_fc"},
    {"ffn_down", "mlp.c_proj"},
    {NULL, NULL},
};

static const struct {
    const struct name_pair *names, *blocks;
    const char *block_prefix;
} families[] = {
    [GGUF_FAMILY_LLAMA] = {llama_names, llama_blocks, "model.layers"},
    [GGUF_FAMILY_GEMMA] = {llama_names, gemma_blocks, "model.layers"},
    [GGUF_FAMILY_PHI3] = {llama_names, phi3_blocks, "model.layers"},
    [GGUF_FAMILY_GPT2] = {gpt2_names, gpt2_blocks, "transformer.h"},
};

/* Tensors that describe the configuration: read by gguf_config. */
static const char *const described[] = {
    "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"};

const struct gguf_architecture *gguf_architecture_of(const struct gguf *file, struct error *err)
{
    struct gguf_string name = {.data = "", .len = 0};
    if (!gguf_get_string(file, "general.architecture", &name)) {
        error_set(err, ERROR_INVALID, "the GGUF file names no general.architecture");
        return NULL;
    }
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        if (strlen(architectures[i].name) == name.len &&
            memcmp(architectures[i].name, name.data, name.len) == 0)
            return &architectures[i];
    }
    char shown[32];
    size_t len = name.len < sizeof shown - 1 ? name.len : sizeof shown - 1;
    for (size_t i = 0; i < len; i++)
        shown[i] = name.data[i] >= 0x20 && name.data[i] < 0x7f ? name.data[i] : '?';
    shown[len] = '\0';
    error_set(err, ERROR_UNSUPPORTED, "GGUF architecture \"%s\" is not supported", shown);
    error_hint(err, "supported: llama (with mistral), qwen2, qwen3, gemma2, gemma3, phi3, gpt2");
    return NULL;
}

static const char *find_name(const struct name_pair *pairs, const char *name, size_t len)
{
    for (; pairs->gguf != NULL; pairs++) {
        if (strlen(pairs->gguf) == len && memcmp(pairs->gguf, name, len) == 0)
            return pairs->hub;
    }
    return NULL;
}

/* The hub's name of `name` into `out`; false when it is not known. */
static bool translate(enum gguf_family family, const char *name, char *out, size_t size)
{
    const char *dot = strrchr(name, '.');
    if (dot == NULL || (strcmp(dot, ".weight") != 0 && strcmp(dot, ".bias") != 0))
        return false;
    if (strncmp(name, "blk.", 4) != 0) {
        const char *hub = find_name(families[family].names, name, (size_t)(dot - name));
        return hub != NULL && snprintf(out, size, "%s%s", hub, dot) < (int)size;
    }
    char *end;
    unsigned long block = strtoul(name + 4, &end, 10);
    if (end == name + 4 || *end != '.' || end >= dot)
        return false;
    const char *hub = find_name(families[family].blocks, end + 1, (size_t)(dot - end - 1));
    return hub != NULL &&
           snprintf(out, size, "%s.%lu.%s%s", families[family].block_prefix, block, hub, dot) < (int)size;
}

static bool is_described(const char *name)
{
    for (size_t i = 0; i < sizeof described / sizeof *described; i++) {
        if (strcmp(described[i], name) == 0)
            return true;
    }
    return false;
}

bool gguf_add_tensors(const struct gguf *file, const struct gguf_architecture *architecture,
    struct weights *weights, struct error *err)
{
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const struct tensor_view *tensor = gguf_tensor_at(file, i);
        char name[WEIGHTS_NAME_BYTES_MAX];
        if (is_described(tensor->name))
            continue;
        bool ok = translate(architecture->family, tensor->name, name, sizeof name)
                      ? weights_add(weights, "the GGUF file", name, tensor->dtype, tensor->rank,
                            tensor->shape, tensor->data, tensor->bytes, err)
                      : weights_add_unreadable(weights, "the GGUF file", tensor->name,
                            "a name unknown for its architecture", err);
        if (!ok)
            return false;
    }
    return weights_finish(weights, err);
}
