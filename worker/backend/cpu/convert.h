/* Sixteen-bit formats and the sizes of stored rows. */
#ifndef LUMIGRID_WORKER_BACKEND_CPU_CONVERT_H
#define LUMIGRID_WORKER_BACKEND_CPU_CONVERT_H

#include "worker/model/model.h"

/* Rounded to the nearest, ties to even; beyond the range is infinity. NaN stays NaN. */
uint16_t float_to_half(float value);
uint16_t float_to_bf16(float value);

/* Bytes of a row of `count` values; false when the dtype has no float values, or blocks that count does not
 * fill. */
bool stored_row_bytes(enum dtype dtype, size_t count, size_t *out);
bool dtype_is_blocks(enum dtype dtype);

#endif
