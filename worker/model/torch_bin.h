/* torch.save files (pytorch_model.bin, Lightning's .ckpt): a zip archive with a pickle that describes the
 * tensors and one stored entry for each storage, which is mapped. */
#ifndef LUMIGRID_WORKER_MODEL_TORCH_BIN_H
#define LUMIGRID_WORKER_MODEL_TORCH_BIN_H

#include "worker/model/weights.h"

/* Adds the tensors of the state dict (the pickle's own dict, or its "state_dict") in bytes[0..len), which
 * must live as long as the weights. Values that are no tensors are skipped. Tied weights share their bytes; a
 * tensor that is not contiguous in its storage is copied. The format from before torch 1.6 is refused. */
bool torch_bin_read(
    struct weights *weights, const char *name, const uint8_t *bytes, size_t len, struct error *err);

#endif
