#include <stdlib.h>
#include <string.h>

#include "worker/tools/tool.h"

static const struct config_option options[] = {
    TOOL_MODEL_OPTIONS,
    TOOL_LINES_OPTIONS("JSON lines {\"id\",\"text\"}; - is standard input", "JSON lines {\"id\",\"ids\"}"),
    {"chat", NULL, NULL,
        "read {\"id\",\"messages\":[{\"role\",\"content\"}]} and add \"text\", the rendered template", false,
        false},
    {0},
};

enum { MESSAGES_MAX = 1024 };

/* The rendered chat; malloc'd. */
static char *render(const struct tokenizer *tokenizer, const json_t *object, struct error *err)
{
    const json_t *messages = json_object_get(object, "messages"), *item;
    size_t i, count = json_array_size(messages), len;
    if (!json_is_array(messages) || count == 0 || count > MESSAGES_MAX) {
        error_set(err, ERROR_INVALID, "\"messages\" is not a list of 1 to %d messages", MESSAGES_MAX);
        return NULL;
    }
    struct chat_message *chat = calloc(count, sizeof *chat);
    char *text = NULL;
    if (!chat) {
        error_set(err, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    json_array_foreach(messages, i, item)
    {
        chat[i].role = object_text(item, "role", &len, err);
        chat[i].content = chat[i].role ? object_text(item, "content", &len, err) : NULL;
        if (!chat[i].content)
            goto done;
    }
    text = tokenizer_chat(tokenizer, chat, count, true, err);
done:
    free(chat);
    return text;
}

static json_t *ids_to_json(const struct token_ids *ids)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < ids->count; i++)
        json_array_append_new(list, json_integer(ids->ids[i]));
    return list;
}

static bool tokenize_object(const struct tokenizer *tokenizer, const json_t *object, bool chat,
    struct token_ids *ids, FILE *out, struct error *err)
{
    size_t len;
    const char *text;
    char *rendered = NULL;
    bool fine = object_has_id(object, err);
    if (fine && chat) {
        text = rendered = render(tokenizer, object, err);
        len = rendered ? strlen(rendered) : 0;
    } else {
        text = fine ? object_text(object, "text", &len, err) : NULL;
    }
    ids->count = 0;
    fine = text && tokenizer_encode(tokenizer, text, len, chat ? 0 : TOKENIZER_ADD_SPECIAL, ids, err);
    if (fine) {
        json_t *line = json_pack("{sOso}", "id", json_object_get(object, "id"), "ids", ids_to_json(ids));
        if (line && rendered)
            json_object_set_new(line, "text", json_stringn(rendered, len));
        fine = output_line(out, line, err);
        json_decref(line);
    }
    free(rendered);
    return fine;
}

/* A directory may hold a tokenizer and nothing else. */
static const struct tokenizer *open_tokenizer(const struct config *config, struct subject *subject,
    struct tokenizer **own, bool *usage_error, struct error *err)
{
    static const char scheme[] = "file://";
    const char *reference = tool_required(config, "model", usage_error, err);
    if (!reference)
        return NULL;
    if (strncmp(reference, scheme, sizeof scheme - 1) == 0)
        return tokenizer_open(reference + sizeof scheme - 1, own, err) ? *own : NULL;
    if (!subject_open_model(subject, config, usage_error, err))
        return NULL;
    if (!model_tokenizer(subject->model))
        error_set(err, ERROR_NOT_FOUND, "%s has no tokenizer", reference);
    return model_tokenizer(subject->model);
}

static bool run(const struct config *config, bool *usage_error, struct error *err)
{
    struct subject subject = {0};
    struct tokenizer *own = NULL;
    struct lines lines = {0};
    struct token_ids ids = {0};
    const char *path = config_text(config, "output");
    FILE *out = NULL;
    json_t *object;
    const struct tokenizer *tokenizer = open_tokenizer(config, &subject, &own, usage_error, err);
    bool fine =
        tokenizer && lines_open(&lines, config_text(config, "input"), err) && (out = output_open(path, err));
    while (fine && (object = lines_next_object(&lines, err))) {
        fine = tokenize_object(tokenizer, object, config_switch(config, "chat"), &ids, out, err) ||
               lines_error(&lines, err);
        json_decref(object);
    }
    fine = fine && err->code == ERROR_NONE;
    if (!output_close(out, path, fine ? err : NULL))
        fine = false;
    lines_close(&lines);
    token_ids_free(&ids);
    tokenizer_close(own);
    subject_close(&subject);
    return fine;
}

const struct tool tool_tokenize = {"tokenize",
    "--model REF [--chat] [--input FILE] [--output FILE]\n\nToken ids of texts. A directory with tokenizer "
    "files "
    "only will do.",
    options, run};
