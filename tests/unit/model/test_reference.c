#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/model/files.h"
#include "worker/model/reference.h"

static void accepts_the_three_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum reference_kind kind;
        const char *repository, *revision, *file, *path;
    } cases[] = {
        {"hf://facebook/bart-large-cnn", REFERENCE_HUB, "facebook/bart-large-cnn", "main", "", ""},
        {"hf://t5-small", REFERENCE_HUB, "t5-small", "main", "", ""},
        {"hf://a/b@v1.0", REFERENCE_HUB, "a/b", "v1.0", "", ""},
        {"hf://a/b@refs/pr/3", REFERENCE_HUB, "a/b", "refs/pr/3", "", ""},
        {"hf://a/b/c.gguf", REFERENCE_HUB, "a/b", "main", "c.gguf", ""},
        {"hf://a/b@main/Q4/c-d_1.gguf", REFERENCE_HUB, "a/b", "main", "Q4/c-d_1.gguf", ""},
        {"file:///models/x", REFERENCE_DIRECTORY, "", "", "", "/models/x"},
        {"file:///models/x..y/", REFERENCE_DIRECTORY, "", "", "", "/models/x..y"},
        {"file:///", REFERENCE_DIRECTORY, "", "", "", "/"},
        {"gguf:///m/a b.gguf", REFERENCE_GGUF, "", "", "", "/m/a b.gguf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reference got;
        struct error err = {0};
        if (!reference_parse(cases[i].text, &got, &err))
            fail_msg("%s: %s", cases[i].text, err.message);
        assert_int_equal(got.kind, cases[i].kind);
        assert_string_equal(got.repository, cases[i].repository);
        assert_string_equal(got.revision, cases[i].revision);
        assert_string_equal(got.file, cases[i].file);
        assert_string_equal(got.path, cases[i].path);
    }
}

static void refuses_everything_else(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "facebook/bart", "http://x/y", "hf:/a/b", "hf://", "hf:///b",
        "hf://a/", "hf://a//b", "hf://../b", "hf://a/..", "hf://a/../b", "hf://a/.b", "hf://a/b@",
        "hf://a/b@..", "hf://a/b@../x", "hf://a/b@x/../y", "hf://a/b@/x", "hf://a/b/c", "hf://a/b/../c.gguf",
        "hf://a/b/.c.gguf", "hf://a/b//c.gguf", "hf://a/b/c.gguf/", "hf://a/b?x", "hf://a/b%2e%2e",
        "hf://a--x/b", "hf://a\\b/c", "hf://a/b\n", "file://x", "file://", "file:///a/../b", "file:///..",
        "file:///a/..", "gguf://a.gguf", "gguf:///a/../b.gguf", "FILE:///x", " hf://a/b"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reference got;
        struct error err = {0};
        if (reference_parse(cases[i], &got, &err))
            fail_msg("\"%s\" was accepted", cases[i]);
        expect_error(&err, ERROR_INVALID, "model reference");
    }
}

static void refuses_what_is_too_long(void **state)
{
    (void)state;
    char text[2000];
    struct reference got;
    struct error err = {0};
    memset(text, 'a', sizeof text);
    memcpy(text, "file:///", 8);
    text[sizeof text - 1] = '\0';
    assert_false(reference_parse(text, &got, &err));
    memcpy(text, "hf://a/b", 8);
    text[1000] = '\0';
    assert_false(reference_parse(text, &got, &err));
    memcpy(text, "hf://a/b@", 9);
    assert_false(reference_parse(text, &got, &err));
}

static void allows_only_listed_directories(void **state)
{
    (void)state;
    struct error err = {0};
    char *dir = scratch_directory(), *allow = NULL, *link = NULL, *sibling = NULL;
    char *inside = scratch_write(dir, "in/model/config.json", "{}", 2);
    char *outside = scratch_write(dir, "inner/secret", "x", 1);
    assert_true(asprintf(&allow, "/nowhere:%s/in", dir) > 0);
    assert_true(asprintf(&link, "%s/in/link", dir) > 0);
    assert_true(asprintf(&sibling, "%s/in/none", dir) > 0);
    assert_int_equal(symlink(outside, link), 0);
    assert_true(reference_path_allowed(outside, NULL, &err));
    assert_true(reference_path_allowed(inside, allow, &err));
    assert_true(reference_path_allowed(inside, "/", &err));
    assert_false(reference_path_allowed(outside, allow, &err)); /* "inner" begins like "in" */
    expect_error(&err, ERROR_DENIED, "outside the directories");
    assert_false(reference_path_allowed(link, allow, &err)); /* links are followed before comparing */
    assert_false(reference_path_allowed(inside, "", &err));
    assert_false(reference_path_allowed(sibling, allow, &err));
    expect_error(&err, ERROR_NOT_FOUND, "none");
    free(allow);
    free(link);
    free(sibling);
    free(inside);
    free(outside);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_the_three_forms),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(refuses_what_is_too_long),
        cmocka_unit_test(allows_only_listed_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
