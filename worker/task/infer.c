#include "worker/task/infer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/engine/prompt.h"
#include "worker/task/resident.h"

/* ---- the prompt ---- */

static bool encode_text(const struct active *active, const struct generation_settings *settings,
    const char *text, size_t text_len, struct token_ids *out, struct error *err)
{
    const struct resident *resident = active->resident;
    return prompt_encode(model_tokenizer(resident->model), engine_kind(resident->engine), settings,
               active->settings.system_prompt, text, text_len, out, err) &&
           translation_mark(&active->translation, out, err);
}

/* Cuts `excess` tokens off the end of the text and encodes it anew. */
static bool encode_cut(const struct active *active, const struct generation_settings *settings,
    const char *text, size_t text_len, size_t excess, struct token_ids *out, struct error *err)
{
    const struct tokenizer *tokenizer = model_tokenizer(active->resident->model);
    struct token_ids plain = {0};
    size_t len = 0;
    char *cut = NULL;
    if (!tokenizer_encode(tokenizer, text, text_len, 0, &plain, err))
        return false;
    if (plain.count <= excess)
        error_set(err, ERROR_TOO_LARGE, "the system prompt alone is longer than the model's input");
    else
        cut = tokenizer_decode(tokenizer, plain.ids, plain.count - excess, true, &len, err);
    token_ids_free(&plain);
    if (!cut)
        return false;
    out->count = 0;
    bool ok = encode_text(active, settings, cut, len, out, err);
    free(cut);
    return ok;
}

/* The engine cuts what is too long, and from a decoder's prompt it takes the beginning. Here the prompt's
 * parts are still known: the text loses its end, the system prompt and the template around it stay. */
static bool encode(struct active *active, const struct generation_settings *settings, size_t position,
    struct token_ids *out, struct error *err)
{
    const Lumigrid__Sample *sample = active->assign->samples[position];
    struct engine *engine = active->resident->engine;
    const char *text = sample->text.len ? (const char *)sample->text.data : "";
    if (!encode_text(active, settings, text, sample->text.len, out, err))
        return false;
    size_t limit = engine_input_tokens_max(engine);
    size_t new_tokens = settings->max_new_tokens > 0 ? (size_t)settings->max_new_tokens : 1;
    if (engine_kind(engine) != ENGINE_DECODER || limit <= 2 * new_tokens || out->count <= limit - new_tokens)
        return true;
    active->samples[position].truncated = true;
    return encode_cut(active, settings, text, sample->text.len, out->count - (limit - new_tokens), out, err);
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

/* A GPU that fell off its bus, met an ECC error or a kernel's fault is of no use to this process any more,
 * and the samples are none the worse: the process ends before it blames them, and other workers take over its
 * leases. */
static _Noreturn void end_with_device(const struct error *why)
{
    enum { EXIT_DEVICE_LOST = 75 }; /* EX_TEMPFAIL: a service manager starts it again */
    log_error_value(LOG_LEVEL_ERROR, "device lost", why);
    _exit(EXIT_DEVICE_LOST);
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
        else if (outputs[0].error->code == ERROR_UNAVAILABLE)
            end_with_device(outputs[0].error);
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
    const struct model *model = active->resident->model;
    if (!translation_open(model_type(model), model_config(model), model_tokenizer(model),
            active->settings.task, active->settings.source_language, active->settings.target_language, out,
            &active->translation, err))
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
    static const struct task_provenance none = {"", "", "", "", 0, NULL};
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
