/* The digest of a model's weights and configuration, and the cache that saves reading them again. */
#ifndef LUMIGRID_WORKER_MODEL_DIGEST_H
#define LUMIGRID_WORKER_MODEL_DIGEST_H

#include <jansson.h>

#include "worker/model/weights.h"

enum { DIGEST_HEX_BYTES = 65 }; /* with the zero */

/* SHA-256, lower-case hex, over every tensor in the order of names (name, dtype, shape, bytes) and `config`
 * (its keys sorted, without white space). A failing cache costs time only. */
bool digest_compute(
    const struct weights *weights, const json_t *config, char hex[DIGEST_HEX_BYTES], struct error *err);

#endif
