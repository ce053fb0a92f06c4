/* The weight files of a model directory: which there are, and their tensors. */
#ifndef LUMIGRID_WORKER_MODEL_CHECKPOINT_H
#define LUMIGRID_WORKER_MODEL_CHECKPOINT_H

#include "worker/model/weights.h"

/* Reads the first of model.safetensors, model.safetensors.index.json, pytorch_model.bin,
 * pytorch_model.bin.index.json and model.ckpt in `dir`. ERROR_NOT_FOUND when there is none. */
bool checkpoint_read(const char *dir, struct weights *weights, struct error *err);

/* The distinct shards that an index names, NULL-ended and malloc'd, each a plain file name; NULL on error.
 * Free with checkpoint_shards_free. */
char **checkpoint_shards(const char *index_path, struct error *err);
void checkpoint_shards_free(char **shards);

#endif
