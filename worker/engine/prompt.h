/* From a sample's text to the ids a model reads: the task's prefix, the chat template, special tokens. */
#ifndef LUMIGRID_WORKER_ENGINE_PROMPT_H
#define LUMIGRID_WORKER_ENGINE_PROMPT_H

#include "worker/engine/engine.h"

/* Appends the ids of text[0..len). An encoder-decoder gets settings->prefix in front. A decoder gets its chat
 * template with `system_prompt` (NULL: none); one without a template gets "system prompt, empty line, text".
 * A template that knows no system role gets the system prompt in front of the user's text. */
bool prompt_encode(const struct tokenizer *tokenizer, enum engine_kind kind,
    const struct generation_settings *settings, const char *system_prompt, const char *text, size_t len,
    struct token_ids *out, struct error *err);

#endif
