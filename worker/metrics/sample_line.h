/* One line of the score tool's input: {"id", "prediction", "reference", "source"}. */
#ifndef LUMIGRID_WORKER_METRICS_SAMPLE_LINE_H
#define LUMIGRID_WORKER_METRICS_SAMPLE_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/metrics/metric.h"

struct sample_line {
    struct metric_sample sample;
    char *id; /* as JSON; not zero-terminated */
    size_t id_len;
    char *memory; /* owned: what the pointers above lead into */
    size_t capacity;
};

/* Reads a line. The result lives until the next call for the same struct. ERROR_INVALID says what is wrong
 * with the line. Start with a zeroed struct; sample_line_free gives its memory back. */
bool sample_line_read(struct sample_line *line, const char *text, size_t len, struct error *err);
void sample_line_free(struct sample_line *line);

#endif
