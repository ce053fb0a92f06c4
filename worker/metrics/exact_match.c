/* 1 when prediction and reference are the same text, byte for byte, else 0 (as evaluate's exact_match with
 * its default settings). */
#include <string.h>

#include "worker/metrics/registry.h"

static bool score(const struct metric_sample *sample, double *values, struct error *err)
{
    if (!metric_require_reference(sample, err))
        return false;
    values[0] = sample->prediction_len == sample->reference_len &&
                (sample->prediction_len == 0 ||
                    memcmp(sample->prediction, sample->reference, sample->prediction_len) == 0);
    return true;
}

static const char *const keys[] = {"exact_match", NULL};
const struct metric metric_exact_match = {"exact_match", "1", keys, 1, true, false, score};
