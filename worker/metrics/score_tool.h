/* `lumigrid-worker score`: per-sample metrics of a JSON Lines file, without a cluster. */
#ifndef LUMIGRID_WORKER_METRICS_SCORE_TOOL_H
#define LUMIGRID_WORKER_METRICS_SCORE_TOOL_H

#include "worker/metrics/metric.h"

/* Runs the tool; argv[0] is "score". Reads {"id","prediction","reference"?,"source"?} lines and writes, in
 * the same order, {"id", key: value…}; a metric that has no value for a sample is named in the line's "error"
 * instead. All cores work; memory does not grow with the file. Returns the exit status: 0 done, 1 failed, 2
 * wrong usage; errors are one line on stderr. */
struct score_tool_encoder {
    /* Loads an encoder for the metrics that need one; `layer` -1: the usual. NULL on error. */
    void *(*open)(const char *reference, int layer, size_t threads, struct error *err);
    bool (*score)(void *encoder, const struct metric_sample *sample, double *values,
        struct error *err);       /* one thread at a time */
    void (*close)(void *encoder); /* NULL is fine */
};
/* `encoder` NULL: metrics that need one are refused. */
int score_tool_run(int argc, char **argv, const struct score_tool_encoder *encoder);

#endif
