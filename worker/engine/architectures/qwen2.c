/* Qwen2: biases on queries, keys and values. https://arxiv.org/abs/2407.10671 */
#include "worker/engine/architectures/causal.h"

static const struct causal_options options = {
    .qkv_bias = true,
    .windows = WINDOWS_UPPER,
    .activation = "silu",
    .theta = 10000,
};

static void load(struct network *network, struct loader *l)
{
    causal_load(network, l, &options);
}

const struct architecture architecture_qwen2 = {
    "qwen2", ENGINE_DECODER, load, NULL, causal_decode, causal_head};
