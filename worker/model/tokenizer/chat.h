/* Chat templates: a model's Jinja template, parsed once, rendered for a conversation. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_CHAT_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "worker/model/tokenizer/tokenizer.h"

struct chat_template;

bool chat_template_open(const char *source, size_t len, struct chat_template **out, struct error *err);
void chat_template_free(struct chat_template *chat); /* NULL is fine */

/* `special`: contents by enum special_name, NULL where there is none. Malloc'd; NULL on error. */
char *chat_template_render(const struct chat_template *chat, char *const *special,
    const struct chat_message *messages, size_t count, bool add_generation_prompt, struct error *err);

#endif
