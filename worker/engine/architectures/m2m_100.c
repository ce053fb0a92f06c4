/* M2M-100 and NLLB: pre-norm layers over fairseq's sinusoidal positions. https://arxiv.org/abs/2010.11125 */
#include "worker/engine/architectures/seq2seq.h"

static const struct seq2seq_options options = {
    .pre_norm = true,
    .final_norm = true,
    .positions = POSITIONS_SINUSOID_PADS,
    .prefix = "model.",
    .activation = "relu",
    .scale_embedding = true,
};

static void load(struct network *network, struct loader *l)
{
    seq2seq_load(network, l, &options);
}

const struct architecture architecture_m2m_100 = {
    "m2m_100", ENGINE_ENCODER_DECODER, load, seq2seq_encode, seq2seq_decode, seq2seq_head};
