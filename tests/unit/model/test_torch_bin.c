#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/files.h"
#include "worker/model/checkpoint.h"
#include "worker/model/torch_bin.h"

static const struct tensor_view *find(const void *context, const char *name)
{
    return weights_find(context, name);
}

struct part {
    const char *name;
    const void *data;
    size_t len;
};

/* A zip archive of stored entries. */
static struct bytes zip_of(const struct part *parts, size_t count)
{
    struct bytes zip = {0}, directory = {0};
    for (size_t i = 0; i < count; i++) {
        size_t offset = zip.len, name_len = strlen(parts[i].name);
        bytes_text(&zip, "PK\x03\x04");
        bytes_number(&zip, 0, 14); /* versions, method 0, time, checksum: not read */
        bytes_number(&zip, parts[i].len, 4);
        bytes_number(&zip, parts[i].len, 4);
        bytes_number(&zip, name_len, 2);
        bytes_number(&zip, 0, 2);
        bytes_text(&zip, parts[i].name);
        bytes_add(&zip, parts[i].data, parts[i].len);
        bytes_text(&directory, "PK\x01\x02");
        bytes_number(&directory, 0, 16);
        bytes_number(&directory, parts[i].len, 4);
        bytes_number(&directory, parts[i].len, 4);
        bytes_number(&directory, name_len, 2);
        bytes_number(&directory, 0, 12);
        bytes_number(&directory, offset, 4);
        bytes_text(&directory, parts[i].name);
    }
    size_t start = zip.len;
    bytes_add(&zip, directory.data, directory.len);
    bytes_text(&zip, "PK\x05\x06");
    bytes_number(&zip, 0, 4);
    bytes_number(&zip, count, 2);
    bytes_number(&zip, count, 2);
    bytes_number(&zip, directory.len, 4);
    bytes_number(&zip, start, 4);
    bytes_number(&zip, 0, 2);
    bytes_free(&directory);
    return zip;
}

/* The pickle of {"a": tensor(storage "0" of 6 floats, …)}. */
#define TENSOR_PICKLE(rest)                                                                                  \
    "\x80\x02}U\x01"                                                                                         \
    "actorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01"                          \
    "0U\x03"                                                                                                 \
    "cpuK\x06tQ" rest "\x89NtRs."

static bool read_zip(struct bytes *zip, struct weights *weights, struct error *err)
{
    memset(weights, 0, sizeof *weights);
    memset(err, 0, sizeof *err);
    return torch_bin_read(weights, "m.bin", zip->data, zip->len, err) && weights_finish(weights, err);
}

static void expect_refused(const struct part *parts, size_t count, enum error_code code, const char *text)
{
    struct weights weights;
    struct error err;
    struct bytes zip = zip_of(parts, count);
    if (read_zip(&zip, &weights, &err))
        fail_msg("accepted; expected \"%s\"", text);
    expect_error(&err, code, text);
    weights_free(&weights);
    bytes_free(&zip);
}

static void expect_pickle_refused(const char *pickle, size_t len, const char *text)
{
    const struct part parts[] = {{"x/data.pkl", pickle, len}, {"x/data/0", "012345678901234567890123", 24}};
    expect_refused(parts, 2, ERROR_INVALID, text);
}
#define EXPECT_TENSOR_REFUSED(rest, text)                                                                    \
    expect_pickle_refused(TENSOR_PICKLE(rest), sizeof(TENSOR_PICKLE(rest)) - 1, text)

static void reads_what_torch_writes(void **state)
{
    (void)state;
    static const char *const files[] = {"plain.bin", "lightning.ckpt"};
    for (size_t i = 0; i < 2; i++) {
        struct weights weights = {0};
        struct error err = {0};
        char *path = golden_path(files[i]);
        size_t len;
        uint8_t *bytes = scratch_read(path, &len);
        if (!torch_bin_read(&weights, path, bytes, len, &err) || !weights_finish(&weights, &err))
            fail_msg("%s", err.message);
        expect_golden(files[i], weights.tensor_count, find, &weights);
        assert_ptr_equal(
            weights_find(&weights, "embed.weight")->data, weights_find(&weights, "lm_head.weight")->data);
        assert_int_equal(weights.copy_count, 2); /* transposed, column: the rest is used where it lies */
        assert_string_equal(weights_unreadable_reason(&weights, "mask"), "bool");
        assert_string_equal(weights_unreadable_reason(&weights, "double"), "float64");
        assert_non_null(weights_unreadable_reason(&weights, "rank5"));
        weights_free(&weights);
        free(bytes);
        free(path);
    }
}

