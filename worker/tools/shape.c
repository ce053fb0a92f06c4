#include "worker/tools/shape.h"

#include <errno.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* BART's shapes: https://arxiv.org/abs/1910.13461; Llama 3's: https://arxiv.org/abs/2407.21783, table 3. */
static const struct shape {
    const char *name;
    size_t width, inner, layers, heads, vocabulary, positions;
    size_t kv_heads; /* 0: BART; otherwise Llama */
} shapes[] = {
    {"bart-large", 1024, 4096, 12, 16, 50264, 1024, 0},
    {"bart-base", 768, 3072, 6, 12, 50265, 1024, 0},
    {"bart-tiny", 64, 128, 2, 4, 1000, 256, 0},
    {"llama-3-8b", 4096, 14336, 32, 32, 128256, 8192, 8},
    {"llama-tiny", 64, 128, 2, 4, 1000, 256, 2},
};
enum { SHAPE_COUNT = sizeof shapes / sizeof *shapes };

static const struct shape *find(const char *name, struct error *err)
{
    char known[160] = "";
    for (size_t i = 0; i < SHAPE_COUNT; i++) {
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", shapes[i].name);
    }
    error_set(err, ERROR_INVALID, "there is no shape \"%.40s\"; there are %s", name, known);
    return NULL;
}

/* ---- the tensors, in order: a header entry each, then values each ---- */

struct writer {
    json_t *header; /* being built; NULL: values are being written */
    FILE *file;
    size_t offset;
    uint64_t random;
    bool failed, empty; /* empty: values are a hole in the file, read as zeros */
};

/* Uniform numbers around `center`, wide enough that activations neither vanish nor grow. */
static void write_random(struct writer *w, size_t count, float center, float spread)
{
    enum { CHUNK = 4096 };
    float values[CHUNK];
    while (count > 0) {
        size_t n = count < CHUNK ? count : CHUNK;
        for (size_t i = 0; i < n; i++) {
            w->random = w->random * 6364136223846793005u + 1442695040888963407u;
            values[i] = center + spread * ((float)(w->random >> 40) * 0x1p-23f - 1);
        }
        w->failed |= fwrite(values, sizeof *values, n, w->file) != n;
        count -= n;
    }
}

static void tensor(struct writer *w, const char *name, size_t rows, size_t width, float center)
{
    size_t count = rows * (width ? width : 1), end = w->offset + count * sizeof(float);
    if (!w->header && w->empty)
        return;
    if (!w->header) {
        write_random(w, count, center, 0.03f);
        return;
    }
    json_t *shape =
        width ? json_pack("[II]", (json_int_t)rows, (json_int_t)width) : json_pack("[I]", (json_int_t)rows);
    json_object_set_new(w->header, name,
        json_pack("{ss so s[II]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)w->offset,
            (json_int_t)end));
    w->offset = end;
}

static void matrix(struct writer *w, const char *at, const char *name, size_t out, size_t in)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s.weight", at, name);
    tensor(w, full, out, in, 0);
}

static void linear(struct writer *w, const char *at, const char *name, size_t out, size_t in)
{
    char full[256];
    matrix(w, at, name, out, in);
    snprintf(full, sizeof full, "%s.%s.bias", at, name);
    tensor(w, full, out, 0, 0);
}

static void layer_norm(struct writer *w, const char *at, const char *name, size_t width)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s.weight", at, name);
    tensor(w, full, width, 0, 1);
    snprintf(full, sizeof full, "%s.%s.bias", at, name);
    tensor(w, full, width, 0, 0);
}

static void attention(struct writer *w, const char *at, const char *name, size_t width)
{
    static const char *const projections[] = {"q_proj", "k_proj", "v_proj", "out_proj"};
    char full[128];
    for (size_t i = 0; i < 4; i++) {
        snprintf(full, sizeof full, "%s.%s", name, projections[i]);
        linear(w, at, full, width, width);
    }
    snprintf(full, sizeof full, "%s_layer_norm", name);
    layer_norm(w, at, full, width);
}

static void stack(struct writer *w, const struct shape *s, const char *side)
{
    char at[64];
    snprintf(at, sizeof at, "model.%s.embed_positions.weight", side);
    tensor(w, at, s->positions + 2, s->width, 0);
    snprintf(at, sizeof at, "model.%s", side);
    layer_norm(w, at, "layernorm_embedding", s->width);
    for (size_t i = 0; i < s->layers; i++) {
        snprintf(at, sizeof at, "model.%s.layers.%zu", side, i);
        attention(w, at, "self_attn", s->width);
        if (side[0] == 'd')
            attention(w, at, "encoder_attn", s->width);
        linear(w, at, "fc1", s->inner, s->width);
        linear(w, at, "fc2", s->width, s->inner);
        layer_norm(w, at, "final_layer_norm", s->width);
    }
}

static void llama_layer(struct writer *w, const struct shape *s, const char *at)
{
    size_t kv_width = s->width / s->heads * s->kv_heads;
    matrix(w, at, "self_attn.q_proj", s->width, s->width);
    matrix(w, at, "self_attn.k_proj", kv_width, s->width);
    matrix(w, at, "self_attn.v_proj", kv_width, s->width);
    matrix(w, at, "self_attn.o_proj", s->width, s->width);
    matrix(w, at, "mlp.gate_proj", s->inner, s->width);
    matrix(w, at, "mlp.up_proj", s->inner, s->width);
    matrix(w, at, "mlp.down_proj", s->width, s->inner);
}

