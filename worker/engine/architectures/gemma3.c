/* Gemma 3: normed heads, five local layers to a global one. https://arxiv.org/abs/2503.19786 */
#include "worker/engine/architectures/causal.h"

static const struct causal_options options = {
    .head_norms = true,
    .post_norms = true,
    .scaled_words = true,
    .local_rope = true,
    .norm_offset = 1,
    .windows = WINDOWS_PATTERN,
    .tied = true,
    .activation = "gelu_pytorch_tanh",
    .theta = 1000000,
};

static void load(struct network *network, struct loader *l)
{
    causal_load(network, l, &options);
}

const struct architecture architecture_gemma3_text = {
    "gemma3_text", ENGINE_DECODER, load, NULL, causal_decode, causal_head};
