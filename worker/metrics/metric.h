/* Text metrics: one file a metric behind this interface. Definitions: docs/metrics.md.
 *
 * Every function here may be called from any thread; a metric keeps no state between samples. */
#ifndef LUMIGRID_WORKER_METRICS_METRIC_H
#define LUMIGRID_WORKER_METRICS_METRIC_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct metric_sample {
    const char *prediction; /* UTF-8, not zero-terminated by contract */
    size_t prediction_len;
    const char *reference; /* NULL when the dataset has none */
    size_t reference_len;
    const char *source; /* the input text; NULL when not known */
    size_t source_len;
};

struct metric {
    const char *name;        /* as users ask for it: "rouge" */
    const char *version;     /* changes whenever a value could change */
    const char *const *keys; /* per-sample values it yields, NULL-terminated: "rouge1", "rouge2", … */
    size_t key_count;
    bool needs_reference;
    bool needs_source;
    /* NULL: it needs an encoder, which the caller runs (bertscore.h).
     * Writes key_count finite values. False: this sample has no value (the reference implementation raises
     * there); `err` says why. Values are then not written. */
    bool (*score)(const struct metric_sample *sample, double *values, struct error *err);
};

/* The metric of that name; NULL when there is none. */
const struct metric *metric_find(const char *name);

/* All metrics, NULL-terminated, for listings and error messages. */
const struct metric *const *metric_all(void);

/* Resolves "rouge,meteor" (comma-separated, spaces allowed) into at most `capacity` metrics, duplicates
 * dropped. ERROR_INVALID names the unknown one and lists the known. */
bool metric_list_parse(
    const char *names, const struct metric **out, size_t capacity, size_t *count, struct error *err);

#endif
