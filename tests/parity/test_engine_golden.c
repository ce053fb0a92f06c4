/* Golden values of the reference implementation: logits, states, greedy, beam search, sampling, for every
 * family. Bounds: docs on models; logits within 2e-4 of their spread, ids identical. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/parity/subject.h"

static const double bound = 2e-4;

/* Greatest difference between `rows` (a list of lists) and `values`, relative to the spread of `rows`. */
static double difference(const json_t *rows, const float *values)
{
    double sum = 0, squares = 0, worst = 0;
    size_t n = 0, r, c;
    json_t *row, *item;
    json_array_foreach(rows, r, row) json_array_foreach(row, c, item)
    {
        double want = json_number_value(item), got = values[n++];
        sum += want;
        squares += want * want;
        worst = fmax(worst, isfinite(got) ? fabs(want - got) : INFINITY);
    }
    double variance = squares / (double)n - (sum / (double)n) * (sum / (double)n);
    return worst / sqrt(fmax(variance, 1e-12));
}

static void check_logits(const struct subject *s, const json_t *entry)
{
    struct error err = {0};
    size_t count, decoder_count, vocabulary = engine_vocabulary_size(s->engine);
    int32_t *ids = ids_from_json(json_object_get(entry, "ids"), &count);
    int32_t *decoder_ids = ids_from_json(json_object_get(entry, "decoder_ids"), &decoder_count);
    const json_t *want = json_object_get(entry, "values");
    size_t rows = decoder_count ? decoder_count : count;
    float *logits = malloc(rows * vocabulary * sizeof *logits);
    if (!engine_logits(s->engine, ids, count, decoder_ids, decoder_count, logits, &err))
        fail_msg("%s", err.message);
    double got = difference(want, logits + (rows - json_array_size(want)) * vocabulary);
    if (!(got <= bound))
        fail_msg("%s: logits differ by %.2e of their spread", model_reference(s->model), got);
    free(logits);
    free(ids);
    free(decoder_ids);
}

/* Asked for alone, a layer is the same, although those above it are not computed. */
static void check_layers_alone(const struct subject *s, const struct token_ids *batch, size_t batch_count,
    float *const *states, size_t layers, size_t floats)
{
    struct error err = {0};
    float *alone = malloc((floats + 1) * sizeof *alone);
    for (size_t l = 0; l < layers; l++) {
        int number = (int)l;
        if (!engine_hidden_states(s->engine, batch, batch_count, &number, 1, &alone, &err))
            fail_msg("%s", err.message);
        assert_memory_equal(alone, states[l], floats * sizeof *alone);
    }
    free(alone);
}

/* All samples in one batch, all layers. */
static void check_states(const struct subject *s, const json_t *list)
{
    struct error err = {0};
    size_t layers = engine_layers(s->engine) + 1, hidden = engine_hidden_size(s->engine), total = 0, i;
    struct token_ids batch[8] = {0};
    int *numbers = calloc(layers, sizeof *numbers);
    float **states = calloc(layers, sizeof *states);
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        batch[i].ids = ids_from_json(json_object_get(entry, "ids"), &batch[i].count);
        total += batch[i].count;
    }
    for (size_t l = 0; l < layers; l++) {
        numbers[l] = (int)l;
        states[l] = malloc((total * hidden + 1) * sizeof **states);
    }
    if (!engine_hidden_states(s->engine, batch, json_array_size(list), numbers, layers, states, &err))
        fail_msg("%s", err.message);
    check_layers_alone(s, batch, json_array_size(list), states, layers, total * hidden);
    size_t row = 0;
    json_array_foreach(list, i, entry)
    {
        for (size_t l = 0; l < layers; l++) {
            const json_t *want = json_array_get(json_object_get(entry, "states"), l);
            double got = difference(want, states[l] + row * hidden);
            if (!(got <= bound))
                fail_msg("%s: layer %zu differs by %.2e", model_reference(s->model), l, got);
        }
        row += batch[i].count;
        free(batch[i].ids);
    }
    for (size_t l = 0; l < layers; l++)
        free(states[l]);
    free(states);
    free(numbers);
}

