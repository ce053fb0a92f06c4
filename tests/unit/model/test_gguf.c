#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/files.h"
#include "worker/model/gguf.h"
#include "worker/model/gguf_names.h"

static const struct tensor_view *find(const void *context, const char *name)
{
    return gguf_tensor(context, name);
}

static struct gguf *open_golden(const char *name)
{
    struct gguf *file = NULL;
    struct error err = {0};
    char *path = golden_path(name);
    if (!gguf_open(path, &file, &err))
        fail_msg("%s", err.message);
    free(path);
    return file;
}

static void add_string(struct bytes *bytes, const char *text)
{
    bytes_number(bytes, strlen(text), 8);
    bytes_text(bytes, text);
}

static void add_header(struct bytes *bytes, uint64_t tensors, uint64_t keys)
{
    bytes_text(bytes, "GGUF");
    bytes_number(bytes, 3, 4);
    bytes_number(bytes, tensors, 8);
    bytes_number(bytes, keys, 8);
}

static void add_tensor(
    struct bytes *bytes, const char *name, uint64_t columns, uint64_t rows, uint32_t type, uint64_t offset)
{
    add_string(bytes, name);
    bytes_number(bytes, 2, 4);
    bytes_number(bytes, columns, 8);
    bytes_number(bytes, rows, 8);
    bytes_number(bytes, type, 4);
    bytes_number(bytes, offset, 8);
}

/* Pads to the data section and adds `len` bytes of it. */
static void add_data(struct bytes *bytes, size_t len)
{
    while (bytes->len % 32 != 0)
        bytes_number(bytes, 0, 1);
    for (size_t i = 0; i < len; i++)
        bytes_number(bytes, 0, 1);
}

/* Consumes `bytes`. */
static void expect_refused(struct bytes *bytes, enum error_code code, const char *text)
{
    struct gguf *file = NULL;
    struct error err = {0};
    uint8_t *copy = aligned_alloc(32, (bytes->len + 32) / 32 * 32);
    if (bytes->len > 0)
        memcpy(copy, bytes->data, bytes->len);
    if (gguf_open_memory("m.gguf", copy, bytes->len, &file, &err))
        fail_msg("accepted; expected \"%s\"", text);
    expect_error(&err, code, text);
    free(copy);
    bytes_free(bytes);
}

static void reads_what_the_reference_writes(void **state)
{
    (void)state;
    struct gguf *file = open_golden("llama.gguf");
    struct gguf_string text;
    int64_t integer = 0;
    double number = 0;
    bool flag = false;
    enum gguf_type element;
    size_t count;
    expect_golden("llama.gguf", gguf_tensor_count(file), find, file);
    assert_int_equal(gguf_version(file), 3);
    assert_true(gguf_get_string(file, "general.architecture", &text) && text.len == 5);
    assert_true(gguf_get_int(file, "llama.embedding_length", &integer) && integer == 64);
    assert_true(gguf_get_float(file, "llama.rope.freq_base", &number) && number == 500000);
    assert_true(gguf_get_bool(file, "tokenizer.ggml.add_bos_token", &flag) && flag);
    assert_true(gguf_get_array(file, "tokenizer.ggml.tokens", &element, &count));
    assert_int_equal(element, GGUF_STRING);
    assert_int_equal(count, 5);
    assert_true(
        gguf_array_string(file, "tokenizer.ggml.tokens", 2, &text) && memcmp(text.data, "</s>", 4) == 0);
    assert_false(gguf_array_string(file, "tokenizer.ggml.tokens", 5, &text));
    assert_false(gguf_array_int(file, "tokenizer.ggml.tokens", 0, &integer));
    assert_true(gguf_array_float(file, "tokenizer.ggml.scores", 4, &number) && number == -1.5);
    assert_true(gguf_array_int(file, "tokenizer.ggml.token_type", 0, &integer) && integer == 2);
    assert_false(gguf_get_int(file, "llama.rope.freq_base", &integer));
    assert_false(gguf_get_string(file, "llama.embedding_length", &text));
    assert_false(gguf_has(file, "nothing"));
    gguf_close(file);
}

