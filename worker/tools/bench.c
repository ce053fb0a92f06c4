#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/backend/backend.h"
#include "worker/tools/counting.h"
#include "worker/tools/shape.h"
#include "worker/tools/tool.h"

static const struct config_option options[] = {
    TOOL_MODEL_OPTIONS,
    TOOL_ENGINE_OPTIONS,
    {"shape", "NAME", NULL,
        "random weights of a known shape instead of a model: bart-large, bart-base, bart-tiny, llama-3-8b, "
        "llama-tiny",
        false, false},
    {"plan", NULL, NULL, "compute nothing: count what each phase asks of a device", false, false},
    {"input-tokens", "N", "512", "tokens of each input", false, false},
    {"new-tokens", "N", "64", "tokens to generate for each", false, false},
    {"batch", "N", "4", "samples at once", false, false},
    {"beams", "N", "4", "beams of each", false, false},
    {0},
};

struct work {
    size_t input_tokens, new_tokens, batch, beams;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool read_work(const struct config *config, struct work *w, bool *usage_error, struct error *err)
{
    return tool_count(config, "input-tokens", 1, 1 << 20, &w->input_tokens, usage_error, err) &&
           tool_count(config, "new-tokens", 2, 1 << 20, &w->new_tokens, usage_error, err) &&
           tool_count(config, "batch", 1, 4096, &w->batch, usage_error, err) &&
           tool_count(config, "beams", 1, 64, &w->beams, usage_error, err);
}

struct round {
    size_t tokens;
    struct error error;
};

static void on_done(void *context, const struct generation_output *outputs, size_t count)
{
    struct round *round = context;
    (void)count;
    if (outputs[0].error)
        round->error = *outputs[0].error;
    round->tokens += outputs[0].count;
}

/* Ids that look like text: every sample its own, the end token never. */
static void fill_ids(
    int32_t *ids, size_t count, size_t sample, const struct generation_settings *settings, size_t vocabulary)
{
    uint64_t random = sample * 7919 + 1;
    for (size_t i = 0; i < count; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((random >> 33) % vocabulary);
        for (size_t e = 0; e < settings->eos_token_count; e++)
            if (ids[i] == settings->eos_token_ids[e])
                ids[i] = (int32_t)((random >> 13) % (vocabulary / 2));
    }
}

/* Seconds for the batch to make `new_tokens` each. */
static bool run_round(struct engine *engine, const struct work *w, struct generation_settings *settings,
    size_t new_tokens, double *seconds, struct error *err)
{
    struct round round = {0};
    int32_t *ids = malloc(w->input_tokens * sizeof *ids);
    if (!ids)
        return error_set(err, ERROR_MEMORY, "out of memory");
    settings->num_beams = (int32_t)w->beams;
    settings->max_new_tokens = settings->min_new_tokens = (int32_t)new_tokens;
    struct generation_request request = {
        .ids = ids, .count = w->input_tokens, .settings = settings, .on_done = on_done, .context = &round};
    double start = now_s();
    bool fine = true;
    for (size_t i = 0; i < w->batch && fine; i++) {
        fill_ids(ids, w->input_tokens, i, settings, engine_vocabulary_size(engine));
        fine = engine_submit(engine, &request, err) != 0;
    }
    while (fine && engine_step(engine) > 0)
        ;
    *seconds = now_s() - start;
    free(ids);
    if (fine && round.error.code != ERROR_NONE) {
        *err = round.error;
        fine = false;
    }
    if (fine && round.tokens != w->batch * new_tokens)
        fine = error_set(
            err, ERROR_INTERNAL, "%zu tokens were made instead of %zu", round.tokens, w->batch * new_tokens);
    return fine;
}

/* "VmHWM" (most ever) or "VmRSS" (now) of this process, in bytes. */
static json_int_t memory_of_process(const char *field)
{
    char line[256];
    long long kibibytes = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, field, strlen(field)) == 0)
            kibibytes = strtoll(line + strlen(field) + 1, NULL, 10);
    if (status)
        fclose(status);
    return (json_int_t)kibibytes * 1024;
}

static json_t *report(const struct subject *s, const struct work *w, const struct config *config,
    double load_seconds, double first_seconds, double seconds)
{
    double later = seconds - first_seconds > 1e-9 ? seconds - first_seconds : 1e-9;
    size_t inputs = w->batch * w->input_tokens, outputs = w->batch * (w->new_tokens - 1);
    return json_pack("{sf sf sf sf sI sI sI sf sI sI sI sI ss ss}", "seconds", seconds, "encode_seconds",
        first_seconds, "prompt_tokens_per_s", (double)inputs / first_seconds, "new_tokens_per_s",
        (double)outputs / later, "resident_bytes", memory_of_process("VmRSS"), "peak_resident_bytes",
        memory_of_process("VmHWM"), "engine_bytes", (json_int_t)engine_resident_bytes(s->engine),
        "load_seconds", load_seconds, "input_tokens", (json_int_t)w->input_tokens, "new_tokens",
        (json_int_t)w->new_tokens, "batch", (json_int_t)w->batch, "beams", (json_int_t)w->beams, "dtype",
        config_text(config, "dtype"), "device", s->backend->ops->describe(s->backend));
}

