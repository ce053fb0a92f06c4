/* Length of the prediction in words and in characters (code points). */
#include "worker/metrics/registry.h"
#include "worker/metrics/words.h"

static bool score(const struct metric_sample *sample, double *values, struct error *err)
{
    struct metric_arena arena;
    struct metric_text *words;
    struct metric_text text;
    size_t count;
    metric_arena_open(&arena);
    bool ok = metric_words_read(&arena, sample->prediction, sample->prediction_len, &words, &count, err) &&
              metric_text_decode(&arena, sample->prediction, sample->prediction_len, &text, err);
    if (ok) {
        values[0] = (double)count;
        values[1] = (double)text.len;
    }
    metric_arena_close(&arena);
    return ok;
}

static const char *const keys[] = {"pred_words", "pred_characters", NULL};
const struct metric metric_length = {"length", "1", keys, 2, false, false, score};
