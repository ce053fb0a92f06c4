/* Bad tokenizer files end in one clear error, and bytes that are no text are tokenized all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/model/tokenizer/sentencepiece.h"
#include "worker/model/tokenizer/tokenizer.h"

#define GOLDEN TEST_SOURCE_DIR "/tests/golden/tokenizer/data"

static void write_file(const char *dir, const char *name, const char *data, size_t len)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    fclose(file);
}

static void remove_files(const char *dir)
{
    static const char *const names[] = {
        "tokenizer.json", "tokenizer_config.json", "spiece.model", "vocab.json", "merges.txt"};
    char path[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static char *read_golden(const char *name, size_t *len)
{
    FILE *file = fopen(name, "rb");
    assert_non_null(file);
    char *data = malloc(1 << 20);
    assert_non_null(data);
    *len = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

static struct tokenizer *open_json(const char *json, struct error *err)
{
    char dir[] = "/tmp/lumigrid-tokenizer-XXXXXX";
    struct tokenizer *t = NULL;
    assert_non_null(mkdtemp(dir));
    write_file(dir, "tokenizer.json", json, strlen(json));
    bool ok = tokenizer_open(dir, &t, err);
    remove_files(dir);
    return ok ? t : NULL;
}

static void an_empty_directory_has_no_tokenizer(void **state)
{
    (void)state;
    char dir[] = "/tmp/lumigrid-tokenizer-XXXXXX";
    struct tokenizer *t = NULL;
    struct error err = {0};
    assert_non_null(mkdtemp(dir));
    assert_false(tokenizer_open(dir, &t, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    rmdir(dir);
}

static void bad_json_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "{", "[]", "{}", "{\"model\":{}}",
        "{\"model\":{\"type\":\"Nothing\"}}", "{\"model\":{\"type\":\"BPE\"}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999999},\"merges\":[]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"x\"},\"merges\":[]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}",
        "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}",
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":5,\"vocab\":[[\"a\",0]]}}",
        "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"a\":0}}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"normalizer\":{\"type\":\"Nothing\"}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"normalizer\":{\"type\":\"Precompiled\","
        "\"precompiled_charsmap\":\"AAAA\"}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"normalizer\":{\"type\":\"Precompiled\","
        "\"precompiled_charsmap\":\"?\"}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Split\","
        "\"pattern\":{\"Regex\":\"(\"}}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Metaspace\","
        "\"replacement\":\"\"}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"decoder\":{\"type\":\"Nothing\"}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"post_processor\":{\"type\":"
        "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}}]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]},\"added_tokens\":[{\"content\":\"x\","
        "\"id\":-5}]}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct error err = {0};
        struct tokenizer *t = open_json(bad[i], &err);
        if (t)
            print_error("opened: %s\n", bad[i]);
        assert_null(t);
        assert_true(err.code != ERROR_NONE && err.message[0] != '\0');
        assert_null(strchr(err.message, '\n'));
    }
}

static void any_bytes_are_tokenized(void **state)
{
    (void)state;
    size_t len;
    struct error err = {0};
    char *json = read_golden(GOLDEN "/bbpe-llama3.json", &len);
    json[len] = '\0';
    struct tokenizer *t = open_json(json, &err);
    assert_non_null(t);
    uint32_t seed = 9;
    for (int round = 0; round < 2000; round++) {
        char bytes[64];
        struct token_ids ids = {0};
        size_t text_len, count = (seed >> 8) % sizeof(bytes);
        for (size_t i = 0; i < count; i++)
            bytes[i] = (char)((seed = seed * 1664525u + 1013904223u) >> 24);
        seed = seed * 1664525u + 1013904223u;
        assert_true(tokenizer_encode(t, bytes, count, TOKENIZER_ADD_SPECIAL, &ids, &err));
        char *text = tokenizer_decode(t, ids.ids, ids.count, true, &text_len, &err);
        assert_non_null(text);
        free(text);
        token_ids_free(&ids);
    }
    /* Ids that no token has are passed over. */
    const int32_t odd[] = {-1, INT32_MAX, INT32_MIN, 5, 1 << 20};
    char *text = tokenizer_decode(t, odd, 5, false, &len, &err);
    assert_non_null(text);
    free(text);
    tokenizer_close(t);
    free(json);
}

static void cut_sentencepiece_models_are_refused_or_whole(void **state)
{
    (void)state;
    size_t len, opened = 0;
    char *blob = read_golden(GOLDEN "/bpe.model", &len);
    for (size_t cut = 0; cut < len; cut += 1 + cut / 40) {
        struct sentencepiece model;
        struct error err = {0};
        if (sentencepiece_open(&model, "cut", blob, cut, &err)) {
            opened++;
            sentencepiece_free(&model);
        } else {
            assert_true(err.message[0] != '\0');
        }
    }
    /* A cut between two fields is a shorter model, not a broken one; most cuts are not. */
    assert_true(opened < 60);
    free(blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_directory_has_no_tokenizer),
        cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(any_bytes_are_tokenized),
        cmocka_unit_test(cut_sentencepiece_models_are_refused_or_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
