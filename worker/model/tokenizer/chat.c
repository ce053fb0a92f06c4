#include "worker/model/tokenizer/chat.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/implementation.h"
#include "worker/model/tokenizer/jinja/run.h"

enum { TEMPLATE_BYTES_MAX = 1 << 20, TREE_BYTES_MAX = 64 << 20 };

struct chat_template {
    char *source; /* the tree points into it */
    struct arena arena;
    struct node *tree;
};

void chat_template_free(struct chat_template *chat)
{
    if (!chat)
        return;
    arena_free(&chat->arena);
    free(chat->source);
    free(chat);
}

/* Jinja reads every line end as \n. */
static size_t unify_line_ends(char *text, size_t len)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
            continue;
        text[used++] = text[i] == '\r' ? '\n' : text[i];
    }
    text[used] = '\0';
    return used;
}

bool chat_template_open(const char *source, size_t len, struct chat_template **out, struct error *err)
{
    if (len > TEMPLATE_BYTES_MAX)
        return error_set(err, ERROR_TOO_LARGE, "a chat template of %zu bytes is over the limit of %d", len,
            TEMPLATE_BYTES_MAX);
    struct chat_template *chat = calloc(1, sizeof(*chat));
    size_t source_len = 0;
    if (!chat || !(chat->source = text_repair(source, len, &source_len))) {
        free(chat);
        return error_set(err, ERROR_MEMORY, "no memory for a chat template");
    }
    source_len = unify_line_ends(chat->source, source_len);
    chat->arena = (struct arena){.limit = TREE_BYTES_MAX, .err = err};
    bool ok = jinja_parse(&chat->arena, chat->source, source_len, &chat->tree);
    chat->arena.err = NULL;
    if (!ok) {
        chat_template_free(chat);
        return false;
    }
    *out = chat;
    return true;
}

static bool set_text(struct run *r, struct value_dict *dict, const char *key, const char *text)
{
    size_t len;
    struct value value;
    char *repaired = text_repair(text, strlen(text), &len);
    bool ok = repaired ? value_string(r->arena, repaired, len, &value) &&
                             value_set_named(r->arena, dict, key, value)
                       : error_set(r->err, ERROR_MEMORY, "no memory for a chat template");
    free(repaired);
    return ok;
}

static bool set_messages(struct run *r, const struct chat_message *messages, size_t count)
{
    struct value list, item;
    if (!value_list(r->arena, VALUE_LIST, &list))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!value_dict(r->arena, VALUE_DICT, &item) || !set_text(r, item.dict, "role", messages[i].role) ||
            !set_text(r, item.dict, "content", messages[i].content) || !value_push(r->arena, list.list, item))
            return false;
    }
    return value_set_named(r->arena, &r->frame->variables, "messages", list);
}

/* What transformers' apply_chat_template hands to a template. */
static bool set_variables(struct run *r, char *const *special, const struct chat_message *messages,
    size_t count, bool add_generation_prompt)
{
    struct value_dict *variables = &r->frame->variables;
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        if (special[i] && !set_text(r, variables, special_keys[i], special[i]))
            return false;
    }
    return set_messages(r, messages, count) && value_set_named(r->arena, variables, "tools", value_none()) &&
           value_set_named(r->arena, variables, "documents", value_none()) &&
           value_set_named(r->arena, variables, "add_generation_prompt", value_bool(add_generation_prompt));
}

char *chat_template_render(const struct chat_template *chat, char *const *special,
    const struct chat_message *messages, size_t count, bool add_generation_prompt, struct error *err)
{
    struct error discarded;
    if (!err)
        err = &discarded;
    struct arena arena = {.limit = RUN_MEMORY_BYTES_MAX, .err = err};
    struct buffer out = {0};
    struct run run = {.arena = &arena, .err = err, .out = &out};
    size_t len;
    bool ok = run_push_frame(&run, NULL) && run_globals(&run) && run_push_frame(&run, run.frame) &&
              set_variables(&run, special, messages, count, add_generation_prompt) &&
              run_statement(&run, chat->tree);
    char *text = ok ? buffer_take(&out, &len, err) : NULL;
    buffer_free(&out);
    arena_free(&arena);
    return text;
}
