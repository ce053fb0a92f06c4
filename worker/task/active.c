#include "worker/task/active.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t active_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Jobs may use torch's names too. */
static bool parse_dtype(const char *name, struct task_settings *out, struct error *err)
{
    static const char *const torch_names[][2] = {
        {"float32", "f32"}, {"float16", "f16"}, {"bfloat16", "bf16"}};
    const char *ours = name;
    for (size_t i = 0; i < sizeof(torch_names) / sizeof(torch_names[0]); i++)
        if (strcmp(name, torch_names[i][0]) == 0)
            ours = torch_names[i][1];
    out->has_dtype = dtype_compute_parse(ours, &out->dtype);
    if (out->has_dtype || strcmp(name, "auto") == 0)
        return true;
    return error_set(err, ERROR_INVALID, "dtype \"%.40s\" is none of auto, f32, f16, bf16, int8", name);
}

static bool parse_settings(const char *text, struct task_settings *out, struct error *err)
{
    json_error_t where;
    out->root = json_loads(text && *text ? text : "{}", JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(out->root))
        return error_set(err, ERROR_INVALID, "the task's settings are no JSON object: %s", where.text);
    const char *task = json_string_value(json_object_get(out->root, "task"));
    out->task = task ? task : "summarization";
    out->source_language = json_string_value(json_object_get(out->root, "source_language"));
    out->target_language = json_string_value(json_object_get(out->root, "target_language"));
    out->system_prompt = json_string_value(json_object_get(out->root, "system_prompt"));
    const json_t *generation = json_object_get(out->root, "generation_config");
    out->generation = json_is_object(generation) ? generation : NULL;
    out->seed = (uint64_t)json_integer_value(json_object_get(out->root, "seed"));
    const json_t *bertscore = json_object_get(out->root, "bertscore");
    const json_t *layer = json_object_get(bertscore, "layer");
    const char *encoder = json_string_value(json_object_get(bertscore, "model"));
    out->bertscore_model = encoder ? encoder : BERTSCORE_ENCODER;
    out->bertscore_layer = json_is_integer(layer) ? (int)json_integer_value(layer) : -1;
    const char *dtype = json_string_value(json_object_get(out->root, "dtype"));
    return !dtype || parse_dtype(dtype, out, err);
}

static bool find_metrics(struct active *active, struct error *err)
{
    const Lumigrid__Assign *assign = active->assign;
    size_t values = 0;
    if (assign->kind == LUMIGRID__TASK_KIND__TASK_KIND_INFER)
        return true;
    for (size_t i = 0; i < assign->n_metrics; i++) {
        const struct metric *metric = metric_find(assign->metrics[i]);
        if (!metric)
            return error_set(
                err, ERROR_UNSUPPORTED, "this worker knows no metric \"%.60s\"", assign->metrics[i]);
        values += metric->key_count;
        active->needs_encoder = active->needs_encoder || !metric->score;
        if (active->metric_count == TASK_METRICS_MAX || values > TASK_VALUES_MAX)
            return error_set(err, ERROR_TOO_LARGE, "a task takes at most %d metrics", TASK_METRICS_MAX);
        active->metrics[active->metric_count++] = metric;
    }
    return true;
}

/* A prediction that was made but not scored. */
struct unscored {
    struct unscored *next;
    size_t position;
    struct active_prediction prediction; /* its text is owned */
    const struct task_provenance *provenance;
};

static struct unscored *unscored_free(struct unscored *u)
{
    struct unscored *next = u->next;
    free((char *)u->prediction.text);
    free(u);
    return next;
}

struct active *active_open(Lumigrid__Assign *assign, const struct runner_events *events)
{
    struct active *active = calloc(1, sizeof(*active));
    struct active_sample *samples = calloc(assign->n_samples + 1, sizeof(*samples));
    if (!active || !samples) {
        free(active);
        free(samples);
        lumigrid__assign__free_unpacked(assign, NULL);
        return NULL;
    }
    active->assign = assign;
    active->events = events;
    active->samples = samples;
    active->translation.source_id = -1;
    active->started_ns = active_now_ns();
    for (size_t i = 0; i < assign->n_samples; i++)
        samples[i] = (struct active_sample){.active = active, .position = i};
    if (!parse_settings(assign->settings_json, &active->settings, &active->error) ||
        !find_metrics(active, &active->error))
        active->failed = true;
    return active;
}

void active_close(struct active *active)
{
    if (!active)
        return;
    while (active->unscored)
        active->unscored = unscored_free(active->unscored);
    translation_free(&active->translation);
    json_decref(active->settings.root);
    lumigrid__assign__free_unpacked(active->assign, NULL);
    free(active->samples);
    free(active);
}

bool active_done(const struct active *active)
{
    return active->failed || active->cancelled || active->ended == active->assign->n_samples;
}

void active_fail(struct active *active, const struct error *error)
{
    if (active_done(active))
        return;
    active->failed = true;
    active->error = *error;
}

