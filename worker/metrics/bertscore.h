/* BERTScore, https://arxiv.org/abs/1904.09675, as the bert-score package (0.3.12) computes it without idf
 * weights and without rescaling. The encoder runs elsewhere (worker/task/bertscore_encoder.h); here is what
 * is done with its states. Any thread. */
#ifndef LUMIGRID_WORKER_METRICS_BERTSCORE_H
#define LUMIGRID_WORKER_METRICS_BERTSCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* The encoder that evaluate takes for English. */
#define BERTSCORE_ENCODER "hf://FacebookAI/roberta-large"

enum { BERTSCORE_VALUES = 3 }; /* precision, recall, f1: the metric's keys */

/* A text's tokens, and their states [tokens, width] in the chosen layer. */
struct bertscore_text {
    const int32_t *ids;
    float *states;
    size_t tokens;
};

/* Scores one pair. The first and the last token of each text are the encoder's special ones: these are
 * candidates of a match but weigh nothing, also where they stand within a text. States are scaled to unit
 * length in place. A text of these two tokens alone scores 0. ERROR_INVALID when a longer text holds nothing
 * that weighs (bert-score's value is NaN then). Sums are in double. */
bool bertscore_match(const struct bertscore_text *prediction, const struct bertscore_text *reference,
    size_t width, double values[BERTSCORE_VALUES], struct error *err);

/* The layer that bert-score takes of an encoder: found by the end of its reference
 * ("hf://FacebookAI/roberta-large": 17). -1: not known. */
int bertscore_default_layer(const char *reference);

#endif
