#include "worker/model/tokenizer/added.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/unicode.h"

enum { ADDED_BYTES_MAX = 4096, ADDED_ID_MAX = 1 << 24 };

void added_free(struct added *added)
{
    for (size_t i = 0; i < added->count; i++)
        free(added->tokens[i].content);
    free(added->tokens);
    free(added->by_id);
    trie_free(&added->raw);
    trie_free(&added->normalized);
    *added = (struct added){0};
}

const struct added_token *added_by_content(const struct added *added, const char *content, size_t len)
{
    for (size_t i = 0; i < added->count; i++) {
        if (added->tokens[i].len == len && memcmp(added->tokens[i].content, content, len) == 0)
            return &added->tokens[i];
    }
    return NULL;
}

const struct added_token *added_by_id(const struct added *added, int32_t id)
{
    if (id < 0 || (size_t)id >= added->by_id_count || added->by_id[id] < 0)
        return NULL;
    return &added->tokens[added->by_id[id]];
}

static bool index_id(struct added *added, int32_t id, size_t index, struct error *err)
{
    if (id < 0 || id >= ADDED_ID_MAX)
        return error_set(
            err, ERROR_INVALID, "an added token's id %d is outside 0..%d", (int)id, ADDED_ID_MAX);
    if ((size_t)id >= added->by_id_count) {
        size_t count = (size_t)id + 1024;
        int32_t *by_id = realloc(added->by_id, count * sizeof(*by_id));
        if (!by_id)
            return error_set(err, ERROR_MEMORY, "no memory for added tokens");
        for (size_t i = added->by_id_count; i < count; i++)
            by_id[i] = -1;
        added->by_id = by_id;
        added->by_id_count = count;
    }
    added->by_id[id] = (int32_t)index;
    return true;
}

bool added_push(
    struct added *added, const char *content, size_t len, struct added_token flags, struct error *err)
{
    if (len > ADDED_BYTES_MAX)
        return error_set(err, ERROR_TOO_LARGE, "an added token of %zu bytes is over the limit of %d", len,
            ADDED_BYTES_MAX);
    struct added_token *same = (struct added_token *)added_by_content(added, content, len);
    if (same) {
        flags.content = same->content;
        flags.len = len;
        *same = flags;
        return index_id(added, flags.id, (size_t)(same - added->tokens), err);
    }
    struct added_token *tokens =
        array_grow(added->tokens, &added->capacity, added->count + 1, sizeof(*tokens), err);
    if (!tokens)
        return false;
    added->tokens = tokens;
    flags.len = len;
    flags.content = malloc(len + 1);
    if (!flags.content)
        return error_set(err, ERROR_MEMORY, "no memory for added tokens");
    memcpy(flags.content, content, len);
    flags.content[len] = '\0';
    tokens[added->count] = flags;
    return index_id(added, flags.id, added->count++, err);
}

static bool build_one(struct added *added, bool normalized, const struct normalizer *normalizer,
    struct trie *trie, struct error *err)
{
    struct trie_key *keys = calloc(added->count + 1, sizeof(*keys));
    struct buffer *texts = calloc(added->count + 1, sizeof(*texts));
    size_t count = 0;
    bool ok = keys && texts;
    if (!ok)
        error_set(err, ERROR_MEMORY, "no memory for added tokens");
    for (size_t i = 0; ok && i < added->count; i++) {
        const struct added_token *token = &added->tokens[i];
        size_t first = 0;
        if (token->normalized != normalized)
            continue;
        ok = buffer_append(&texts[i], token->content, token->len, err) &&
             (!normalized || !normalizer || normalizer_run(normalizer, &texts[i], &first, err));
        if (ok && texts[i].len)
            keys[count++] = (struct trie_key){texts[i].data, (uint32_t)texts[i].len, (int32_t)i};
    }
    ok = ok && trie_build(trie, keys, count, err);
    for (size_t i = 0; texts && i < added->count; i++)
        buffer_free(&texts[i]);
    free(texts);
    free(keys);
    return ok;
}

bool added_build(struct added *added, const struct normalizer *normalizer, struct error *err)
{
    unicode_open();
    trie_free(&added->raw);
    trie_free(&added->normalized);
    return build_one(added, false, NULL, &added->raw, err) &&
           build_one(added, true, normalizer, &added->normalized, err);
}

static size_t back_one(const char *text, size_t at, uint32_t *c)
{
    size_t from = at - 1;
    while (from > 0 && ((unsigned char)text[from] & 0xC0) == 0x80)
        from--;
    text_decode(text + from, at - from, c);
    return from;
}

static bool stands_alone(const char *text, size_t len, size_t begin, size_t end)
{
    uint32_t c;
    if (begin > 0) {
        back_one(text, begin, &c);
        if (unicode_is(c, CLASS_RUST_WORD))
            return false;
    }
    if (end < len) {
        text_decode(text + end, len - end, &c);
        if (unicode_is(c, CLASS_RUST_WORD))
            return false;
    }
    return true;
}

static size_t strip_left(const char *text, size_t begin, size_t stop)
{
    uint32_t c;
    while (begin > stop) {
        size_t from = back_one(text, begin, &c);
        if (!unicode_is(c, CLASS_SPACE) || from < stop)
            break;
        begin = from;
    }
    return begin;
}

static size_t strip_right(const char *text, size_t len, size_t end)
{
    uint32_t c;
    while (end < len) {
        size_t step = text_decode(text + end, len - end, &c);
        if (!unicode_is(c, CLASS_SPACE))
            break;
        end += step;
    }
    return end;
}

bool added_split(const struct added *added, const struct trie *trie, const char *text, size_t len,
    added_each each, void *context, struct error *err)
{
    size_t done = 0;
    for (size_t at = 0; at < len && trie->count > 1;) {
        size_t token_len = 0;
        int32_t index =
            trie->roots[(uint8_t)text[at]] ? trie_longest(trie, text + at, len - at, &token_len) : -1;
        if (index < 0) {
            at++;
            continue;
        }
        const struct added_token *token = &added->tokens[index];
        size_t begin = at, end = at + token_len;
        /* Matches are found in the text as it is: what rstrip ate may still match, as in the reference. */
        at = end;
        if (token->single_word && !stands_alone(text, len, begin, end))
            continue;
        if (token->lstrip)
            begin = strip_left(text, begin, done);
        if (token->rstrip)
            end = strip_right(text, len, end);
        if (begin < done)
            begin = done;
        if (end < begin)
            continue;
        if ((done < begin && !each(context, done, begin, NULL, err)) ||
            !each(context, begin, end, token, err))
            return false;
        done = end;
    }
    return done >= len || each(context, done, len, NULL, err);
}
