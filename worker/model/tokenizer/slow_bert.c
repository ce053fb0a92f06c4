/* BertTokenizer's basic tokenizer: clean, split at spaces, ideographs and punctuation, lower, strip accents.
 */
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/slow.h"
#include "worker/model/tokenizer/unicode.h"

/* Python's lower() knows an older Unicode than Rust's: what it has not assigned stays. */
static bool append_lower(struct buffer *out, uint32_t c, struct error *err)
{
    return unicode_is(c, CLASS_PYTHON_CONTROL) ? buffer_append_code_point(out, c, err)
                                               : unicode_append_lower(out, c, err);
}

bool slow_lower(
    const struct tokenizer *t, const char *text, size_t len, struct buffer *out, struct error *err)
{
    for (size_t i = 0; i < len;) {
        const struct added_token *kept = NULL;
        for (size_t k = 0; k < t->added.count && !kept; k++) {
            const struct added_token *token = &t->added.tokens[k];
            if ((token->special || token->normalized) && token->len && token->len <= len - i &&
                memcmp(token->content, text + i, token->len) == 0)
                kept = token;
        }
        if (kept) {
            if (!buffer_append(out, kept->content, kept->len, err))
                return false;
            i += kept->len;
            continue;
        }
        uint32_t c;
        i += text_decode(text + i, len - i, &c);
        if (!append_lower(out, c, err))
            return false;
    }
    return true;
}

static bool is_ideograph(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool is_punctuation(uint32_t c)
{
    if ((c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126))
        return true;
    return unicode_is(c, CLASS_PYTHON_PUNCTUATION);
}

static bool clean(
    const struct slow *slow, const char *text, size_t len, struct buffer *out, struct error *err)
{
    for (size_t i = 0; i < len;) {
        uint32_t c;
        i += text_decode(text + i, len - i, &c);
        bool line = c == '\t' || c == '\n' || c == '\r';
        if (!line && (c == 0 || c == 0xFFFD || unicode_is(c, CLASS_PYTHON_CONTROL)))
            continue;
        bool space = line || (unicode_is(c, CLASS_PYTHON_SPACE) && c != 0x2028 && c != 0x2029);
        bool padded = slow->chinese && is_ideograph(c);
        if ((padded && !buffer_append(out, " ", 1, err)) ||
            !buffer_append_code_point(out, space ? ' ' : c, err) ||
            (padded && !buffer_append(out, " ", 1, err)))
            return false;
    }
    return true;
}

/* Lowers and strips one word. */
static bool fold(const struct slow *slow, const char *word, size_t len, struct buffer *out, struct error *err)
{
    struct buffer lower = {0}, apart = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < len;) {
        uint32_t c;
        i += text_decode(word + i, len - i, &c);
        ok = slow->lowercase ? append_lower(&lower, c, err) : buffer_append_code_point(&lower, c, err);
    }
    if (ok && !slow->strip_accents) {
        ok = buffer_append(out, lower.data, lower.len, err);
    } else if (ok) {
        ok = unicode_normalize(FORM_NFD, lower.data, lower.len, &apart, NULL, err);
        for (size_t i = 0; ok && i < apart.len;) {
            uint32_t c;
            i += text_decode(apart.data + i, apart.len - i, &c);
            ok = unicode_is(c, CLASS_PYTHON_ACCENT) || buffer_append_code_point(out, c, err);
        }
    }
    buffer_free(&lower);
    buffer_free(&apart);
    return ok;
}

/* Cuts a folded word at punctuation and, as the reference splits once more, at what became space. */
static bool encode_word(
    const struct tokenizer *t, const char *word, size_t len, struct token_ids *out, struct error *err)
{
    size_t begin = 0;
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t step = text_decode(word + i, len - i, &c);
        bool space = unicode_is(c, CLASS_PYTHON_SPACE);
        if (space || is_punctuation(c)) {
            if (!wordpiece_encode(&t->wordpiece, word + begin, i - begin, out, err) ||
                (!space && !wordpiece_encode(&t->wordpiece, word + i, step, out, err)))
                return false;
            begin = i + step;
        }
        i += step;
    }
    return wordpiece_encode(&t->wordpiece, word + begin, len - begin, out, err);
}

bool slow_bert_encode(
    const struct tokenizer *t, const char *text, size_t len, struct token_ids *out, struct error *err)
{
    struct buffer cleaned = {0}, composed = {0}, word = {0};
    bool ok = clean(t->slow, text, len, &cleaned, err) &&
              unicode_normalize(FORM_NFC, cleaned.data, cleaned.len, &composed, NULL, err);
    for (size_t i = 0, begin = 0; ok && i <= composed.len;) {
        uint32_t c = ' ';
        size_t step = i < composed.len ? text_decode(composed.data + i, composed.len - i, &c) : 1;
        if (unicode_is(c, CLASS_PYTHON_SPACE)) {
            word.len = 0;
            ok = fold(t->slow, composed.data + begin, i - begin, &word, err) &&
                 encode_word(t, word.data, word.len, out, err);
            begin = i + step;
        }
        i += step;
    }
    buffer_free(&cleaned);
    buffer_free(&composed);
    buffer_free(&word);
    return ok;
}
