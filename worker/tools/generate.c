#include <stdlib.h>
#include <string.h>

#include "worker/engine/prompt.h"
#include "worker/tools/tool.h"

static const struct config_option options[] = {
    TOOL_MODEL_OPTIONS,
    TOOL_ENGINE_OPTIONS,
    TOOL_LINES_OPTIONS("JSON lines {\"id\",\"text\"} or {\"id\",\"ids\"}; - is standard input",
        "JSON lines {\"id\",\"text\",\"ids\",\"prompt_tokens\",\"score\",\"seconds\"}, as they end"),
    {"set", "NAME=VALUE", NULL, "a generation setting by its transformers name, such as num_beams=4", true,
        false},
    {"task", "TASK", NULL, "use the model's settings for this task, such as summarization", false, false},
    {"system-prompt", "TEXT", NULL, "what a chat model is told first", false, false},
    {"batch", "N", "16", "samples at once", false, false},
    {"seed", "N", "0", "seed of sampling", false, false},
    {0},
};

/* Lines in, results out; as many samples in the engine as keep its batch full. */
struct generation {
    struct subject subject;
    struct generation_settings settings;
    const char *system_prompt;
    struct lines lines;
    FILE *out;
    size_t in_flight, in_flight_max;
    bool ended;  /* no more lines */
    bool failed; /* error holds the first failure */
    struct error *error;
};

struct job {
    struct generation *generation;
    json_t *id;
    size_t line;
};

