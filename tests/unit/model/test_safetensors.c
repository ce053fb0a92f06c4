#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/files.h"
#include "worker/model/checkpoint.h"
#include "worker/model/safetensors.h"

static const struct tensor_view *find(const void *context, const char *name)
{
    return weights_find(context, name);
}

/* A file of this header and `data_len` zero bytes. */
static struct bytes file_of(const char *header, size_t data_len)
{
    struct bytes file = {0};
    bytes_number(&file, strlen(header), 8);
    bytes_text(&file, header);
    for (size_t i = 0; i < data_len; i++)
        bytes_number(&file, 0, 1);
    return file;
}

static void expect_refused(const char *header, size_t data_len, const char *text)
{
    struct weights weights = {0};
    struct error err = {0};
    struct bytes file = file_of(header, data_len);
    if (safetensors_read(&weights, "m.safetensors", file.data, file.len, &err) &&
        weights_finish(&weights, &err))
        fail_msg("accepted: %.100s", header);
    expect_error(&err, err.code, text);
    assert_true(err.code == ERROR_INVALID || err.code == ERROR_TOO_LARGE);
    weights_free(&weights);
    bytes_free(&file);
}

static void reads_what_the_reference_writes(void **state)
{
    (void)state;
    struct weights weights = {0};
    struct error err = {0};
    char *path = golden_path("plain.safetensors");
    size_t len;
    uint8_t *bytes = scratch_read(path, &len);
    assert_true(safetensors_read(&weights, path, bytes, len, &err) && weights_finish(&weights, &err));
    expect_golden("plain.safetensors", weights.tensor_count, find, &weights);
    const struct tensor_view *tensor = weights_find(&weights, "embed.weight");
    assert_true(
        (const uint8_t *)tensor->data > bytes && (const uint8_t *)tensor->data < bytes + len); /* no copy */
    weights_free(&weights);
    free(bytes);
    free(path);
}

static void survives_every_truncation(void **state)
{
    (void)state;
    char *path = golden_path("plain.safetensors");
    size_t len;
    uint8_t *bytes = scratch_read(path, &len);
    for (size_t cut = 0; cut < len; cut++) {
        struct weights weights = {0};
        struct error err = {0};
        uint8_t *copy = malloc(cut + 1); /* a block of its own, so that reading past it is noticed */
        memcpy(copy, bytes, cut);
        assert_false(safetensors_read(&weights, "m", copy, cut, &err));
        expect_error(&err, ERROR_INVALID, "m");
        weights_free(&weights);
        free(copy);
    }
    free(bytes);
    free(path);
}

static void refuses_bad_headers(void **state)
{
    (void)state;
    expect_refused("", 0, "invalid JSON");
    expect_refused("[]", 0, "not an object");
    expect_refused("{", 0, "invalid JSON");
    expect_refused("{\"a\":1}", 0, "not an object");
    expect_refused("{\"a\":{}}", 0, "no dtype");
    expect_refused("{\"a\":{\"dtype\":\"F32\"}}", 0, "no shape");
    expect_refused(
        "{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype F33");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "no size");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, "no size");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "data_offsets");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "data_offsets");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "data_offsets");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "need 8");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "ends at byte 4");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "belong to none");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
        "impossibly large");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,2,0],\"data_offsets\":[0,0]}}",
        0, "impossibly large");
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                   "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
        8, "duplicate");
    expect_refused("{\"\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "name");
    expect_refused("{\"a\\nb\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unprintable");
    expect_refused(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
        "16 dimensions");
}

#define TWO_TENSORS(offsets)                                                                                 \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"                                       \
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" offsets "]}}"

static void refuses_overlaps_and_holes(void **state)
{
    (void)state;
    expect_refused(TWO_TENSORS("4,12"), 12, "overlap");
    expect_refused(TWO_TENSORS("0,8"), 8, "overlap");
    expect_refused(TWO_TENSORS("12,20"), 20, "hole");
}

