/* What operators, attributes, indices and slices do to values. */
#include <math.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/jinja/run.h"

bool run_to_string(struct run *r, struct value v, struct value *out)
{
    struct buffer text = {0};
    if (v.type == VALUE_STRING) {
        *out = v;
        return true;
    }
    bool ok =
        value_print(v, &text, r->err) && value_string(r->arena, text.data ? text.data : "", text.len, out);
    buffer_free(&text);
    return ok;
}

bool run_iterate(struct run *r, struct value of, struct value_list **out)
{
    struct value list;
    if (of.type == VALUE_LIST || of.type == VALUE_TUPLE) {
        *out = of.list;
        return true;
    }
    if (!value_list(r->arena, VALUE_LIST, &list))
        return false;
    *out = list.list;
    if (of.type == VALUE_UNDEFINED)
        return true;
    if (of.type == VALUE_DICT) {
        for (size_t i = 0; i < of.dict->count; i++) {
            if (!value_push(r->arena, list.list, of.dict->keys[i]))
                return false;
        }
        return true;
    }
    if (of.type != VALUE_STRING)
        return run_fail(r, "loops over %s", value_type_name(of));
    for (size_t i = 0; i < of.string->len;) {
        size_t step = text_step(of.string->data[i]);
        struct value character;
        if (!value_string(r->arena, of.string->data + i, step, &character) ||
            !value_push(r->arena, list.list, character))
            return false;
        i += step;
    }
    return true;
}

static bool loop_attribute(
    struct run *r, const struct value_loop *loop, const char *name, size_t len, struct value *out)
{
    const struct value_string key = {name, len};
    size_t count = loop->items->count, index = loop->index;
    if (name_is(&key, "index"))
        *out = value_int((int64_t)index + 1);
    else if (name_is(&key, "index0"))
        *out = value_int((int64_t)index);
    else if (name_is(&key, "revindex"))
        *out = value_int((int64_t)(count - index));
    else if (name_is(&key, "revindex0"))
        *out = value_int((int64_t)(count - index) - 1);
    else if (name_is(&key, "first"))
        *out = value_bool(index == 0);
    else if (name_is(&key, "last"))
        *out = value_bool(index + 1 == count);
    else if (name_is(&key, "length"))
        *out = value_int((int64_t)count);
    else if (name_is(&key, "depth"))
        *out = value_int(loop->depth);
    else if (name_is(&key, "depth0"))
        *out = value_int(loop->depth - 1);
    else if (name_is(&key, "previtem"))
        *out = index ? loop->items->items[index - 1] : value_undefined("loop.previtem");
    else if (name_is(&key, "nextitem"))
        *out = index + 1 < count ? loop->items->items[index + 1] : value_undefined("loop.nextitem");
    else
        return run_fail(r, "asks a loop for \"%.*s\", which it has not", (int)len, name);
    return true;
}

static bool bind_method(struct run *r, struct value self, const char *method, struct value *out)
{
    struct value_callable *callable = arena_take(r->arena, sizeof(*callable));
    if (!callable)
        return false;
    callable->method = method;
    callable->self = self;
    *out = (struct value){.type = VALUE_CALLABLE, .callable = callable};
    return true;
}

static bool undefined_attribute(struct run *r, const char *name, size_t len, struct value *out)
{
    struct value text;
    if (!value_string(r->arena, name, len, &text))
        return false;
    *out = value_undefined(text.string->data);
    return true;
}

bool run_attribute(struct run *r, struct value of, const char *name, size_t len, struct value *out)
{
    const char *method;
    if (of.type == VALUE_UNDEFINED)
        return run_fail(r, "asks for \"%.*s\" of \"%s\", which is undefined", (int)len, name,
            of.name ? of.name : "a value");
    if (run_has_method(of, name, len, &method))
        return bind_method(r, of, method, out);
    if (of.type == VALUE_LOOP)
        return loop_attribute(r, of.loop, name, len, out);
    if (of.type == VALUE_DICT || of.type == VALUE_NAMESPACE) {
        const struct value *found = value_get_named(of.dict, name, len);
        if (found) {
            *out = *found;
            return true;
        }
    }
    return undefined_attribute(r, name, len, out);
}