static bool measure(struct subject *s, const struct work *w, const struct config *config, double load_seconds,
    struct error *err)
{
    enum { FIRST_TOKEN = 1 };
    struct generation_settings settings;
    double warm, first, seconds;
    if (!engine_settings_from_model(s->model, NULL, &settings, err))
        return false;
    settings.forced_eos_token_id = settings.forced_bos_token_id = -1;
    settings.do_sample = false;
    bool fine = run_round(s->engine, w, &settings, FIRST_TOKEN, &warm, err) &&
                run_round(s->engine, w, &settings, FIRST_TOKEN, &first, err) &&
                run_round(s->engine, w, &settings, w->new_tokens, &seconds, err);
    engine_settings_free(&settings);
    if (!fine)
        return false;
    json_t *line = report(s, w, config, load_seconds, first, seconds);
    fine = output_line(stdout, line, err);
    json_decref(line);
    return fine;
}

/* ---- --plan: the same rounds on a backend that counts ---- */

/* What `end` has more than `start`, in `steps` equal parts. */
static json_t *phase(const struct counts *start, const struct counts *end, size_t steps)
{
    const uint64_t before[] = {start->operations, start->products, start->product_flops,
        start->attention_flops, start->weight_bytes, start->cache_bytes, start->activation_bytes,
        start->host_bytes};
    const uint64_t after[] = {end->operations, end->products, end->product_flops, end->attention_flops,
        end->weight_bytes, end->cache_bytes, end->activation_bytes, end->host_bytes};
    static const char *const names[] = {"launches", "products", "product_flops", "attention_flops",
        "weight_bytes", "cache_bytes", "activation_bytes", "host_bytes"};
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_object_set_new(object, names[i], json_real((double)(after[i] - before[i]) / (double)steps));
    return object;
}

/* Prefill is what happens up to the first token of all; a decode step is the mean of those after it. */
static bool print_plan(
    struct subject *s, const struct work *w, const struct config *config, struct error *err)
{
    enum { FIRST_TOKEN = 1 };
    struct generation_settings settings;
    struct counts start = counting_now(s->backend), first, all;
    struct backend_memory memory;
    double seconds;
    if (!engine_settings_from_model(s->model, NULL, &settings, err))
        return false;
    settings.forced_eos_token_id = settings.forced_bos_token_id = -1;
    settings.do_sample = false;
    bool fine = run_round(s->engine, w, &settings, FIRST_TOKEN, &seconds, err);
    first = counting_now(s->backend);
    fine = fine && run_round(s->engine, w, &settings, w->new_tokens, &seconds, err);
    all = counting_now(s->backend);
    engine_settings_free(&settings);
    if (!fine)
        return false;
    /* The second round did the first one's work again: that is no part of its steps. */
    struct counts again = {.operations = 2 * first.operations - start.operations,
        .products = 2 * first.products - start.products,
        .product_flops = 2 * first.product_flops - start.product_flops,
        .attention_flops = 2 * first.attention_flops - start.attention_flops,
        .weight_bytes = 2 * first.weight_bytes - start.weight_bytes,
        .cache_bytes = 2 * first.cache_bytes - start.cache_bytes,
        .activation_bytes = 2 * first.activation_bytes - start.activation_bytes,
        .host_bytes = 2 * first.host_bytes - start.host_bytes};
    s->backend->ops->memory(s->backend, &memory);
    json_t *line = json_pack("{so so sI sI sI sI sI ss}", "prefill", phase(&start, &first, 1), "decode_step",
        phase(&again, &all, w->new_tokens - 1), "resident_weight_bytes", (json_int_t)memory.weight_bytes,
        "input_tokens", (json_int_t)w->input_tokens, "new_tokens", (json_int_t)w->new_tokens, "batch",
        (json_int_t)w->batch, "beams", (json_int_t)w->beams, "dtype", config_text(config, "dtype"));
    fine = output_line(stdout, line, err);
    json_decref(line);
    return fine;
}

/* `start_s` becomes the time when loading begins: making the weights is not loading. */
static bool open_shape(
    struct subject *s, const char *shape, bool empty, double *start_s, bool *usage_error, struct error *err)
{
    char dir[512], reference[600];
    if (!shape_write(shape, empty, dir, sizeof dir, err)) {
        *usage_error = err->code == ERROR_INVALID;
        return false;
    }
    snprintf(reference, sizeof reference, "file://%s", dir);
    struct model_options model_options = {0};
    *start_s = now_s();
    bool fine = model_open(reference, &model_options, &s->model, err);
    shape_remove(dir);
    return fine;
}

static bool run(const struct config *config, bool *usage_error, struct error *err)
{
    struct subject subject = {0};
    struct work work;
    const char *shape = config_text(config, "shape");
    if (!read_work(config, &work, usage_error, err))
        return false;
    bool plan = config_switch(config, "plan");
    double start = now_s();
    bool fine = shape ? open_shape(&subject, shape, plan, &start, usage_error, err)
                      : subject_open_model(&subject, config, usage_error, err);
    fine = fine && (!plan || counting_open(&subject.backend, err)) &&
           subject_open_engine(&subject, config, work.batch, usage_error, err) &&
           (plan ? print_plan(&subject, &work, config, err)
                 : measure(&subject, &work, config, now_s() - start, err));
    subject_close(&subject);
    return fine;
}

const struct tool tool_bench = {"bench",
    "--model REF | --shape NAME [--plan] [--input-tokens N] [--new-tokens N] [--batch N] [--beams N]\n\n"
    "Times one batch of random inputs and prints one JSON line. encode_seconds is the time to the first "
    "token of\n"
    "all. With --plan nothing is computed and no weight is read: the line says how many launches, flops and "
    "bytes\n"
    "each phase asks of a device.",
    options, run};
