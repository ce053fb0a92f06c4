#include "tests/unit/model/files.h"

#include <ftw.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

void expect_error(const struct error *err, enum error_code code, const char *text)
{
    if (err->code != code || strstr(err->message, text) == NULL || strpbrk(err->message, "\r\n") != NULL)
        fail_msg("expected %s with \"%s\", got %s: %s", error_code_name(code), text,
            error_code_name(err->code), err->message);
}

char *scratch_directory(void)
{
    const char *base = getenv("TMPDIR");
    char *dir = NULL;
    assert_true(asprintf(&dir, "%s/lumigrid-model-XXXXXX", base != NULL ? base : "/tmp") > 0);
    assert_non_null(mkdtemp(dir));
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st, (void)kind, (void)place;
    return remove(path);
}

void scratch_remove(char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

char *scratch_write(const char *dir, const char *name, const void *bytes, size_t len)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    for (char *slash = strchr(path + strlen(dir) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    return path;
}

uint8_t *scratch_read(const char *path, size_t *len)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *len = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*len + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *len, file), *len);
    bytes[*len] = 0;
    fclose(file);
    return bytes;
}

char *golden_path(const char *name)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/tests/golden/model/%s", TEST_SOURCE_DIR, name) > 0);
    return path;
}

static void expect_tensor(const struct tensor_view *tensor, const char *name, const json_t *expected)
{
    if (tensor == NULL)
        fail_msg("tensor %s is missing", name);
    const json_t *shape = json_array_get(expected, 1);
    assert_string_equal(dtype_name(tensor->dtype), json_string_value(json_array_get(expected, 0)));
    assert_int_equal(tensor->rank, json_array_size(shape));
    for (int i = 0; i < tensor->rank; i++)
        assert_int_equal(tensor->shape[i], json_integer_value(json_array_get(shape, (size_t)i)));
    uint8_t hash[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof hash + 1];
    crypto_hash_sha256(hash, tensor->data, tensor->bytes);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    if (strcmp(hex, json_string_value(json_array_get(expected, 2))) != 0)
        fail_msg("tensor %s has other bytes than expected", name);
}

void expect_golden(const char *file, size_t count,
    const struct tensor_view *(*find)(const void *, const char *), const void *context)
{
    char *path = golden_path("expected.json");
    json_t *all = json_load_file(path, 0, NULL), *tensors = json_object_get(all, file), *expected;
    const char *name;
    assert_non_null(tensors);
    json_object_foreach(tensors, name, expected) expect_tensor(find(context, name), name, expected);
    assert_int_equal(count, json_object_size(tensors));
    json_decref(all);
    free(path);
}

void bytes_add(struct bytes *bytes, const void *data, size_t len)
{
    if (bytes->len + len > bytes->capacity) {
        bytes->capacity = (bytes->len + len) * 2;
        bytes->data = realloc(bytes->data, bytes->capacity);
        assert_non_null(bytes->data);
    }
    if (len > 0)
        memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

void bytes_text(struct bytes *bytes, const char *text)
{
    bytes_add(bytes, text, strlen(text));
}

void bytes_number(struct bytes *bytes, uint64_t number, int width)
{
    for (int i = 0; i < width; i++) {
        uint8_t byte = i < 8 ? (uint8_t)(number >> (8 * i)) : 0;
        bytes_add(bytes, &byte, 1);
    }
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    memset(bytes, 0, sizeof *bytes);
}
