/* Safetensors files: 8 bytes of header length, a JSON header, then the data that the header's offsets divide
 * without holes or overlaps. Format: https://github.com/huggingface/safetensors, "Format". */
#ifndef LUMIGRID_WORKER_MODEL_SAFETENSORS_H
#define LUMIGRID_WORKER_MODEL_SAFETENSORS_H

#include "worker/model/weights.h"

/* Adds the tensors of bytes[0..len), which must live as long as the weights; `name` is for messages. */
bool safetensors_read(
    struct weights *weights, const char *name, const uint8_t *bytes, size_t len, struct error *err);

#endif
