/* Expressions. */
#include <math.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/jinja/run.h"

static bool run_name(struct run *r, const struct node *node, struct value *out)
{
    for (const struct frame *f = r->frame; f; f = f->parent) {
        const struct value *found = value_get_named(&f->variables, node->name.data, node->name.len);
        if (found) {
            *out = *found;
            return true;
        }
    }
    struct value name;
    if (!value_string(r->arena, node->name.data, node->name.len, &name))
        return false;
    *out = value_undefined(name.string->data);
    return true;
}

static bool run_items(struct run *r, const struct node *node, enum value_type type, struct value *out)
{
    if (!value_list(r->arena, type, out))
        return false;
    for (size_t i = 0; i < node->count; i++) {
        struct value item = {0};
        if (!run_expression(r, node->items[i], &item) || !value_push(r->arena, out->list, item))
            return false;
    }
    return true;
}

static bool run_dict(struct run *r, const struct node *node, struct value *out)
{
    if (!value_dict(r->arena, VALUE_DICT, out))
        return false;
    for (size_t i = 0; i + 1 < node->count; i += 2) {
        struct value key, item;
        if (!run_expression(r, node->items[i], &key) || !run_expression(r, node->items[i + 1], &item) ||
            !value_set(r->arena, out->dict, key, item))
            return false;
    }
    return true;
}

static bool evaluate_arguments(struct run *r, const struct node *node, struct arguments *out)
{
    for (size_t i = 0; i < node->count; i++) {
        struct value value, key;
        if (!run_expression(r, node->items[i], &value))
            return false;
        const struct value_string *name = &node->item_names[i];
        bool ok = name->data ? value_string(r->arena, name->data, name->len, &key) &&
                                   value_set(r->arena, &out->named, key, value)
                             : value_push(r->arena, &out->positional, value);
        if (!ok)
            return false;
    }
    return true;
}

static bool run_call_node(struct run *r, const struct node *node, struct value *out)
{
    struct value callee;
    struct arguments arguments = {0};
    return run_expression(r, node->a, &callee) && evaluate_arguments(r, node, &arguments) &&
           run_call(r, callee, &arguments, out);
}

static bool run_filter_node(struct run *r, const struct node *node, struct value *out)
{
    struct value input;
    struct arguments arguments = {0};
    return run_expression(r, node->a, &input) && evaluate_arguments(r, node, &arguments) &&
           run_filter(r, &node->name, input, &arguments, out);
}

static bool run_test_node(struct run *r, const struct node *node, struct value *out)
{
    struct value input;
    struct arguments arguments = {0};
    bool result;
    if (!run_expression(r, node->a, &input) || !evaluate_arguments(r, node, &arguments) ||
        !run_test(r, &node->name, input, &arguments, &result))
        return false;
    *out = value_bool(result);
    return true;
}

static bool run_slice_node(struct run *r, const struct node *node, struct value *out)
{
    struct value of, bounds[3] = {value_none(), value_none(), value_none()};
    const struct node *parts[3] = {node->b, node->c, node->d};
    if (!run_expression(r, node->a, &of))
        return false;
    for (int i = 0; i < 3; i++) {
        if (parts[i] && !run_expression(r, parts[i], &bounds[i]))
            return false;
    }
    return run_slice(r, of, bounds, out);
}

static bool run_sign(struct run *r, const struct node *node, struct value *out)
{
    struct value a;
    if (!run_expression(r, node->a, &a))
        return false;
    if (!value_is_number(a))
        return run_fail(r, "changes the sign of %s", value_type_name(a));
    bool negate = node->kind == NODE_NEGATE;
    if (a.type == VALUE_FLOAT) {
        *out = value_float(negate ? -a.number : a.number);
        return true;
    }
    int64_t integer = a.type == VALUE_BOOL ? a.boolean : a.integer;
    if (negate && integer == INT64_MIN)
        return run_fail(r, "computes a number that is too large");
    *out = value_int(negate ? -integer : integer);
    return true;
}

static bool run_logic(struct run *r, const struct node *node, struct value *out)
{
    if (!run_expression(r, node->a, out))
        return false;
    if (node->kind == NODE_NOT) {
        *out = value_bool(!value_truth(*out));
        return true;
    }
    if (value_truth(*out) == (node->kind == NODE_OR))
        return true;
    return run_expression(r, node->b, out);
}

static bool run_condition(struct run *r, const struct node *node, struct value *out)
{
    struct value test;
    if (!run_expression(r, node->b, &test))
        return false;
    if (value_truth(test))
        return run_expression(r, node->a, out);
    *out = value_undefined(NULL);
    return !node->c || run_expression(r, node->c, out);
}

static bool run_chain(struct run *r, const struct node *node, struct value *out)
{
    bool holds = true;
    for (size_t i = 0; i < node->count && holds; i++) {
        struct value a, b;
        const struct node *pair = node->items[i];
        if (!run_expression(r, pair->a, &a) || !run_expression(r, pair->b, &b) ||
            !run_compare(r, &pair->name, a, b, &holds))
            return false;
    }
    *out = value_bool(holds);
    return true;
}

static bool run_two(struct run *r, const struct node *node, struct value *out)
{
    struct value a, b;
    if (!run_expression(r, node->a, &a) || !run_expression(r, node->b, &b))
        return false;
    return node->kind == NODE_INDEX ? run_index(r, a, b, out) : run_binary(r, &node->name, a, b, out);
}

static bool dispatch(struct run *r, const struct node *node, struct value *out)
{
    struct value of;
    switch (node->kind) {
    case NODE_LITERAL: *out = node->literal; return true;
    case NODE_NAME: return run_name(r, node, out);
    case NODE_LIST: return run_items(r, node, VALUE_LIST, out);
    case NODE_TUPLE: return run_items(r, node, VALUE_TUPLE, out);
    case NODE_DICT: return run_dict(r, node, out);
    case NODE_ATTRIBUTE:
        return run_expression(r, node->a, &of) && run_attribute(r, of, node->name.data, node->name.len, out);
    case NODE_INDEX:
    case NODE_BINARY: return run_two(r, node, out);
    case NODE_SLICE: return run_slice_node(r, node, out);
    case NODE_CALL: return run_call_node(r, node, out);
    case NODE_FILTER: return run_filter_node(r, node, out);
    case NODE_TEST: return run_test_node(r, node, out);
    case NODE_NEGATE:
    case NODE_POSITIVE: return run_sign(r, node, out);
    case NODE_NOT:
    case NODE_AND:
    case NODE_OR: return run_logic(r, node, out);
    case NODE_CHAIN: return run_chain(r, node, out);
    case NODE_CONDITION: return run_condition(r, node, out);
    default: return error_set(r->err, ERROR_INTERNAL, "expression %d is unknown", (int)node->kind);
    }
}

bool run_expression(struct run *r, const struct node *node, struct value *out)
{
    if (!run_step(r))
        return false;
    if (++r->depth > RUN_DEPTH_MAX)
        return error_set(r->err, ERROR_TOO_LARGE, "the chat template nests deeper than %d", RUN_DEPTH_MAX);
    bool ok = dispatch(r, node, out);
    r->depth--;
    return ok;
}
