/* Where each of a job's metric values stands in documents. Private to the report room. */
#ifndef LUMIGRID_COORDINATOR_REPORT_COLUMNS_H
#define LUMIGRID_COORDINATOR_REPORT_COLUMNS_H

#include <stddef.h>

struct store_job;

struct column {
    char group[64];     /* "rouge" */
    char key[64];       /* "rouge1" */
    char mean_key[72];  /* "rouge1_mean" */
    char value_key[96]; /* as the worker names it */
    size_t index;       /* in the values of a result */
};

/* One for each of the job's metric keys, those of a group side by side. The caller frees. */
struct column *columns_of(const struct store_job *job, size_t *count);

#endif
