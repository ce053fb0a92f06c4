/* Settings from a model's files as transformers' pipelines and generate() read them, and overrides by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "worker/engine/engine.h"

/* A model directory with one tensor, so that it opens. */
struct directory {
    char path[64];
    struct model *model;
};

static void write_file(const char *dir, const char *name, const void *data, size_t len)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void directory_open(struct directory *d, const char *config, const char *generation_config)
{
    static const char header[] = "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} ";
    char tensors[8 + sizeof header - 1 + 4] = {(char)(sizeof header - 1)}, reference[80];
    struct error err = {0};
    memcpy(tensors + 8, header, sizeof header - 1);
    strcpy(d->path, "/tmp/lumigrid-settings-XXXXXX");
    assert_non_null(mkdtemp(d->path));
    write_file(d->path, "model.safetensors", tensors, sizeof tensors);
    write_file(d->path, "config.json", config, strlen(config));
    if (generation_config)
        write_file(d->path, "generation_config.json", generation_config, strlen(generation_config));
    snprintf(reference, sizeof reference, "file://%s", d->path);
    if (!model_open(reference, &(struct model_options){0}, &d->model, &err))
        fail_msg("%s", err.message);
}

static void directory_close(struct directory *d)
{
    static const char *const names[] = {"model.safetensors", "config.json", "generation_config.json"};
    char path[128];
    model_close(d->model);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", d->path, names[i]);
        unlink(path);
    }
    rmdir(d->path);
}

static struct generation_settings read_settings(
    const char *config, const char *generation_config, const char *task)
{
    struct directory d;
    struct generation_settings settings;
    struct error err = {0};
    directory_open(&d, config, generation_config);
    if (!engine_settings_from_model(d.model, task, &settings, &err))
        fail_msg("%s", err.message);
    directory_close(&d);
    return settings;
}

static const char cnn[] =
    "{\"model_type\":\"bart\",\"is_encoder_decoder\":true,\"task_specific_params\":{"
    "\"summarization\":{\"early_stopping\":true,\"length_penalty\":2.0,\"max_length\":142,"
    "\"min_length\":56,\"no_repeat_ngram_size\":3,\"num_beams\":4}}}";
static const char cnn_generation[] =
    "{\"bos_token_id\":0,\"decoder_start_token_id\":2,\"early_stopping\":true,\"eos_token_id\":2,"
    "\"forced_bos_token_id\":0,\"forced_eos_token_id\":2,\"length_penalty\":2.0,\"max_length\":142,"
    "\"min_length\":56,\"no_repeat_ngram_size\":3,\"num_beams\":4,\"pad_token_id\":1}";

static void test_defaults_are_the_librarys(void **state)
{
    (void)state;
    struct generation_settings s = read_settings("{\"model_type\":\"bart\"}", "{}", NULL);
    assert_int_equal(s.num_beams, 1);
    assert_int_equal(s.max_new_tokens, -1);
    assert_int_equal(s.max_length, -1);
    assert_int_equal(s.top_k, 50);
    assert_true(s.length_penalty == 1 && s.temperature == 1 && !s.do_sample);
    assert_int_equal(s.eos_token_count, 0);
    engine_settings_free(&s);
}

static void test_summarization_pipeline_keeps_the_models_length(void **state)
{
    (void)state;
    struct generation_settings s = read_settings(cnn, cnn_generation, "summarization");
    assert_int_equal(s.max_new_tokens, -1); /* 256 gives way to max_length 142 */
    assert_int_equal(s.max_length, 142);
    assert_int_equal(s.min_length, 56);
    assert_int_equal(s.num_beams, 4);
    assert_int_equal(s.early_stopping, EARLY_STOPPING_TRUE);
    assert_int_equal(s.forced_bos_token_id, 0);
    assert_int_equal(s.eos_token_ids[0], 2);
    assert_null(s.prefix);
    engine_settings_free(&s);
}

static void test_pipeline_defaults_apply_when_the_model_says_nothing(void **state)
{
    (void)state;
    struct generation_settings s =
        read_settings("{\"model_type\":\"t5\"}", "{\"eos_token_id\":1}", "summarization");
    assert_int_equal(s.max_new_tokens, 256);
    assert_int_equal(s.num_beams, 4);
    engine_settings_free(&s);
    s = read_settings("{\"model_type\":\"llama\"}", "{\"eos_token_id\":[1,7]}", "text-generation");
    assert_true(s.do_sample && s.temperature == 0.7);
    assert_int_equal(s.eos_token_count, 2);
    assert_int_equal(s.eos_token_ids[1], 7);
    engine_settings_free(&s);
}

