/* BERTScore of pairs of texts by an encoder that is loaded. */
#ifndef LUMIGRID_WORKER_TASK_BERTSCORE_ENCODER_H
#define LUMIGRID_WORKER_TASK_BERTSCORE_ENCODER_H

#include "worker/engine/engine.h"
#include "worker/metrics/bertscore.h"
#include "worker/metrics/metric.h"

struct bertscore_encoder {
    struct model *model; /* both borrowed; the caller's thread must be the engine's */
    struct engine *engine;
    int layer;
};

/* `layer` -1: the one that bert-score takes. ERROR_INVALID: no encoder, no tokenizer, no such layer, or none
 * is known. */
bool bertscore_encoder_init(
    struct model *model, struct engine *engine, int layer, struct bertscore_encoder *out, struct error *err);

/* Texts are stripped of white space and cut to what the encoder takes, as bert-score does. */
bool bertscore_encoder_score(const struct bertscore_encoder *encoder, const struct metric_sample *sample,
    double values[BERTSCORE_VALUES], struct error *err);

#endif
