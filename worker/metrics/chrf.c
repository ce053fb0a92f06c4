/* chrF as sacrebleu computes it by default: character n-grams of order 1 to 6 without whitespace, no word
 * n-grams, beta 2, effective order. Popović, "chrF: character n-gram F-score for automatic MT evaluation"
 * (2015). */
#include "worker/metrics/registry.h"
#include "worker/metrics/text.h"
#include "worker/metrics/vocabulary.h"

#define ORDER 6
#define BETA_SQUARED 4

static bool read_characters(
    struct metric_arena *arena, const char *utf8, size_t len, struct metric_text *text, struct error *err)
{
    if (!metric_text_decode(arena, utf8, len, text, err))
        return false;
    size_t kept = 0;
    for (size_t i = 0; i < text->len; i++)
        if (!metric_text_is_space(text->cp[i]))
            text->cp[kept++] = text->cp[i];
    text->len = kept;
    return true;
}

/* An n-gram's number comes from (number of its first n-1 characters, its last character), and only n-grams of
 * the reference have numbers: a prediction's n-gram without one cannot match, nor can a longer one that
 * begins so. */
static bool count_matches(struct metric_arena *arena, struct metric_text prediction,
    struct metric_text reference, size_t matches[ORDER], struct error *err)
{
    uint32_t *reference_gram = metric_arena_zalloc(arena, reference.len, sizeof *reference_gram, err);
    uint32_t *gram = metric_arena_zalloc(arena, prediction.len, sizeof *gram, err);
    uint32_t *left = metric_arena_alloc(arena, reference.len, sizeof *left, err);
    if (!reference_gram || !gram || !left)
        return false;
    for (size_t n = 1; n <= ORDER; n++) {
        struct metric_pairs known;
        if (!metric_pairs_open(&known, arena, reference.len, err))
            return false;
        for (size_t i = 0; i < reference.len; i++)
            left[i] = 0;
        for (size_t i = 0; i + n <= reference.len; i++) {
            reference_gram[i] = metric_pairs_add(&known, reference_gram[i], reference.cp[i + n - 1]);
            left[reference_gram[i]]++;
        }
        matches[n - 1] = 0;
        for (size_t i = 0; i + n <= prediction.len; i++) {
            if (gram[i] != METRIC_NO_ID)
                gram[i] = metric_pairs_find(&known, gram[i], prediction.cp[i + n - 1]);
            if (gram[i] != METRIC_NO_ID && left[gram[i]] > 0) {
                left[gram[i]]--;
                matches[n - 1]++;
            }
        }
    }
    return true;
}

/* Precision and recall are averaged over the orders that both texts are long enough for. */
static double combine(const size_t matches[ORDER], size_t prediction_len, size_t reference_len)
{
    double precision = 0;
    double recall = 0;
    int orders = 0;
    for (size_t n = 1; n <= ORDER && n <= prediction_len && n <= reference_len; n++) {
        precision += (double)matches[n - 1] / (double)(prediction_len - n + 1);
        recall += (double)matches[n - 1] / (double)(reference_len - n + 1);
        orders++;
    }
    if (orders == 0 || precision + recall == 0)
        return 0.0;
    precision /= orders;
    recall /= orders;
    return 100 * ((1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall));
}

static bool score(const struct metric_sample *sample, double *values, struct error *err)
{
    struct metric_arena arena;
    struct metric_text prediction;
    struct metric_text reference;
    size_t matches[ORDER];
    if (!metric_require_reference(sample, err))
        return false;
    metric_arena_open(&arena);
    bool ok = read_characters(&arena, sample->prediction, sample->prediction_len, &prediction, err) &&
              read_characters(&arena, sample->reference, sample->reference_len, &reference, err) &&
              count_matches(&arena, prediction, reference, matches, err);
    if (ok)
        values[0] = combine(matches, prediction.len, reference.len);
    metric_arena_close(&arena);
    return ok;
}

static const char *const keys[] = {"chrf", NULL};
const struct metric metric_chrf = {"chrf", "1", keys, 1, true, false, score};
