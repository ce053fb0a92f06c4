/* Qwen3: query and key heads are normed. https://arxiv.org/abs/2505.09388 */
#include "worker/engine/architectures/causal.h"

static const struct causal_options options = {
    .bias_named = true,
    .head_norms = true,
    .windows = WINDOWS_UPPER,
    .activation = "silu",
    .theta = 10000,
};

static void load(struct network *network, struct loader *l)
{
    causal_load(network, l, &options);
}

const struct architecture architecture_qwen3 = {
    "qwen3", ENGINE_DECODER, load, NULL, causal_decode, causal_head};
