/* mBART: BART with pre-norm layers and a norm at the end of each stack. https://arxiv.org/abs/2001.08210 */
#include "worker/engine/architectures/seq2seq.h"

static const struct seq2seq_options options = {
    .pre_norm = true,
    .embedding_norm = true,
    .final_norm = true,
    .logits_bias = true,
    .positions = POSITIONS_LEARNED,
    .position_offset = 2,
    .prefix = "model.",
    .activation = "gelu",
};

static void load(struct network *network, struct loader *l)
{
    seq2seq_load(network, l, &options);
}

const struct architecture architecture_mbart = {
    "mbart", ENGINE_ENCODER_DECODER, load, seq2seq_encode, seq2seq_decode, seq2seq_head};
