#include "worker/model/tokenizer/jinja/string.h"

#include <string.h>
#include <utf8proc.h>

#include "common/text.h"
#include "worker/model/tokenizer/unicode.h"

static bool strips(uint32_t c, const struct value_string *characters)
{
    if (!characters)
        return unicode_is(c, CLASS_PYTHON_SPACE);
    for (size_t i = 0; i < characters->len;) {
        uint32_t other;
        i += text_decode(characters->data + i, characters->len - i, &other);
        if (other == c)
            return true;
    }
    return false;
}

bool string_strip(struct run *r, const struct value_string *s, struct value characters, bool left, bool right,
    struct value *out)
{
    const struct value_string *set = characters.type == VALUE_STRING ? characters.string : NULL;
    size_t begin = 0, end = 0;
    bool leading = left;
    unicode_open();
    for (size_t i = 0; i < s->len;) {
        uint32_t c;
        size_t step = text_decode(s->data + i, s->len - i, &c);
        bool stripped = strips(c, set);
        if (leading && stripped)
            begin = i + step;
        leading = leading && stripped;
        if (!stripped)
            end = i + step;
        i += step;
    }
    if (!right)
        end = s->len;
    if (end < begin)
        end = begin;
    return value_string(r->arena, s->data + begin, end - begin, out);
}

bool string_change_case(struct run *r, const struct value_string *s, enum string_case to, struct value *out)
{
    struct buffer text = {0};
    bool ok = true, word = false;
    unicode_open();
    for (size_t i = 0; ok && i < s->len;) {
        uint32_t c;
        bool first = i == 0;
        i += text_decode(s->data + i, s->len - i, &c);
        bool up = to == CASE_UPPER || (to == CASE_CAPITALIZE && first) || (to == CASE_TITLE && !word);
        word = unicode_is(c, CLASS_PYTHON_LETTER);
        if (up && c == 0xDF)
            ok = buffer_append_string(&text, to == CASE_UPPER ? "SS" : "Ss", r->err);
        else if (up)
            ok = buffer_append_code_point(&text, (uint32_t)utf8proc_toupper((utf8proc_int32_t)c), r->err);
        else
            ok = unicode_append_lower(&text, c, r->err);
    }
    ok = ok && value_string(r->arena, text.data ? text.data : "", text.len, out);
    buffer_free(&text);
    return ok;
}

static bool push_part(struct run *r, struct value_list *list, const char *data, size_t len)
{
    struct value part;
    return run_step(r) && value_string(r->arena, data, len, &part) && value_push(r->arena, list, part);
}

static bool split_spaces(struct run *r, const struct value_string *s, int64_t most, struct value_list *list)
{
    size_t i = 0;
    while (i < s->len) {
        uint32_t c;
        size_t step = text_decode(s->data + i, s->len - i, &c);
        if (unicode_is(c, CLASS_PYTHON_SPACE)) {
            i += step;
            continue;
        }
        size_t begin = i;
        bool rest = most >= 0 && (int64_t)list->count >= most;
        size_t end = begin;
        for (; i < s->len; i += step) {
            step = text_decode(s->data + i, s->len - i, &c);
            bool space = unicode_is(c, CLASS_PYTHON_SPACE);
            if (space && !rest)
                break;
            if (!space)
                end = i + step;
        }
        if (!push_part(r, list, s->data + begin, rest ? s->len - begin : end - begin))
            return false;
    }
    return true;
}

static void reverse(struct value_list *list)
{
    for (size_t i = 0; i + 1 < list->count - i; i++) {
        struct value kept = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = kept;
    }
}

static bool split_from_right(struct run *r, const struct value_string *s, const struct value_string *by,
    int64_t most, struct value_list *list)
{
    size_t end = s->len;
    for (size_t at = s->len; at >= by->len && (most < 0 || (int64_t)list->count < most);) {
        if (memcmp(s->data + at - by->len, by->data, by->len) != 0) {
            at--;
            continue;
        }
        if (!push_part(r, list, s->data + at, end - at))
            return false;
        end = at -= by->len;
    }
    bool ok = push_part(r, list, s->data, end);
    reverse(list);
    return ok;
}

