/* Reports: result documents, made while they are sent, and comparisons of models with what statistics can say
 * about them. Loop thread, except where said. */
#ifndef LUMIGRID_COORDINATOR_REPORT_REPORT_H
#define LUMIGRID_COORDINATOR_REPORT_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#include "common/error.h"

struct store;
struct store_job;
struct report_document;

enum { REPORT_COMPARED_MAX = 16, REPORT_END = -1, REPORT_FAILED = -2 };

enum report_kind {
    REPORT_EXPERIMENT, /* the first API's result document */
    REPORT_JOB,        /* {metrics, parameters, artifacts} of the second */
};

/* A finished job's document, written column by column from the store in bounded memory: one block of samples
 * and what the reader has not taken yet. `job` is copied as far as it is needed; `wake` is called when a read
 * that returned 0 can go on, maybe from within read. */
struct report_document *report_document_open(struct store *store, const struct store_job *job,
    enum report_kind kind, void (*wake)(void *context), void *context);

/* Copies up to `max` bytes of the JSON text. 0: nothing now, `wake` follows. REPORT_END; REPORT_FAILED when
 * the store failed (logged). */
ssize_t report_document_read(struct report_document *document, char *buffer, size_t max);

/* At any time; a call to the store that is under way is waited for. */
void report_document_close(struct report_document *document);

/* A job's means by names that are unique without their groups ("rouge1_mean", "bertscore_f1_mean"): a new
 * object. `keys` and `means` are a job's metric_keys and its aggregates' means, as JSON; NULL: none. */
json_t *report_means(const json_t *keys, const json_t *means);

/* The comparison of 1 to REPORT_COMPARED_MAX jobs as one JSON object: per job and metric the mean with a 95%
 * percentile-bootstrap interval; per pair of jobs and metric, over the samples that both have a value for,
 * the mean difference with its interval, a two-sided paired bootstrap p-value (Holm-corrected over the pairs
 * of that metric), and wins, ties and losses; per job and metric its best and worst samples. Resampling has a
 * fixed seed: the same numbers every time. The arithmetic runs on libuv's thread pool. `document` is handed
 * over. ERROR_NOT_FOUND, ERROR_CONFLICT: a job has no results yet. */
typedef void (*report_compare_done)(void *context, json_t *document, const struct error *err);
void report_compare(uv_loop_t *loop, struct store *store, const char *const *ids, size_t count,
    report_compare_done done, void *context);

#endif
