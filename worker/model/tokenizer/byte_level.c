#include "worker/model/tokenizer/byte_level.h"

#include <utf8proc.h>

#include "common/text.h"

static bool stands_for_itself(uint32_t c)
{
    return (c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

uint32_t byte_level_character(uint8_t byte)
{
    /* The others, in order: 0x00-0x20, 0x7F-0xA0, 0xAD. */
    if (stands_for_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100 + byte;
    if (byte <= 0xA0)
        return 0x121 + (byte - 0x7Fu);
    return 0x143;
}

int byte_level_byte(uint32_t c)
{
    if (c <= 0xFF)
        return stands_for_itself(c) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 0x7F);
    return c == 0x143 ? 0xAD : -1;
}

bool byte_level_append(struct buffer *out, const char *bytes, size_t len, struct error *err)
{
    if (len > SIZE_MAX / 2 || !buffer_reserve(out, len * 2, err))
        return error_set(err, ERROR_MEMORY, "no memory for a text of %zu bytes", len);
    for (size_t i = 0; i < len; i++)
        out->len += text_encode(byte_level_character((uint8_t)bytes[i]), out->data + out->len);
    return true;
}

size_t byte_level_grapheme_end(const char *text, size_t len, size_t at)
{
    uint32_t before, after;
    utf8proc_int32_t state = 0;
    at += text_decode(text + at, len - at, &before);
    while (at < len) {
        size_t step = text_decode(text + at, len - at, &after);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)after, &state))
            break;
        before = after;
        at += step;
    }
    return at;
}
