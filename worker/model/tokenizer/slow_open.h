/* Opening the slow classes: what the families' two files share. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_SLOW_OPEN_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_SLOW_OPEN_H

#include "worker/model/tokenizer/slow.h"

/* One class and the files it is made of. */
struct slow_family {
    const char *class_name; /* tokenizer_class without "Fast" */
    const char *model_type; /* config.json's, when there is no tokenizer_class */
    const char *file;
    bool (*open)(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
        struct error *err);
};

/* A setting's text (a string, or an added token's content), or `otherwise`. */
const char *slow_setting(const json_t *config, const char *key, const char *otherwise);
bool slow_flag(const json_t *config, const char *key, bool otherwise);
double slow_number(const json_t *config, const char *key, double otherwise);
/* Sets a named special token unless the configuration has. */
bool slow_set_special(struct tokenizer *t, enum special_name name, const char *content, struct error *err);
/* How a special token of the configuration matches; all off for a plain string. */
struct added_token slow_special_flags(const json_t *value);
/* Adds a token under an id. */
bool slow_add_at(
    struct tokenizer *t, const char *content, int64_t id, struct added_token flags, struct error *err);
/* Adds a token by name: the model's id for it, or the next one past everything. */
bool slow_add_named(struct tokenizer *t, const char *content, struct added_token flags, struct error *err);
/* added_tokens_decoder's tokens. */
bool slow_add_from_config(struct tokenizer *t, const json_t *config, struct error *err);
/* Contents of the special tokens before and after a text; NULL: none. */
bool slow_surround(struct tokenizer *t, struct token_ids *around, const char *before, const char *after,
    const char *last, struct error *err);
/* What every class ends with: named special tokens, the tokens' trie, the ids around a text. */
bool slow_finish(struct tokenizer *t, const json_t *config, const char *before, const char *after,
    const char *last, struct error *err);
/* Token strings and ids of vocab.json. */
bool slow_load_vocabulary_json(struct tokenizer *t, const char *dir, const char *name, struct error *err);

bool slow_open_t5(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err);
bool slow_open_llama(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err);
bool slow_open_xlm_roberta(struct tokenizer *t, const char *dir, const json_t *config,
    const struct slow_family *f, struct error *err);
bool slow_open_mbart(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err);
bool slow_open_nllb(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err);
bool slow_open_m2m100(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err);
bool slow_open_pegasus(struct tokenizer *t, const char *dir, const json_t *config,
    const struct slow_family *f, struct error *err);
bool slow_open_marian(struct tokenizer *t, const char *dir, const json_t *config, const struct slow_family *f,
    struct error *err);
bool slow_open_deberta(struct tokenizer *t, const char *dir, const json_t *config,
    const struct slow_family *f, struct error *err);

#endif
