#include "worker/model/tokenizer/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/byte_level.h"

typedef bool (*decode_step)(
    const struct decoder_step *step, const struct pieces *in, struct pieces *out, struct error *err);

static bool finish(struct pieces *out, size_t begin, struct error *err)
{
    return pieces_push(out, begin, out->text.len, false, err);
}

/* Appends the bytes that a token's characters stand for, or the token itself when one stands for none. */
static bool append_bytes(struct buffer *bytes, const char *token, size_t len, struct error *err)
{
    size_t before = bytes->len;
    for (size_t i = 0; i < len;) {
        uint32_t c;
        i += text_decode(token + i, len - i, &c);
        int byte = byte_level_byte(c);
        if (byte < 0) {
            bytes->len = before;
            return buffer_append(bytes, token, len, err);
        }
        char value = (char)byte;
        if (!buffer_append(bytes, &value, 1, err))
            return false;
    }
    return true;
}

static bool append_repaired(struct buffer *out, const char *bytes, size_t len, struct error *err)
{
    size_t repaired_len;
    char *repaired = text_repair(bytes, len, &repaired_len);
    if (!repaired)
        return error_set(err, ERROR_MEMORY, "no memory to decode %zu bytes", len);
    bool ok = buffer_append(out, repaired, repaired_len, err);
    free(repaired);
    return ok;
}

static bool decode_byte_level(
    const struct decoder_step *step, const struct pieces *in, struct pieces *out, struct error *err)
{
    (void)step;
    struct buffer bytes = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < in->count; i++)
        ok = append_bytes(&bytes, in->text.data + in->items[i].begin, in->items[i].len, err);
    ok = ok && append_repaired(&out->text, bytes.data ? bytes.data : "", bytes.len, err) &&
         finish(out, 0, err);
    buffer_free(&bytes);
    return ok;
}

static bool decode_metaspace(
    const struct decoder_step *step, const struct pieces *in, struct pieces *out, struct error *err)
{
    for (size_t i = 0; i < in->count; i++) {
        const char *token = in->text.data + in->items[i].begin;
        size_t len = in->items[i].len, begin = out->text.len;
        for (size_t at = 0; at < len;) {
            bool space = len - at >= step->text_len && memcmp(token + at, step->text, step->text_len) == 0;
            size_t used = space ? step->text_len : text_step(token[at]);
            if (used > len - at)
                used = len - at;
            bool dropped = space && i == 0 && step->flag;
            if (!dropped && !buffer_append(&out->text, space ? " " : token + at, space ? 1 : used, err))
                return false;
            at += used;
        }
        if (!finish(out, begin, err))
            return false;
    }
    return true;
}

static bool replace_all(
    struct buffer *text, size_t from, const char *what, const char *with, struct error *err)
{
    size_t what_len = strlen(what), with_len = strlen(with);
    for (size_t at = from; at < text->len;) {
        char *found = memmem(text->data + at, text->len - at, what, what_len);
        if (!found)
            break;
        at = (size_t)(found - text->data);
        if (!buffer_splice(text, at, what_len, with, with_len, err))
            return false;
        at += with_len;
    }
    return true;
}

static bool replace_list(
    struct buffer *text, size_t from, const char *const (*list)[2], size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!replace_all(text, from, list[i][0], list[i][1], err))
            return false;
    }
    return true;
}

