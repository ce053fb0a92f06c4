#include "worker/model/tokenizer/chat.h"
bool chat_template_open(const char *source, size_t len, struct chat_template **out, struct error *err)
{
    (void)source;
    (void)len;
    (void)out;
    (void)err;
    return true;
}
void chat_template_free(struct chat_template *chat)
{
    (void)chat;
}
char *chat_template_render(const struct chat_template *chat, char *const *special,
    const struct chat_message *messages, size_t count, bool add_generation_prompt, struct error *err)
{
    (void)chat;
    (void)special;
    (void)messages;
    (void)count;
    (void)add_generation_prompt;
    (void)err;
    return NULL;
}
