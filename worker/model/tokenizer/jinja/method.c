/* Methods of strings, dicts, lists and loops. */
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/jinja/run.h"
#include "worker/model/tokenizer/jinja/string.h"

typedef bool (*method_function)(
    struct run *r, struct value self, const struct arguments *arguments, struct value *out);

static bool method_strip(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return string_strip(r, self.string, run_argument(a, 0, NULL), true, true, out);
}

static bool method_lstrip(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return string_strip(r, self.string, run_argument(a, 0, NULL), true, false, out);
}

static bool method_rstrip(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return string_strip(r, self.string, run_argument(a, 0, NULL), false, true, out);
}

static bool method_upper(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)a;
    return string_change_case(r, self.string, CASE_UPPER, out);
}

static bool method_lower(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)a;
    return string_change_case(r, self.string, CASE_LOWER, out);
}

static bool method_title(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)a;
    return string_change_case(r, self.string, CASE_TITLE, out);
}

static bool method_capitalize(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)a;
    return string_change_case(r, self.string, CASE_CAPITALIZE, out);
}

static bool method_split(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return string_split(
        r, self.string, run_argument(a, 0, "sep"), run_argument_int(a, 1, "maxsplit", -1), false, out);
}

static bool method_rsplit(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return string_split(
        r, self.string, run_argument(a, 0, "sep"), run_argument_int(a, 1, "maxsplit", -1), true, out);
}

static bool method_splitlines(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return string_split_lines(r, self.string, value_truth(run_argument(a, 0, "keepends")), out);
}

static bool method_replace(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    struct value_string from = run_argument_text(a, 0, "old", NULL),
                        to = run_argument_text(a, 1, "new", NULL);
    if (!from.data || !to.data)
        return run_fail(r, "calls replace without two strings");
    return string_replace(r, self.string, from, to, run_argument_int(a, 2, "count", -1), out);
}

/* One affix, or any of a tuple. */
static bool has_affix(
    struct run *r, struct value self, const struct arguments *a, bool at_end, struct value *out)
{
    struct value affix = run_argument(a, 0, NULL);
    struct value_list single = {&affix, 1, 1};
    const struct value_list *list = affix.type == VALUE_TUPLE ? affix.list : &single;
    *out = value_bool(false);
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].type != VALUE_STRING)
            return run_fail(
                r, "calls %s with %s", at_end ? "endswith" : "startswith", value_type_name(list->items[i]));
        const struct value_string *s = list->items[i].string;
        if (s->len > self.string->len)
            continue;
        const char *at = self.string->data + (at_end ? self.string->len - s->len : 0);
        out->boolean = out->boolean || memcmp(at, s->data, s->len) == 0;
    }
    return true;
}

static bool method_startswith(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return has_affix(r, self, a, false, out);
}

static bool method_endswith(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return has_affix(r, self, a, true, out);
}

static bool remove_affix(
    struct run *r, struct value self, const struct arguments *a, bool at_end, struct value *out)
{
    struct value has;
    if (!has_affix(r, self, a, at_end, &has))
        return false;
    *out = self;
    if (!has.boolean)
        return true;
    size_t cut = run_argument_text(a, 0, NULL, "").len;
    return value_string(r->arena, self.string->data + (at_end ? 0 : cut), self.string->len - cut, out);
}

static bool method_removeprefix(
    struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return remove_affix(r, self, a, false, out);
}

static bool method_removesuffix(
    struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    return remove_affix(r, self, a, true, out);
}

static bool find(struct run *r, struct value self, const struct arguments *a, bool last, int64_t *at)
{
    struct value_string what = run_argument_text(a, 0, NULL, NULL);
    if (!what.data)
        return run_fail(r, "looks for something that is no string");
    *at = -1;
    for (size_t i = 0; i + what.len <= self.string->len; i++) {
        if (memcmp(self.string->data + i, what.data, what.len) == 0) {
            *at = (int64_t)text_count(self.string->data, i);
            if (!last)
                break;
        }
    }
    return true;
}

static bool method_find(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    int64_t at = -1;
    bool ok = find(r, self, a, false, &at);
    *out = value_int(ok ? at : 0);
    return ok;
}

static bool method_rfind(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    int64_t at = -1;
    bool ok = find(r, self, a, true, &at);
    *out = value_int(ok ? at : 0);
    return ok;
}