bool decoder_clean_up(struct buffer *text, struct error *err)
{
    static const char *const list[][2] = {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"},
        {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    return replace_list(text, 0, list, sizeof(list) / sizeof(*list), err);
}

static bool decode_wordpiece(
    const struct decoder_step *step, const struct pieces *in, struct pieces *out, struct error *err)
{
    static const char *const list[][2] = {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"},
        {" n't", "n't"}, {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"},
        {" 're", "'re"}};
    for (size_t i = 0; i < in->count; i++) {
        const char *token = in->text.data + in->items[i].begin;
        size_t len = in->items[i].len, begin = out->text.len;
        bool continues = len >= step->text_len && memcmp(token, step->text, step->text_len) == 0;
        size_t skip = i && continues ? step->text_len : 0;
        if ((i && !continues && !buffer_append(&out->text, " ", 1, err)) ||
            !buffer_append(&out->text, token + skip, len - skip, err) ||
            (step->flag && !replace_list(&out->text, begin, list, sizeof(list) / sizeof(*list), err)) ||
            !finish(out, begin, err))
            return false;
    }
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static int byte_of_token(const char *token, size_t len)
{
    if (len != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    int high = hex_value(token[3]), low = hex_value(token[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* A run of byte tokens is one string when it is well-formed, else a U+FFFD for each byte. */
static bool flush_bytes(struct buffer *bytes, struct pieces *out, struct error *err)
{
    bool ok = true;
    if (text_valid(bytes->data, bytes->len)) {
        size_t begin = out->text.len;
        ok = buffer_append(&out->text, bytes->data, bytes->len, err) && finish(out, begin, err);
    } else {
        for (size_t i = 0; ok && i < bytes->len; i++) {
            size_t begin = out->text.len;
            ok = buffer_append(&out->text, "\xEF\xBF\xBD", 3, err) && finish(out, begin, err);
        }
    }
    bytes->len = 0;
    return ok;
}

static bool decode_byte_fallback(
    const struct decoder_step *step, const struct pieces *in, struct pieces *out, struct error *err)
{
    (void)step;
    struct buffer bytes = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < in->count; i++) {
        const char *token = in->text.data + in->items[i].begin;
        size_t len = in->items[i].len;
        int byte = byte_of_token(token, len);
        if (byte >= 0) {
            char value = (char)byte;
            ok = buffer_append(&bytes, &value, 1, err);
            continue;
        }
        ok = !bytes.len || flush_bytes(&bytes, out, err);
        size_t begin = out->text.len;
        ok = ok && buffer_append(&out->text, token, len, err) && finish(out, begin, err);
    }
    ok = ok && (!bytes.len || flush_bytes(&bytes, out, err));
    buffer_free(&bytes);
    return ok;
}

static bool decode_replace(
    const struct decoder_step *step, const struct pieces *in, struct pieces *out, struct error *err)
{
    struct pattern_scan scan = {.pattern = step->from};
    bool ok = true;
    for (size_t i = 0; ok && i < in->count; i++) {
        size_t begin = out->text.len, at = 0;
        scan.text = in->text.data + in->items[i].begin;
        scan.len = in->items[i].len;
        scan.at = 0;
        for (bool found = true; ok && found;) {
            size_t from = scan.len, to = scan.len;
            ok = pattern_next(&scan, &from, &to, &found, err);
            if (!found)
                from = to = scan.len;
            ok = ok && buffer_append(&out->text, scan.text + at, from - at, err) &&
                 (!found || buffer_append(&out->text, step->text, step->text_len, err));
            at = to;
        }
        ok = ok && finish(out, begin, err);
    }
    pattern_scan_free(&scan);
    return ok;
}

static bool decode_fuse(
    const struct decoder_step *step, const struct pieces *in, struct pieces *out, struct error *err)
{
    (void)step;
    for (size_t i = 0; i < in->count; i++) {
        if (!buffer_append(&out->text, in->text.data + in->items[i].begin, in->items[i].len, err))
            return false;
    }
    return finish(out, 0, err);
}

static bool decode_strip(
    const struct decoder_step *step, const struct pieces *in, struct pieces *out, struct error *err)
{
    for (size_t i = 0; i < in->count; i++) {
        const char *token = in->text.data + in->items[i].begin;
        size_t from = 0, to = in->items[i].len, size = step->text_len, begin = out->text.len;
        for (size_t n = 0;
             n < step->start && to - from >= size && memcmp(token + from, step->text, size) == 0; n++)
            from += size;
        for (size_t n = 0;
             n < step->stop && to - from >= size && memcmp(token + to - size, step->text, size) == 0; n++)
            to -= size;
        if (!buffer_append(&out->text, token + from, to - from, err) || !finish(out, begin, err))
            return false;
    }
    return true;
}

static bool decode_suffix(
    const struct decoder_step *step, const struct pieces *in, struct pieces *out, struct error *err)
{
    for (size_t i = 0; i < in->count; i++) {
        size_t begin = out->text.len;
        if (!buffer_append(&out->text, in->text.data + in->items[i].begin, in->items[i].len, err) ||
            (step->text_len &&
                !replace_all(&out->text, begin, step->text, i + 1 == in->count ? "" : " ", err)) ||
            !finish(out, begin, err))
            return false;
    }
    return true;
}

static bool join(
    const struct decoder *decoder, const struct pieces *tokens, struct buffer *out, struct error *err)
{
    for (size_t i = 0; i < tokens->count; i++) {
        if ((i && !decoder->present && !buffer_append(out, " ", 1, err)) ||
            !buffer_append(out, tokens->text.data + tokens->items[i].begin, tokens->items[i].len, err))
            return false;
    }
    return true;
}

bool decoder_run(const struct decoder *decoder, struct pieces *tokens, struct buffer *out, struct error *err)
{
    static const decode_step steps[] = {
        [DECODER_BYTE_LEVEL] = decode_byte_level,
        [DECODER_METASPACE] = decode_metaspace,
        [DECODER_WORDPIECE] = decode_wordpiece,
        [DECODER_BYTE_FALLBACK] = decode_byte_fallback,
        [DECODER_REPLACE] = decode_replace,
        [DECODER_FUSE] = decode_fuse,
        [DECODER_STRIP] = decode_strip,
        [DECODER_SUFFIX] = decode_suffix,
    };
    struct pieces spare = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < decoder->count; i++) {
        spare.count = 0;
        spare.text.len = 0;
        ok = steps[decoder->steps[i].kind](&decoder->steps[i], tokens, &spare, err);
        struct pieces kept = *tokens;
        *tokens = spare;
        spare = kept;
    }
    pieces_free(&spare);
    return ok && join(decoder, tokens, out, err);
}
