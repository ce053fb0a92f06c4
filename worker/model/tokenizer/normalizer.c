#include "worker/model/tokenizer/normalizer.h"

#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/byte_level.h"
#include "worker/model/tokenizer/unicode.h"

/* What one character becomes: appended to `out`. */
typedef bool (*map_character)(uint32_t c, struct buffer *out, struct error *err);

static bool map_all(
    const struct buffer *in, size_t *first, struct buffer *out, map_character map, struct error *err)
{
    size_t mark = 0;
    for (size_t i = 0; i < in->len;) {
        uint32_t c;
        i += text_decode(in->data + i, in->len - i, &c);
        if (!map(c, out, err))
            return false;
        if (i <= *first)
            mark = out->len;
    }
    *first = mark;
    return true;
}

static bool map_accent(uint32_t c, struct buffer *out, struct error *err)
{
    return unicode_is(c, CLASS_COMBINING) || buffer_append_code_point(out, c, err);
}

static bool map_lower(uint32_t c, struct buffer *out, struct error *err)
{
    return unicode_append_lower(out, c, err);
}

static bool map_bert_accent(uint32_t c, struct buffer *out, struct error *err)
{
    return unicode_is(c, CLASS_BERT_ACCENT) || buffer_append_code_point(out, c, err);
}

static bool map_clean(uint32_t c, struct buffer *out, struct error *err)
{
    uint32_t classes = unicode_classes(c);
    if (classes & CLASS_BERT_CONTROL)
        return true;
    return buffer_append_code_point(out, classes & CLASS_SPACE ? ' ' : c, err);
}

/* The blocks of CJK ideographs that BERT puts spaces around. */
static bool is_chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x2F800 && c <= 0x2FA1F);
}

static bool map_chinese(uint32_t c, struct buffer *out, struct error *err)
{
    if (!is_chinese(c))
        return buffer_append_code_point(out, c, err);
    return buffer_append(out, " ", 1, err) && buffer_append_code_point(out, c, err) &&
           buffer_append(out, " ", 1, err);
}

/* SentencePiece's nmt_* rules on top of NFKC: some controls go, some characters are spaces. */
static bool map_nmt(uint32_t c, struct buffer *out, struct error *err)
{
    if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
        return true;
    bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                 c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
    return buffer_append_code_point(out, space ? ' ' : c, err);
}

static bool map_bytes(uint32_t c, struct buffer *out, struct error *err)
{
    char bytes[4];
    size_t len = text_encode(c, bytes);
    return byte_level_append(out, bytes, len, err);
}

static bool strip(const struct normalizer_step *step, const struct buffer *in, size_t *first,
    struct buffer *out, struct error *err)
{
    size_t begin = 0, end = 0;
    bool leading = true;
    for (size_t i = 0; i < in->len;) {
        uint32_t c;
        size_t len = text_decode(in->data + i, in->len - i, &c);
        bool space = unicode_is(c, CLASS_SPACE);
        if (leading && space)
            begin = i + len;
        if (!space) {
            leading = false;
            end = i + len;
        }
        i += len;
    }
    if (!step->left)
        begin = 0;
    if (!step->right)
        end = in->len;
    if (end < begin)
        end = begin;
    *first = *first > begin ? *first - begin : 0;
    if (*first > end - begin)
        *first = end - begin;
    return buffer_append(out, in->data + begin, end - begin, err);
}

static bool replace(const struct normalizer_step *step, const struct buffer *in, size_t *first,
    struct buffer *out, struct error *err)
{
    struct pattern_scan scan = {.pattern = step->from, .text = in->data, .len = in->len};
    size_t at = 0, mark = *first;
    bool ok = true, found = true, marked = false;
    while (ok && found) {
        size_t begin = in->len, end = in->len;
        ok = pattern_next(&scan, &begin, &end, &found, err);
        if (!ok)
            break;
        if (!found)
            begin = end = in->len;
        if (!marked && begin >= *first) {
            mark = out->len + (*first > at ? *first - at : 0);
            marked = true;
        }
        ok = buffer_append(out, in->data + at, begin - at, err) &&
             (!found || buffer_append(out, step->text, step->text_len, err));
        if (ok && found && begin < *first && end >= *first) {
            mark = out->len;
            marked = true;
        }
        at = end;
    }
    pattern_scan_free(&scan);
    *first = mark;
    return ok;
}

static bool prepend(const struct normalizer_step *step, const struct buffer *in, size_t *first,
    struct buffer *out, struct error *err)
{
    if (!in->len)
        return true;
    if (*first)
        *first += step->text_len;
    return buffer_append(out, step->text, step->text_len, err) && buffer_append(out, in->data, in->len, err);
}

/* The `tokenizers` library looks a whole grapheme up when it is shorter than six bytes, then each character.
 */
static bool map_charsmap(
    const struct charsmap *map, const struct buffer *in, size_t *first, struct buffer *out, struct error *err)
{
    size_t mark = 0;
    for (size_t i = 0; i < in->len;) {
        size_t end = byte_level_grapheme_end(in->data, in->len, i);
        const char *to;
        size_t to_len;
        bool whole = end - i < 6 && charsmap_first(map, in->data + i, end - i, &to, &to_len);
        if (whole) {
            if (!buffer_append(out, to, to_len, err))
                return false;
            i = end;
        }
        while (i < end) {
            size_t step = text_step(in->data[i]);
            if (!charsmap_first(map, in->data + i, step, &to, &to_len)) {
                to = in->data + i;
                to_len = step;
            }
            if (!buffer_append(out, to, to_len, err))
                return false;
            i += step;
        }
        if (i <= *first)
            mark = out->len;
    }
    *first = mark;
    return true;
}

static bool run_step(const struct normalizer_step *step, const struct buffer *in, size_t *first,
    struct buffer *out, struct error *err)
{
    switch (step->kind) {
    case NORMALIZER_FORM:
        return unicode_normalize((enum unicode_form)step->form, in->data, in->len, out, first, err);
    case NORMALIZER_LOWERCASE: return map_all(in, first, out, map_lower, err);
    case NORMALIZER_STRIP: return strip(step, in, first, out, err);
    case NORMALIZER_STRIP_ACCENTS: return map_all(in, first, out, map_accent, err);
    case NORMALIZER_REPLACE: return replace(step, in, first, out, err);
    case NORMALIZER_PREPEND: return prepend(step, in, first, out, err);
    case NORMALIZER_NMT: return map_all(in, first, out, map_nmt, err);
    case NORMALIZER_CHARSMAP: return map_charsmap(&step->map, in, first, out, err);
    case NORMALIZER_BERT_CLEAN: return map_all(in, first, out, map_clean, err);
    case NORMALIZER_BERT_CHINESE: return map_all(in, first, out, map_chinese, err);
    case NORMALIZER_BERT_ACCENTS: return map_all(in, first, out, map_bert_accent, err);
    case NORMALIZER_BYTE_LEVEL: return map_all(in, first, out, map_bytes, err);
    }
    return error_set(err, ERROR_INTERNAL, "normalizer step %d is unknown", (int)step->kind);
}

bool normalizer_run(
    const struct normalizer *normalizer, struct buffer *text, size_t *first, struct error *err)
{
    struct buffer out = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < normalizer->count && text->len; i++) {
        out.len = 0;
        ok = run_step(&normalizer->steps[i], text, first, &out, err);
        buffer_swap(text, &out);
    }
    buffer_free(&out);
    return ok;
}
