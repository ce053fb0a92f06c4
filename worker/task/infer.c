#include "worker/task/infer.h"

#include <stdlib.h>
#include <string.h>

#include "worker/task/resident.h"

/* ---- the prompt ---- */

static char *join(const char *first, const char *between, const char *text, size_t text_len, size_t *len)
{
    size_t first_len = strlen(first), between_len = strlen(between);
    char *out = malloc(first_len + between_len + text_len + 1);
    if (!out)
        return NULL;
    memcpy(out, first, first_len);
    memcpy(out + first_len, between, between_len);
    memcpy(out + first_len + between_len, text, text_len);
    *len = first_len + between_len + text_len;
    out[*len] = '\0';
    return out;
}

/* Renders the chat; a template that knows no system role gets the system prompt in front of the user's text.
 */
static char *render_chat(const struct tokenizer *tokenizer, const char *system, const char *text,
    size_t text_len, struct error *err)
{
    size_t len;
    char *user = join("", "", text, text_len, &len);
    if (!user)
        return NULL;
    struct chat_message messages[2] = {{"system", system}, {"user", user}};
    char *out = system ? tokenizer_chat(tokenizer, messages, 2, true, err) : NULL;
    if (!out && system) {
        char *merged = join(system, "\n\n", text, text_len, &len);
        free(user);
        user = merged;
        if (!user)
            return NULL;
    }
    if (!out) {
        messages[1].content = user;
        out = tokenizer_chat(tokenizer, messages + 1, 1, true, err);
    }
    free(user);
    return out;
}

static bool encode_decoder(
    const struct active *active, const char *text, size_t text_len, struct token_ids *out, struct error *err)
{
    const struct tokenizer *tokenizer = model_tokenizer(active->resident->model);
    const char *system = active->settings.system_prompt;
    size_t len;
    if (system && !*system)
        system = NULL;
    if (!tokenizer_has_chat(tokenizer)) {
        char *prompt =
            system ? join(system, "\n\n", text, text_len, &len) : join("", "", text, text_len, &len);
        if (!prompt)
            return error_set(err, ERROR_MEMORY, "no memory for a prompt of %zu bytes", text_len);
        bool ok = tokenizer_encode(tokenizer, prompt, len, TOKENIZER_ADD_SPECIAL, out, err);
        free(prompt);
        return ok;
    }
    char *prompt = render_chat(tokenizer, system, text, text_len, err);
    if (!prompt)
        return false;
    bool ok = tokenizer_encode(tokenizer, prompt, strlen(prompt), 0, out, err);
    free(prompt);
    return ok;
}

/* A prompt too long for the context loses the end of the user's text, never the template around it. */
static bool encode_decoder_within(const struct active *active, const char *text, size_t text_len,
    size_t limit, struct token_ids *out, bool *truncated, struct error *err)
{
    const struct tokenizer *tokenizer = model_tokenizer(active->resident->model);
    if (!encode_decoder(active, text, text_len, out, err))
        return false;
    if (out->count <= limit)
        return true;
    *truncated = true;
    struct token_ids plain = {0};
    size_t excess = out->count - limit;
    bool ok = tokenizer_encode(tokenizer, text, text_len, 0, &plain, err);
    if (ok && plain.count <= excess)
        ok = error_set(err, ERROR_TOO_LARGE, "the system prompt alone fills the model's %zu tokens", limit);
    size_t len = 0;
    char *cut = ok ? tokenizer_decode(tokenizer, plain.ids, plain.count - excess, true, &len, err) : NULL;
    token_ids_free(&plain);
    if (!cut)
        return false;
    out->count = 0;
    ok = encode_decoder(active, cut, len, out, err);
    free(cut);
    if (ok && out->count > limit) /* the cut text's last word may have split into more tokens */
        out->count = limit;
    return ok;
}

static bool is_end_token(const struct generation_settings *settings, int32_t id)
{
    for (size_t i = 0; i < settings->eos_token_count; i++)
        if (settings->eos_token_ids[i] == id)
            return true;
    return false;
}

/* As a tokenizer with truncation does it: the text is cut, the end token stays. */
static bool encode_encoder(const struct active *active, const struct generation_settings *settings,
    const char *text, size_t text_len, size_t limit, struct token_ids *out, bool *truncated,
    struct error *err)
{
    const struct tokenizer *tokenizer = model_tokenizer(active->resident->model);
    size_t len;
    char *input = join(settings->prefix ? settings->prefix : "", "", text, text_len, &len);
    if (!input)
        return error_set(err, ERROR_MEMORY, "no memory for an input of %zu bytes", text_len);
    bool ok = tokenizer_encode(tokenizer, input, len, TOKENIZER_ADD_SPECIAL, out, err);
    free(input);
    if (!ok || out->count <= limit)
        return ok;
    *truncated = true;
    int32_t last = out->ids[out->count - 1];
    out->count = limit;
    if (is_end_token(settings, last))
        out->ids[limit - 1] = last;
    return true;
}

