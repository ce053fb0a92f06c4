/* LLaMA, TinyLlama, SmolLM: https://arxiv.org/abs/2302.13971 */
#include "worker/engine/architectures/causal.h"

static const struct causal_options options = {
    .bias_named = true,
    .activation = "silu",
    .theta = 10000,
};

static void load(struct network *network, struct loader *l)
{
    causal_load(network, l, &options);
}

const struct architecture architecture_llama = {
    "llama", ENGINE_DECODER, load, NULL, causal_decode, causal_head};
