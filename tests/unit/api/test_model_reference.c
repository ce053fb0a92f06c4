#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "coordinator/api/model_reference.h"

static void references_of_every_known_form_pass(void **state)
{
    (void)state;
    const char *good[] = {"hf://facebook/bart-large-cnn", "hf://gpt2", "hf://org/name@v1.0",
        "hf://org/name/sub/file.gguf", "hf://org/name@main/file.gguf", "file:///srv/models/toy",
        "gguf:///m/a..b.gguf", "oai://gpt-4o-mini", "mistral://open-mistral-7b", "http://localhost:8080/v1",
        "https://vllm.example/v1", "sim://?seconds=0.05"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct error err = {0};
        if (!model_reference_check(good[i], &err))
            fail_msg("%s: %s", good[i], err.message);
    }
}

static void other_references_end_in_one_clear_line(void **state)
{
    (void)state;
    const char *bad[] = {"", "facebook/bart-large-cnn", "://x", "s3://bucket/model", "hf://", "hf://a//b",
        "hf://../x", "hf://a/..", "hf://a/b@", "hf://a/b c", "hf://a/b\n", "file://relative",
        "file:///a/../b", "file:///..", "oai://", "http://", "hf://a/b?x=1", "hf://a/b/../../c"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error err = {0};
        assert_false(model_reference_check(bad[i], &err));
        assert_int_equal(err.code, ERROR_INVALID);
        assert_true(strlen(err.message) > 10);
    }
}

static void only_listed_hosts_may_be_called(void **state)
{
    (void)state;
    const char *allowed = "localhost,127.0.0.1, [::1],vllm.example:8000";
    const char *good[] = {"http://localhost:8080/v1", "https://LOCALHOST", "http://127.0.0.1/",
        "http://[::1]:9/x", "http://vllm.example:8000/v1"};
    const char *bad[] = {"http://169.254.169.254/latest", "http://localhost@evil.example/",
        "http://localhost.evil.example", "http://vllm.example/v1", "http://vllm.example:80001",
        "ftp://localhost/", "http://", "http:///x", "http://evil.example\\@localhost/", "http://[::2]/",
        "file:///etc/passwd", "localhost"};
    struct error err;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!model_url_allowed(good[i], allowed, &err))
            fail_msg("%s: %s", good[i], err.message);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (model_url_allowed(bad[i], allowed, &err))
            fail_msg("%s was allowed", bad[i]);
    assert_true(model_url_allowed("https://anything.example", "*", &err));
    assert_false(model_url_allowed("https://anything.example", "", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_of_every_known_form_pass),
        cmocka_unit_test(other_references_end_in_one_clear_line),
        cmocka_unit_test(only_listed_hosts_may_be_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
