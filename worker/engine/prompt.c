#include "worker/engine/prompt.h"

#include <stdlib.h>
#include <string.h>

/* first + between + text; NULL `first` counts as nothing at all. */
static char *join(const char *first, const char *between, const char *text, size_t len, size_t *joined_len)
{
    size_t first_len = first ? strlen(first) : 0, between_len = first ? strlen(between) : 0;
    char *joined = malloc(first_len + between_len + len + 1);
    if (!joined)
        return NULL;
    if (first) {
        memcpy(joined, first, first_len);
        memcpy(joined + first_len, between, between_len);
    }
    memcpy(joined + first_len + between_len, text, len);
    *joined_len = first_len + between_len + len;
    joined[*joined_len] = '\0';
    return joined;
}

static char *render_chat(
    const struct tokenizer *tokenizer, const char *system, const char *user, size_t len, struct error *err)
{
    size_t joined_len;
    char *text = join(NULL, "", user, len, &joined_len), *rendered = NULL;
    if (!text)
        goto memory;
    struct chat_message messages[] = {{"system", system}, {"user", text}};
    if (!system || !(rendered = tokenizer_chat(tokenizer, messages, 2, true, err))) {
        free(text);
        if (!(text = join(system, "\n\n", user, len, &joined_len)))
            goto memory;
        messages[1].content = text;
        rendered = tokenizer_chat(tokenizer, &messages[1], 1, true, err);
    }
    free(text);
    return rendered;
memory:
    error_set(err, ERROR_MEMORY, "out of memory for a prompt of %zu bytes", len);
    return NULL;
}

bool prompt_encode(const struct tokenizer *tokenizer, enum engine_kind kind,
    const struct generation_settings *settings, const char *system_prompt, const char *text, size_t len,
    struct token_ids *out, struct error *err)
{
    char *input;
    size_t input_len;
    unsigned flags = TOKENIZER_ADD_SPECIAL;
    const char *system = system_prompt && *system_prompt ? system_prompt : NULL;
    if (kind == ENGINE_DECODER && tokenizer_has_chat(tokenizer)) {
        if (!(input = render_chat(tokenizer, system, text, len, err)))
            return false;
        input_len = strlen(input);
        flags = 0; /* the template wrote them */
    } else {
        bool decoder = kind == ENGINE_DECODER;
        input = join(decoder ? system : settings->prefix, decoder ? "\n\n" : "", text, len, &input_len);
        if (!input)
            return error_set(err, ERROR_MEMORY, "out of memory for a prompt of %zu bytes", len);
    }
    bool fine = tokenizer_encode(tokenizer, input, input_len, flags, out, err);
    free(input);
    return fine;
}
