/* Words for the metrics that have no reference tokeniser: lower-cased runs of letters, marks, digits and
 * underscores. */
#ifndef LUMIGRID_WORKER_METRICS_WORDS_H
#define LUMIGRID_WORKER_METRICS_WORDS_H

#include "worker/metrics/text.h"

/* The words of a UTF-8 text, as views into memory of the arena. */
bool metric_words_read(struct metric_arena *arena, const char *utf8, size_t len, struct metric_text **words,
    size_t *count, struct error *err);

#endif
