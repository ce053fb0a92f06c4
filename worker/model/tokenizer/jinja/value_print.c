/* str(), repr() and json.dumps() of values. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/jinja/value.h"
#include "worker/model/tokenizer/unicode.h"

enum { DEPTH_MAX = 64 };

static bool print_int(int64_t value, struct buffer *out, struct error *err)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64, value);
    return buffer_append_string(out, text, err);
}

/* Python's repr: the shortest digits that read back, exponents from 1e16 up and below 1e-4. */
static bool print_float(double value, struct buffer *out, bool json, struct error *err)
{
    char text[40], fixed[64];
    if (isnan(value))
        return buffer_append_string(out, json ? "NaN" : "nan", err);
    if (isinf(value))
        return buffer_append_string(
            out, json ? (value < 0 ? "-Infinity" : "Infinity") : (value < 0 ? "-inf" : "inf"), err);
    int digits = 1;
    for (; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    if (exponent >= -4 && exponent < 16) {
        int decimals = digits - 1 - exponent;
        snprintf(fixed, sizeof(fixed), "%.*f", decimals > 1 ? decimals : 1, value);
        return buffer_append_string(out, fixed, err);
    }
    char *mark = strchr(text, 'e');
    snprintf(fixed, sizeof(fixed), "%.*se%c%02d", (int)(mark - text), text, exponent < 0 ? '-' : '+',
        abs(exponent));
    return buffer_append_string(out, fixed, err);
}

static bool append_escape(struct buffer *out, const char *format, uint32_t c, struct error *err)
{
    char text[16];
    /* The formats below are the only ones; each takes one unsigned. */
    if (strcmp(format, "x") == 0)
        snprintf(text, sizeof(text), "\\x%02x", c);
    else if (c > 0xFFFF)
        snprintf(text, sizeof(text), "\\U%08x", c);
    else
        snprintf(text, sizeof(text), "\\u%04x", c);
    return buffer_append_string(out, text, err);
}

static bool repr_character(uint32_t c, char quote, struct buffer *out, struct error *err)
{
    switch (c) {
    case '\n': return buffer_append_string(out, "\\n", err);
    case '\r': return buffer_append_string(out, "\\r", err);
    case '\t': return buffer_append_string(out, "\\t", err);
    case '\\': return buffer_append_string(out, "\\\\", err);
    default: break;
    }
    if (c == (uint32_t)quote)
        return buffer_append(out, "\\", 1, err) && buffer_append_code_point(out, c, err);
    bool unprintable = unicode_is(c, CLASS_PYTHON_CONTROL) || (unicode_is(c, CLASS_SPACE) && c != ' ');
    if (c < 0x20 || c == 0x7F || (unprintable && c < 0x100))
        return append_escape(out, "x", c, err);
    if (unprintable)
        return append_escape(out, "u", c, err);
    return buffer_append_code_point(out, c, err);
}

static bool repr_string(const struct value_string *s, struct buffer *out, struct error *err)
{
    bool single = memchr(s->data, '\'', s->len), twice = memchr(s->data, '"', s->len);
    char quote = single && !twice ? '"' : '\'';
    if (!buffer_append(out, &quote, 1, err))
        return false;
    for (size_t i = 0; i < s->len;) {
        uint32_t c;
        i += text_decode(s->data + i, s->len - i, &c);
        if (!repr_character(c, quote, out, err))
            return false;
    }
    return buffer_append(out, &quote, 1, err);
}

static bool repr_list(struct value v, struct buffer *out, int depth, struct error *err)
{
    bool tuple = v.type == VALUE_TUPLE;
    if (!buffer_append_string(out, tuple ? "(" : "[", err))
        return false;
    for (size_t i = 0; i < v.list->count; i++) {
        if ((i && !buffer_append_string(out, ", ", err)) ||
            !value_repr(v.list->items[i], out, depth + 1, err))
            return false;
    }
    return buffer_append_string(out, !tuple ? "]" : v.list->count == 1 ? ",)" : ")", err);
}

static bool repr_dict(struct value v, struct buffer *out, int depth, struct error *err)
{
    if (!buffer_append_string(out, v.type == VALUE_NAMESPACE ? "<Namespace {" : "{", err))
        return false;
    for (size_t i = 0; i < v.dict->count; i++) {
        if ((i && !buffer_append_string(out, ", ", err)) ||
            !value_repr(v.dict->keys[i], out, depth + 1, err) || !buffer_append_string(out, ": ", err) ||
            !value_repr(v.dict->values[i], out, depth + 1, err))
            return false;
    }
    return buffer_append_string(out, v.type == VALUE_NAMESPACE ? "}>" : "}", err);
}

bool value_repr(struct value v, struct buffer *out, int depth, struct error *err)
{
    unicode_open();
    if (depth > DEPTH_MAX)
        return error_set(
            err, ERROR_TOO_LARGE, "the chat template prints a value nested deeper than %d", DEPTH_MAX);
    switch (v.type) {
    case VALUE_STRING: return repr_string(v.string, out, err);
    case VALUE_LIST:
    case VALUE_TUPLE: return repr_list(v, out, depth, err);
    case VALUE_DICT:
    case VALUE_NAMESPACE: return repr_dict(v, out, depth, err);
    case VALUE_UNDEFINED: return buffer_append_string(out, "Undefined", err);
    default: return value_print(v, out, err);
    }
}

bool value_print(struct value v, struct buffer *out, struct error *err)
{
    switch (v.type) {
    case VALUE_UNDEFINED: return true;
    case VALUE_NONE: return buffer_append_string(out, "None", err);
    case VALUE_BOOL: return buffer_append_string(out, v.boolean ? "True" : "False", err);
    case VALUE_INT: return print_int(v.integer, out, err);
    case VALUE_FLOAT: return print_float(v.number, out, false, err);
    case VALUE_STRING: return buffer_append(out, v.string->data, v.string->len, err);
    case VALUE_LOOP: return buffer_append_string(out, "<LoopContext>", err);
    case VALUE_CALLABLE: return buffer_append_string(out, "<function>", err);
    default: return value_repr(v, out, 0, err);
    }
}

static bool json_string_text(const struct value_string *s, struct buffer *out, struct error *err)
{
    if (!buffer_append_string(out, "\"", err))
        return false;
    for (size_t i = 0; i < s->len; i++) {
        unsigned char c = (unsigned char)s->data[i];
        static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
        const char *known = c ? strchr(from, (char)c) : NULL;
        bool ok;
        if (known)
            ok = buffer_append(out, "\\", 1, err) && buffer_append(out, &to[known - from], 1, err);
        else if (c < 0x20)
            ok = append_escape(out, "u", c, err);
        else
            ok = buffer_append(out, (const char *)&s->data[i], 1, err);
        if (!ok)
            return false;
    }
    return buffer_append_string(out, "\"", err);
}

struct json_style {
    int64_t indent;
    bool sort_keys;
    struct buffer *out;
    struct error *err;
};

static bool json_value(const struct json_style *style, struct value v, int depth);

static bool json_break(const struct json_style *style, int depth, bool comma)
{
    if (comma && !buffer_append_string(style->out, style->indent < 0 ? ", " : ",", style->err))
        return false;
    if (style->indent < 0)
        return true;
    if (!buffer_append_string(style->out, "\n", style->err))
        return false;
    for (int64_t i = 0; i < style->indent * depth; i++) {
        if (!buffer_append_string(style->out, " ", style->err))
            return false;
    }
    return true;
}

static bool json_key(const struct json_style *style, struct value key)
{
    struct buffer text = {0};
    bool ok = true;
    if (key.type == VALUE_STRING)
        return json_string_text(key.string, style->out, style->err);
    if (key.type == VALUE_NONE || key.type == VALUE_BOOL || value_is_number(key))
        ok = json_value(&(struct json_style){-1, false, &text, style->err}, key, 0);
    else
        ok = error_set(
            style->err, ERROR_INVALID, "the chat template writes %s as a JSON key", value_type_name(key));
    struct value_string string = {text.data ? text.data : "", text.len};
    ok = ok && json_string_text(&string, style->out, style->err);
    buffer_free(&text);
    return ok;
}

/* The position of the key that comes `rank`-th in order. */
static size_t sorted_position(const struct value_dict *dict, size_t rank)
{
    for (size_t i = 0; i < dict->count; i++) {
        size_t before = 0;
        for (size_t k = 0; k < dict->count; k++) {
            int order = 0;
            if (value_compare(dict->keys[k], dict->keys[i], 0, &order, NULL) &&
                (order < 0 || (order == 0 && k < i)))
                before++;
        }
        if (before == rank)
            return i;
    }
    return rank;
}

static bool json_dict(const struct json_style *style, const struct value_dict *dict, int depth)
{
    if (!buffer_append_string(style->out, "{", style->err))
        return false;
    for (size_t i = 0; i < dict->count; i++) {
        size_t at = style->sort_keys ? sorted_position(dict, i) : i;
        if (!json_break(style, depth + 1, i > 0) || !json_key(style, dict->keys[at]) ||
            !buffer_append_string(style->out, ": ", style->err) ||
            !json_value(style, dict->values[at], depth + 1))
            return false;
    }
    return (!dict->count || json_break(style, depth, false)) &&
           buffer_append_string(style->out, "}", style->err);
}

static bool json_list(const struct json_style *style, const struct value_list *list, int depth)
{
    if (!buffer_append_string(style->out, "[", style->err))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        if (!json_break(style, depth + 1, i > 0) || !json_value(style, list->items[i], depth + 1))
            return false;
    }
    return (!list->count || json_break(style, depth, false)) &&
           buffer_append_string(style->out, "]", style->err);
}

static bool json_value(const struct json_style *style, struct value v, int depth)
{
    if (depth > DEPTH_MAX)
        return error_set(
            style->err, ERROR_TOO_LARGE, "the chat template writes JSON nested deeper than %d", DEPTH_MAX);
    switch (v.type) {
    case VALUE_NONE: return buffer_append_string(style->out, "null", style->err);
    case VALUE_BOOL: return buffer_append_string(style->out, v.boolean ? "true" : "false", style->err);
    case VALUE_INT: return print_int(v.integer, style->out, style->err);
    case VALUE_FLOAT: return print_float(v.number, style->out, true, style->err);
    case VALUE_STRING: return json_string_text(v.string, style->out, style->err);
    case VALUE_LIST:
    case VALUE_TUPLE: return json_list(style, v.list, depth);
    case VALUE_DICT: return json_dict(style, v.dict, depth);
    default:
        return error_set(
            style->err, ERROR_INVALID, "the chat template writes %s as JSON", value_type_name(v));
    }
}

bool value_json(struct value v, int64_t indent, bool sort_keys, struct buffer *out, struct error *err)
{
    if (indent > 16)
        indent = 16;
    return json_value(&(struct json_style){indent, sort_keys, out, err}, v, 0);
}
