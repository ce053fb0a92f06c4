#include "worker/model/tokenizer/jinja/filter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/jinja/string.h"

static bool finish_text(struct run *r, struct buffer *text, bool ok, struct value *out)
{
    ok = ok && value_string(r->arena, text->data ? text->data : "", text->len, out);
    buffer_free(text);
    return ok;
}

static bool filter_default(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value otherwise = run_argument(a, 0, "default_value");
    bool falsy = value_truth(run_argument(a, 1, "boolean")) && !value_truth(input);
    *out = input;
    if (input.type != VALUE_UNDEFINED && !falsy)
        return true;
    *out = otherwise;
    return otherwise.type != VALUE_UNDEFINED || value_text(r->arena, "", out);
}

static bool filter_length(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)a;
    switch (input.type) {
    case VALUE_UNDEFINED: *out = value_int(0); return true;
    case VALUE_STRING:
        *out = value_int((int64_t)text_count(input.string->data, input.string->len));
        return true;
    case VALUE_LIST:
    case VALUE_TUPLE: *out = value_int((int64_t)input.list->count); return true;
    case VALUE_DICT: *out = value_int((int64_t)input.dict->count); return true;
    default: return run_fail(r, "asks for the length of %s", value_type_name(input));
    }
}

static bool filter_tojson(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value indent = run_argument(a, SIZE_MAX, "indent");
    struct buffer text = {0};
    /* transformers' own filter: tojson(ensure_ascii, indent, separators, sort_keys). */
    if (indent.type == VALUE_UNDEFINED)
        indent = run_argument(a, 1, NULL);
    int64_t spaces = indent.type == VALUE_INT ? indent.integer : -1;
    bool ok = value_json(input, spaces, value_truth(run_argument(a, 3, "sort_keys")), &text, r->err);
    return finish_text(r, &text, ok, out);
}

static bool filter_trim(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value text;
    return run_to_string(r, input, &text) &&
           string_strip(r, text.string, run_argument(a, 0, "chars"), true, true, out);
}

static bool change_case(struct run *r, struct value input, enum string_case to, struct value *out)
{
    struct value text;
    return run_to_string(r, input, &text) && string_change_case(r, text.string, to, out);
}

static bool filter_upper(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(r, input, CASE_UPPER, out);
}

static bool filter_lower(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(r, input, CASE_LOWER, out);
}

static bool filter_title(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(r, input, CASE_TITLE, out);
}

static bool filter_capitalize(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(r, input, CASE_CAPITALIZE, out);
}

static bool filter_string(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)a;
    return run_to_string(r, input, out);
}

static bool filter_same(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)r;
    (void)a;
    *out = input;
    return true;
}

static bool filter_replace(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value text;
    struct value_string from = run_argument_text(a, 0, "old", NULL),
                        to = run_argument_text(a, 1, "new", NULL);
    if (!from.data || !to.data)
        return run_fail(r, "replaces without two strings");
    return run_to_string(r, input, &text) &&
           string_replace(r, text.string, from, to, run_argument_int(a, 2, "count", -1), out);
}

static bool filter_escape(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value text;
    struct buffer escaped = {0};
    (void)a;
    bool ok = run_to_string(r, input, &text);
    for (size_t i = 0; ok && i < text.string->len; i++) {
        char c = text.string->data[i];
        const char *to = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '"'  ? "&#34;"
                         : c == '\'' ? "&#39;"
                                     : NULL;
        ok = to ? buffer_append_string(&escaped, to, r->err) : buffer_append(&escaped, &c, 1, r->err);
    }
    return finish_text(r, &escaped, ok, out);
}

static bool filter_indent(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value text, width = run_argument(a, 0, "width"), lines;
    bool first = value_truth(run_argument(a, 1, "first")), blank = value_truth(run_argument(a, 2, "blank"));
    struct buffer result = {0}, space = {0};
    bool ok = run_to_string(r, input, &text) && string_split_lines(r, text.string, false, &lines);
    if (ok && width.type == VALUE_STRING)
        ok = buffer_append(&space, width.string->data, width.string->len, r->err);
    for (int64_t i = 0, n = run_argument_int(a, 0, "width", 4);
         ok && width.type != VALUE_STRING && i < n && i < 1000; i++)
        ok = buffer_append(&space, " ", 1, r->err);
    if (ok && (!text.string->len || text.string->data[text.string->len - 1] == '\n')) {
        struct value empty;
        ok = value_text(r->arena, "", &empty) && value_push(r->arena, lines.list, empty);
    }
    for (size_t i = 0; ok && i < lines.list->count; i++) {
        const struct value_string *line = lines.list->items[i].string;
        bool indented = i == 0 ? first : blank || line->len > 0;
        ok = (!i || buffer_append(&result, "\n", 1, r->err)) &&
             (!indented || buffer_append(&result, space.data, space.len, r->err)) &&
             buffer_append(&result, line->data, line->len, r->err) && run_step(r);
    }
    buffer_free(&space);
    return finish_text(r, &result, ok, out);
}

static bool filter_int(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)r;
    *out = run_argument(a, 0, "default");
    if (out->type == VALUE_UNDEFINED)
        *out = value_int(0);
    if (input.type == VALUE_BOOL)
        *out = value_int(input.boolean);
    else if (input.type == VALUE_INT)
        *out = input;
    else if (input.type == VALUE_FLOAT && fabs(input.number) < 9e18)
        *out = value_int((int64_t)input.number);
    else if (input.type == VALUE_STRING) {
        char *end;
        double number = strtod(input.string->data, &end);
        if (end != input.string->data && strspn(end, " \t\r\n") == strlen(end) && fabs(number) < 9e18) {
            bool whole = strcspn(input.string->data, ".eEnN") == input.string->len;
            *out = value_int(whole ? strtoll(input.string->data, NULL, 10) : (int64_t)number);
        }
    }
    return true;
}