static void llama_tensors(struct writer *w, const struct shape *s)
{
    char at[64], full[128];
    tensor(w, "model.embed_tokens.weight", s->vocabulary, s->width, 0);
    for (size_t i = 0; i < s->layers; i++) {
        snprintf(at, sizeof at, "model.layers.%zu", i);
        llama_layer(w, s, at);
        snprintf(full, sizeof full, "%s.input_layernorm.weight", at);
        tensor(w, full, s->width, 0, 1);
        snprintf(full, sizeof full, "%s.post_attention_layernorm.weight", at);
        tensor(w, full, s->width, 0, 1);
    }
    tensor(w, "model.norm.weight", s->width, 0, 1);
    tensor(w, "lm_head.weight", s->vocabulary, s->width, 0);
}

static void all_tensors(struct writer *w, const struct shape *s)
{
    if (s->kv_heads) {
        llama_tensors(w, s);
        return;
    }
    tensor(w, "model.shared.weight", s->vocabulary, s->width, 0);
    stack(w, s, "encoder");
    stack(w, s, "decoder");
}

/* ---- files ---- */

static bool write_weights(const struct shape *s, bool empty, const char *path, struct error *err)
{
    struct writer w = {.header = json_object(), .file = fopen(path, "we"), .random = 1, .empty = empty};
    all_tensors(&w, s);
    char *text = json_dumps(w.header, JSON_COMPACT);
    json_decref(w.header);
    w.header = NULL;
    if (w.file && text) {
        uint64_t len = strlen(text), padded = (len + 7) / 8 * 8; /* data begins aligned */
        unsigned char little[8];
        for (size_t i = 0; i < sizeof little; i++)
            little[i] = (unsigned char)(padded >> (8 * i));
        w.failed |= fwrite(little, sizeof little, 1, w.file) != 1;
        fprintf(w.file, "%-*s", (int)padded, text);
        all_tensors(&w, s);
        size_t header = sizeof little + padded;
        w.failed |=
            fflush(w.file) != 0 || (empty && ftruncate(fileno(w.file), (off_t)(header + w.offset)) != 0);
    }
    free(text);
    bool fine = w.file && !w.failed && fclose(w.file) == 0;
    return fine || error_set(err, ERROR_UNAVAILABLE, "%s: %s", path, strerror(errno));
}

static json_t *llama_config(const struct shape *s)
{
    return json_pack("{ss sI sI sI sI sI sI sI sf sf si si sb ss}", "model_type", "llama", "hidden_size",
        (json_int_t)s->width, "vocab_size", (json_int_t)s->vocabulary, "num_hidden_layers",
        (json_int_t)s->layers, "intermediate_size", (json_int_t)s->inner, "num_attention_heads",
        (json_int_t)s->heads, "num_key_value_heads", (json_int_t)s->kv_heads, "max_position_embeddings",
        (json_int_t)s->positions, "rms_norm_eps", 1e-5, "rope_theta", 500000.0, "bos_token_id", 0,
        "eos_token_id", 1, "tie_word_embeddings", 0, "hidden_act", "silu");
}

static json_t *bart_config(const struct shape *s)
{
    return json_pack("{ss sI sI sI sI sI sI sI sI sI ss si si si si sb}", "model_type", "bart", "d_model",
        (json_int_t)s->width, "vocab_size", (json_int_t)s->vocabulary, "encoder_layers",
        (json_int_t)s->layers, "decoder_layers", (json_int_t)s->layers, "encoder_ffn_dim",
        (json_int_t)s->inner, "decoder_ffn_dim", (json_int_t)s->inner, "encoder_attention_heads",
        (json_int_t)s->heads, "decoder_attention_heads", (json_int_t)s->heads, "max_position_embeddings",
        (json_int_t)s->positions, "activation_function", "gelu", "bos_token_id", 0, "pad_token_id", 1,
        "eos_token_id", 2, "decoder_start_token_id", 2, "scale_embedding", 0);
}

static bool write_config(const struct shape *s, const char *path, struct error *err)
{
    json_t *config = s->kv_heads ? llama_config(s) : bart_config(s);
    bool fine = config && json_dump_file(config, path, JSON_INDENT(2)) == 0;
    json_decref(config);
    return fine || error_set(err, ERROR_UNAVAILABLE, "%s: %s", path, strerror(errno));
}

bool shape_write(const char *name, bool empty, char *dir, size_t dir_size, struct error *err)
{
    const char *base = getenv("TMPDIR");
    char path[4096];
    const struct shape *s = find(name, err);
    if (!s)
        return false;
    snprintf(dir, dir_size, "%s/lumigrid-shape-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(dir))
        return error_set(err, ERROR_UNAVAILABLE, "%s: %s", dir, strerror(errno));
    snprintf(path, sizeof path, "%s/config.json", dir);
    bool fine = write_config(s, path, err);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    fine = fine && write_weights(s, empty, path, err);
    if (!fine)
        shape_remove(dir);
    return fine;
}

void shape_remove(const char *dir)
{
    static const char *const files[] = {"config.json", "model.safetensors"};
    char path[4096];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        unlink(path);
    }
    rmdir(dir);
}
