/* Text to token ids and back, for every tokenizer a model directory or a GGUF file can hold.
 *
 * A tokenizer is immutable once open: any number of threads may encode and decode with it at the same time.
 * Reference: the `tokenizers` library for tokenizer.json, transformers' slow classes for the original files.
 */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_TOKENIZER_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct tokenizer;
struct gguf; /* worker/model/gguf.h */

struct token_ids {
    int32_t *ids; /* malloc'd; free with token_ids_free */
    size_t count;
    size_t capacity;
};
void token_ids_free(struct token_ids *list);
bool token_ids_push(struct token_ids *list, int32_t id, struct error *err);

/* Opens the tokenizer found in a model directory: tokenizer.json, else the class that tokenizer_config.json
 * or config.json names over its original files (vocab.json+merges.txt, spiece.model, source.spm+vocab.json,
 * vocab.txt, sentencepiece.bpe.model). ERROR_NOT_FOUND when the directory has none. */
bool tokenizer_open(const char *dir, struct tokenizer **out, struct error *err);

/* The tokenizer that a GGUF file carries in its metadata (tokenizer.ggml.*). `file` is borrowed until this
 * returns. */
bool tokenizer_open_gguf(const struct gguf *file, struct tokenizer **out, struct error *err);

void tokenizer_close(struct tokenizer *tokenizer); /* NULL is fine */

enum tokenizer_flags {
    TOKENIZER_ADD_SPECIAL =
        1, /* what the post-processor adds: <s>, </s>, [CLS]; as __call__ does by default */
    TOKENIZER_TEXT_PAIR_TARGET = 2 /* the target-language side (mBART, M2M100, Marian) */
};

/* Appends the ids of text[0..len) to `out`. Any bytes are accepted: ill-formed UTF-8 is read as U+FFFD. */
bool tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t len, unsigned flags,
    struct token_ids *out, struct error *err);

/* The text of ids[0..count), as decode(skip_special_tokens=...) with the model's own clean-up setting.
 * Returns malloc'd UTF-8 (owned by the caller), *len its bytes without the zero; NULL on error. */
char *tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
    size_t *len, struct error *err);

struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
};

/* Renders the model's chat template (Jinja) with add_generation_prompt. Returns malloc'd text; NULL on error,
 * ERROR_NOT_FOUND when the model has no template, ERROR_INVALID with the template's own raise_exception text.
 */
char *tokenizer_chat(const struct tokenizer *tokenizer, const struct chat_message *messages, size_t count,
    bool add_generation_prompt, struct error *err);
bool tokenizer_has_chat(const struct tokenizer *tokenizer);

int32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *token); /* -1: no such token */
size_t tokenizer_vocabulary_size(const struct tokenizer *tokenizer);              /* added tokens included */
size_t tokenizer_max_length(
    const struct tokenizer *tokenizer); /* model_max_length; SIZE_MAX when unlimited */
const char *tokenizer_kind(
    const struct tokenizer *tokenizer); /* "byte-level BPE", "unigram", … for inspect */

/* SHA-256 over the files or metadata it was made from, lower-case hex. */
const char *tokenizer_digest(const struct tokenizer *tokenizer);

#endif
