#include "tests/parity/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void require(bool fine, const struct error *err)
{
    if (!fine)
        fail_msg("%s", err->message);
}

void subject_open(struct subject *s, const char *name, const struct engine_options *options)
{
    char path[512], reference[600];
    struct error err = {0};
    struct engine_options defaults = {.memory_bytes_max = 256 << 20};
    memset(s, 0, sizeof *s);
    snprintf(path, sizeof path, "%s/tests/golden/engine/models/%s", TEST_SOURCE_DIR, name);
    snprintf(reference, sizeof reference, "file://%s", path);
    require(model_open(reference, &(struct model_options){0}, &s->model, &err), &err);
    const char *device = getenv("LUMIGRID_TEST_DEVICE");
    require(backend_open(device ? device : "cpu", &(struct backend_options){.threads = 2}, &s->backend, &err),
        &err);
    require(engine_open(s->backend, s->model, options ? options : &defaults, &s->engine, &err), &err);
    snprintf(path + strlen(path), sizeof path - strlen(path), "/cases.json");
    s->cases = json_load_file(path, 0, NULL);
    assert_non_null(s->cases);
}

void subject_close(struct subject *s)
{
    engine_close(s->engine);
    backend_close(s->backend);
    model_close(s->model);
    json_decref(s->cases);
}

int32_t *ids_from_json(const json_t *list, size_t *count)
{
    *count = json_array_size(list);
    int32_t *ids = malloc((*count + 1) * sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < *count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return ids;
}

void settings_make(const struct subject *s, const json_t *overrides, struct generation_settings *out)
{
    struct error err = {0};
    const char *name;
    json_t *value;
    require(engine_settings_from_model(s->model, NULL, out, &err), &err);
    json_object_foreach((json_t *)overrides, name, value)
        require(engine_settings_set(out, name, value, &err), &err);
}

static void on_token(void *context, int32_t id)
{
    struct outcome *o = context;
    o->ids[SEQUENCES_MAX - 1][o->streamed++] = id;
}

static void on_done(void *context, const struct generation_output *outputs, size_t count)
{
    struct outcome *o = context;
    o->calls++;
    o->sequence_count = count;
    assert_true(count <= SEQUENCES_MAX);
    o->reason = outputs[0].reason;
    o->truncated = outputs[0].truncated;
    o->prompt_tokens = outputs[0].prompt_tokens;
    if (outputs[0].error)
        o->error = *outputs[0].error;
    for (size_t i = 0; i < count; i++) {
        assert_true(outputs[i].count <= TOKENS_MAX);
        o->counts[i] = outputs[i].count;
        o->scores[i] = outputs[i].score;
        if (outputs[i].count == 0)
            continue;
        memcpy(o->ids[i], outputs[i].ids, outputs[i].count * sizeof *outputs[i].ids);
        memcpy(o->token_scores[i], outputs[i].token_scores, outputs[i].count * sizeof(float));
    }
}

uint64_t subject_submit(const struct subject *s, const json_t *ids,
    const struct generation_settings *settings, struct outcome *outcome)
{
    struct error err = {0};
    size_t count;
    int32_t *list = ids_from_json(ids, &count);
    memset(outcome, 0, sizeof *outcome);
    struct generation_request request = {.ids = list,
        .count = count,
        .settings = settings,
        .want_token_scores = true,
        .on_token = on_token,
        .on_done = on_done,
        .context = outcome};
    uint64_t handle = engine_submit(s->engine, &request, &err);
    free(list);
    require(handle != 0, &err);
    return handle;
}

void subject_finish(const struct subject *s)
{
    while (engine_step(s->engine) > 0)
        ;
}
