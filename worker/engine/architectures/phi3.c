/* Phi-3: joined projections, longrope. https://arxiv.org/abs/2404.14219 */
#include "worker/engine/architectures/causal.h"

static const struct causal_options options = {
    .joined = true,
    .windows = WINDOWS_ALL,
    .activation = "silu",
    .theta = 10000,
};

static void load(struct network *network, struct loader *l)
{
    causal_load(network, l, &options);
}

const struct architecture architecture_phi3 = {
    "phi3", ENGINE_DECODER, load, NULL, causal_decode, causal_head};