static void survives_every_truncation(void **state)
{
    (void)state;
    char *path = golden_path("plain.bin");
    size_t len;
    uint8_t *bytes = scratch_read(path, &len);
    for (size_t cut = 0; cut < len; cut++) {
        struct weights weights = {0};
        struct error err = {0};
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, bytes, cut);
        assert_false(torch_bin_read(&weights, "m", copy, cut, &err));
        expect_error(&err, ERROR_INVALID, "m");
        weights_free(&weights);
        free(copy);
    }
    free(bytes);
    free(path);
}

/* Any damage ends in an answer, and what is accepted stays inside the file (the sanitizers watch). */
static void survives_every_damaged_byte(void **state)
{
    (void)state;
    char *path = golden_path("plain.bin");
    size_t len;
    uint8_t *bytes = scratch_read(path, &len);
    for (size_t at = 0; at < len; at++) {
        for (int change = 0; change < 3; change++) {
            static const uint8_t flips[] = {0x01, 0x80, 0xff};
            struct weights weights = {0};
            struct error err = {0};
            bytes[at] ^= flips[change];
            if (torch_bin_read(&weights, "m", bytes, len, &err) && weights_finish(&weights, &err))
                weights_check_finite(&weights, &err);
            else
                assert_int_not_equal(err.code, ERROR_NONE);
            weights_free(&weights);
            bytes[at] ^= flips[change];
        }
    }
    free(bytes);
    free(path);
}

static void refuses_other_formats(void **state)
{
    (void)state;
    struct weights weights = {0};
    struct error err = {0};
    char *path = golden_path("legacy.bin");
    size_t len;
    uint8_t *bytes = scratch_read(path, &len);
    assert_false(torch_bin_read(&weights, "m", bytes, len, &err));
    expect_error(&err, ERROR_UNSUPPORTED, "before 1.6");
    const char *pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\n";
    assert_false(torch_bin_read(&weights, "m", (const uint8_t *)pointer, strlen(pointer), &err));
    expect_error(&err, ERROR_INVALID, "Git LFS pointer");
    assert_false(torch_bin_read(&weights, "m", (const uint8_t *)"<html>", 6, &err));
    expect_error(&err, ERROR_INVALID, "not a torch checkpoint");
    weights_free(&weights);
    free(bytes);
    free(path);
}

static void checks_tensors_against_their_storage(void **state)
{
    (void)state;
    struct weights weights;
    struct error err;
    const char good[] = TENSOR_PICKLE("K\x02K\x02K\x02\x86K\x02K\x01\x86");
    const struct part parts[] = {
        {"x/data.pkl", good, sizeof good - 1}, {"x/data/0", "012345678901234567890123", 24}};
    struct bytes zip = zip_of(parts, 2);
    assert_true(read_zip(&zip, &weights, &err));
    assert_int_equal(weights_find(&weights, "a")->bytes, 16);
    weights_free(&weights);
    bytes_free(&zip);
    EXPECT_TENSOR_REFUSED("K\x03K\x02K\x02\x86K\x02K\x01\x86", "reaches past its storage");
    EXPECT_TENSOR_REFUSED("K\0K\x07\x85K\x01\x85", "reaches past its storage");
    EXPECT_TENSOR_REFUSED("K\0K\x04\x85K\x02\x85", "reaches past its storage");
    EXPECT_TENSOR_REFUSED("K\x07K\0\x85K\x01\x85", "reaches past its storage");
    EXPECT_TENSOR_REFUSED(
        "K\0K\x02\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85", "reaches past its storage");
    EXPECT_TENSOR_REFUSED(
        "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x02\x85K\x01\x85", "reaches past its storage");
    EXPECT_TENSOR_REFUSED("K\0\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85K\0\x85", "impossibly large");
    const struct part no_storage[] = {{"x/data.pkl", good, sizeof good - 1}};
    expect_refused(no_storage, 1, ERROR_INVALID, "not in the archive");
    const struct part short_storage[] = {{"x/data.pkl", good, sizeof good - 1}, {"x/data/0", "0123", 4}};
    expect_refused(short_storage, 2, ERROR_INVALID, "need more");
}