static bool method_index(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    int64_t at = -1;
    if (self.type == VALUE_STRING) {
        if (!find(r, self, a, false, &at))
            return false;
    } else {
        struct value item = run_argument(a, 0, NULL);
        for (size_t i = 0; i < self.list->count && at < 0; i++)
            at = value_equal(self.list->items[i], item, 0) ? (int64_t)i : -1;
    }
    *out = value_int(at);
    return at >= 0 || run_fail(r, "asks for the index of something that is not there");
}

static bool method_count(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    int64_t count = 0;
    if (self.type == VALUE_STRING) {
        struct value_string what = run_argument_text(a, 0, NULL, NULL);
        if (!what.data || !what.len)
            return run_fail(r, "counts something that is no string, or empty");
        for (size_t i = 0; i + what.len <= self.string->len;) {
            bool here = memcmp(self.string->data + i, what.data, what.len) == 0;
            count += here;
            i += here ? what.len : 1;
        }
    } else {
        struct value item = run_argument(a, 0, NULL);
        for (size_t i = 0; i < self.list->count; i++)
            count += value_equal(self.list->items[i], item, 0);
    }
    *out = value_int(count);
    return true;
}

static bool method_join(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    struct value_list *items;
    struct buffer text = {0};
    bool ok = run_iterate(r, run_argument(a, 0, NULL), &items);
    for (size_t i = 0; ok && i < items->count; i++) {
        if (items->items[i].type != VALUE_STRING)
            ok = run_fail(r, "joins %s", value_type_name(items->items[i]));
        ok = ok && (!i || buffer_append(&text, self.string->data, self.string->len, r->err)) &&
             value_print(items->items[i], &text, r->err);
    }
    ok = ok && value_string(r->arena, text.data ? text.data : "", text.len, out);
    buffer_free(&text);
    return ok;
}

static bool method_isdigit(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)r;
    (void)a;
    *out = value_bool(string_is(self.string, STRING_DIGITS));
    return true;
}

static bool method_isalpha(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)r;
    (void)a;
    *out = value_bool(string_is(self.string, STRING_LETTERS));
    return true;
}

static bool method_isalnum(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)r;
    (void)a;
    *out = value_bool(string_is(self.string, STRING_LETTERS_DIGITS));
    return true;
}

static bool method_isspace(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)r;
    (void)a;
    *out = value_bool(string_is(self.string, STRING_SPACES));
    return true;
}

static bool method_isupper(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)r;
    (void)a;
    *out = value_bool(string_is(self.string, STRING_UPPER));
    return true;
}

static bool method_islower(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)r;
    (void)a;
    *out = value_bool(string_is(self.string, STRING_LOWER));
    return true;
}

static bool method_items(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)a;
    if (!value_list(r->arena, VALUE_LIST, out))
        return false;
    for (size_t i = 0; i < self.dict->count; i++) {
        struct value pair;
        if (!value_list(r->arena, VALUE_TUPLE, &pair) ||
            !value_push(r->arena, pair.list, self.dict->keys[i]) ||
            !value_push(r->arena, pair.list, self.dict->values[i]) || !value_push(r->arena, out->list, pair))
            return false;
    }
    return true;
}

static bool copy_column(struct run *r, const struct value *column, size_t count, struct value *out)
{
    if (!value_list(r->arena, VALUE_LIST, out))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!value_push(r->arena, out->list, column[i]))
            return false;
    }
    return true;
}

static bool method_keys(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)a;
    return copy_column(r, self.dict->keys, self.dict->count, out);
}

static bool method_values(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)a;
    return copy_column(r, self.dict->values, self.dict->count, out);
}

static bool method_get(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)r;
    const struct value *found = value_get(self.dict, run_argument(a, 0, NULL));
    struct value otherwise = run_argument(a, 1, "default");
    *out = found ? *found : a->positional.count > 1 ? otherwise : value_none();
    return true;
}

static bool method_copy(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)a;
    if (self.type != VALUE_DICT)
        return copy_column(r, self.list->items, self.list->count, out);
    if (!value_dict(r->arena, VALUE_DICT, out))
        return false;
    for (size_t i = 0; i < self.dict->count; i++) {
        if (!value_set(r->arena, out->dict, self.dict->keys[i], self.dict->values[i]))
            return false;
    }
    return true;
}