static void test_task_parameters_bring_the_prefix(void **state)
{
    (void)state;
    static const char config[] =
        "{\"model_type\":\"t5\",\"task_specific_params\":{\"summarization\":{\"prefix\":\"summarize: \","
        "\"max_length\":200,\"min_length\":30,\"num_beams\":2},\"translation_en_to_de\":{\"prefix\":\"to "
        "German: \"}}}";
    struct generation_settings s = read_settings(config, "{}", "summarization");
    assert_string_equal(s.prefix, "summarize: ");
    assert_int_equal(s.num_beams, 2);
    assert_int_equal(
        s.max_new_tokens, 256); /* the task's max_length comes after: max_new_tokens wins in generate() */
    engine_settings_free(&s);
    s = read_settings(config, "{}", "translation_en_to_de");
    assert_string_equal(s.prefix, "to German: ");
    engine_settings_free(&s);
    s = read_settings(config, "{}", NULL);
    assert_null(s.prefix);
    engine_settings_free(&s);
}

static void test_a_derived_generation_config_gives_way_to_config(void **state)
{
    (void)state;
    struct generation_settings s =
        read_settings("{\"model_type\":\"bart\",\"num_beams\":5,\"eos_token_id\":2}",
            "{\"_from_model_config\":true,\"eos_token_id\":9}", NULL);
    assert_int_equal(s.num_beams, 5);
    assert_int_equal(s.eos_token_ids[0], 2);
    engine_settings_free(&s);
    s = read_settings("{\"model_type\":\"bart\",\"eos_token_id\":2}",
        "{\"_from_model_config\":true,\"num_beams\":3,\"eos_token_id\":9}", NULL);
    assert_int_equal(s.num_beams, 3);
    engine_settings_free(&s);
}

static bool set(struct generation_settings *s, const char *name, const char *json, struct error *err)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    bool fine = engine_settings_set(s, name, value, err);
    json_decref(value);
    return fine;
}

static void test_overrides_by_name(void **state)
{
    (void)state;
    struct error err = {0};
    struct generation_settings s = read_settings(cnn, cnn_generation, NULL), copy;
    assert_true(set(&s, "early_stopping", "\"never\"", &err));
    assert_int_equal(s.early_stopping, EARLY_STOPPING_NEVER);
    assert_true(set(&s, "num_beams", "2.0", &err)); /* a whole number written as a float */
    assert_true(set(&s, "bad_words_ids", "[[4,5],[6]]", &err));
    assert_true(set(&s, "stop_strings", "[\"x\",\"\\n\\n\"]", &err));
    assert_true(set(&s, "eos_token_id", "[3,4]", &err));
    assert_true(set(&s, "forced_eos_token_id", "null", &err));
    assert_true(set(&s, "encoder_no_repeat_ngram_size", "0", &err)); /* not implemented, and not asked for */
    assert_true(engine_settings_copy(&copy, &s, &err));
    engine_settings_free(&s);
    assert_int_equal(copy.num_beams, 2);
    assert_int_equal(copy.forced_eos_token_id, -1);
    assert_int_equal(copy.bad_words_count, 2);
    assert_int_equal(copy.bad_words[0][1], 5);
    assert_int_equal(copy.bad_words[0][2], -1);
    assert_string_equal(copy.stop_strings[1], "\n\n");
    assert_int_equal(copy.eos_token_count, 2);
    json_t *listed = engine_settings_to_json(&copy);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(listed, "eos_token_id"), 1)), 4);
    assert_true(json_is_null(json_object_get(listed, "forced_eos_token_id")));
    json_decref(listed);
    engine_settings_free(&copy);
}

static void test_bad_values_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {{"num_beams", "0"}, {"num_beams", "1.5"}, {"num_beams", "\"4\""},
        {"num_beams", "1e9"}, {"top_p", "1.5"}, {"temperature", "-1"}, {"early_stopping", "\"maybe\""},
        {"do_sample", "1"}, {"eos_token_id", "[1,-2]"}, {"eos_token_id", "99999999999"},
        {"bad_words_ids", "[1,2]"}, {"bad_words_ids", "[[]]"}, {"stop_strings", "[1]"},
        {"stop_strings", "[\"\"]"}, {"repetition_penalty", "0"}, {"beams", "4"}, {"prefix", "3"}};
    struct generation_settings s = read_settings(cnn, cnn_generation, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = {0};
        if (set(&s, bad[i][0], bad[i][1], &err))
            fail_msg("%s = %s was taken", bad[i][0], bad[i][1]);
        assert_int_equal(err.code, ERROR_INVALID);
    }
    struct error err = {0};
    assert_false(set(&s, "num_beam_groups", "2", &err));
    assert_int_equal(err.code, ERROR_UNSUPPORTED);
    engine_settings_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_the_librarys),
        cmocka_unit_test(test_summarization_pipeline_keeps_the_models_length),
        cmocka_unit_test(test_pipeline_defaults_apply_when_the_model_says_nothing),
        cmocka_unit_test(test_task_parameters_bring_the_prefix),
        cmocka_unit_test(test_a_derived_generation_config_gives_way_to_config),
        cmocka_unit_test(test_overrides_by_name),
        cmocka_unit_test(test_bad_values_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
