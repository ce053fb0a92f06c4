/* Word tokens of one sentence as NLTK's NLTKWordTokenizer makes them: the rewriting rules of the Penn
 * Treebank tokeniser (Robert MacIntyre's sed script) with NLTK's additions, applied one after another, then
 * str.split. */
#ifndef LUMIGRID_WORKER_METRICS_TREEBANK_H
#define LUMIGRID_WORKER_METRICS_TREEBANK_H

#include "worker/metrics/text.h"

/* Buffers that one sentence after another is rewritten in. */
struct treebank {
    struct metric_arena *arena;
    uint32_t *in, *out;
    size_t in_capacity, out_capacity;
};

void treebank_open(struct treebank *treebank, struct metric_arena *arena);

/* The tokens are views into the buffers: valid until the next call. */
bool treebank_tokenize(struct treebank *treebank, struct metric_text sentence, struct metric_text **tokens,
    size_t *count, struct error *err);

#endif