static void refuses_what_would_exhaust_memory(void **state)
{
    (void)state;
    struct weights weights = {0};
    struct error err = {0};
    uint8_t lying[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{'};
    assert_false(safetensors_read(&weights, "m", lying, sizeof lying, &err));
    expect_error(&err, ERROR_INVALID, "not a complete safetensors file");

    struct bytes deep = {0};
    for (int i = 0; i < 100000; i++)
        bytes_text(&deep, "{\"a\":");
    bytes_number(&deep, 0, 1);
    expect_refused((const char *)deep.data, 0, "nested deeper");
    bytes_free(&deep);

    struct bytes wide = {0};
    bytes_text(&wide, "{\"a\":[0");
    for (int i = 0; i < 2100000; i++)
        bytes_text(&wide, ",0");
    bytes_text(&wide, "]}");
    bytes_number(&wide, 0, 1);
    expect_refused((const char *)wide.data, 0, "values, the limit");
    bytes_free(&wide);
}

static void keeps_unreadable_tensors_apart(void **state)
{
    (void)state;
    struct weights weights = {0};
    struct error err = {0};
    struct bytes file = file_of(
        "{\"__metadata__\":{\"x\":\"y\"},\"d\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]},"
        "\"e\":{\"dtype\":\"I8\",\"shape\":[1,1,1,1,1],\"data_offsets\":[8,9]}}",
        9);
    assert_true(safetensors_read(&weights, "m", file.data, file.len, &err) && weights_finish(&weights, &err));
    assert_int_equal(weights.tensor_count, 0);
    assert_string_equal(weights_unreadable_reason(&weights, "d"), "F64");
    assert_non_null(strstr(weights_unreadable_reason(&weights, "e"), "dimensions"));
    assert_null(weights_unreadable_reason(&weights, "f"));
    weights_free(&weights);
    bytes_free(&file);
}

static void aligns_misaligned_data(void **state)
{
    (void)state;
    struct weights weights = {0};
    struct error err = {0};
    struct bytes file = file_of("{\"b\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}",
        5);
    float value = 1.5F;
    memcpy(file.data + file.len - sizeof value, &value, sizeof value);
    assert_true(safetensors_read(&weights, "m", file.data, file.len, &err) && weights_finish(&weights, &err));
    const struct tensor_view *tensor = weights_find(&weights, "a");
    assert_int_equal((uintptr_t)tensor->data % sizeof value, 0);
    assert_true(*(const float *)tensor->data == value);
    weights_free(&weights);
    bytes_free(&file);
}

static void write_shard(const char *dir, const char *file, const char *tensor)
{
    char header[128];
    snprintf(
        header, sizeof header, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", tensor);
    struct bytes bytes = file_of(header, 4);
    free(scratch_write(dir, file, bytes.data, bytes.len));
    bytes_free(&bytes);
}

/* Reads two shards with this index; NULL `expected`: it must work. */
static void read_sharded(const char *index, const char *expected)
{
    struct weights weights = {0};
    struct error err = {0};
    char *dir = scratch_directory();
    write_shard(dir, "s1.safetensors", "a");
    write_shard(dir, "s2.safetensors", "b");
    free(scratch_write(dir, "model.safetensors.index.json", index, strlen(index)));
    bool ok = checkpoint_read(dir, &weights, &err);
    if (ok != (expected == NULL))
        fail_msg("%s: %s", index, ok ? "accepted" : err.message);
    if (ok)
        assert_true(weights_find(&weights, "a") != NULL && weights_find(&weights, "b") != NULL);
    else
        assert_non_null(strstr(err.message, expected));
    weights_free(&weights);
    scratch_remove(dir);
}

static void reads_shards_and_checks_their_index(void **state)
{
    (void)state;
    read_sharded("{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}", NULL);
    read_sharded("{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s3.safetensors\"}}", "cannot open");
    read_sharded("{\"weight_map\":{\"a\":\"s1.safetensors\",\"c\":\"s1.safetensors\"}}", "lists tensor c");
    read_sharded("{\"weight_map\":{\"a\":\"../s1.safetensors\"}}", "plain file name");
    read_sharded("{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "plain file name");
    read_sharded("{\"weight_map\":{\"a\":7}}", "plain file name");
    read_sharded("{\"weight_map\":{}}", "no weight_map");
    read_sharded("{}", "no weight_map");
}

static void says_when_there_are_no_weights(void **state)
{
    (void)state;
    struct weights weights = {0};
    struct error err = {0};
    char *dir = scratch_directory();
    assert_false(checkpoint_read(dir, &weights, &err));
    expect_error(&err, ERROR_NOT_FOUND, "has no weights");
    free(scratch_write(dir, "model.safetensors", "", 0));
    assert_false(checkpoint_read(dir, &weights, &err));
    expect_error(&err, ERROR_INVALID, "is empty");
    weights_free(&weights);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_reference_writes),
        cmocka_unit_test(survives_every_truncation),
        cmocka_unit_test(refuses_bad_headers),
        cmocka_unit_test(refuses_overlaps_and_holes),
        cmocka_unit_test(refuses_what_would_exhaust_memory),
        cmocka_unit_test(keeps_unreadable_tensors_apart),
        cmocka_unit_test(aligns_misaligned_data),
        cmocka_unit_test(reads_shards_and_checks_their_index),
        cmocka_unit_test(says_when_there_are_no_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
