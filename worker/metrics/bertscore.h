/* BERTScore, https://arxiv.org/abs/1904.09675, as the bert-score package (0.3.12) computes it without idf
 * weights and without rescaling. The encoder runs elsewhere (worker/task/bertscore_encoder.h); here is what
 * is done with its states. Any thread. */
#ifndef LUMIGRID_WORKER_METRICS_BERTSCORE_H
#define LUMIGRID_WORKER_METRICS_BERTSCORE_H

#include <stddef.h>

/* The encoder that evaluate takes for English. */
#define BERTSCORE_ENCODER "hf://FacebookAI/roberta-large"

enum { BERTSCORE_VALUES = 3 }; /* precision, recall, f1: the metric's keys */

/* Scores one pair. `prediction` and `reference` are states [tokens, width] of the chosen layer, their first
 * and last rows those of the special tokens: these are candidates of a match, but weigh nothing themselves.
 * Both are scaled to unit length in place. A text of special tokens only scores 0. Sums are in double. */
void bertscore_match(float *prediction, size_t prediction_tokens, float *reference, size_t reference_tokens,
    size_t width, double values[BERTSCORE_VALUES]);

/* The layer that bert-score takes of an encoder: found by the end of its reference
 * ("hf://FacebookAI/roberta-large": 17). -1: not known. */
int bertscore_default_layer(const char *reference);

#endif