static void synthesises_the_configuration(void **state)
{
    (void)state;
    struct error err = {0};
    struct gguf *file = open_golden("llama.gguf");
    struct weights weights = {0};
    const struct gguf_architecture *architecture = gguf_architecture_of(file, &err);
    assert_non_null(architecture);
    assert_true(gguf_add_tensors(file, architecture, &weights, &err));
    const struct tensor_view *query = weights_find(&weights, "model.layers.0.self_attn.q_proj.weight");
    assert_ptr_equal(query->data, gguf_tensor(file, "blk.0.attn_q.weight")->data);
    assert_int_equal(query->dtype, DTYPE_Q4_0);
    assert_non_null(weights_find(&weights, "model.layers.0.post_attention_layernorm.weight"));
    assert_non_null(weights_find(&weights, "lm_head.weight"));
    assert_int_equal(weights.tensor_count, gguf_tensor_count(file) - 1); /* rope_freqs goes into the config */
    json_t *config = gguf_config(file, architecture, &err), *gguf = json_object_get(config, "gguf");
    json_t *expected = json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:b,s:b,s:i,s:[ii]}", "model_type",
        "llama", "hidden_size", 64, "num_hidden_layers", 1, "num_key_value_heads", 2, "head_dim", 16,
        "intermediate_size", 96, "vocab_size", 5, "rope_theta", 500000.0, "tie_word_embeddings", 0,
        "attention_bias", 0, "bos_token_id", 1, "eos_token_id", 2, 3);
    const char *key;
    json_t *value;
    json_object_foreach(expected, key, value)
    {
        if (!json_equal(value, json_object_get(config, key)))
            fail_msg("%s differs", key);
    }
    assert_true(json_is_true(json_object_get(gguf, "qk_interleaved")));
    assert_true(json_is_false(json_object_get(gguf, "norm_includes_one")));
    assert_int_equal(json_array_size(json_object_get(gguf, "rope_freq_factors")), 8);
    assert_null(json_object_get(config, "rope_scaling"));
    json_decref(expected);
    json_decref(config);
    weights_free(&weights);
    gguf_close(file);
}

static void knows_what_gemma3_leaves_out(void **state)
{
    (void)state;
    struct error err = {0};
    struct gguf *file = open_golden("gemma3.gguf");
    json_t *config = gguf_config(file, gguf_architecture_of(file, &err), &err);
    assert_non_null(config);
    assert_string_equal(json_string_value(json_object_get(config, "model_type")), "gemma3_text");
    assert_true(json_is_true(json_object_get(config, "tie_word_embeddings")));
    assert_int_equal(json_integer_value(json_object_get(config, "query_pre_attn_scalar")), 16);
    assert_true(json_real_value(json_object_get(config, "rope_local_base_freq")) == 10000);
    const json_t *scaling = json_object_get(config, "rope_scaling");
    assert_string_equal(json_string_value(json_object_get(scaling, "rope_type")), "linear");
    assert_true(json_real_value(json_object_get(scaling, "factor")) == 8);
    const json_t *types = json_object_get(config, "layer_types");
    assert_int_equal(json_array_size(types), 7);
    for (size_t i = 0; i < 7; i++)
        assert_string_equal(
            json_string_value(json_array_get(types, i)), i == 5 ? "full_attention" : "sliding_attention");
    assert_true(json_is_true(json_object_get(json_object_get(config, "gguf"), "norm_includes_one")));
    json_decref(config);
    gguf_close(file);
}

static void survives_every_truncation(void **state)
{
    (void)state;
    char *path = golden_path("gemma3.gguf");
    size_t len;
    uint8_t *bytes = scratch_read(path, &len);
    for (size_t cut = 0; cut < len; cut++) {
        struct bytes part = {0};
        bytes_add(&part, bytes, cut);
        expect_refused(&part, ERROR_INVALID, "m.gguf");
    }
    free(bytes);
    free(path);
}

