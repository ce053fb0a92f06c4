/* Qwen3: query and key heads are normed. https://arxiv.org/abs/2505.09388 */
#include "worker/engine/architectures/decoder.h"

static const struct decoder_options options = {
    .bias_named = true,
    .head_norms = true,
    .windows = WINDOWS_UPPER,
    .activation = "silu",
    .theta = 10000,
};

static void load(struct network *network, struct loader *l)
{
    decoder_load(network, l, &options);
}

const struct architecture architecture_qwen3 = {
    "qwen3", ENGINE_DECODER, load, NULL, decoder_decode, decoder_head};
