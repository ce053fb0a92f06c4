/* Calls: macros, methods and the functions that templates find in place. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/text.h"
#include "worker/model/tokenizer/jinja/run.h"

enum { RANGE_ITEMS_MAX = 100000 };

struct value run_argument(const struct arguments *arguments, size_t index, const char *name)
{
    if (index < arguments->positional.count)
        return arguments->positional.items[index];
    const struct value *named = name ? value_get_named(&arguments->named, name, strlen(name)) : NULL;
    return named ? *named : value_undefined(name);
}

struct value_string run_argument_text(
    const struct arguments *arguments, size_t index, const char *name, const char *otherwise)
{
    struct value v = run_argument(arguments, index, name);
    if (v.type == VALUE_STRING)
        return *v.string;
    return (struct value_string){otherwise, otherwise ? strlen(otherwise) : 0};
}

int64_t run_argument_int(const struct arguments *arguments, size_t index, const char *name, int64_t otherwise)
{
    struct value v = run_argument(arguments, index, name);
    if (v.type == VALUE_BOOL)
        return v.boolean;
    return v.type == VALUE_INT ? v.integer : otherwise;
}

/* The frame a macro's body runs in: its parameters, filled from arguments, then defaults. */
static bool bind_parameters(struct run *r, const struct node *macro, const struct arguments *arguments)
{
    for (size_t i = 0; i < macro->count; i++) {
        const struct node *parameter = macro->items[i];
        struct value value, key;
        const struct value *named =
            value_get_named(&arguments->named, parameter->name.data, parameter->name.len);
        if (i < arguments->positional.count) {
            value = arguments->positional.items[i];
        } else if (named) {
            value = *named;
        } else if (parameter->a) {
            if (!run_expression(r, parameter->a, &value))
                return false;
        } else {
            value = value_undefined("a macro's argument");
        }
        if (!value_string(r->arena, parameter->name.data, parameter->name.len, &key) ||
            !value_set(r->arena, &r->frame->variables, key, value))
            return false;
    }
    if (arguments->positional.count > macro->count)
        return run_fail(
            r, "calls a macro of %zu arguments with %zu", macro->count, arguments->positional.count);
    return true;
}

static bool call_macro(
    struct run *r, const struct value_callable *macro, const struct arguments *arguments, struct value *out)
{
    struct frame *outer = r->frame;
    /* A call block's macro is found where the call stands, not where the called macro was written. */
    const struct value *caller = NULL;
    for (const struct frame *f = outer; f && !caller; f = f->parent)
        caller = value_get_named(&f->variables, "caller", 6);
    bool ok = run_push_frame(r, macro->closure);
    if (ok && caller && !(macro->macro->name.len == 6 && memcmp(macro->macro->name.data, "caller", 6) == 0))
        ok = value_set_named(r->arena, &r->frame->variables, "caller", *caller);
    ok = ok && bind_parameters(r, macro->macro, arguments) && run_captured(r, macro->macro->b, out);
    r->flow = FLOW_ON;
    r->frame = outer;
    return ok;
}

bool run_call(struct run *r, struct value callee, const struct arguments *arguments, struct value *out)
{
    if (callee.type == VALUE_UNDEFINED)
        return run_fail(r, "calls \"%s\", which is undefined", callee.name ? callee.name : "a value");
    if (callee.type != VALUE_CALLABLE)
        return run_fail(r, "calls %s", value_type_name(callee));
    const struct value_callable *c = callee.callable;
    if (++r->depth > RUN_DEPTH_MAX)
        return error_set(r->err, ERROR_TOO_LARGE, "the chat template nests deeper than %d", RUN_DEPTH_MAX);
    bool ok = c->macro    ? call_macro(r, c, arguments, out)
              : c->method ? run_method(r, c->self, c->method, arguments, out)
                          : c->function(r, arguments, out);
    r->depth--;
    return ok;
}