bool string_split(struct run *r, const struct value_string *s, struct value separator, int64_t most,
    bool from_right, struct value *out)
{
    unicode_open();
    if (!value_list(r->arena, VALUE_LIST, out))
        return false;
    if (separator.type != VALUE_STRING)
        return split_spaces(r, s, most, out->list);
    const struct value_string *by = separator.string;
    if (!by->len)
        return run_fail(r, "splits by an empty string");
    if (from_right)
        return split_from_right(r, s, by, most, out->list);
    size_t begin = 0;
    for (;;) {
        const char *found = most >= 0 && (int64_t)out->list->count >= most
                                ? NULL
                                : memmem(s->data + begin, s->len - begin, by->data, by->len);
        size_t end = found ? (size_t)(found - s->data) : s->len;
        if (!push_part(r, out->list, s->data + begin, end - begin))
            return false;
        if (!found)
            return true;
        begin = end + by->len;
    }
}

bool string_split_lines(struct run *r, const struct value_string *s, bool keep_ends, struct value *out)
{
    if (!value_list(r->arena, VALUE_LIST, out))
        return false;
    for (size_t begin = 0; begin < s->len;) {
        size_t end = begin;
        while (end < s->len && s->data[end] != '\n' && s->data[end] != '\r')
            end++;
        size_t next = end;
        if (next < s->len)
            next += s->data[next] == '\r' && next + 1 < s->len && s->data[next + 1] == '\n' ? 2 : 1;
        if (!push_part(r, out->list, s->data + begin, (keep_ends ? next : end) - begin))
            return false;
        begin = next;
    }
    return true;
}

bool string_replace(struct run *r, const struct value_string *s, struct value_string from,
    struct value_string to, int64_t most, struct value *out)
{
    struct buffer text = {0};
    bool ok = true;
    for (size_t i = 0; ok && i <= s->len;) {
        bool here = most != 0 && s->len - i >= from.len && memcmp(s->data + i, from.data, from.len) == 0;
        if (here) {
            ok = buffer_append(&text, to.data, to.len, r->err) &&
                 (text.len <= RUN_OUTPUT_BYTES_MAX || run_fail(r, "makes a string that is too long"));
            most -= most > 0;
            i += from.len;
        }
        if (here && from.len)
            continue;
        if (i < s->len) {
            size_t step = text_step(s->data[i]);
            ok = ok && buffer_append(&text, s->data + i, step, r->err);
            i += step;
        } else {
            i++;
        }
    }
    ok = ok && value_string(r->arena, text.data ? text.data : "", text.len, out);
    buffer_free(&text);
    return ok;
}

bool string_is(const struct value_string *s, enum string_kind kind)
{
    bool cased = false;
    unicode_open();
    for (size_t i = 0; i < s->len;) {
        uint32_t c;
        i += text_decode(s->data + i, s->len - i, &c);
        bool upper = unicode_is(c, CLASS_UPPER), lower = unicode_is(c, CLASS_LOWER);
        cased = cased || (kind == STRING_UPPER ? upper : lower);
        if ((kind == STRING_DIGITS && !unicode_is(c, CLASS_DECIMAL)) ||
            (kind == STRING_LETTERS && !unicode_is(c, CLASS_PYTHON_LETTER)) ||
            (kind == STRING_LETTERS_DIGITS && !unicode_is(c, CLASS_PYTHON_LETTER | CLASS_PYTHON_NUMBER)) ||
            (kind == STRING_SPACES && !unicode_is(c, CLASS_PYTHON_SPACE)) ||
            (kind == STRING_UPPER && lower) || (kind == STRING_LOWER && upper))
            return false;
    }
    return s->len > 0 && ((kind != STRING_UPPER && kind != STRING_LOWER) || cased);
}
