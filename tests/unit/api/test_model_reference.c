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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_of_every_known_form_pass),
        cmocka_unit_test(other_references_end_in_one_clear_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
