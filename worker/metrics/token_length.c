/* Token counts as Lumigator estimates them: int(words / 0.75), words as str.split gives them. */
#include "worker/metrics/registry.h"
#include "worker/metrics/text.h"

static bool estimate(struct metric_arena *arena, const char *utf8, size_t len, double *out, struct error *err)
{
    struct metric_text text;
    if (!metric_text_decode(arena, utf8, len, &text, err))
        return false;
    *out = (double)(long long)((double)metric_text_count_words(text) / 0.75);
    return true;
}

static bool score(const struct metric_sample *sample, double *values, struct error *err)
{
    struct metric_arena arena;
    if (!metric_require_reference(sample, err))
        return false;
    metric_arena_open(&arena);
    double reference;
    double prediction;
    bool ok = estimate(&arena, sample->reference, sample->reference_len, &reference, err) &&
              estimate(&arena, sample->prediction, sample->prediction_len, &prediction, err);
    if (ok) {
        values[0] = reference;
        values[1] = prediction;
    }
    metric_arena_close(&arena);
    return ok;
}

static const char *const keys[] = {"ref_token_length", "pred_token_length", NULL};
const struct metric metric_token_length = {"token_length", "1", keys, 2, true, false, score};