static bool encode(struct active *active, const struct generation_settings *settings, size_t position,
    struct token_ids *out, struct error *err)
{
    const Lumigrid__Sample *sample = active->assign->samples[position];
    struct engine *engine = active->resident->engine;
    const char *text = sample->text.len ? (const char *)sample->text.data : "";
    bool *truncated = &active->samples[position].truncated;
    size_t limit = engine_input_tokens_max(engine);
    if (engine_kind(engine) == ENGINE_DECODER) {
        size_t new_tokens = settings->max_new_tokens > 0 ? (size_t)settings->max_new_tokens : 1;
        limit = limit > new_tokens + 1 ? limit - new_tokens : limit / 2;
        return encode_decoder_within(active, text, sample->text.len, limit, out, truncated, err);
    }
    size_t tokenizer_limit = tokenizer_max_length(model_tokenizer(active->resident->model));
    if (tokenizer_limit < limit)
        limit = tokenizer_limit;
    return encode_encoder(active, settings, text, sample->text.len, limit, out, truncated, err);
}

/* ---- the result ---- */

static const char *finish_name(enum finish_reason reason)
{
    switch (reason) {
    case FINISH_EOS: return "eos";
    case FINISH_LENGTH: return "length";
    case FINISH_STOP_STRING: return "stop_string";
    case FINISH_CANCELLED: return "cancelled";
    case FINISH_ERROR: return "error";
    }
    return "error";
}

static void on_done(void *context, const struct generation_output *outputs, size_t output_count)
{
    struct active_sample *sample = context;
    struct active *active = sample->active;
    const struct task_provenance *provenance = &active->resident->provenance;
    struct error err = {0};
    if (active_done(active) || outputs[0].reason == FINISH_CANCELLED) {
        sample->handle = 0;
        return;
    }
    if (output_count == 0 || outputs[0].reason == FINISH_ERROR) {
        if (output_count == 0 || !outputs[0].error)
            error_set(&err, ERROR_INTERNAL, "the engine ended without an output");
        active_sample_failed(
            active, sample->position, output_count && outputs[0].error ? outputs[0].error : &err, provenance);
        return;
    }
    const struct generation_output *best = &outputs[0];
    size_t len = 0;
    char *text =
        tokenizer_decode(model_tokenizer(active->resident->model), best->ids, best->count, true, &len, &err);
    if (!text) {
        active_sample_failed(active, sample->position, &err, provenance);
        return;
    }
    struct active_prediction prediction = {.text = text,
        .text_len = len,
        .prompt_tokens = (uint32_t)best->prompt_tokens,
        .new_tokens = (uint32_t)best->count,
        .seconds = best->seconds,
        .truncated = best->truncated || sample->truncated,
        .finish_reason = finish_name(best->reason)};
    active_sample_done(active, sample->position, &prediction, provenance);
    free(text);
}

/* ---- the task ---- */

static bool settings_for(struct active *active, struct generation_settings *out, struct error *err)
{
    const char *name;
    json_t *value;
    if (!engine_settings_from_model(active->resident->model, active->settings.task, out, err))
        return false;
    out->seed = active->settings.seed;
    json_object_foreach((json_t *)active->settings.generation, name, value)
    {
        if (!json_is_null(value) && !engine_settings_set(out, name, value, err))
            return error_context(err, "generation_config: ");
    }
    return true;
}

static void submit(struct active *active, const struct generation_settings *settings, size_t position)
{
    struct error err = {0};
    struct token_ids ids = {0};
    if (encode(active, settings, position, &ids, &err)) {
        struct generation_request request = {.ids = ids.ids,
            .count = ids.count,
            .settings = settings,
            .on_done = on_done,
            .context = &active->samples[position]};
        active->samples[position].handle = engine_submit(active->resident->engine, &request, &err);
    }
    token_ids_free(&ids);
    if (active->samples[position].handle == 0)
        active_sample_failed(active, position, &err, &active->resident->provenance);
    else
        active->resident->live = 1;
}

void infer_begin(struct active *active)
{
    struct generation_settings settings = {0};
    struct error err = {0};
    active->begun = true;
    if (engine_kind(active->resident->engine) == ENGINE_ENCODER) {
        error_set(&err, ERROR_INVALID, "%s is an encoder and generates no text", active->resident->reference);
        active_fail(active, &err);
        return;
    }
    if (!settings_for(active, &settings, &err)) {
        active_fail(active, &err);
        engine_settings_free(&settings);
        return;
    }
    for (size_t i = 0; i < active->assign->n_samples; i++)
        submit(active, &settings, i);
    engine_settings_free(&settings);
}

void infer_cancel(struct active *active)
{
    if (!active->resident || !active->resident->engine)
        return;
    for (size_t i = 0; i < active->assign->n_samples; i++) {
        if (active->samples[i].handle)
            engine_cancel(active->resident->engine, active->samples[i].handle);
        active->samples[i].handle = 0;
    }
}

void infer_score_only(struct active *active)
{
    static const struct task_provenance none = {"", "", "", "", 0};
    struct error err;
    active->begun = true;
    for (size_t i = 0; i < active->assign->n_samples; i++) {
        const Lumigrid__Sample *sample = active->assign->samples[i];
        if (!sample->has_prediction) {
            error_set(&err, ERROR_INVALID, "the sample has no prediction to score");
            active_sample_failed(active, i, &err, &none);
            continue;
        }
        struct active_prediction prediction = {
            .text = sample->prediction.len ? (const char *)sample->prediction.data : "",
            .text_len = sample->prediction.len,
            .finish_reason = "scored"};
        active_sample_done(active, i, &prediction, &none);
    }
}
