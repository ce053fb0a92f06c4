/* Rotary frequencies as config.json's rope_theta and rope_scaling ask for them.
 *
 * Formulas as in transformers 4.57.1: default, linear, dynamic (NTK), yarn
 * (https://arxiv.org/abs/2309.00071), longrope (https://arxiv.org/abs/2402.13753), llama3. */
#ifndef LUMIGRID_WORKER_ENGINE_ROPE_H
#define LUMIGRID_WORKER_ENGINE_ROPE_H

#include "worker/engine/loader.h"

/* Frequencies for heads of `head_dim`; with `scaled` false rope_scaling is left aside. Sets the network's
 * shareable_positions when frequencies depend on a sequence's length. */
const struct rope *rope_load(struct loader *l, size_t head_dim, double theta, bool scaled);

#endif
