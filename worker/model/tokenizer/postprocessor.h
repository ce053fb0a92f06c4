/* What a post-processor adds around a text's ids. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_POSTPROCESSOR_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_POSTPROCESSOR_H

#include <jansson.h>

#include "worker/model/tokenizer/tokenizer.h"

enum { POSTPROCESSOR_TEXT = -1 };

/* A sequence of ids in which POSTPROCESSOR_TEXT stands for the text's own. Loads tokenizer.json's
 * "post_processor" (null: the text alone). Free with token_ids_free. */
bool postprocessor_load(const json_t *json, struct token_ids *out, struct error *err);

/* Appends `items` to `out` with the text's ids put in. */
bool postprocessor_run(
    const struct token_ids *items, const struct token_ids *text, struct token_ids *out, struct error *err);

#endif
