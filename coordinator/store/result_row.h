/* Rows of binary answers as struct store_result. Private to the store room. */
#ifndef LUMIGRID_COORDINATOR_STORE_RESULT_ROW_H
#define LUMIGRID_COORDINATOR_STORE_RESULT_ROW_H

#include <libpq-fe.h>

#include "coordinator/store/store.h"

/* index, prediction, metric_values, prompt_tokens, new_tokens, seconds, truncated, detail, error_code,
 * error_message, finish_reason, worker_id as text, example, ground_truth: in this order, before a statement's
 * own columns. */
enum { RESULT_ROW_COLUMNS = 14 };

struct result_rows {
    struct store_result *items;
    double *values; /* what items[i].values point into */
};

/* Texts point into `result`; NULL gives no rows. */
struct result_rows result_rows_decode(const PGresult *result, size_t *count);
void result_rows_free(struct result_rows *rows);

#endif
