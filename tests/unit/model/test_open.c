#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model/files.h"
#include "worker/model/model.h"

static char *dir;
static char reference[1024];

/* A model directory with the golden weights and this config.json. */
static void make_model(const char *config)
{
    char *path = golden_path("plain.safetensors");
    size_t len;
    uint8_t *bytes = scratch_read(path, &len);
    free(scratch_write(dir, "model.safetensors", bytes, len));
    if (config != NULL)
        free(scratch_write(dir, "config.json", config, strlen(config)));
    free(bytes);
    free(path);
}

static int set_up(void **state)
{
    (void)state;
    dir = scratch_directory();
    snprintf(reference, sizeof reference, "file://%s", dir);
    return setenv("XDG_CACHE_HOME", dir, 1);
}

static int tear_down(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static void expect_refused(
    const char *text, const struct model_options *options, enum error_code code, const char *message)
{
    struct model *model = NULL;
    struct error err = {0};
    if (model_open(text, options, &model, &err))
        fail_msg("opened; expected \"%s\"", message);
    expect_error(&err, code, message);
}

static void opens_a_directory_without_a_tokenizer(void **state)
{
    (void)state;
    struct model *model = NULL;
    struct error err = {0};
    make_model("{\"model_type\":\"bart\",\"num_beams\":4}");
    if (!model_open(reference, NULL, &model, &err))
        fail_msg("%s", err.message);
    assert_string_equal(model_reference(model), reference);
    assert_string_equal(model_type(model), "bart");
    assert_null(model_tokenizer(model));
    assert_int_equal(model_tensor(model, "embed.weight")->shape[0], 7);
    assert_null(model_tensor(model, "nothing"));
    const json_t *settings = model_generation_config(model);
    assert_int_equal(json_integer_value(json_object_get(settings, "num_beams")), 4);
    assert_int_equal(json_integer_value(json_object_get(settings, "forced_eos_token_id")), 2);
    assert_true(model_check_finite(model, &err));
    const char *digest = model_digest(model, &err);
    assert_int_equal(strlen(digest), 64);
    assert_ptr_equal(digest, model_digest(model, &err));
    model_close(model);
}

static void opens_a_gguf_file(void **state)
{
    (void)state;
    struct model *model = NULL;
    struct error err = {0};
    char *path = golden_path("gemma3.gguf"), text[1024];
    snprintf(text, sizeof text, "gguf://%s", path);
    if (!model_open(text, NULL, &model, &err))
        fail_msg("%s", err.message);
    assert_string_equal(model_type(model), "gemma3_text");
    assert_non_null(model_tensor(model, "model.embed_tokens.weight"));
    assert_int_equal(json_integer_value(json_object_get(model_generation_config(model), "eos_token_id")), 1);
    assert_int_equal(strlen(model_digest(model, &err)), 64);
    model_close(model);
    free(path);
}

static void says_what_is_missing(void **state)
{
    (void)state;
    const struct model_options elsewhere = {.allow_dirs = "/usr"};
    expect_refused("s3://x", NULL, ERROR_INVALID, "does not begin with");
    expect_refused(reference, NULL, ERROR_NOT_FOUND, "config.json");
    make_model("{\"d_model\":4}");
    expect_refused(reference, NULL, ERROR_INVALID, "has no model_type");
    make_model("{\"model_type\":");
    expect_refused(reference, NULL, ERROR_INVALID, "invalid JSON");
    expect_refused(reference, &elsewhere, ERROR_DENIED, "outside the directories");
    make_model("{\"model_type\":\"bart\"}");
    free(scratch_write(dir, "model.safetensors", "short", 5));
    expect_refused(reference, NULL, ERROR_INVALID, "not a complete safetensors file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(opens_a_directory_without_a_tokenizer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(opens_a_gguf_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_what_is_missing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
