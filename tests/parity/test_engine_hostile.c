/* Configurations that no one should write: every value of config.json is replaced in turn by what a fuzzer
 * would try. Each must open and run, or end in one error; memory stays bounded by the limit that the engine
 * was given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/parity/subject.h"

static const char *const bad_values[] = {
    "0", "-1", "1", "3", "16777216", "1e300", "\"x\"", "null", "[]", "{}", "true"};

static void on_done(void *context, const struct generation_output *outputs, size_t count)
{
    int *calls = context;
    assert_true(count > 0);
    assert_true(outputs[0].reason != FINISH_ERROR || outputs[0].error->message[0]);
    (*calls)++;
}

static void run_encoder(struct engine *engine)
{
    struct error err = {0};
    int32_t list[] = {1, 2, 3};
    struct token_ids ids = {list, 3, 3};
    int layer = (int)engine_layers(engine);
    float *states = calloc(3 * engine_hidden_size(engine) + 1, sizeof *states);
    if (!engine_hidden_states(engine, &ids, 1, &layer, 1, &states, &err))
        assert_true(err.code != ERROR_NONE && err.message[0]);
    free(states);
}

static void run_generation(struct model *model, struct engine *engine)
{
    struct error err = {0};
    struct generation_settings settings;
    const int32_t ids[] = {1, 2, 3};
    int calls = 0;
    if (!engine_settings_from_model(model, NULL, &settings, &err))
        return;
    settings.max_new_tokens = 2;
    settings.num_beams = 2;
    struct generation_request request = {
        .ids = ids, .count = 3, .settings = &settings, .on_done = on_done, .context = &calls};
    if (engine_submit(engine, &request, &err)) {
        while (engine_step(engine) > 0)
            ;
        assert_int_equal(calls, 1);
    } else {
        assert_true(err.code != ERROR_NONE && err.message[0]);
    }
    engine_settings_free(&settings);
}

static void try_directory(struct backend *backend, const char *dir)
{
    char reference[128];
    struct error err = {0};
    struct model *model = NULL;
    struct engine *engine = NULL;
    struct engine_options options = {.memory_bytes_max = 64 << 20};
    snprintf(reference, sizeof reference, "file://%s", dir);
    bool fine = model_open(reference, &(struct model_options){0}, &model, &err) &&
                engine_open(backend, model, &options, &engine, &err);
    if (!fine)
        assert_true(err.code != ERROR_NONE && err.message[0]);
    else if (engine_kind(engine) == ENGINE_ENCODER)
        run_encoder(engine);
    else
        run_generation(model, engine);
    engine_close(engine);
    model_close(model);
}

static void test_config_values(void **state)
{
    char dir[] = "/tmp/lumigrid-hostile-XXXXXX", path[600], target[600];
    struct error err = {0};
    struct backend *backend;
    const char *key, *name = *state;
    json_t *value;
    assert_true(backend_open("cpu", &(struct backend_options){.threads = 1}, &backend, &err));
    assert_non_null(mkdtemp(dir));
    snprintf(
        target, sizeof target, "%s/tests/golden/engine/models/%s/model.safetensors", TEST_SOURCE_DIR, name);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(symlink(target, path), 0);
    snprintf(target, sizeof target, "%s/tests/golden/engine/models/%s/config.json", TEST_SOURCE_DIR, name);
    json_t *config = json_load_file(target, 0, NULL);
    snprintf(path, sizeof path, "%s/config.json", dir);
    json_object_foreach(config, key, value)
    {
        for (size_t i = 0; i < sizeof bad_values / sizeof *bad_values; i++) {
            json_t *changed = json_copy(config);
            json_object_set_new(changed, key, json_loads(bad_values[i], JSON_DECODE_ANY, NULL));
            assert_int_equal(json_dump_file(changed, path, 0), 0);
            json_decref(changed);
            try_directory(backend, dir);
        }
    }
    json_decref(config);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    rmdir(dir);
    backend_close(backend);
}

static const char *const models[] = {"bart-0", "t5-1", "m2m_100-0", "pegasus-0", "led-0", "llama-2",
    "gemma3_text-0", "phi3-0", "gpt2-0", "opt-1", "roberta-0", "deberta-v2-0"};

int main(void)
{
    enum { COUNT = sizeof models / sizeof *models };
    struct CMUnitTest tests[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){models[i], test_config_values, NULL, NULL, (void *)models[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
