/* A chat template, rendered for a short conversation. */
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"
#include "worker/model/tokenizer/chat.h"
#include "worker/model/tokenizer/implementation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct chat_message messages[] = {
        {"system", "Be brief."}, {"user", "Hello <b>\xC3\xA9</b>"}, {"assistant", "<think>x</think> y"}};
    char *special[SPECIAL_COUNT] = {[SPECIAL_BOS] = "<s>", [SPECIAL_EOS] = "</s>"};
    struct chat_template *chat = NULL;
    struct error err = {0};
    if (chat_template_open((const char *)data, size, &chat, &err))
        free(chat_template_render(chat, special, messages, 3, true, &err));
    chat_template_free(chat);
    return 0;
}
