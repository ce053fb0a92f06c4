/* Marian: the original transformer, post-norm over sinusoidal positions. https://arxiv.org/abs/1804.00344 */
#include "worker/engine/architectures/seq2seq.h"

static const struct seq2seq_options options = {
    .logits_bias = true,
    .positions = POSITIONS_SINUSOID,
    .prefix = "model.",
    .activation = "gelu",
};

static void load(struct network *network, struct loader *l)
{
    seq2seq_load(network, l, &options);
}

const struct architecture architecture_marian = {
    "marian", ENGINE_ENCODER_DECODER, load, seq2seq_encode, seq2seq_decode, seq2seq_head};
