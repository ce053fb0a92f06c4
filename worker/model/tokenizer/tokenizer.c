#include "worker/model/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/chat.h"
#include "worker/model/tokenizer/implementation.h"
#include "worker/model/tokenizer/postprocessor.h"
#include "worker/model/tokenizer/slow.h"

void token_ids_free(struct token_ids *list)
{
    free(list->ids);
    *list = (struct token_ids){0};
}

bool token_ids_push(struct token_ids *list, int32_t id, struct error *err)
{
    if (list->count == list->capacity) {
        int32_t *ids = array_grow(list->ids, &list->capacity, list->count + 1, sizeof(*ids), err);
        if (!ids)
            return false;
        list->ids = ids;
    }
    list->ids[list->count++] = id;
    return true;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    slow_free(t->slow);
    chat_template_free(t->chat);
    added_free(&t->added);
    normalizer_free(&t->normalizer);
    pretokenizer_free(&t->pretokenizer);
    bpe_free(&t->bpe);
    trie_free(&t->unigram.trie);
    free(t->scores);
    free(t->wordpiece.prefix);
    word_cache_free(&t->cache);
    decoder_free(&t->decoder);
    token_ids_free(&t->around);
    token_ids_free(&t->around_target);
    for (int i = 0; i < SPECIAL_COUNT; i++)
        free(t->special[i]);
    vocabulary_free(&t->vocabulary);
    free(t);
}

static bool encode_valid(const struct tokenizer *t, const char *text, size_t len, unsigned flags,
    struct token_ids *out, struct error *err)
{
    bool target = flags & TOKENIZER_TEXT_PAIR_TARGET;
    struct token_ids ids = {0};
    bool ok =
        t->slow ? slow_encode(t, text, len, target, &ids, err) : pipeline_encode(t, text, len, &ids, err);
    if (ok && (flags & TOKENIZER_ADD_SPECIAL)) {
        const struct token_ids *around = target && t->around_target.count ? &t->around_target : &t->around;
        ok = slow_around(t, around, &ids, out, err);
    } else if (ok) {
        for (size_t i = 0; ok && i < ids.count; i++)
            ok = token_ids_push(out, ids.ids[i], err);
    }
    token_ids_free(&ids);
    return ok;
}

bool tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t len, unsigned flags,
    struct token_ids *out, struct error *err)
{
    size_t before = out->count;
    bool ok;
    if (text_valid(text, len)) {
        ok = encode_valid(tokenizer, text, len, flags, out, err);
    } else {
        size_t repaired_len;
        char *repaired = text_repair(text, len, &repaired_len);
        if (!repaired)
            return error_set(err, ERROR_MEMORY, "no memory to tokenize %zu bytes", len);
        ok = encode_valid(tokenizer, repaired, repaired_len, flags, out, err);
        free(repaired);
    }
    if (!ok)
        out->count = before;
    return ok;
}

char *tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
    size_t *len, struct error *err)
{
    struct buffer out = {0};
    bool ok = tokenizer->slow ? slow_decode(tokenizer, ids, count, skip_special, &out, err)
                              : pipeline_decode(tokenizer, ids, count, skip_special, &out, err);
    char *text = ok ? buffer_take(&out, len, err) : NULL;
    buffer_free(&out);
    return text;
}

int32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *token)
{
    const struct added_token *added = added_by_content(&tokenizer->added, token, strlen(token));
    return added ? added->id : vocabulary_find(&tokenizer->vocabulary, token, strlen(token));
}

size_t tokenizer_vocabulary_size(const struct tokenizer *tokenizer)
{
    size_t size = tokenizer->vocabulary.text_count;
    for (size_t i = 0; i < tokenizer->added.count; i++) {
        if ((size_t)tokenizer->added.tokens[i].id >= size)
            size = (size_t)tokenizer->added.tokens[i].id + 1;
    }
    return size;
}

size_t tokenizer_max_length(const struct tokenizer *tokenizer)
{
    return tokenizer->max_length;
}

const char *tokenizer_kind(const struct tokenizer *tokenizer)
{
    return tokenizer->kind;
}

const char *tokenizer_digest(const struct tokenizer *tokenizer)
{
    return tokenizer->digest;
}

bool tokenizer_has_chat(const struct tokenizer *tokenizer)
{
    return tokenizer->chat != NULL;
}

char *tokenizer_chat(const struct tokenizer *tokenizer, const struct chat_message *messages, size_t count,
    bool add_generation_prompt, struct error *err)
{
    if (!tokenizer->chat) {
        error_set(err, ERROR_NOT_FOUND, "the model has no chat template");
        error_hint(err, "use a model tuned for chat, or the task text-generation with a plain prompt");
        return NULL;
    }
    return chat_template_render(
        tokenizer->chat, tokenizer->special, messages, count, add_generation_prompt, err);
}
