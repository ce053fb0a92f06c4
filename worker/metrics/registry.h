/* What the metrics' files share: the list of them, and the checks at their door. */
#ifndef LUMIGRID_WORKER_METRICS_REGISTRY_H
#define LUMIGRID_WORKER_METRICS_REGISTRY_H

#include "worker/metrics/metric.h"

extern const struct metric metric_rouge;
extern const struct metric metric_meteor;
extern const struct metric metric_bertscore;
extern const struct metric metric_bleu;
extern const struct metric metric_chrf;
extern const struct metric metric_ter;
extern const struct metric metric_token_length;
extern const struct metric metric_exact_match;
extern const struct metric metric_length;
extern const struct metric metric_compression;
extern const struct metric metric_copied_ngrams;

/* ERROR_INVALID when the sample has no reference (no source). */
bool metric_require_reference(const struct metric_sample *sample, struct error *err);
bool metric_require_source(const struct metric_sample *sample, struct error *err);

#endif
