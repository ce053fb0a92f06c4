/* Tests: what follows "is". */
#include <math.h>
#include <string.h>

#include "worker/model/tokenizer/jinja/run.h"
#include "worker/model/tokenizer/jinja/string.h"

static bool type_test(const struct value_string *name, struct value v, bool *out)
{
    if (name_is(name, "defined"))
        *out = v.type != VALUE_UNDEFINED;
    else if (name_is(name, "undefined"))
        *out = v.type == VALUE_UNDEFINED;
    else if (name_is(name, "none"))
        *out = v.type == VALUE_NONE;
    else if (name_is(name, "boolean"))
        *out = v.type == VALUE_BOOL;
    else if (name_is(name, "true"))
        *out = v.type == VALUE_BOOL && v.boolean;
    else if (name_is(name, "false"))
        *out = v.type == VALUE_BOOL && !v.boolean;
    else if (name_is(name, "integer"))
        *out = v.type == VALUE_INT;
    else if (name_is(name, "float"))
        *out = v.type == VALUE_FLOAT;
    else if (name_is(name, "number"))
        *out = value_is_number(v);
    else if (name_is(name, "string"))
        *out = v.type == VALUE_STRING;
    else if (name_is(name, "mapping"))
        *out = v.type == VALUE_DICT;
    else if (name_is(name, "callable"))
        *out = v.type == VALUE_CALLABLE;
    else if (name_is(name, "sequence"))
        *out = v.type == VALUE_STRING || v.type == VALUE_LIST || v.type == VALUE_TUPLE ||
               v.type == VALUE_DICT || v.type == VALUE_UNDEFINED;
    else if (name_is(name, "iterable"))
        *out = v.type == VALUE_STRING || v.type == VALUE_LIST || v.type == VALUE_TUPLE ||
               v.type == VALUE_DICT || v.type == VALUE_UNDEFINED || v.type == VALUE_LOOP;
    else
        return false;
    return true;
}

static const char *comparison_of(const struct value_string *name)
{
    static const char *const names[][2] = {{"eq", "=="}, {"equalto", "=="}, {"==", "=="}, {"ne", "!="},
        {"!=", "!="}, {"lt", "<"}, {"lessthan", "<"}, {"<", "<"}, {"le", "<="}, {"<=", "<="}, {"gt", ">"},
        {"greaterthan", ">"}, {">", ">"}, {"ge", ">="}, {">=", ">="}, {"in", "in"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (name_is(name, names[i][0]))
            return names[i][1];
    }
    return NULL;
}

bool run_test(struct run *r, const struct value_string *name, struct value v,
    const struct arguments *arguments, bool *out)
{
    struct value other = run_argument(arguments, 0, NULL);
    const char *comparison = comparison_of(name);
    if (type_test(name, v, out))
        return true;
    if (comparison) {
        struct value_string op = {comparison, strlen(comparison)};
        return run_compare(r, &op, v, other, out);
    }
    if (name_is(name, "odd") || name_is(name, "even") || name_is(name, "divisibleby")) {
        int64_t by = name_is(name, "divisibleby") ? run_argument_int(arguments, 0, NULL, 0) : 2;
        if (v.type != VALUE_INT || by == 0 || by == -1)
            return run_fail(r, "asks whether %s is %.*s", value_type_name(v), (int)name->len, name->data);
        *out = (v.integer % by == 0) != name_is(name, "odd");
        return true;
    }
    if (name_is(name, "sameas")) {
        *out = v.type == other.type && value_equal(v, other, 0);
        return true;
    }
    if (name_is(name, "lower") || name_is(name, "upper")) {
        struct value text;
        if (!run_to_string(r, v, &text))
            return false;
        *out = string_is(text.string, name_is(name, "lower") ? STRING_LOWER : STRING_UPPER);
        return true;
    }
    return run_fail(
        r, "uses the test \"%.*s\", which is not known", (int)(name->len < 60 ? name->len : 60), name->data);
}