static json_t *ids_to_json(const int32_t *ids, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static void add_text(const struct generation *g, json_t *line, const struct generation_output *o)
{
    const struct tokenizer *tokenizer = model_tokenizer(g->subject.model);
    size_t len;
    char *text = tokenizer ? tokenizer_decode(tokenizer, o->ids, o->count, true, &len, NULL) : NULL;
    if (text)
        json_object_set_new(line, "text", json_stringn(text, len));
    free(text);
}

static void add_sequence(const struct generation *g, json_t *line, const struct generation_output *o)
{
    static const char *const reasons[] = {"eos", "length", "stop_string", "cancelled", "error"};
    add_text(g, line, o);
    json_object_set_new(line, "ids", ids_to_json(o->ids, o->count));
    json_object_set_new(line, "score", json_real(o->score));
    json_object_set_new(line, "finish_reason", json_string(reasons[o->reason]));
}

static json_t *result_line(
    const struct generation *g, const struct job *job, const struct generation_output *outputs, size_t count)
{
    json_t *line = json_pack("{sO}", "id", job->id), *more;
    if (!line)
        return NULL;
    add_sequence(g, line, &outputs[0]);
    json_object_set_new(line, "prompt_tokens", json_integer((json_int_t)outputs[0].prompt_tokens));
    json_object_set_new(line, "truncated", json_boolean(outputs[0].truncated));
    json_object_set_new(line, "seconds", json_real(outputs[0].seconds));
    if (count > 1) {
        json_object_set_new(line, "more", more = json_array());
        for (size_t i = 1; i < count; i++) {
            json_t *sequence = json_object();
            add_sequence(g, sequence, &outputs[i]);
            json_array_append_new(more, sequence);
        }
    }
    return line;
}

static void fail(struct generation *g, const struct error *why, size_t line)
{
    if (g->failed)
        return;
    g->failed = true;
    *g->error = *why;
    g->lines.number = line;
    lines_error(&g->lines, g->error);
}

static void on_done(void *context, const struct generation_output *outputs, size_t count)
{
    struct job *job = context;
    struct generation *g = job->generation;
    struct error err = {0};
    if (outputs[0].reason == FINISH_ERROR) {
        fail(g, outputs[0].error, job->line);
    } else if (!g->failed) {
        json_t *line = result_line(g, job, outputs, count);
        if (!output_line(g->out, line, &err) || fflush(g->out) != 0)
            fail(g, &err, job->line);
        json_decref(line);
    }
    g->in_flight--;
    json_decref(job->id);
    free(job);
}

static bool read_ids(struct generation *g, const json_t *object, struct token_ids *ids, struct error *err)
{
    size_t len;
    const struct tokenizer *tokenizer = model_tokenizer(g->subject.model);
    if (json_object_get(object, "ids"))
        return object_ids(object, "ids", false, ids, err);
    const char *text = object_text(object, "text", &len, err);
    if (!text)
        return false;
    if (!tokenizer)
        return error_set(err, ERROR_INVALID, "the model has no tokenizer: give \"ids\" instead of \"text\"");
    return prompt_encode(
        tokenizer, engine_kind(g->subject.engine), &g->settings, g->system_prompt, text, len, ids, err);
}

static bool submit(struct generation *g, const json_t *object, struct error *err)
{
    struct token_ids ids = {0};
    struct job *job = NULL;
    if (!object_has_id(object, err) || !read_ids(g, object, &ids, err))
        goto fail;
    if (!(job = malloc(sizeof *job))) {
        error_set(err, ERROR_MEMORY, "out of memory");
        goto fail;
    }
    *job = (struct job){g, json_incref(json_object_get(object, "id")), g->lines.number};
    struct generation_request request = {
        .ids = ids.ids, .count = ids.count, .settings = &g->settings, .on_done = on_done, .context = job};
    if (engine_submit(g->subject.engine, &request, err) == 0)
        goto fail;
    g->in_flight++;
    token_ids_free(&ids);
    return true;
fail:
    if (job)
        json_decref(job->id);
    free(job);
    token_ids_free(&ids);
    return false;
}

static void read_more(struct generation *g)
{
    struct error err = {0};
    while (!g->ended && !g->failed && g->in_flight < g->in_flight_max) {
        json_t *object = lines_next_object(&g->lines, &err);
        if (!object) {
            g->ended = true;
            if (err.code != ERROR_NONE) {
                g->failed = true;
                *g->error = err;
            }
            return;
        }
        if (!submit(g, object, &err))
            fail(g, &err, g->lines.number);
        json_decref(object);
    }
}

/* "name=value"; a value that is not JSON is a text: early_stopping=never. */
static bool apply_set(struct generation_settings *settings, const char *text, struct error *err)
{
    const char *equals = strchr(text, '=');
    char name[64];
    if (!equals || equals == text || (size_t)(equals - text) >= sizeof name)
        return error_set(err, ERROR_INVALID, "--set takes NAME=VALUE, not \"%.80s\"", text);
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
    if (!value)
        value = json_string(equals + 1);
    bool fine = value && engine_settings_set(settings, name, value, err);
    json_decref(value);
    return fine || error_context(err, "--set: ");
}

static bool read_settings(
    struct generation *g, const struct config *config, bool *usage_error, struct error *err)
{
    if (!engine_settings_from_model(g->subject.model, config_text(config, "task"), &g->settings, err))
        return false;
    int64_t seed;
    *usage_error = true;
    if (!config_integer(config, "seed", 0, INT64_MAX, &seed, err))
        return false;
    g->settings.seed = (uint64_t)seed;
    for (size_t i = 0; i < config_count(config, "set"); i++)
        if (!apply_set(&g->settings, config_text_at(config, "set", i), err))
            return false;
    *usage_error = false;
    return true;
}

static bool run(const struct config *config, bool *usage_error, struct error *err)
{
    struct generation g = {.system_prompt = config_text(config, "system-prompt"), .error = err};
    const char *path = config_text(config, "output");
    size_t batch;
    bool fine = tool_count(config, "batch", 1, 4096, &batch, usage_error, err) &&
                subject_open_model(&g.subject, config, usage_error, err) &&
                read_settings(&g, config, usage_error, err) &&
                subject_open_engine(&g.subject, config, batch, usage_error, err) &&
                lines_open(&g.lines, config_text(config, "input"), err) && (g.out = output_open(path, err));
    if (fine) {
        g.in_flight_max = 2 * batch;
        do
            read_more(&g);
        while (engine_step(g.subject.engine) > 0 || (!g.ended && !g.failed));
        fine = !g.failed;
    }
    if (!output_close(g.out, path, fine ? err : NULL))
        fine = false;
    lines_close(&g.lines);
    subject_close(&g.subject);
    engine_settings_free(&g.settings);
    return fine;
}

const struct tool tool_generate = {"generate",
    "--model REF [--set NAME=VALUE]… [--input FILE] [--output FILE]\n\nGenerates text, many samples in one "
    "running "
    "batch.",
    options, run};