static size_t count_items(struct value of)
{
    return of.type == VALUE_STRING ? text_count(of.string->data, of.string->len) : of.list->count;
}

/* Character `index` of a string. */
static bool character_at(struct run *r, const struct value_string *s, size_t index, struct value *out)
{
    size_t at = 0;
    for (; index; index--)
        at += text_step(s->data[at]);
    return value_string(r->arena, s->data + at, text_step(s->data[at]), out);
}

bool run_index(struct run *r, struct value of, struct value key, struct value *out)
{
    if (of.type == VALUE_DICT) {
        const struct value *found = value_get(of.dict, key);
        if (found) {
            *out = *found;
            return true;
        }
    }
    bool sequence = of.type == VALUE_STRING || of.type == VALUE_LIST || of.type == VALUE_TUPLE;
    if (sequence && (key.type == VALUE_INT || key.type == VALUE_BOOL)) {
        int64_t count = (int64_t)count_items(of), index = key.type == VALUE_BOOL ? key.boolean : key.integer;
        if (index < 0)
            index += count;
        if (index < 0 || index >= count) {
            *out = value_undefined("an index");
            return true;
        }
        if (of.type == VALUE_STRING)
            return character_at(r, of.string, (size_t)index, out);
        *out = of.list->items[index];
        return true;
    }
    if (key.type == VALUE_STRING)
        return run_attribute(r, of, key.string->data, key.string->len, out);
    if (of.type == VALUE_UNDEFINED)
        return run_fail(r, "indexes \"%s\", which is undefined", of.name ? of.name : "a value");
    *out = value_undefined("an index");
    return true;
}

/* Python's slice.indices. */
static bool slice_bounds(
    struct run *r, const struct value bounds[3], int64_t count, int64_t *from, int64_t *to, int64_t *step)
{
    int64_t given[3];
    for (int i = 0; i < 3; i++) {
        if (bounds[i].type != VALUE_NONE && bounds[i].type != VALUE_INT)
            return run_fail(r, "slices by %s", value_type_name(bounds[i]));
        given[i] = bounds[i].type == VALUE_INT ? bounds[i].integer : 0;
        if (given[i] > INT32_MAX)
            given[i] = INT32_MAX;
        if (given[i] < -INT32_MAX)
            given[i] = -INT32_MAX;
    }
    *step = bounds[2].type == VALUE_INT ? given[2] : 1;
    if (*step == 0)
        return run_fail(r, "slices by a step of zero");
    int64_t low = *step < 0 ? -1 : 0, high = *step < 0 ? count - 1 : count;
    int64_t ends[2] = {*step < 0 ? high : low, *step < 0 ? low : high};
    for (int i = 0; i < 2; i++) {
        if (bounds[i].type != VALUE_INT)
            continue;
        int64_t at = given[i] < 0 ? given[i] + count : given[i];
        ends[i] = at < low ? low : at > high ? high : at;
    }
    *from = ends[0];
    *to = ends[1];
    return true;
}

bool run_slice(struct run *r, struct value of, const struct value bounds[3], struct value *out)
{
    struct value items = of, taken;
    int64_t from = 0, to = 0, step = 1;
    struct value_list *list;
    if (of.type == VALUE_UNDEFINED)
        return run_fail(r, "slices \"%s\", which is undefined", of.name ? of.name : "a value");
    if (of.type != VALUE_STRING && of.type != VALUE_LIST && of.type != VALUE_TUPLE)
        return run_fail(r, "slices %s", value_type_name(of));
    if (!run_iterate(r, items, &list) || !slice_bounds(r, bounds, (int64_t)list->count, &from, &to, &step) ||
        !value_list(r->arena, of.type == VALUE_TUPLE ? VALUE_TUPLE : VALUE_LIST, &taken))
        return false;
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step) {
        if (!value_push(r->arena, taken.list, list->items[i]))
            return false;
    }
    if (of.type != VALUE_STRING) {
        *out = taken;
        return true;
    }
    struct buffer text = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < taken.list->count; i++)
        ok = value_print(taken.list->items[i], &text, r->err);
    ok = ok && value_string(r->arena, text.data ? text.data : "", text.len, out);
    buffer_free(&text);
    return ok;
}