static void survives_every_damaged_byte(void **state)
{
    (void)state;
    char *path = golden_path("gemma3.gguf");
    size_t len;
    uint8_t *golden = scratch_read(path, &len), *bytes = aligned_alloc(32, (len + 31) / 32 * 32);
    memcpy(bytes, golden, len);
    for (size_t at = 0; at < len; at++) {
        struct gguf *file = NULL;
        struct error err = {0};
        bytes[at] ^= 0xff;
        if (gguf_open_memory("m", bytes, len, &file, &err)) {
            struct weights weights = {0};
            const struct gguf_architecture *architecture = gguf_architecture_of(file, &err);
            if (architecture != NULL && gguf_add_tensors(file, architecture, &weights, &err)) {
                weights_check_finite(&weights, &err);
                json_decref(gguf_config(file, architecture, &err));
            }
            weights_free(&weights);
        } else {
            assert_int_not_equal(err.code, ERROR_NONE);
        }
        gguf_close(file);
        bytes[at] ^= 0xff;
    }
    free(bytes);
    free(golden);
    free(path);
}

static void refuses_bad_headers(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    bytes_text(&bytes, "GGUX");
    expect_refused(&bytes, ERROR_INVALID, "not a GGUF file");
    bytes_text(&bytes, "GGUF");
    bytes_number(&bytes, 1, 4);
    expect_refused(&bytes, ERROR_UNSUPPORTED, "version 1");
    bytes_text(&bytes, "GGUF");
    bytes_number(&bytes, 0x03000000, 4);
    expect_refused(&bytes, ERROR_UNSUPPORTED, "big-endian");
    add_header(&bytes, UINT64_MAX, 0);
    expect_refused(&bytes, ERROR_INVALID, "do not fit");
    add_header(&bytes, 0, UINT64_MAX);
    expect_refused(&bytes, ERROR_TOO_LARGE, "metadata keys");
    add_header(&bytes, 0, 60000);
    expect_refused(&bytes, ERROR_INVALID, "ends inside");
}

static void refuses_bad_metadata(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    add_header(&bytes, 0, 1);
    bytes_number(&bytes, UINT64_MAX, 8);
    expect_refused(&bytes, ERROR_INVALID, "ends inside");
    add_header(&bytes, 0, 1);
    add_string(&bytes, "a\nb");
    expect_refused(&bytes, ERROR_INVALID, "printable");
    add_header(&bytes, 0, 1);
    add_string(&bytes, "k");
    bytes_number(&bytes, 13, 4);
    expect_refused(&bytes, ERROR_INVALID, "unknown type 13");
    add_header(&bytes, 0, 1);
    add_string(&bytes, "k");
    bytes_number(&bytes, GGUF_BOOL, 4);
    bytes_number(&bytes, 2, 1);
    expect_refused(&bytes, ERROR_INVALID, "bool of value 2");
    add_header(&bytes, 0, 1);
    add_string(&bytes, "k");
    bytes_number(&bytes, GGUF_ARRAY, 4);
    bytes_number(&bytes, GGUF_ARRAY, 4);
    bytes_number(&bytes, 1, 8);
    expect_refused(&bytes, ERROR_INVALID, "array of unusable type");
    static const enum gguf_type elements[] = {GGUF_STRING, GGUF_UINT64};
    for (size_t i = 0; i < 2; i++) {
        add_header(&bytes, 0, 1);
        add_string(&bytes, "k");
        bytes_number(&bytes, GGUF_ARRAY, 4);
        bytes_number(&bytes, elements[i], 4);
        bytes_number(&bytes, (UINT64_C(1) << 61) + 1, 8); /* times 8 wraps around */
        expect_refused(&bytes, ERROR_INVALID, "ends inside");
    }
    add_header(&bytes, 0, 2);
    for (int i = 0; i < 2; i++) {
        add_string(&bytes, "k");
        bytes_number(&bytes, GGUF_UINT8, 4);
        bytes_number(&bytes, 1, 1);
    }
    expect_refused(&bytes, ERROR_INVALID, "more than once");
    add_header(&bytes, 0, 1);
    add_string(&bytes, "general.alignment");
    bytes_number(&bytes, GGUF_UINT32, 4);
    bytes_number(&bytes, 0, 4);
    expect_refused(&bytes, ERROR_INVALID, "power of two");
}

