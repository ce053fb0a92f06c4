/* LLaMA, TinyLlama, SmolLM: https://arxiv.org/abs/2302.13971 */
#include "worker/engine/architectures/decoder.h"

static const struct decoder_options options = {
    .bias_named = true,
    .activation = "silu",
    .theta = 10000,
};

static void load(struct network *network, struct loader *l)
{
    decoder_load(network, l, &options);
}

const struct architecture architecture_llama = {
    "llama", ENGINE_DECODER, load, NULL, decoder_decode, decoder_head};