static void check_output(const char *model, const char *plan, const json_t *want, const struct outcome *got)
{
    const json_t *sequences = json_object_get(want, "ids"), *scores = json_object_get(want, "scores");
    assert_int_equal(got->calls, 1);
    assert_int_equal(got->sequence_count, json_array_size(sequences));
    for (size_t i = 0; i < got->sequence_count; i++) {
        size_t count;
        int32_t *ids = ids_from_json(json_array_get(sequences, i), &count);
        if (count != got->counts[i] || memcmp(ids, got->ids[i], count * sizeof *ids) != 0)
            fail_msg(
                "%s %s: sequence %zu differs (%zu and %zu tokens)", model, plan, i, count, got->counts[i]);
        if (json_is_array(scores))
            assert_true(fabs(json_number_value(json_array_get(scores, i)) - got->scores[i]) < 1e-3);
        free(ids);
    }
}

/* All samples of all plans in one running batch. */
static void check_generations(const struct subject *s)
{
    enum { OUTCOMES_MAX = 64 };
    struct outcome *outcomes = calloc(OUTCOMES_MAX, sizeof *outcomes);
    const json_t *plans = json_object_get(s->cases, "generations");
    size_t n = 0, p, i;
    json_t *plan, *output;
    json_array_foreach(plans, p, plan)
    {
        struct generation_settings settings;
        settings_make(s, json_object_get(plan, "settings"), &settings);
        json_array_foreach(json_object_get(plan, "outputs"), i, output)
        {
            assert_true(n < OUTCOMES_MAX);
            subject_submit(s, json_object_get(output, "input"), &settings, &outcomes[n++]);
        }
        engine_settings_free(&settings);
    }
    subject_finish(s);
    n = 0;
    json_array_foreach(plans, p, plan) json_array_foreach(json_object_get(plan, "outputs"), i, output)
        check_output(model_reference(s->model), json_string_value(json_object_get(plan, "name")), output,
            &outcomes[n++]);
    if (json_array_size(plans) > 0)
        assert_true(n >= 8); /* a golden file that lost its samples would prove nothing */
    free(outcomes);
}

static void check_model(const char *name)
{
    struct subject s;
    subject_open(&s, name, NULL);
    const json_t *logits = json_object_get(s.cases, "logits");
    assert_true(json_array_size(logits) > 0);
    if (engine_kind(s.engine) == ENGINE_ENCODER)
        check_states(&s, logits);
    for (size_t i = 0; engine_kind(s.engine) != ENGINE_ENCODER && i < json_array_size(logits); i++)
        check_logits(&s, json_array_get(logits, i));
    check_generations(&s);
    subject_close(&s);
}

#define THREE(family) family "-0", family "-1", family "-2"
static const char *const models[] = {THREE("bart"), THREE("mbart"), THREE("pegasus"), THREE("marian"),
    THREE("m2m_100"), THREE("led"), THREE("t5"), THREE("mt5"), THREE("llama"), THREE("mistral"),
    THREE("qwen2"), THREE("qwen3"), THREE("gemma2"), THREE("gemma3_text"), "phi3-0", "phi3-2", "gpt2-0",
    THREE("opt"), THREE("bert"), THREE("roberta"), THREE("xlm-roberta"), THREE("deberta-v2")};

static void test_model(void **state)
{
    check_model(*state);
}

/* Without arguments all models, otherwise those named. */
int main(int argc, char **argv)
{
    enum { COUNT = sizeof models / sizeof *models };
    struct CMUnitTest tests[COUNT];
    size_t count = 0;
    for (size_t i = 0; i < COUNT; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted = wanted || strcmp(argv[a], models[i]) == 0;
        if (wanted)
            tests[count++] = (struct CMUnitTest){models[i], test_model, NULL, NULL, (void *)models[i]};
    }
    if (argc > 1 && count != (size_t)argc - 1) {
        fprintf(stderr, "there is no golden model of one of these names\n");
        return 2;
    }
    return _cmocka_run_group_tests("golden models", tests, count, NULL, NULL);
}