static bool filter_float(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)r;
    *out = run_argument(a, 0, "default");
    if (out->type == VALUE_UNDEFINED)
        *out = value_float(0);
    if (value_is_number(input))
        *out = value_float(value_as_double(input));
    else if (input.type == VALUE_STRING) {
        char *end;
        double number = strtod(input.string->data, &end);
        if (end != input.string->data && strspn(end, " \t\r\n") == strlen(end))
            *out = value_float(number);
    }
    return true;
}

static bool filter_abs(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    (void)a;
    if (!value_is_number(input))
        return run_fail(r, "takes the absolute value of %s", value_type_name(input));
    if (input.type == VALUE_FLOAT)
        *out = value_float(fabs(input.number));
    else
        *out = value_int(input.type == VALUE_BOOL     ? input.boolean
                         : input.integer == INT64_MIN ? INT64_MAX
                                                      : llabs(input.integer));
    return true;
}

static bool filter_round(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value_string method = run_argument_text(a, 1, "method", "common");
    int64_t digits = run_argument_int(a, 0, "precision", 0);
    if (!value_is_number(input))
        return run_fail(r, "rounds %s", value_type_name(input));
    double scale = pow(10, (double)(digits > 15    ? 15
                                    : digits < -15 ? -15
                                                   : digits)),
           x = value_as_double(input) * scale;
    /* Python rounds halves to even. */
    x = name_is(&method, "ceil") ? ceil(x) : name_is(&method, "floor") ? floor(x) : nearbyint(x);
    *out = value_float(x / scale);
    return true;
}

/* printf's %s, %d, %i, %f, %r and %%; widths and flags are not known to any template seen. */
static bool filter_format(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value format;
    struct buffer text = {0};
    size_t used = 0;
    bool ok = run_to_string(r, input, &format);
    for (size_t i = 0; ok && i < format.string->len; i++) {
        char c = format.string->data[i], kind = format.string->data[i + 1];
        if (c != '%') {
            ok = buffer_append(&text, &c, 1, r->err);
            continue;
        }
        i++;
        struct value v = run_argument(a, used, NULL), integer;
        if (kind == '%') {
            ok = buffer_append(&text, "%", 1, r->err);
            continue;
        }
        used++;
        if (used > a->positional.count)
            ok = run_fail(r, "formats with too few values");
        else if (kind == 's')
            ok = value_print(v, &text, r->err);
        else if (kind == 'r')
            ok = value_repr(v, &text, 0, r->err);
        else if ((kind == 'd' || kind == 'i') && value_is_number(v))
            ok = filter_int(r, v, &(struct arguments){0}, &integer) && value_print(integer, &text, r->err);
        else if (kind == 'f' && value_is_number(v)) {
            char number[400];
            snprintf(number, sizeof(number), "%f", value_as_double(v));
            ok = buffer_append_string(&text, number, r->err);
        } else
            ok = run_fail(r, "formats by %%%c, which is not known", kind ? kind : ' ');
    }
    return finish_text(r, &text, ok, out);
}

static bool filter_attr(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value_string name = run_argument_text(a, 0, "name", "");
    return run_attribute(r, input, name.data, name.len, out);
}

static bool filter_wordcount(struct run *r, struct value input, const struct arguments *a, struct value *out)
{
    struct value text, words;
    (void)a;
    if (!run_to_string(r, input, &text) || !string_split(r, text.string, value_none(), -1, false, &words))
        return false;
    *out = value_int((int64_t)words.list->count);
    return true;
}

bool run_filter(struct run *r, const struct value_string *name, struct value input,
    const struct arguments *arguments, struct value *out)
{
    static const struct {
        const char *name;
        filter_function run;
    } filters[] = {{"trim", filter_trim}, {"tojson", filter_tojson}, {"length", filter_length},
        {"count", filter_length}, {"default", filter_default}, {"d", filter_default}, {"join", filter_join},
        {"upper", filter_upper}, {"lower", filter_lower}, {"title", filter_title},
        {"capitalize", filter_capitalize}, {"string", filter_string}, {"safe", filter_same},
        {"replace", filter_replace}, {"escape", filter_escape}, {"e", filter_escape},
        {"indent", filter_indent}, {"int", filter_int}, {"float", filter_float}, {"abs", filter_abs},
        {"round", filter_round}, {"format", filter_format}, {"attr", filter_attr},
        {"wordcount", filter_wordcount}, {"first", filter_first}, {"last", filter_last},
        {"list", filter_list}, {"map", filter_map}, {"select", filter_select}, {"reject", filter_reject},
        {"selectattr", filter_selectattr}, {"rejectattr", filter_rejectattr}, {"reverse", filter_reverse},
        {"sort", filter_sort}, {"dictsort", filter_dictsort}, {"unique", filter_unique}, {"sum", filter_sum},
        {"min", filter_min}, {"max", filter_max}, {"groupby", filter_groupby}, {"batch", filter_batch},
        {"items", filter_items}};
    for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++) {
        if (name_is(name, filters[i].name))
            return filters[i].run(r, input, arguments, out);
    }
    return run_fail(r, "uses the filter \"%.*s\", which is not known", (int)(name->len < 60 ? name->len : 60),
        name->data);
}
