/* Ids and texts equal the reference's on 1000 nasty strings for every kind of tokenizer
 * (tests/golden/tokenizer). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/model/tokenizer/tokenizer.h"

#define GOLDEN TEST_SOURCE_DIR "/tests/golden/tokenizer"
enum { SHOWN_MAX = 5 };

static json_t *golden;

static int load_golden(void **state)
{
    (void)state;
    golden = json_load_file(GOLDEN "/goldens.json", JSON_ALLOW_NUL, NULL);
    return golden ? 0 : -1;
}

static int drop_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

static void remove_directory(const char *dir, const json_t *kind)
{
    const char *name;
    json_t *source;
    char path[600];
    json_object_foreach(json_object_get(kind, "files"), name, source)
    {
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/tokenizer_config.json", dir);
    unlink(path);
    rmdir(dir);
}

/* A model directory out of the shared files. */
static void make_directory(char *dir, size_t size, const json_t *kind)
{
    const char *name;
    json_t *source;
    char path[600], from[600];
    snprintf(dir, size, "/tmp/lumigrid-tokenizer-XXXXXX");
    assert_non_null(mkdtemp(dir));
    json_object_foreach(json_object_get(kind, "files"), name, source)
    {
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        snprintf(from, sizeof(from), GOLDEN "/data/%s", json_string_value(source));
        assert_int_equal(symlink(from, path), 0);
    }
    snprintf(path, sizeof(path), "%s/tokenizer_config.json", dir);
    assert_int_equal(json_dump_file(json_object_get(kind, "config"), path, 0), 0);
}

static bool same_ids(const json_t *expected, const struct token_ids *ids)
{
    bool same = json_array_size(expected) == ids->count;
    for (size_t i = 0; same && i < ids->count; i++)
        same = json_integer_value(json_array_get(expected, i)) == ids->ids[i];
    return same;
}

static size_t check_encoding(const char *name, const struct tokenizer *t, const json_t *kind)
{
    size_t i, wrong = 0;
    json_t *text;
    json_array_foreach(json_object_get(golden, "texts"), i, text)
    {
        struct token_ids ids = {0};
        struct error err = {0};
        const json_t *expected = json_array_get(json_object_get(kind, "ids"), i);
        bool ok = tokenizer_encode(
            t, json_string_value(text), json_string_length(text), TOKENIZER_ADD_SPECIAL, &ids, &err);
        if (!ok || !same_ids(expected, &ids)) {
            if (wrong++ < SHOWN_MAX) {
                char *want = json_dumps(expected, JSON_COMPACT), *of = json_dumps(text, JSON_ENCODE_ANY);
                print_error(
                    "%s, text %zu %s: expected %.300s, got %s", name, i, of, want, ok ? "" : err.message);
                for (size_t k = 0; k < ids.count && k < 60; k++)
                    print_error("%d,", (int)ids.ids[k]);
                print_error("\n");
                free(want);
                free(of);
            }
        }
        token_ids_free(&ids);
    }
    assert_true(i >= 1000);
    return wrong;
}

static size_t check_decoding(const char *name, const struct tokenizer *t, const json_t *kind, bool plain)
{
    const json_t *texts = json_object_get(kind, plain ? "decoded_plain" : "decoded");
    size_t wrong = 0;
    for (size_t i = 0; i < json_array_size(texts); i++) {
        const json_t *list = json_array_get(json_object_get(kind, "ids"), i),
                     *expected = json_array_get(texts, i);
        struct token_ids ids = {0};
        struct error err = {0};
        size_t len = 0;
        for (size_t k = 0; k < json_array_size(list); k++)
            assert_true(token_ids_push(&ids, (int32_t)json_integer_value(json_array_get(list, k)), &err));
        char *text = tokenizer_decode(t, ids.ids, ids.count, plain, &len, &err);
        assert_non_null(text);
        if (len != json_string_length(expected) || memcmp(text, json_string_value(expected), len) != 0) {
            if (wrong++ < SHOWN_MAX)
                print_error("%s, decoded%s %zu: expected \"%s\", got \"%s\"\n", name, plain ? " plain" : "",
                    i, json_string_value(expected), text);
        }
        free(text);
        token_ids_free(&ids);
    }
    return wrong;
}

static void equals_the_reference(void **state)
{
    (void)state;
    const char *name, *only = getenv("TOKENIZER_KIND");
    json_t *kind;
    size_t wrong = 0, kinds = 0;
    json_object_foreach(json_object_get(golden, "kinds"), name, kind)
    {
        char dir[64];
        struct tokenizer *t = NULL;
        struct error err = {0};
        kinds++;
        if (only && strcmp(only, name) != 0)
            continue;
        make_directory(dir, sizeof(dir), kind);
        if (!tokenizer_open(dir, &t, &err)) {
            print_error("%s: %s\n", name, err.message);
            wrong++;
        } else {
            size_t bad = check_encoding(name, t, kind);
            size_t bad_text = check_decoding(name, t, kind, false) + check_decoding(name, t, kind, true);
            if (bad || bad_text)
                print_error("%s: %zu wrong encodings, %zu wrong decodings\n", name, bad, bad_text);
            wrong += bad + bad_text;
            assert_int_equal(strlen(tokenizer_digest(t)), 64);
            tokenizer_close(t);
        }
        remove_directory(dir, kind);
    }
    assert_true(kinds >= 20);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_the_reference)};
    return cmocka_run_group_tests(tests, load_golden, drop_golden);
}
