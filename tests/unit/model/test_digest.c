#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/files.h"
#include "worker/model/checkpoint.h"
#include "worker/model/digest.h"

/* A model directory with one tensor "name" of two floats. */
static char *make_model(const char *name, float first)
{
    char header[128], *dir = scratch_directory();
    float values[2] = {first, 2};
    struct bytes file = {0};
    snprintf(
        header, sizeof header, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", name);
    bytes_number(&file, strlen(header), 8);
    bytes_text(&file, header);
    bytes_add(&file, values, sizeof values);
    free(scratch_write(dir, "model.safetensors", file.data, file.len));
    bytes_free(&file);
    return dir;
}

static void digest_of(const char *dir, const char *config_text, char hex[DIGEST_HEX_BYTES])
{
    struct weights weights = {0};
    struct error err = {0};
    json_t *config = json_loads(config_text, 0, NULL);
    assert_true(checkpoint_read(dir, &weights, &err));
    assert_true(digest_compute(&weights, config, hex, &err));
    weights_free(&weights);
    json_decref(config);
}

static int use_empty_cache(void **state)
{
    *state = scratch_directory();
    return setenv("XDG_CACHE_HOME", *state, 1);
}

static int remove_cache(void **state)
{
    scratch_remove(*state);
    return 0;
}

static void depends_on_content_only(void **state)
{
    (void)state;
    char a[DIGEST_HEX_BYTES], b[DIGEST_HEX_BYTES];
    char *one = make_model("w", 1), *same = make_model("w", 1), *named = make_model("v", 1),
         *valued = make_model("w", 3);
    digest_of(one, "{\"x\":1,\"y\":2}", a);
    digest_of(same, "{\"y\":2, \"x\":1}", b);
    assert_string_equal(a, b);
    digest_of(one, "{\"x\":2,\"y\":2}", b);
    assert_string_not_equal(a, b);
    digest_of(named, "{\"x\":1,\"y\":2}", b);
    assert_string_not_equal(a, b);
    digest_of(valued, "{\"x\":1,\"y\":2}", b);
    assert_string_not_equal(a, b);
    scratch_remove(one);
    scratch_remove(same);
    scratch_remove(named);
    scratch_remove(valued);
}

/* The one file of the digest cache, malloc'd path. */
static char *cached_file(const char *cache)
{
    char *dir = NULL, *path = NULL;
    assert_true(asprintf(&dir, "%s/lumigrid/digests", cache) > 0);
    DIR *entries = opendir(dir);
    assert_non_null(entries);
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] != '.') {
            assert_null(path);
            assert_true(asprintf(&path, "%s/%s", dir, entry->d_name) > 0);
        }
    }
    closedir(entries);
    free(dir);
    assert_non_null(path);
    return path;
}

static void is_read_from_the_cache_when_files_are_the_same(void **state)
{
    char first[DIGEST_HEX_BYTES], second[DIGEST_HEX_BYTES], planted[DIGEST_HEX_BYTES];
    char *model = make_model("w", 1);
    digest_of(model, "{}", first);
    char *path = cached_file(*state);
    memset(planted, 'a', sizeof planted - 1);
    FILE *file = fopen(path, "we");
    fwrite(planted, 1, sizeof planted - 1, file);
    fclose(file);
    digest_of(model, "{}", second);
    assert_memory_equal(second, planted, sizeof planted - 1);
    file = fopen(path, "we"); /* a damaged entry is not believed */
    fputs("nonsense", file);
    fclose(file);
    digest_of(model, "{}", second);
    assert_string_equal(first, second);
    free(path);
    scratch_remove(model);
}

static void works_without_a_cache(void **state)
{
    (void)state;
    char hex[DIGEST_HEX_BYTES];
    char *model = make_model("w", 1);
    setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
    digest_of(model, "{}", hex);
    assert_int_equal(strlen(hex), 64);
    scratch_remove(model);
}

static void finds_values_that_are_not_finite(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        struct weights weights = {0};
        struct error err = {0};
        char *model = make_model("layer.w", bad[i]);
        assert_true(checkpoint_read(model, &weights, &err));
        assert_false(weights_check_finite(&weights, &err));
        expect_error(&err, ERROR_INVALID, "tensor layer.w (f32) is NaN or infinite at element 0");
        weights_free(&weights);
        scratch_remove(model);
    }
}

/* For every dtype: zeros pass; all exponent bits set at the place of the last value or scale do not. */
static void knows_every_dtype(void **state)
{
    (void)state;
    static const struct {
        enum dtype dtype;
        size_t from_end;
        uint8_t low, high; /* two bytes there */
        const char *text;
    } cases[] = {
        {DTYPE_F32, 2, 0x80, 0x7f, "element 511"},
        {DTYPE_F16, 2, 0, 0x7c, "element 511"},
        {DTYPE_BF16, 2, 0x80, 0xff, "element 511"},
        {DTYPE_Q4_0, 18, 0, 0xfc, "block 15"},
        {DTYPE_Q5_0, 22, 1, 0x7c, "block 15"},
        {DTYPE_Q8_0, 34, 1, 0x7c, "block 15"},
        {DTYPE_Q4_K, 142, 0, 0x7c, "block 1"},
        {DTYPE_Q5_K, 176, 0, 0x7c, "block 1"},
        {DTYPE_Q6_K, 2, 0, 0x7c, "block 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weights weights = {0};
        struct error err = {0};
        const int64_t shape[] = {2, 256};
        size_t bytes = dtype_bytes(cases[i].dtype, 512);
        uint8_t *data = calloc(1, bytes);
        assert_true(weights_add(&weights, "f", "t", cases[i].dtype, 2, shape, data, bytes, &err));
        assert_true(weights_check_finite(&weights, &err));
        data[bytes - cases[i].from_end] = cases[i].low;
        data[bytes - cases[i].from_end + 1] = cases[i].high;
        assert_false(weights_check_finite(&weights, &err));
        expect_error(&err, ERROR_INVALID, cases[i].text);
        weights_free(&weights);
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(depends_on_content_only, use_empty_cache, remove_cache),
        cmocka_unit_test_setup_teardown(
            is_read_from_the_cache_when_files_are_the_same, use_empty_cache, remove_cache),
        cmocka_unit_test_setup_teardown(works_without_a_cache, use_empty_cache, remove_cache),
        cmocka_unit_test(finds_values_that_are_not_finite),
        cmocka_unit_test(knows_every_dtype),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
