#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/files.h"
#include "worker/model/generation_config.h"
#include "worker/model/json_file.h"

static const struct json_limits limits = {.bytes_max = 1000, .values_max = 100};

/* Every setting that transformers derives is derived, and nothing else differs from its defaults. */
static void expect_same_settings(const json_t *config, const json_t *expected, const json_t *defaults)
{
    struct error err = {0};
    json_t *derived = generation_config_derive(config, &err), *value;
    const char *key;
    assert_non_null(derived);
    json_object_foreach((json_t *)expected, key, value)
    {
        if (!json_equal(value, json_object_get(derived, key)))
            fail_msg("%s: %s differs", json_string_value(json_object_get(config, "model_type")), key);
    }
    json_object_foreach(derived, key, value)
    {
        const json_t *wanted = json_object_get(expected, key);
        if (!json_equal(value, wanted != NULL ? wanted : json_object_get(defaults, key)))
            fail_msg("%s: %s is too much", json_string_value(json_object_get(config, "model_type")), key);
    }
    json_decref(derived);
}

static void derives_generation_settings_as_transformers_does(void **state)
{
    (void)state;
    char *path = golden_path("generation_defaults.json");
    json_t *golden = json_load_file(path, 0, NULL), *item;
    const json_t *cases = json_object_get(golden, "cases");
    size_t index;
    assert_true(json_array_size(cases) > 50);
    json_array_foreach((json_t *)cases, index, item) expect_same_settings(json_object_get(item, "config"),
        json_object_get(item, "expected"), json_object_get(golden, "transformers_defaults"));
    json_decref(golden);
    free(path);
}

static void a_nested_configuration_fills_gaps(void **state)
{
    (void)state;
    struct error err = {0};
    json_t *config = json_pack("{s:s,s:i,s:{s:s,s:i,s:i}}", "model_type", "outer", "eos_token_id", 7,
        "decoder", "model_type", "bart", "eos_token_id", 8, "num_beams", 3);
    json_t *derived = generation_config_derive(config, &err);
    assert_int_equal(json_integer_value(json_object_get(derived, "eos_token_id")), 7);
    assert_int_equal(json_integer_value(json_object_get(derived, "num_beams")), 3);
    json_decref(derived);
    json_decref(config);
}

static void expect_refused(const char *text, size_t len, enum error_code code, const char *expected)
{
    struct error err = {0};
    json_t *value = json_object_parse("c.json", text, len, &limits, &err);
    if (value != NULL)
        fail_msg("accepted: %s", text);
    expect_error(&err, code, expected);
}

static void bounds_json(void **state)
{
    (void)state;
    char text[1200];
    memset(text, '[', sizeof text);
    expect_refused(text, 90, ERROR_INVALID, "nested deeper");
    expect_refused(text, 1001, ERROR_TOO_LARGE, "1001 bytes");
    memset(text, ',', sizeof text);
    expect_refused(text, 500, ERROR_TOO_LARGE, "values");
    expect_refused("{\"a\":1,\"a\":2}", 13, ERROR_INVALID, "duplicate");
    expect_refused("{\"a\":1} x", 9, ERROR_INVALID, "invalid JSON");
    expect_refused("{\"a\":\n\xff}", 8, ERROR_INVALID, "invalid JSON");
    expect_refused("{\"a\":\"\n\"}", 9, ERROR_INVALID, "invalid JSON");
    expect_refused("7", 1, ERROR_INVALID, "c.json");
    expect_refused("{\"a\":\"\\u0000\"}", 14, ERROR_INVALID, "invalid JSON");
}

static void brackets_in_strings_are_text(void **state)
{
    (void)state;
    struct error err = {0};
    char text[400] = "{\"a\":\"\\\"";
    memset(text + 8, '[', 200);
    strcpy(text + 208, "\"}");
    json_t *value = json_object_parse("c.json", text, strlen(text), &limits, &err);
    assert_non_null(value);
    json_decref(value);
}

static void skips_a_byte_order_mark(void **state)
{
    (void)state;
    struct error err = {0};
    char *dir = scratch_directory(), *path = scratch_write(dir, "c.json", "\xef\xbb\xbf{\"a\":1}", 10);
    json_t *value = json_object_read(path, &limits, &err);
    assert_int_equal(json_integer_value(json_object_get(value, "a")), 1);
    json_decref(value);
    free(path);
    scratch_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derives_generation_settings_as_transformers_does),
        cmocka_unit_test(a_nested_configuration_fills_gaps),
        cmocka_unit_test(bounds_json),
        cmocka_unit_test(brackets_in_strings_are_text),
        cmocka_unit_test(skips_a_byte_order_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
