/* Words of the source per word of the prediction (Grusky et al., "Newsroom", 2018, section 4.3). */
#include "worker/metrics/registry.h"
#include "worker/metrics/words.h"

static bool score(const struct metric_sample *sample, double *values, struct error *err)
{
    struct metric_arena arena;
    struct metric_text *words;
    size_t source;
    size_t prediction;
    if (!metric_require_source(sample, err))
        return false;
    metric_arena_open(&arena);
    bool ok = metric_words_read(&arena, sample->source, sample->source_len, &words, &source, err) &&
              metric_words_read(&arena, sample->prediction, sample->prediction_len, &words, &prediction, err);
    metric_arena_close(&arena);
    if (!ok)
        return false;
    if (prediction == 0)
        return error_set(err, ERROR_INVALID, "the prediction has no words to divide by");
    values[0] = (double)source / (double)prediction;
    return true;
}

static const char *const keys[] = {"compression_ratio", NULL};
const struct metric metric_compression = {"compression_ratio", "1", keys, 1, false, true, score};
