/* Mistral: every layer may see a window only. https://arxiv.org/abs/2310.06825 */
#include "worker/engine/architectures/causal.h"

static const struct causal_options options = {
    .windows = WINDOWS_ALL,
    .activation = "silu",
    .theta = 10000,
};

static void load(struct network *network, struct loader *l)
{
    causal_load(network, l, &options);
}

const struct architecture architecture_mistral = {
    "mistral", ENGINE_DECODER, load, NULL, causal_decode, causal_head};
