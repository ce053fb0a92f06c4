/* The transformer encoder-decoder of the BART family; its members differ in the options below.
 *
 *   encoder layer:  self-attention, feed-forward           each sublayer x + f(x), normed after (post-norm)
 *   decoder layer:  self-attention, cross-attention, ff    or before (pre-norm)
 *
 * https://arxiv.org/abs/1706.03762, https://arxiv.org/abs/1910.13461 */
#ifndef LUMIGRID_WORKER_ENGINE_ARCHITECTURES_SEQ2SEQ_H
#define LUMIGRID_WORKER_ENGINE_ARCHITECTURES_SEQ2SEQ_H

#include "worker/engine/loader.h"

enum seq2seq_positions {
    POSITIONS_LEARNED,       /* a table; row = position + position_offset */
    POSITIONS_SINUSOID,      /* sin(p / 10000^(2i/d)) in the first half, cos in the second */
    POSITIONS_SINUSOID_PADS, /* fairseq's: frequencies 10000^(-i/(d/2 - 1)), rows from pad + 1, zeros for pad
                              */
};

struct seq2seq_options {
    bool pre_norm;
    bool embedding_norm; /* a norm after the embeddings */
    bool final_norm;     /* a norm after the last layer */
    bool logits_bias;    /* final_logits_bias */
    bool long_input;     /* LED: local and global attention in the encoder, its own names and limits */
    enum seq2seq_positions positions;
    size_t position_offset;
    const char *prefix;     /* of the base model in a checkpoint: "model." */
    const char *activation; /* config.json's default */
    bool scale_embedding;   /* config.json's default */
};

void seq2seq_load(struct network *network, struct loader *l, const struct seq2seq_options *options);
struct tensor seq2seq_encode(const struct network *network, struct forward *f);
struct tensor seq2seq_decode(const struct network *network, struct forward *f);
struct tensor seq2seq_head(const struct network *network, struct forward *f, struct tensor states);

#endif
