/* BART: learned positions from row 2, a norm after the embeddings, post-norm layers.
 * https://arxiv.org/abs/1910.13461 */
#include "worker/engine/architectures/seq2seq.h"

static const struct seq2seq_options options = {
    .embedding_norm = true,
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

const struct architecture architecture_bart = {
    "bart", ENGINE_ENCODER_DECODER, load, seq2seq_encode, seq2seq_decode, seq2seq_head};
