/* Gemma 2: norms around each branch, soft caps, every other layer local. https://arxiv.org/abs/2408.00118 */
#include "worker/engine/architectures/causal.h"

static const struct causal_options options = {
    .post_norms = true,
    .scaled_words = true,
    .soft_caps = true,
    .norm_offset = 1,
    .windows = WINDOWS_EVEN,
    .tied = true,
    .activation = "gelu_pytorch_tanh",
    .theta = 10000,
};

static void load(struct network *network, struct loader *l)
{
    causal_load(network, l, &options);
}

const struct architecture architecture_gemma2 = {
    "gemma2", ENGINE_DECODER, load, NULL, causal_decode, causal_head};
