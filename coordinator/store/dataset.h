/* How a dataset's row is read, for dataset.c and upload.c. */
#ifndef LUMIGRID_COORDINATOR_STORE_DATASET_H
#define LUMIGRID_COORDINATOR_STORE_DATASET_H

#include "coordinator/store/state.h"

#define DATASET_COLUMNS                                                                                      \
    "id, filename, format, media, run_id, generated, generated_by, owner, ground_truth, predictions, "       \
    "size_bytes, sample_count, (extract(epoch FROM created_at) * 1000)::bigint"
enum { DATASET_COLUMN_COUNT = 13 };

/* Row of a text result whose columns begin with DATASET_COLUMNS; texts live as long as the result. */
void dataset_decode(const PGresult *result, int row, struct store_dataset *out);

#endif
