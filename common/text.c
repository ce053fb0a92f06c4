#include "common/text.h"

#include <stdlib.h>
#include <string.h>

static bool continues(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

size_t text_decode(const char *text, size_t len, uint32_t *code_point)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char lead = s[0];
    if (lead < 0x80) {
        *code_point = lead;
        return 1;
    }
    *code_point = TEXT_REPLACEMENT;
    if (lead < 0xC2 || lead > 0xF4 || len < 2)
        return 1;
    /* The second byte's range is what rules out overlong forms, surrogates and points past U+10FFFF. */
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high)
        return 1;
    if (lead < 0xE0) {
        *code_point = (uint32_t)(lead & 0x1F) << 6 | (s[1] & 0x3F);
        return 2;
    }
    if (len < 3 || !continues(s[2]))
        return 2;
    if (lead < 0xF0) {
        *code_point = (uint32_t)(lead & 0x0F) << 12 | (uint32_t)(s[1] & 0x3F) << 6 | (s[2] & 0x3F);
        return 3;
    }
    if (len < 4 || !continues(s[3]))
        return 3;
    *code_point = (uint32_t)(lead & 0x07) << 18 | (uint32_t)(s[1] & 0x3F) << 12 |
                  (uint32_t)(s[2] & 0x3F) << 6 | (s[3] & 0x3F);
    return 4;
}

size_t text_encode(uint32_t c, char out[4])
{
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        c = TEXT_REPLACEMENT;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

bool text_valid(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        if (len - i >= 8) {
            uint64_t word;
            memcpy(&word, text + i, sizeof(word));
            if (!(word & 0x8080808080808080u)) {
                i += 8;
                continue;
            }
        }
        uint32_t c;
        size_t step = text_decode(text + i, len - i, &c);
        /* A genuine U+FFFD takes three bytes and starts with EF. */
        if (c == TEXT_REPLACEMENT && (step != 3 || (unsigned char)text[i] != 0xEF))
            return false;
        i += step;
    }
    return true;
}

char *text_repair(const char *text, size_t len, size_t *out_len)
{
    if (len > (SIZE_MAX - 1) / 3)
        return NULL;
    /* One ill-formed byte becomes three. */
    bool valid = text_valid(text, len);
    char *out = malloc((valid ? len : len * 3) + 1);
    if (!out)
        return NULL;
    size_t used = 0;
    if (valid) {
        if (len)
            memcpy(out, text, len);
        used = len;
    } else {
        for (size_t i = 0; i < len;) {
            uint32_t c;
            i += text_decode(text + i, len - i, &c);
            used += text_encode(c, out + used);
        }
    }
    out[used] = '\0';
    *out_len = used;
    return out;
}

size_t text_count(const char *text, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += !continues((unsigned char)text[i]);
    return count;
}
