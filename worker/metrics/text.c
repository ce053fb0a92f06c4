#include "worker/metrics/text.h"

#include <string.h>

#include "worker/metrics/unicode_data.h"

#define CAPITAL_I_WITH_DOT 0x130u
#define COMBINING_DOT_ABOVE 0x307u
#define CAPITAL_SIGMA 0x3A3u
#define FINAL_SIGMA 0x3C2u
#define SMALL_SIGMA 0x3C3u

_Static_assert(METRIC_CLASS_WORD == UNICODE_WORD && METRIC_CLASS_RE_WORD == UNICODE_RE_WORD &&
                   METRIC_CLASS_DIGIT == UNICODE_DIGIT && METRIC_CLASS_UPPER == UNICODE_UPPER &&
                   METRIC_CLASS_LOWER == UNICODE_LOWER && METRIC_CLASS_CASED == UNICODE_CASED &&
                   METRIC_CLASS_IGNORABLE == UNICODE_IGNORABLE && METRIC_CLASS_MAPPED == UNICODE_MAPPED,
    "the generated table's bits are the enum's");

unsigned metric_text_class(uint32_t cp)
{
    return cp < 0x110000 ? unicode_flags[unicode_index[cp / UNICODE_BLOCK]][cp % UNICODE_BLOCK] : 0;
}

bool metric_text_is_regex_space(uint32_t cp)
{
    if (cp <= 0x20)
        return cp == 0x20 || (cp >= 0x09 && cp <= 0x0D);
    if (cp < 0x85)
        return false;
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 ||
           cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool metric_text_is_space(uint32_t cp)
{
    return (cp >= 0x1C && cp <= 0x1F) || metric_text_is_regex_space(cp);
}

/* Length of the well-formed sequence at `s`, its code point in *cp; 0 when malformed. */
static size_t decode_one(const unsigned char *s, size_t left, uint32_t *cp)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : s[0] >= 0xC2 ? 2 : 0;
    if (length == 0 || s[0] > 0xF4 || left < length)
        return 0;
    uint32_t value = s[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (s[i] & 0x3F);
    }
    if (value < smallest[length] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        return 0;
    *cp = value;
    return length;
}

bool metric_text_decode(
    struct metric_arena *arena, const char *utf8, size_t len, struct metric_text *out, struct error *err)
{
    const unsigned char *s = (const unsigned char *)utf8;
    uint32_t *cp = metric_arena_alloc(arena, len, sizeof *cp, err);
    if (!cp)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < len;) {
        if (s[i] < 0x80) {
            cp[count++] = s[i++];
            continue;
        }
        size_t length = decode_one(s + i, len - i, &cp[count]);
        if (length == 0)
            return error_set(err, ERROR_INVALID, "the text is not valid UTF-8 at byte %zu", i);
        count++;
        i += length;
    }
    *out = (struct metric_text){cp, count};
    return true;
}

bool metric_text_is_valid(const char *utf8, size_t len)
{
    const unsigned char *s = (const unsigned char *)utf8;
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t length = s[i] < 0x80 ? 1 : decode_one(s + i, len - i, &cp);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

static uint32_t lower_one(uint32_t cp)
{
    size_t low = 0;
    size_t high = sizeof unicode_lower / sizeof *unicode_lower;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (cp > unicode_lower[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == sizeof unicode_lower / sizeof *unicode_lower || cp < unicode_lower[low].first ||
        (cp - unicode_lower[low].first) % unicode_lower[low].stride != 0)
        return cp;
    return cp + (uint32_t)unicode_lower[low].delta;
}

/* Unicode's Final_Sigma: a cased letter before it and none after it, case-ignorable ones passed over. */
static bool is_final_sigma(struct metric_text text, size_t at)
{
    size_t i = at;
    while (i > 0 && (metric_text_class(text.cp[i - 1]) & METRIC_CLASS_IGNORABLE))
        i--;
    if (i == 0 || !(metric_text_class(text.cp[i - 1]) & METRIC_CLASS_CASED))
        return false;
    i = at + 1;
    while (i < text.len && (metric_text_class(text.cp[i]) & METRIC_CLASS_IGNORABLE))
        i++;
    return i == text.len || !(metric_text_class(text.cp[i]) & METRIC_CLASS_CASED);
}

bool metric_text_lower(
    struct metric_arena *arena, struct metric_text text, struct metric_text *out, struct error *err)
{
    size_t extra = 0;
    for (size_t i = 0; i < text.len; i++)
        extra += text.cp[i] == CAPITAL_I_WITH_DOT;
    uint32_t *cp = metric_arena_alloc(arena, text.len + extra, sizeof *cp, err);
    if (!cp)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint32_t c = text.cp[i];
        if (c < 0x80) {
            cp[count++] = c - 'A' < 26 ? c + 32 : c;
        } else if (!(metric_text_class(c) & METRIC_CLASS_MAPPED)) {
            cp[count++] = c;
        } else if (c == CAPITAL_I_WITH_DOT) {
            cp[count++] = 'i';
            cp[count++] = COMBINING_DOT_ABOVE;
        } else if (c == CAPITAL_SIGMA) {
            cp[count++] = is_final_sigma(text, i) ? FINAL_SIGMA : SMALL_SIGMA;
        } else {
            cp[count++] = lower_one(c);
        }
    }
    *out = (struct metric_text){cp, count};
    return true;
}

size_t metric_text_count_words(struct metric_text text)
{
    size_t count = 0;
    bool in_word = false;
    for (size_t i = 0; i < text.len; i++) {
        bool space = metric_text_is_space(text.cp[i]);
        count += !space && !in_word;
        in_word = !space;
    }
    return count;
}

bool metric_text_split(struct metric_arena *arena, struct metric_text text, struct metric_text **tokens,
    size_t *count, struct error *err)
{
    size_t words = metric_text_count_words(text);
    struct metric_text *list = metric_arena_alloc(arena, words, sizeof *list, err);
    if (!list)
        return false;
    size_t filled = 0;
    for (size_t i = 0; i < text.len;) {
        while (i < text.len && metric_text_is_space(text.cp[i]))
            i++;
        size_t start = i;
        while (i < text.len && !metric_text_is_space(text.cp[i]))
            i++;
        if (i > start)
            list[filled++] = (struct metric_text){text.cp + start, i - start};
    }
    *tokens = list;
    *count = filled;
    return true;
}

size_t metric_text_stripped_len(struct metric_text text)
{
    size_t len = text.len;
    while (len > 0 && metric_text_is_space(text.cp[len - 1]))
        len--;
    return len;
}