static void refuses_bad_tensors(void **state)
{
    (void)state;
    static const struct {
        uint64_t columns, rows;
        uint32_t type;
        uint64_t offset;
        enum error_code code;
        const char *text;
    } cases[] = {
        {8, 1, 0, 0, ERROR_INVALID, "the file has 24 bytes"},
        {1, 1, 0, 1, ERROR_INVALID, "not a multiple"},
        {1, 1, 0, 1024, ERROR_INVALID, "needs 4 bytes at 1024"},
        {1, 1, 0, UINT64_MAX - 31, ERROR_INVALID, "needs 4 bytes at"},
        {1, 1, 99, 0, ERROR_INVALID, "unknown type 99"},
        {256, 1, 10, 0, ERROR_UNSUPPORTED, "type Q2_K"},
        {33, 1, 2, 0, ERROR_INVALID, "not whole blocks of 32"},
        {0, 1, 0, 0, ERROR_INVALID, "dimension of 0"},
        {UINT64_C(1) << 40, UINT64_C(1) << 40, 0, 0, ERROR_INVALID, "impossibly large"},
        {UINT64_MAX, 1, 0, 0, ERROR_INVALID, "dimension of"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes bytes = {0};
        add_header(&bytes, 1, 0);
        add_tensor(&bytes, "t", cases[i].columns, cases[i].rows, cases[i].type, cases[i].offset);
        add_data(&bytes, 24);
        expect_refused(&bytes, cases[i].code, cases[i].text);
    }
    struct bytes bytes = {0};
    add_header(&bytes, 2, 0);
    add_tensor(&bytes, "a", 16, 1, 0, 0);
    add_tensor(&bytes, "b", 8, 1, 0, 32);
    add_data(&bytes, 64);
    expect_refused(&bytes, ERROR_INVALID, "overlap");
    add_header(&bytes, 2, 0);
    add_tensor(&bytes, "a", 8, 1, 0, 0);
    add_tensor(&bytes, "a", 8, 1, 0, 32);
    add_data(&bytes, 64);
    expect_refused(&bytes, ERROR_INVALID, "more than once");
    add_header(&bytes, 1, 0);
    add_string(&bytes, "t");
    bytes_number(&bytes, 5, 4);
    add_data(&bytes, 64);
    expect_refused(&bytes, ERROR_INVALID, "rank 5");
}

static void names_what_it_does_not_support(void **state)
{
    (void)state;
    struct bytes bytes = {0};
    struct gguf *file = NULL;
    struct error err = {0};
    add_header(&bytes, 0, 1);
    add_string(&bytes, "general.architecture");
    bytes_number(&bytes, GGUF_STRING, 4);
    add_string(&bytes, "mamba\n");
    assert_true(gguf_open_memory("m", bytes.data, bytes.len, &file, &err));
    assert_null(gguf_architecture_of(file, &err));
    expect_error(&err, ERROR_UNSUPPORTED, "\"mamba?\" is not supported");
    gguf_close(file);
    bytes_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_reference_writes),
        cmocka_unit_test(synthesises_the_configuration),
        cmocka_unit_test(knows_what_gemma3_leaves_out),
        cmocka_unit_test(survives_every_truncation),
        cmocka_unit_test(survives_every_damaged_byte),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(refuses_bad_metadata),
        cmocka_unit_test(refuses_bad_tensors),
        cmocka_unit_test(names_what_it_does_not_support),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
