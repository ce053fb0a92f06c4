#include "worker/metrics/bertscore.h"

#include <math.h>
#include <string.h>

#include "worker/metrics/registry.h"

/* Where scores agree best with people's, as measured by bert-score's authors (its table model2layers). */
static const struct {
    const char *name;
    int layer;
} LAYERS[] = {
    {"bert-base-uncased", 9},
    {"bert-large-uncased", 18},
    {"bert-base-cased-finetuned-mrpc", 9},
    {"bert-base-multilingual-cased", 9},
    {"bert-base-chinese", 8},
    {"bert-base-turkish-cased", 10},
    {"roberta-base", 10},
    {"roberta-large", 17},
    {"roberta-large-mnli", 19},
    {"roberta-base-openai-detector", 7},
    {"roberta-large-openai-detector", 15},
    {"distilroberta-base", 5},
    {"xlm-roberta-base", 9},
    {"xlm-roberta-large", 17},
    {"scibert_scivocab_uncased", 8},
    {"scibert_scivocab_cased", 9},
    {"finbert", 10},
    {"spanbert-base-cased", 8},
    {"spanbert-large-cased", 17},
    {"deberta-v2-xlarge", 10},
    {"deberta-v2-xlarge-mnli", 17},
    {"deberta-v2-xxlarge", 21},
    {"deberta-v2-xxlarge-mnli", 22},
    {"deberta-v3-xsmall", 10},
    {"deberta-v3-small", 4},
    {"deberta-v3-base", 9},
    {"deberta-v3-large", 12},
    {"mdeberta-v3-base", 10},
};

int bertscore_default_layer(const char *reference)
{
    size_t len = strcspn(reference, "@");
    for (size_t i = 0; i < sizeof LAYERS / sizeof *LAYERS; i++) {
        size_t name_len = strlen(LAYERS[i].name);
        if (len > name_len && reference[len - name_len - 1] == '/' &&
            memcmp(reference + len - name_len, LAYERS[i].name, name_len) == 0)
            return LAYERS[i].layer;
    }
    return -1;
}

static void scale_to_unit(float *states, size_t tokens, size_t width)
{
    for (size_t t = 0; t < tokens; t++) {
        float *row = states + t * width;
        double sum = 0;
        for (size_t i = 0; i < width; i++)
            sum += (double)row[i] * (double)row[i];
        float inverse = sum > 0 ? (float)(1 / sqrt(sum)) : 0.0F;
        for (size_t i = 0; i < width; i++)
            row[i] *= inverse;
    }
}

static float dot(const float *x, const float *y, size_t width)
{
    float sums[8] = {0};
    size_t i = 0;
    for (; i + 8 <= width; i += 8)
        for (size_t l = 0; l < 8; l++)
            sums[l] += x[i + l] * y[i + l];
    for (; i < width; i++)
        sums[0] += x[i] * y[i];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

static bool is_special(const struct bertscore_text *x, size_t i)
{
    return x->ids[i] == x->ids[0] || x->ids[i] == x->ids[x->tokens - 1];
}

/* The mean, over the tokens of x that are not special, of the best similarity with any token of y. */
static bool mean_best(
    const struct bertscore_text *x, const struct bertscore_text *y, size_t width, double *mean)
{
    double sum = 0;
    size_t weight = 0;
    for (size_t i = 0; i < x->tokens; i++) {
        if (is_special(x, i))
            continue;
        float best = -INFINITY;
        for (size_t j = 0; j < y->tokens; j++)
            best = fmaxf(best, dot(x->states + i * width, y->states + j * width, width));
        sum += (double)best;
        weight++;
    }
    *mean = weight ? sum / (double)weight : 0;
    return weight > 0;
}

bool bertscore_match(const struct bertscore_text *prediction, const struct bertscore_text *reference,
    size_t width, double values[BERTSCORE_VALUES], struct error *err)
{
    double precision, recall;
    memset(values, 0, BERTSCORE_VALUES * sizeof *values);
    if (prediction->tokens <= 2 || reference->tokens <= 2)
        return true;
    scale_to_unit(prediction->states, prediction->tokens, width);
    scale_to_unit(reference->states, reference->tokens, width);
    if (!mean_best(prediction, reference, width, &precision) ||
        !mean_best(reference, prediction, width, &recall))
        return error_set(err, ERROR_INVALID, "a text holds the encoder's special tokens only");
    values[0] = precision;
    values[1] = recall;
    values[2] = precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall);
    return true;
}

static const char *const keys[] = {"precision", "recall", "f1", NULL};
const struct metric metric_bertscore = {"bertscore", "1", keys, BERTSCORE_VALUES, true, false, NULL};
