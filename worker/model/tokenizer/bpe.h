/* Byte-pair encoding by merge ranks: tokenizer.json's BPE, and GPT-2's vocab.json + merges.txt. Immutable
 * once loaded. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_BPE_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/model/tokenizer/tokenizer.h"
#include "worker/model/tokenizer/vocabulary.h"

struct merge_slot {
    uint64_t pair; /* left << 32 | right; UINT64_MAX: free */
    uint32_t rank;
    int32_t merged;
};

struct bpe {
    const struct vocabulary *vocabulary; /* borrowed */
    struct merge_slot *merges;
    size_t merge_slots, merge_count;
    int32_t byte_ids[256];     /* the id of a byte's character (byte_level) */
    int32_t fallback_ids[256]; /* the id of <0xNN>, or -1 */
    int32_t unknown;           /* -1: unknown characters vanish */
    bool byte_level;           /* words come as raw bytes */
    bool byte_fallback;
    bool fuse_unknown;
    bool ignore_merges;
    char *prefix, *suffix; /* continuing_subword_prefix, end_of_word_suffix; NULL: none */
};

void bpe_free(struct bpe *bpe);

/* The next merge, in order of rank; of a pair given twice the later rank stays. ERROR_INVALID when a part or
 * the whole is not in the vocabulary. */
bool bpe_add_merge(struct bpe *bpe, const char *left, size_t left_len, const char *right, size_t right_len,
    struct error *err);
bool bpe_add_merge_ids(struct bpe *bpe, int32_t left, int32_t right, int32_t merged, struct error *err);

/* Call after the vocabulary and the switches are set. */
void bpe_prepare(struct bpe *bpe);

/* Appends the ids of one pre-token. */
bool bpe_encode(
    const struct bpe *bpe, const char *word, size_t len, struct token_ids *out, struct error *err);

#endif