/* A stride of 0 repeats elements: a few bytes must not become gigabytes. */
static void refuses_expanded_views(void **state)
{
    (void)state;
    const char pickle[] = TENSOR_PICKLE("K\0J\0\0\0\x20J\0\0\0\x02\x86K\0K\0\x86");
    const struct part parts[] = {
        {"x/data.pkl", pickle, sizeof pickle - 1}, {"x/data/0", "012345678901234567890123", 24}};
    struct weights weights;
    struct error err;
    struct bytes zip = zip_of(parts, 2);
    assert_false(read_zip(&zip, &weights, &err));
    assert_true(err.code == ERROR_TOO_LARGE || err.code == ERROR_INVALID);
    weights_free(&weights);
    bytes_free(&zip);
    const char small[] = TENSOR_PICKLE("K\0M\xff\xffK\x10\x86K\0K\0\x86");
    const struct part small_parts[] = {
        {"x/data.pkl", small, sizeof small - 1}, {"x/data/0", "012345678901234567890123", 24}};
    expect_refused(small_parts, 2, ERROR_TOO_LARGE, "expanded view");
}

/* A dimension of 1 may have any stride: it is never stepped over. */
static void ignores_strides_of_single_elements(void **state)
{
    (void)state;
    const char pickle[] =
        TENSOR_PICKLE("K\0(K\x01K\x02K\x02t(\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x01K\x02t");
    const struct part parts[] = {
        {"x/data.pkl", pickle, sizeof pickle - 1}, {"x/data/0", "000011112222333344445555", 24}};
    struct weights weights;
    struct error err;
    struct bytes zip = zip_of(parts, 2);
    assert_true(read_zip(&zip, &weights, &err));
    assert_memory_equal(weights_find(&weights, "a")->data, "0000222211113333", 16);
    weights_free(&weights);
    bytes_free(&zip);
}

static void refuses_strange_archives(void **state)
{
    (void)state;
    const char pickle[] = "}.";
    const struct part none[] = {{"x/other", "a", 1}};
    expect_refused(none, 1, ERROR_INVALID, "no data.pkl");
    const struct part two[] = {{"x/data.pkl", pickle, 2}, {"y/data.pkl", pickle, 2}};
    expect_refused(two, 2, ERROR_INVALID, "more than one data.pkl");
    const struct part twins[] = {{"x/data.pkl", pickle, 2}, {"x/data.pkl", pickle, 2}};
    expect_refused(twins, 2, ERROR_INVALID, "occurs twice");
    const struct part big[] = {{"x/data.pkl", pickle, 2}, {"x/byteorder", "big", 3}};
    expect_refused(big, 2, ERROR_UNSUPPORTED, "little-endian");
    const struct part empty[] = {{"x/data.pkl", pickle, 2}};
    expect_refused(empty, 1, ERROR_INVALID, "no tensors");
    const struct part list[] = {{"x/data.pkl", "].", 2}};
    expect_refused(list, 1, ERROR_INVALID, "no state dict");
    const struct part cycle[] = {{"x/data.pkl", "}q\x01U\nstate_dicth\x01s.", 19}};
    expect_refused(cycle, 1, ERROR_INVALID, "no tensors");
}

static void refuses_compressed_and_overlapping_entries(void **state)
{
    (void)state;
    const struct part parts[] = {{"x/data.pkl", "}.", 2}, {"x/data/0", "01234567", 8}};
    struct weights weights;
    struct error err;
    struct bytes zip = zip_of(parts, 2);
    size_t directory = zip.len - 22 - 2 * 46 - 10 - 8;
    zip.data[directory + 10] = 8; /* deflate */
    assert_false(read_zip(&zip, &weights, &err));
    expect_error(&err, ERROR_UNSUPPORTED, "compressed");
    weights_free(&weights);
    zip.data[directory + 10] = 0;
    zip.data[directory + 20] = zip.data[directory + 24] = 45; /* the first entry reaches into the second */
    assert_false(read_zip(&zip, &weights, &err));
    expect_error(&err, ERROR_INVALID, "overlap");
    weights_free(&weights);
    bytes_free(&zip);
}

static void a_hostile_pickle_is_named(void **state)
{
    (void)state;
    const char pickle[] = "\x80\x02"
                          "cposix\nsystem\nX\x02\0\0\0id\x85R.";
    const struct part parts[] = {{"x/data.pkl", pickle, sizeof pickle - 1}};
    expect_refused(parts, 1, ERROR_DENIED, "m.bin: the pickle names posix.system");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_torch_writes),
        cmocka_unit_test(survives_every_truncation),
        cmocka_unit_test(survives_every_damaged_byte),
        cmocka_unit_test(refuses_other_formats),
        cmocka_unit_test(checks_tensors_against_their_storage),
        cmocka_unit_test(refuses_expanded_views),
        cmocka_unit_test(ignores_strides_of_single_elements),
        cmocka_unit_test(refuses_strange_archives),
        cmocka_unit_test(refuses_compressed_and_overlapping_entries),
        cmocka_unit_test(a_hostile_pickle_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
