/* The generation settings of a model that has no generation_config.json. */
#ifndef LUMIGRID_WORKER_MODEL_GENERATION_CONFIG_H
#define LUMIGRID_WORKER_MODEL_GENERATION_CONFIG_H

#include <jansson.h>

#include "common/error.h"

/* As transformers' GenerationConfig.from_model_config (4.57) reads a model's config: the keys that name
 * generation settings and are not null, then what the model's configuration class would have filled in for
 * its special tokens. A nested text or decoder configuration fills what the outer one leaves open. Returns a
 * new object; NULL on error. */
json_t *generation_config_derive(const json_t *config, struct error *err);

#endif
