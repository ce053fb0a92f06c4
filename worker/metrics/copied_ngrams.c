/* Which share of the prediction's n-grams stands in the source, n = 1 to 4: one minus the share of novel
 * n-grams (See et al., "Get To The Point", 2017, section 6.2). Every occurrence in the prediction counts; how
 * often the source has it does not. A prediction of fewer than n words has no n-gram and gets 0. */
#include "worker/metrics/registry.h"
#include "worker/metrics/vocabulary.h"
#include "worker/metrics/words.h"

#define ORDERS 4

/* n-grams are numbered through their first n-1 words: (number of the n-1-gram, word). `known` is the source's
 * n-grams of one order, and `number` holds, by position, the n-1-gram that starts there. */
static bool copied(struct metric_arena *arena, const uint32_t *source, size_t source_count,
    const uint32_t *prediction, size_t prediction_count, double *values, struct error *err)
{
    uint32_t *source_number = metric_arena_alloc(arena, source_count, sizeof *source_number, err);
    uint32_t *number = metric_arena_alloc(arena, prediction_count, sizeof *number, err);
    if (!source_number || !number)
        return false;
    for (size_t i = 0; i < source_count; i++)
        source_number[i] = 0;
    for (size_t i = 0; i < prediction_count; i++)
        number[i] = 0;
    for (size_t n = 1; n <= ORDERS; n++) {
        struct metric_pairs known;
        if (!metric_pairs_open(&known, arena, source_count, err))
            return false;
        for (size_t i = 0; i + n <= source_count; i++)
            source_number[i] = metric_pairs_add(&known, source_number[i], source[i + n - 1]);
        size_t hits = 0;
        for (size_t i = 0; i + n <= prediction_count; i++) {
            if (number[i] != METRIC_NO_ID)
                number[i] = metric_pairs_find(&known, number[i], prediction[i + n - 1]);
            hits += number[i] != METRIC_NO_ID;
        }
        values[n - 1] = prediction_count >= n ? (double)hits / (double)(prediction_count - n + 1) : 0.0;
    }
    return true;
}

static bool number_words(struct metric_arena *arena, struct metric_vocabulary *vocabulary,
    const struct metric_text *words, size_t count, uint32_t **ids, struct error *err)
{
    *ids = metric_arena_alloc(arena, count, sizeof **ids, err);
    if (!*ids)
        return false;
    for (size_t i = 0; i < count; i++)
        (*ids)[i] = metric_vocabulary_add(vocabulary, words[i].cp, words[i].len * sizeof *words[i].cp);
    return true;
}

static bool score(const struct metric_sample *sample, double *values, struct error *err)
{
    struct metric_arena arena;
    struct metric_vocabulary vocabulary;
    struct metric_text *source;
    struct metric_text *prediction;
    size_t source_count;
    size_t prediction_count;
    uint32_t *source_ids;
    uint32_t *prediction_ids;
    if (!metric_require_source(sample, err))
        return false;
    metric_arena_open(&arena);
    bool ok = metric_words_read(&arena, sample->source, sample->source_len, &source, &source_count, err) &&
              metric_words_read(
                  &arena, sample->prediction, sample->prediction_len, &prediction, &prediction_count, err) &&
              metric_vocabulary_open(&vocabulary, &arena, source_count + prediction_count, err) &&
              number_words(&arena, &vocabulary, source, source_count, &source_ids, err) &&
              number_words(&arena, &vocabulary, prediction, prediction_count, &prediction_ids, err) &&
              copied(&arena, source_ids, source_count, prediction_ids, prediction_count, values, err);
    metric_arena_close(&arena);
    return ok;
}

static const char *const keys[] = {
    "copied_unigrams", "copied_bigrams", "copied_trigrams", "copied_4grams", NULL};
const struct metric metric_copied_ngrams = {"copied_ngrams", "1", keys, ORDERS, false, true, score};
