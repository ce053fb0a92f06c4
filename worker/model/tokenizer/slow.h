/* transformers' "slow" tokenizer classes over a model's original files. They differ from tokenizer.json
 * pipelines in how added tokens are found (PreTrainedTokenizer.tokenize) and in what each class does to a
 * stretch of text. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_SLOW_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_SLOW_H

#include <jansson.h>

#include "worker/model/tokenizer/implementation.h"
#include "worker/model/tokenizer/sentencepiece.h"

enum slow_text {
    SLOW_BYTE_BPE,  /* GPT-2's pattern, byte alphabet, merges */
    SLOW_WORDPIECE, /* BERT's basic tokenizer, then WordPiece */
    SLOW_SENTENCEPIECE,
};

/* How a SentencePiece piece becomes the model's id. */
enum slow_ids {
    SLOW_IDS_SAME,
    SLOW_IDS_FAIRSEQ,    /* one up, <s> <pad> </s> <unk> in front */
    SLOW_IDS_OFFSET,     /* Pegasus: all up by `offset` */
    SLOW_IDS_VOCABULARY, /* by spelling, in vocab.json */
};

/* How tokens become text. */
enum slow_join {
    SLOW_JOIN_BYTES,
    SLOW_JOIN_WORDS,
    SLOW_JOIN_SPACES,        /* U+2581 becomes a space, ends are stripped */
    SLOW_JOIN_PIECES,        /* SentencePiece's decoding between special tokens */
    SLOW_JOIN_PIECES_SPACED, /* the same, a space before a special token after text (T5, mBART-50) */
    SLOW_JOIN_PIECES_LLAMA,  /* the same, ends not stripped */
    SLOW_JOIN_PIECES_MARIAN, /* the same, a space after each special token */
};

struct slow {
    enum slow_text text;
    enum slow_ids ids;
    enum slow_join join;
    struct sentencepiece *source, *target; /* target NULL: the same */
    int32_t offset, unknown;
    int32_t base_size; /* the class's vocab_size: what was added lies at or past it */
    bool add_prefix_space;
    bool modern;              /* T5 and Llama with legacy=false */
    bool space_after_special; /* GGUF: a space goes before text at the start and after a special token */
    bool language_code;       /* Marian: ">>xxx<<" in front is one token */
    bool end_once;            /* T5: no second </s> */
    bool lowercase, strip_accents, chinese; /* BERT */
    size_t unknown_pieces;                  /* how many pieces the unknown token's own spelling is (modern) */
    struct trie added;                      /* all added tokens */
};

void slow_free(struct slow *slow); /* NULL is fine */

/* Opens the class that the directory's files and configuration name; ERROR_NOT_FOUND when there are none. */
bool slow_open(struct tokenizer *tokenizer, const char *dir, const json_t *config, struct error *err);

bool slow_encode(const struct tokenizer *tokenizer, const char *text, size_t len, bool target,
    struct token_ids *out, struct error *err);
bool slow_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
    struct buffer *out, struct error *err);

/* What goes around a text's ids; see postprocessor.h. `tokenizer` may be no slow one. */
bool slow_around(const struct tokenizer *tokenizer, const struct token_ids *around,
    const struct token_ids *ids, struct token_ids *out, struct error *err);

/* BERT's basic tokenizer and WordPiece over one stretch of text. */
bool slow_bert_encode(const struct tokenizer *tokenizer, const char *text, size_t len, struct token_ids *out,
    struct error *err);
/* Lowers what is outside special tokens, as PreTrainedTokenizer.tokenize does for do_lower_case. */
bool slow_lower(
    const struct tokenizer *tokenizer, const char *text, size_t len, struct buffer *out, struct error *err);

/* Stretches of text between added tokens, as PreTrainedTokenizer's Trie.split cuts them. */
struct slow_stretch {
    size_t begin, end;
    const struct added_token *token; /* NULL: ordinary text */
};
struct slow_stretches {
    struct slow_stretch *items; /* malloc'd */
    size_t count, capacity;
};
bool slow_split(const struct tokenizer *tokenizer, const char *text, size_t len, struct slow_stretches *out,
    struct error *err);

#endif