/* The reference's sandbox forbids what changes a value. */
static bool method_forbidden(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    (void)a;
    (void)out;
    return run_fail(r, "changes %s in place, which is not allowed", value_type_name(self));
}

static bool method_cycle(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    if (!a->positional.count)
        return run_fail(r, "calls loop.cycle with nothing");
    *out = a->positional.items[self.loop->index % a->positional.count];
    return true;
}

static bool method_changed(struct run *r, struct value self, const struct arguments *a, struct value *out)
{
    struct value now;
    if (!copy_column(r, a->positional.items, a->positional.count, &now))
        return false;
    *out = value_bool(!value_equal(now, self.loop->changed, 0));
    self.loop->changed = now;
    return true;
}

static const struct method {
    enum value_type type;
    const char *name;
    method_function call;
} methods[] = {
    {VALUE_STRING, "strip", method_strip},
    {VALUE_STRING, "lstrip", method_lstrip},
    {VALUE_STRING, "rstrip", method_rstrip},
    {VALUE_STRING, "upper", method_upper},
    {VALUE_STRING, "lower", method_lower},
    {VALUE_STRING, "title", method_title},
    {VALUE_STRING, "capitalize", method_capitalize},
    {VALUE_STRING, "split", method_split},
    {VALUE_STRING, "rsplit", method_rsplit},
    {VALUE_STRING, "splitlines", method_splitlines},
    {VALUE_STRING, "replace", method_replace},
    {VALUE_STRING, "startswith", method_startswith},
    {VALUE_STRING, "endswith", method_endswith},
    {VALUE_STRING, "removeprefix", method_removeprefix},
    {VALUE_STRING, "removesuffix", method_removesuffix},
    {VALUE_STRING, "find", method_find},
    {VALUE_STRING, "rfind", method_rfind},
    {VALUE_STRING, "index", method_index},
    {VALUE_STRING, "count", method_count},
    {VALUE_STRING, "join", method_join},
    {VALUE_STRING, "isdigit", method_isdigit},
    {VALUE_STRING, "isalpha", method_isalpha},
    {VALUE_STRING, "isalnum", method_isalnum},
    {VALUE_STRING, "isspace", method_isspace},
    {VALUE_STRING, "isupper", method_isupper},
    {VALUE_STRING, "islower", method_islower},
    {VALUE_DICT, "items", method_items},
    {VALUE_DICT, "keys", method_keys},
    {VALUE_DICT, "values", method_values},
    {VALUE_DICT, "get", method_get},
    {VALUE_DICT, "copy", method_copy},
    {VALUE_DICT, "update", method_forbidden},
    {VALUE_DICT, "pop", method_forbidden},
    {VALUE_DICT, "setdefault", method_forbidden},
    {VALUE_DICT, "clear", method_forbidden},
    {VALUE_LIST, "index", method_index},
    {VALUE_LIST, "count", method_count},
    {VALUE_LIST, "copy", method_copy},
    {VALUE_LIST, "append", method_forbidden},
    {VALUE_LIST, "extend", method_forbidden},
    {VALUE_LIST, "insert", method_forbidden},
    {VALUE_LIST, "pop", method_forbidden},
    {VALUE_LIST, "remove", method_forbidden},
    {VALUE_LIST, "reverse", method_forbidden},
    {VALUE_LIST, "sort", method_forbidden},
    {VALUE_LIST, "clear", method_forbidden},
    {VALUE_TUPLE, "index", method_index},
    {VALUE_TUPLE, "count", method_count},
    {VALUE_LOOP, "cycle", method_cycle},
    {VALUE_LOOP, "changed", method_changed},
};

static const struct method *find_method(struct value of, const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
        if (methods[i].type == of.type && strlen(methods[i].name) == len &&
            memcmp(methods[i].name, name, len) == 0)
            return &methods[i];
    }
    return NULL;
}

bool run_has_method(struct value of, const char *name, size_t len, const char **method)
{
    const struct method *found = find_method(of, name, len);
    if (found)
        *method = found->name;
    return found != NULL;
}

bool run_method(
    struct run *r, struct value self, const char *name, const struct arguments *arguments, struct value *out)
{
    const struct method *found = find_method(self, name, strlen(name));
    return found ? found->call(r, self, arguments, out) : run_fail(r, "calls an unknown method \"%s\"", name);
}
