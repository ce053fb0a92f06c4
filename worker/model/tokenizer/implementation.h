/* What a tokenizer is made of, for the files of this room. Immutable once open, but for the cache. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_IMPLEMENTATION_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_IMPLEMENTATION_H

#include <jansson.h>

#include "worker/model/tokenizer/added.h"
#include "worker/model/tokenizer/bpe.h"
#include "worker/model/tokenizer/decoder.h"
#include "worker/model/tokenizer/normalizer.h"
#include "worker/model/tokenizer/pretokenizer.h"
#include "worker/model/tokenizer/tokenizer.h"
#include "worker/model/tokenizer/unigram.h"
#include "worker/model/tokenizer/vocabulary.h"
#include "worker/model/tokenizer/word_cache.h"
#include "worker/model/tokenizer/wordpiece.h"

struct slow;
struct sentencepiece;
struct chat_template;

enum tokenizer_model { MODEL_BPE, MODEL_UNIGRAM, MODEL_WORDPIECE, MODEL_WORDLEVEL };

/* The named special tokens that chat templates and generation refer to. */
enum special_name {
    SPECIAL_BOS,
    SPECIAL_EOS,
    SPECIAL_UNK,
    SPECIAL_SEP,
    SPECIAL_PAD,
    SPECIAL_CLS,
    SPECIAL_MASK,
    SPECIAL_COUNT
};
extern const char *const special_keys[SPECIAL_COUNT]; /* "bos_token", … */

struct tokenizer {
    struct vocabulary vocabulary; /* the model's own */
    struct added added;
    enum tokenizer_model model;
    struct normalizer normalizer;
    struct pretokenizer pretokenizer;
    struct bpe bpe;
    struct unigram unigram;
    double *scores; /* UNIGRAM */
    struct wordpiece wordpiece;
    int32_t unknown; /* WORDLEVEL */
    struct word_cache cache;
    struct decoder decoder;

    struct slow *slow;              /* an original-file class instead of the pipeline above; NULL: none */
    struct token_ids around;        /* what special tokens go around a text; see postprocessor.h */
    struct token_ids around_target; /* for the target side; empty: the same */

    char *special[SPECIAL_COUNT]; /* NULL: not set */
    bool clean_up;
    size_t max_length;
    struct chat_template *chat; /* NULL: none */
    const char *kind;
    char digest[65];
};

/* tokenizer.json with what tokenizer_config.json changes about it. `config` is an object, maybe empty. */
bool tokenizer_load_json(
    struct tokenizer *tokenizer, const json_t *json, const json_t *config, struct error *err);

/* Ids of text without what goes around it. Text is well-formed. */
bool pipeline_encode(const struct tokenizer *tokenizer, const char *text, size_t len, struct token_ids *out,
    struct error *err);
bool pipeline_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
    struct buffer *out, struct error *err);

/* A special token's content from a configuration value: a string, or an object with "content"; NULL: neither.
 */
const char *special_content(const json_t *value);

#endif