static bool call_range(struct run *r, const struct arguments *arguments, struct value *out)
{
    size_t given = arguments->positional.count;
    int64_t first = run_argument_int(arguments, 0, NULL, 0), second = run_argument_int(arguments, 1, NULL, 0);
    int64_t from = given > 1 ? first : 0, to = given > 1 ? second : first;
    int64_t step = run_argument_int(arguments, 2, NULL, 1);
    for (size_t i = 0; i < given; i++) {
        enum value_type type = arguments->positional.items[i].type;
        if (type != VALUE_INT && type != VALUE_BOOL)
            return run_fail(r, "calls range with %s", value_type_name(arguments->positional.items[i]));
    }
    if (!given || !step)
        return run_fail(r, "calls range without an end or with a step of zero");
    if (!value_list(r->arena, VALUE_LIST, out))
        return false;
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        if (out->list->count >= RANGE_ITEMS_MAX)
            return run_fail(r, "asks for a range of more than %d items", RANGE_ITEMS_MAX);
        if (!value_push(r->arena, out->list, value_int(i)))
            return false;
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return true;
}

static bool fill_dict(
    struct run *r, const struct arguments *arguments, enum value_type type, struct value *out)
{
    struct value first = run_argument(arguments, 0, NULL);
    if (!value_dict(r->arena, type, out))
        return false;
    for (size_t i = 0; first.type == VALUE_DICT && i < first.dict->count; i++) {
        if (!value_set(r->arena, out->dict, first.dict->keys[i], first.dict->values[i]))
            return false;
    }
    for (size_t i = 0; i < arguments->named.count; i++) {
        if (!value_set(r->arena, out->dict, arguments->named.keys[i], arguments->named.values[i]))
            return false;
    }
    return true;
}

static bool call_namespace(struct run *r, const struct arguments *arguments, struct value *out)
{
    return fill_dict(r, arguments, VALUE_NAMESPACE, out);
}

static bool call_dict(struct run *r, const struct arguments *arguments, struct value *out)
{
    return fill_dict(r, arguments, VALUE_DICT, out);
}

static bool call_raise(struct run *r, const struct arguments *arguments, struct value *out)
{
    struct value text;
    if (!run_to_string(r, run_argument(arguments, 0, "message"), &text))
        return false;
    *out = value_none();
    return error_set(
        r->err, ERROR_INVALID, "%s", text.string->len ? text.string->data : "the chat template refused");
}

static bool call_strftime_now(struct run *r, const struct arguments *arguments, struct value *out)
{
    struct value_string given = run_argument_text(arguments, 0, "format", "");
    char format[256], text[512];
    time_t now = time(NULL);
    struct tm local;
    if (given.len >= sizeof(format))
        return run_fail(r, "has a date format that is too long");
    memcpy(format, given.data, given.len);
    format[given.len] = '\0';
    localtime_r(&now, &local);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t len = given.len ? strftime(text, sizeof(text), format, &local) : 0;
#pragma GCC diagnostic pop
    size_t repaired_len;
    char *repaired = text_repair(text, len, &repaired_len);
    bool ok = repaired ? value_string(r->arena, repaired, repaired_len, out)
                       : error_set(r->err, ERROR_MEMORY, "no memory for a chat template");
    free(repaired);
    return ok;
}

bool run_globals(struct run *r)
{
    static const struct {
        const char *name;
        run_function function;
    } globals[] = {{"range", call_range}, {"namespace", call_namespace}, {"dict", call_dict},
        {"raise_exception", call_raise}, {"strftime_now", call_strftime_now}};
    for (size_t i = 0; i < sizeof(globals) / sizeof(*globals); i++) {
        struct value_callable *callable = arena_take(r->arena, sizeof(*callable));
        if (!callable)
            return false;
        callable->function = globals[i].function;
        struct value value = {.type = VALUE_CALLABLE, .callable = callable};
        if (!value_set_named(r->arena, &r->frame->variables, globals[i].name, value))
            return false;
    }
    return true;
}