struct scores {
    const char *keys[TASK_VALUES_MAX + 1]; /* and the price */
    double values[TASK_VALUES_MAX + 1];
    size_t count;
    const char *failed[TASK_METRICS_MAX];
    const char *reasons[TASK_METRICS_MAX];
    struct error errors[TASK_METRICS_MAX];
    size_t failed_count;
};

static void scores_fail(struct scores *scores, const char *metric, const struct error *error)
{
    scores->errors[scores->failed_count] = *error;
    scores->failed[scores->failed_count] = metric;
    scores->reasons[scores->failed_count] = scores->errors[scores->failed_count].message;
    scores->failed_count++;
}

/* A metric gives all its values or none; a value that is not finite would poison every mean it enters. */
static void score_one(struct active *active, const struct metric *metric, const struct metric_sample *sample,
    struct scores *scores)
{
    struct error err = {0};
    double values[TASK_VALUES_MAX];
    if (metric->needs_reference && !sample->reference) {
        error_set(&err, ERROR_INVALID, "the sample has no ground truth");
        scores_fail(scores, metric->name, &err);
        return;
    }
    if (metric->score ? !metric->score(sample, values, &err)
                      : !bertscore_encoder_score(&active->bertscore, sample, values, &err)) {
        scores_fail(scores, metric->name, &err);
        return;
    }
    for (size_t k = 0; k < metric->key_count; k++) {
        if (!isfinite(values[k])) {
            error_set(&err, ERROR_INTERNAL, "%s is not a finite number", metric->keys[k]);
            scores_fail(scores, metric->name, &err);
            return;
        }
    }
    for (size_t k = 0; k < metric->key_count; k++) {
        scores->keys[scores->count] = metric->keys[k];
        scores->values[scores->count++] = values[k];
    }
}

static void emit(struct active *active, size_t position, const struct task_provenance *provenance,
    struct task_result *result)
{
    active->samples[position].handle = 0;
    active->ended++;
    result->index = active->assign->samples[position]->index;
    active->events->on_result(active->events->context, active->assign, provenance, result);
}

static void score(struct active *active, size_t position, const struct active_prediction *prediction,
    const struct task_provenance *provenance)
{
    const Lumigrid__Sample *sample = active->assign->samples[position];
    struct metric_sample input = {.prediction = prediction->text,
        .prediction_len = prediction->text_len,
        .reference = sample->has_reference ? (const char *)sample->reference.data : NULL,
        .reference_len = sample->reference.len,
        .source = (const char *)sample->text.data,
        .source_len = sample->text.len};
    if (sample->has_reference && sample->reference.len == 0)
        input.reference = ""; /* protobuf holds empty bytes as NULL */
    struct scores scores;
    scores.count = scores.failed_count = 0;
    for (size_t i = 0; i < active->metric_count; i++)
        score_one(active, active->metrics[i], &input, &scores);
    if (prediction->has_price) {
        scores.keys[scores.count] = "cost/usd";
        scores.values[scores.count++] = prediction->price_usd;
    }
    struct task_result result = {.prediction = prediction->text,
        .prediction_len = prediction->text_len,
        .keys = scores.keys,
        .values = scores.values,
        .value_count = scores.count,
        .failed_metrics = scores.failed,
        .failed_reasons = scores.reasons,
        .failed_count = scores.failed_count,
        .prompt_tokens = prediction->prompt_tokens,
        .new_tokens = prediction->new_tokens,
        .seconds = prediction->seconds,
        .truncated = prediction->truncated,
        .finish_reason = prediction->finish_reason};
    struct task_provenance with_encoder = *provenance;
    with_encoder.encoder = active->needs_encoder ? active->encoder_name : NULL;
    emit(active, position, &with_encoder, &result);
}

void active_sample_done(struct active *active, size_t position, const struct active_prediction *prediction,
    const struct task_provenance *provenance)
{
    if (!active->needs_encoder) {
        score(active, position, prediction, provenance);
        return;
    }
    struct unscored *u = calloc(1, sizeof(*u));
    char *text = malloc(prediction->text_len + 1);
    if (!u || !text) {
        struct error err;
        error_set(&err, ERROR_MEMORY, "no memory to keep a prediction of %zu bytes", prediction->text_len);
        active_sample_failed(active, position, &err, provenance);
        free(u);
        free(text);
        return;
    }
    memcpy(text, prediction->text, prediction->text_len);
    *u = (struct unscored){active->unscored, position, *prediction, provenance};
    u->prediction.text = text;
    active->samples[position].handle = 0;
    active->unscored = u;
}

void active_score_waiting(struct active *active)
{
    while (active->unscored) {
        struct unscored *u = active->unscored;
        active->unscored = u->next;
        if (!active_done(active))
            score(active, u->position, &u->prediction, u->provenance);
        unscored_free(u);
    }
}

void active_sample_failed(struct active *active, size_t position, const struct error *error,
    const struct task_provenance *provenance)
{
    struct task_result result = {.error = error, .finish_reason = "error"};
    emit(active, position, provenance, &result);
}