bool run_contains(struct run *r, struct value container, struct value item, bool *out)
{
    *out = false;
    if (container.type == VALUE_STRING) {
        if (item.type != VALUE_STRING)
            return run_fail(r, "looks for %s in a string", value_type_name(item));
        *out = memmem(container.string->data, container.string->len, item.string->data, item.string->len) !=
               NULL;
        return true;
    }
    if (container.type == VALUE_DICT) {
        *out = value_get(container.dict, item) != NULL;
        return true;
    }
    struct value_list *items;
    if (!run_iterate(r, container, &items))
        return false;
    for (size_t i = 0; i < items->count && !*out; i++)
        *out = value_equal(items->items[i], item, 0);
    return true;
}

bool run_compare(struct run *r, const struct value_string *name, struct value a, struct value b, bool *out)
{
    int order;
    if (name_is(name, "in") || name_is(name, "not in")) {
        bool found;
        if (!run_contains(r, b, a, &found))
            return false;
        *out = found == name_is(name, "in");
        return true;
    }
    if (name_is(name, "==") || name_is(name, "!=")) {
        *out = value_equal(a, b, 0) == name_is(name, "==");
        return true;
    }
    if (!value_compare(a, b, 0, &order, r->err))
        return false;
    *out = name_is(name, "<")    ? order < 0
           : name_is(name, ">")  ? order > 0
           : name_is(name, "<=") ? order <= 0
                                 : order >= 0;
    return true;
}

static bool concatenate(struct run *r, struct value a, struct value b, struct value *out)
{
    struct buffer text = {0};
    bool ok = value_print(a, &text, r->err) && value_print(b, &text, r->err) &&
              value_string(r->arena, text.data ? text.data : "", text.len, out);
    buffer_free(&text);
    return ok;
}

static bool join_lists(struct run *r, struct value a, struct value b, struct value *out)
{
    if (!value_list(r->arena, a.type, out))
        return false;
    for (size_t i = 0; i < a.list->count + b.list->count; i++) {
        struct value item = i < a.list->count ? a.list->items[i] : b.list->items[i - a.list->count];
        if (!value_push(r->arena, out->list, item))
            return false;
    }
    return true;
}

static bool repeat(struct run *r, struct value of, int64_t times, struct value *out)
{
    if (of.type == VALUE_STRING) {
        size_t len = of.string->len, count = times > 0 ? (size_t)times : 0;
        struct buffer text = {0};
        bool ok = !len || count <= RUN_OUTPUT_BYTES_MAX / len || run_fail(r, "repeats a string too often");
        for (size_t i = 0; ok && len && i < count; i++)
            ok = buffer_append(&text, of.string->data, len, r->err);
        ok = ok && value_string(r->arena, text.data ? text.data : "", text.len, out);
        buffer_free(&text);
        return ok;
    }
    if (!value_list(r->arena, of.type, out))
        return false;
    for (int64_t i = 0; i < times; i++) {
        for (size_t k = 0; k < of.list->count; k++) {
            if (!run_step(r) || !value_push(r->arena, out->list, of.list->items[k]))
                return false;
        }
        if (!of.list->count)
            break;
    }
    return true;
}

