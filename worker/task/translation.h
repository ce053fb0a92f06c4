/* Translation: how each family of models is told which language comes in and which goes out. Private to the
 * task room. */
#ifndef LUMIGRID_WORKER_TASK_TRANSLATION_H
#define LUMIGRID_WORKER_TASK_TRANSLATION_H

#include "worker/engine/engine.h"
#include "worker/model/tokenizer/tokenizer.h"

struct translation {
    int32_t source_id;     /* the source language's token, put into every prompt; -1: none */
    int32_t *language_ids; /* every language's token, to find the one that the tokenizer put there */
    size_t language_count;
};

/* What the task "translation_xx_to_yy" needs beyond the model's own settings for it. `source` and `target` as
 * language_find() knows them; NULL: nothing to do.
 *   T5, mT5      the prefix "translate English to German: ", unless config.json has one for the task
 *   Marian       ">>deu<< " in front, when the vocabulary has it (models of several target languages)
 *   mBART, NLLB, M2M100   the source's code in the prompt, the target's as the first token generated
 * `config` is the model's config.json. ERROR_UNSUPPORTED: the model does not know a language. Free with
 * translation_free. */
bool translation_open(const char *model_type, const json_t *config, const struct tokenizer *tokenizer,
    const char *task, const char *source, const char *target, struct generation_settings *settings,
    struct translation *out, struct error *err);
void translation_free(struct translation *translation);

/* Puts the source language's token where the tokenizer put that of its default. */
bool translation_mark(const struct translation *translation, struct token_ids *ids, struct error *err);

#endif
