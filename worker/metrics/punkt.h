/* Sentences of an English text as NLTK's sent_tokenize finds them: the Punkt splitter (Kiss and Strunk,
 * "Unsupervised Multilingual Sentence Boundary Detection", 2006) with its English parameters. */
#ifndef LUMIGRID_WORKER_METRICS_PUNKT_H
#define LUMIGRID_WORKER_METRICS_PUNKT_H

#include "worker/metrics/text.h"

/* The sentences are views into `text`, in order; none is empty. */
bool punkt_sentences(struct metric_arena *arena, struct metric_text text, struct metric_text **sentences,
    size_t *count, struct error *err);

#endif