static bool whole_arithmetic(struct run *r, char op, bool twice, int64_t a, int64_t b, struct value *out)
{
    int64_t result = 0;
    bool overflow = false;
    if (op == '+')
        overflow = __builtin_add_overflow(a, b, &result);
    else if (op == '-')
        overflow = __builtin_sub_overflow(a, b, &result);
    else if (op == '*' && !twice)
        overflow = __builtin_mul_overflow(a, b, &result);
    else if (op == '*') {
        result = 1;
        for (int64_t i = 0; i < b && !overflow && i < 64; i++)
            overflow = __builtin_mul_overflow(result, a, &result);
        overflow = overflow || (b > 63 && (a > 1 || a < -1));
    } else {
        if (b == 0)
            return run_fail(r, "divides by zero");
        if (a == INT64_MIN && b == -1)
            return run_fail(r, "computes a number that is too large");
        /* Python rounds down, C towards zero. */
        int64_t quotient = a / b, rest = a % b;
        bool adjust = rest && (rest < 0) != (b < 0);
        result = op == '/' ? quotient - adjust : rest + (adjust ? b : 0);
    }
    if (overflow)
        return run_fail(r, "computes a number that is too large");
    *out = value_int(result);
    return true;
}

static bool arithmetic(
    struct run *r, const struct value_string *name, struct value a, struct value b, struct value *out)
{
    char op = name->data[0];
    bool twice = name->len == 2, divides = op == '/' && !twice;
    if (a.type != VALUE_FLOAT && b.type != VALUE_FLOAT && !divides) {
        int64_t x = a.type == VALUE_BOOL ? a.boolean : a.integer,
                y = b.type == VALUE_BOOL ? b.boolean : b.integer;
        if (op == '*' && twice && y < 0) {
            *out = value_float(pow((double)x, (double)y));
            return true;
        }
        return whole_arithmetic(r, op, twice, x, y, out);
    }
    double x = value_as_double(a), y = value_as_double(b), result;
    if ((op == '/' || op == '%') && y == 0)
        return run_fail(r, "divides by zero");
    if (op == '+')
        result = x + y;
    else if (op == '-')
        result = x - y;
    else if (op == '*')
        result = twice ? pow(x, y) : x * y;
    else if (op == '/')
        result = twice ? floor(x / y) : x / y;
    else
        result = x - y * floor(x / y);
    *out = value_float(result);
    return true;
}

bool run_binary(
    struct run *r, const struct value_string *name, struct value a, struct value b, struct value *out)
{
    char op = name->data[0];
    bool lists = a.type == b.type && (a.type == VALUE_LIST || a.type == VALUE_TUPLE);
    if (op == '~')
        return concatenate(r, a, b, out);
    if (value_is_number(a) && value_is_number(b))
        return arithmetic(r, name, a, b, out);
    if (op == '+' && a.type == VALUE_STRING && b.type == VALUE_STRING)
        return concatenate(r, a, b, out);
    if (op == '+' && lists)
        return join_lists(r, a, b, out);
    if (op == '*' && name->len == 1) {
        if (b.type == VALUE_INT && (a.type == VALUE_STRING || a.type == VALUE_LIST || a.type == VALUE_TUPLE))
            return repeat(r, a, b.integer, out);
        if (a.type == VALUE_INT && (b.type == VALUE_STRING || b.type == VALUE_LIST || b.type == VALUE_TUPLE))
            return repeat(r, b, a.integer, out);
    }
    if (op == '%' && a.type == VALUE_STRING) {
        const struct value_string format = {"format", 6};
        struct arguments arguments = {0};
        if (b.type == VALUE_TUPLE)
            arguments.positional = *b.list;
        else if (!value_push(r->arena, &arguments.positional, b))
            return false;
        return run_filter(r, &format, a, &arguments, out);
    }
    if (a.type == VALUE_UNDEFINED || b.type == VALUE_UNDEFINED)
        return run_fail(r, "computes with \"%s\", which is undefined",
            a.type == VALUE_UNDEFINED ? (a.name ? a.name : "a value")
            : b.name                  ? b.name
                                      : "a value");
    return run_fail(
        r, "applies %.*s to %s and %s", (int)name->len, name->data, value_type_name(a), value_type_name(b));
}
