/* Each family of models is told the languages as the reference tells it (tests/golden/translation). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/task/translation.h"

#define GOLDEN TEST_SOURCE_DIR "/tests/golden"

/* A model directory out of the tokenizers' shared files. */
static struct tokenizer *open_kind(const json_t *kind)
{
    char dir[] = "/tmp/lumigrid-translation-XXXXXX", path[600], from[600];
    const char *name;
    json_t *source;
    struct tokenizer *tokenizer = NULL;
    struct error err = {0};
    assert_non_null(mkdtemp(dir));
    json_object_foreach(json_object_get(kind, "files"), name, source)
    {
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        snprintf(from, sizeof(from), GOLDEN "/tokenizer/data/%s", json_string_value(source));
        assert_int_equal(symlink(from, path), 0);
    }
    snprintf(path, sizeof(path), "%s/tokenizer_config.json", dir);
    assert_int_equal(json_dump_file(json_object_get(kind, "config"), path, 0), 0);
    assert_true(tokenizer_open(dir, &tokenizer, &err));
    unlink(path);
    json_object_foreach(json_object_get(kind, "files"), name, source)
    {
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        unlink(path);
    }
    rmdir(dir);
    return tokenizer;
}

static void check_ids(const struct tokenizer *tokenizer, const struct translation *translation,
    const char *text, const json_t *expected)
{
    struct token_ids ids = {0};
    struct error err = {0};
    assert_true(tokenizer_encode(tokenizer, text, strlen(text), TOKENIZER_ADD_SPECIAL, &ids, &err));
    assert_true(translation_mark(translation, &ids, &err));
    assert_int_equal(ids.count, json_array_size(expected));
    for (size_t i = 0; i < ids.count; i++)
        assert_int_equal(ids.ids[i], json_integer_value(json_array_get(expected, i)));
    token_ids_free(&ids);
}

static void test_codes_of_languages_are_where_the_reference_puts_them(void **state)
{
    (void)state;
    json_t *golden = json_load_file(GOLDEN "/translation/expected.json", 0, NULL), *kind, *text;
    const char *name;
    size_t i, kinds = 0;
    json_object_foreach(json_object_get(golden, "kinds"), name, kind)
    {
        struct generation_settings settings = {.forced_bos_token_id = -1};
        struct translation translation;
        struct error err = {0};
        struct tokenizer *tokenizer = open_kind(kind);
        assert_true(translation_open(json_string_value(json_object_get(kind, "model_type")), NULL, tokenizer,
            "translation_de_to_fr", "German", "fr", &settings, &translation, &err));
        assert_int_equal(
            settings.forced_bos_token_id, json_integer_value(json_object_get(kind, "forced_bos_token_id")));
        json_array_foreach(json_object_get(golden, "texts"), i, text) check_ids(tokenizer, &translation,
            json_string_value(text), json_array_get(json_object_get(kind, "ids"), i));
        translation_free(&translation);
        tokenizer_close(tokenizer);
        kinds++;
    }
    assert_int_equal(kinds, 5);
    json_decref(golden);
}

static void check_prefix(const char *model_type, const char *config_text, const struct tokenizer *tokenizer,
    const char *target, const char *expected)
{
    struct generation_settings settings = {0};
    struct translation translation;
    struct error err = {0};
    json_t *config = json_loads(config_text, 0, NULL);
    assert_true(translation_open(
        model_type, config, tokenizer, "translation_en_to_de", "en", target, &settings, &translation, &err));
    if (expected)
        assert_string_equal(settings.prefix, expected);
    else
        assert_null(settings.prefix);
    assert_int_equal(translation.source_id, -1);
    free(settings.prefix);
    json_decref(config);
}

static void test_t5_is_told_in_words(void **state)
{
    (void)state;
    check_prefix("t5", "{}", NULL, "de", "translate English to German: ");
    check_prefix("mt5", "{}", NULL, "ro", "translate English to Romanian: ");
    /* its own prefix for the task stays: engine_settings_from_model has set it */
    check_prefix("t5", "{\"task_specific_params\": {\"translation_en_to_de\": {\"prefix\": \"x: \"}}}", NULL,
        "de", NULL);
}

static void test_marian_is_told_when_it_has_several_targets(void **state)
{
    (void)state;
    json_t *kind =
        json_pack("{s:{s:s, s:s, s:s}, s:{s:s}}", "files", "source.spm", "unigram.model", "target.spm",
            "unigram.model", "vocab.json", "marian.json", "config", "tokenizer_class", "MarianTokenizer");
    struct tokenizer *tokenizer = open_kind(kind);
    check_prefix("marian", "{}", tokenizer, "de", ">>de<< ");
    check_prefix("marian", "{}", tokenizer, "German", ">>de<< ");
    check_prefix("marian", "{}", tokenizer, "it", NULL); /* a pair's model has no such token */
    tokenizer_close(tokenizer);
    json_decref(kind);
}

static void test_what_a_model_does_not_know_is_said(void **state)
{
    (void)state;
    json_t *kind = json_pack("{s:{s:s}, s:{s:s}}", "files", "sentencepiece.bpe.model", "unigram.model",
        "config", "tokenizer_class", "MBartTokenizer");
    struct tokenizer *tokenizer = open_kind(kind);
    struct generation_settings settings = {0};
    struct translation translation;
    struct error err = {0};
    assert_false(
        translation_open("mbart", NULL, tokenizer, "t", "en", "Zulu", &settings, &translation, &err));
    assert_int_equal(err.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "Zulu"));
    translation_free(&translation);
    assert_false(
        translation_open("mbart", NULL, tokenizer, "t", "en", "Klingon", &settings, &translation, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    tokenizer_close(tokenizer);
    json_decref(kind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes_of_languages_are_where_the_reference_puts_them),
        cmocka_unit_test(test_t5_is_told_in_words),
        cmocka_unit_test(test_marian_is_told_when_it_has_several_targets),
        cmocka_unit_test(test_what_a_model_does_not_know_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
