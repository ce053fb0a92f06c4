#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "coordinator/api/keys.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/lumigrid-keys-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void key_path(char out[128])
{
    snprintf(out, 128, "%s/master.key", folder);
}

static int remove_folder(void **state)
{
    (void)state;
    char path[128];
    key_path(path);
    unlink(path);
    return rmdir(folder);
}

static void the_key_is_made_once_and_private(void **state)
{
    (void)state;
    struct keys first, second;
    struct error err;
    struct stat info;
    char path[128];
    key_path(path);
    assert_true(keys_open(folder, &first, &err));
    assert_true(keys_open(folder, &second, &err));
    assert_memory_equal(&first, &second, sizeof(first));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_memory_not_equal(first.seal, first.sign, sizeof(first.seal));
}

static void a_key_that_is_damaged_or_open_to_others_is_not_used(void **state)
{
    (void)state;
    struct keys keys;
    struct error err;
    char path[128];
    key_path(path);
    assert_true(keys_open(folder, &keys, &err));
    chmod(path, 0644);
    assert_false(keys_open(folder, &keys, &err));
    assert_int_equal(err.code, ERROR_DENIED);
    chmod(path, 0600);
    assert_int_equal(truncate(path, 7), 0);
    assert_false(keys_open(folder, &keys, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    unlink(path);
    assert_false(keys_open("/nonexistent/folder", &keys, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
}

static void sealed_values_open_only_unchanged_and_under_their_name(void **state)
{
    (void)state;
    struct keys keys, other;
    struct error err;
    unsigned char sealed[5 + KEYS_SEAL_OVERHEAD], again[5 + KEYS_SEAL_OVERHEAD];
    char value[5];
    assert_true(keys_open(folder, &keys, &err));
    keys_seal(&keys, "name", "value", 5, sealed);
    keys_seal(&keys, "name", "value", 5, again);
    assert_memory_not_equal(sealed, again, sizeof(sealed));
    assert_true(keys_unseal(&keys, "name", sealed, sizeof(sealed), value, NULL));
    assert_memory_equal(value, "value", 5);
    assert_false(keys_unseal(&keys, "eman", sealed, sizeof(sealed), value, NULL));
    assert_false(keys_unseal(&keys, "name", sealed, KEYS_SEAL_OVERHEAD - 1, value, NULL));
    other = keys;
    other.seal[0] ^= 1;
    assert_false(keys_unseal(&other, "name", sealed, sizeof(sealed), value, NULL));
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 1;
        assert_false(keys_unseal(&keys, "name", sealed, sizeof(sealed), value, NULL));
        sealed[i] ^= 1;
    }
}

static void signatures_hold_for_one_subject_until_they_expire(void **state)
{
    (void)state;
    struct keys keys;
    struct error err;
    char signature[KEYS_SIGNATURE_CHARS + 1];
    assert_true(keys_open(folder, &keys, &err));
    keys_sign(&keys, "/a", 1000, signature);
    assert_int_equal(strlen(signature), KEYS_SIGNATURE_CHARS);
    assert_int_equal(keys_check(&keys, "/a", 1000, signature, 1000), KEYS_GOOD);
    assert_int_equal(keys_check(&keys, "/a", 1000, signature, 1001), KEYS_EXPIRED);
    assert_int_equal(keys_check(&keys, "/a", 2000, signature, 1000), KEYS_FORGED);
    assert_int_equal(keys_check(&keys, "/b", 1000, signature, 1000), KEYS_FORGED);
    assert_int_equal(keys_check(&keys, "/a", 1000, "", 1000), KEYS_FORGED);
    for (size_t i = 0; i < KEYS_SIGNATURE_CHARS; i++) {
        char right = signature[i];
        signature[i] = right == 'A' ? 'B' : 'A';
        assert_int_equal(keys_check(&keys, "/a", 1000, signature, 1000), KEYS_FORGED);
        signature[i] = right;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_key_is_made_once_and_private, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(
            a_key_that_is_damaged_or_open_to_others_is_not_used, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(
            sealed_values_open_only_unchanged_and_under_their_name, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(
            signatures_hold_for_one_subject_until_they_expire, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
