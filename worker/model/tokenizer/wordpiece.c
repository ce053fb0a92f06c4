#include "worker/model/tokenizer/wordpiece.h"

#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/buffer.h"

/* The longest piece that starts at word[at]; its end, or `at` when there is none. */
static size_t longest(const struct wordpiece *w, const char *word, size_t len, size_t at, struct buffer *key,
    int32_t *id, struct error *err)
{
    size_t prefix_len = at ? strlen(w->prefix) : 0;
    key->len = 0;
    if (!buffer_append(key, w->prefix, prefix_len, err) || !buffer_append(key, word + at, len - at, err))
        return SIZE_MAX;
    for (size_t end = len; end > at;) {
        *id = vocabulary_find(w->vocabulary, key->data, prefix_len + (end - at));
        if (*id >= 0)
            return end;
        do
            end--;
        while (end > at && ((unsigned char)word[end] & 0xC0) == 0x80);
    }
    return at;
}

bool wordpiece_encode(
    const struct wordpiece *wordpiece, const char *word, size_t len, struct token_ids *out, struct error *err)
{
    if (!len)
        return true;
    if (text_count(word, len) > wordpiece->max_characters)
        return token_ids_push(out, wordpiece->unknown, err);
    struct buffer key = {0};
    size_t before = out->count;
    bool ok = true;
    for (size_t at = 0; ok && at < len;) {
        int32_t id;
        size_t end = longest(wordpiece, word, len, at, &key, &id, err);
        if (end == SIZE_MAX) {
            ok = false;
        } else if (end == at) {
            out->count = before;
            ok = token_ids_push(out, wordpiece->unknown, err);
            break;
        } else {
            ok = token_ids_push(out, id, err);
            at = end;
        }
    }
    buffer_free(&key);
    return ok;
}
