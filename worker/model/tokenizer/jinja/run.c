/* Statements. */
#include "worker/model/tokenizer/jinja/run.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool run_fail(struct run *r, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return error_set(r->err, ERROR_INVALID, "the chat template %s", text);
}

bool run_step(struct run *r)
{
    if (++r->steps > RUN_STEPS_MAX)
        return error_set(
            r->err, ERROR_TOO_LARGE, "the chat template takes more than %d steps", RUN_STEPS_MAX);
    if (r->out->len > RUN_OUTPUT_BYTES_MAX)
        return error_set(
            r->err, ERROR_TOO_LARGE, "the chat template writes more than %d bytes", RUN_OUTPUT_BYTES_MAX);
    return true;
}

bool run_push_frame(struct run *r, struct frame *parent)
{
    struct frame *frame = arena_take(r->arena, sizeof(*frame));
    if (!frame)
        return false;
    frame->parent = parent;
    r->frame = frame;
    return true;
}

static bool name_value(struct run *r, const struct value_string *name, struct value *out)
{
    return value_string(r->arena, name->data, name->len, out);
}

static bool assign_tuple(struct run *r, const struct node *target, struct value value)
{
    struct value_list *items;
    if (!run_iterate(r, value, &items))
        return false;
    if (items->count != target->count)
        return run_fail(r, "unpacks %zu values into %zu names", items->count, target->count);
    for (size_t i = 0; i < target->count; i++) {
        if (!run_assign(r, target->items[i], items->items[i]))
            return false;
    }
    return true;
}

bool run_assign(struct run *r, const struct node *target, struct value value)
{
    struct value key, of;
    switch (target->kind) {
    case NODE_NAME:
        return name_value(r, &target->name, &key) && value_set(r->arena, &r->frame->variables, key, value);
    case NODE_TUPLE: return assign_tuple(r, target, value);
    default: break;
    }
    if (!run_expression(r, target->a, &of) || !name_value(r, &target->name, &key))
        return false;
    if (of.type != VALUE_NAMESPACE)
        return run_fail(r, "sets an attribute of %s; only a namespace's may be set", value_type_name(of));
    return value_set(r->arena, of.dict, key, value);
}

static bool run_body(struct run *r, const struct node *body)
{
    for (size_t i = 0; i < body->count && r->flow == FLOW_ON; i++) {
        if (!run_statement(r, body->items[i]))
            return false;
    }
    return true;
}

static bool run_print(struct run *r, const struct node *node)
{
    struct value value;
    return run_expression(r, node->a, &value) && value_print(value, r->out, r->err);
}

static bool run_if(struct run *r, const struct node *node)
{
    struct value test;
    if (!run_expression(r, node->a, &test))
        return false;
    if (value_truth(test))
        return run_body(r, node->b);
    return !node->c || run_statement(r, node->c);
}

/* The items that pass the loop's own "if". */
static bool filter_items(
    struct run *r, const struct node *node, struct value_list *all, struct value_list **out)
{
    struct value kept, test;
    *out = all;
    if (!node->d)
        return true;
    struct frame *outer = r->frame;
    if (!value_list(r->arena, VALUE_LIST, &kept))
        return false;
    for (size_t i = 0; i < all->count; i++) {
        if (!run_push_frame(r, outer) || !run_assign(r, node->a, all->items[i]) ||
            !run_expression(r, node->d, &test) ||
            (value_truth(test) && !value_push(r->arena, kept.list, all->items[i])))
            return false;
    }
    r->frame = outer;
    *out = kept.list;
    return true;
}

static int loop_depth(const struct run *r)
{
    for (const struct frame *f = r->frame; f; f = f->parent) {
        const struct value *loop = value_get_named(&f->variables, "loop", 4);
        if (loop && loop->type == VALUE_LOOP)
            return loop->loop->depth + 1;
    }
    return 1;
}

static bool run_for(struct run *r, const struct node *node)
{
    struct value iterable;
    struct value_list *items;
    struct frame *outer = r->frame;
    if (!run_expression(r, node->b, &iterable) || !run_iterate(r, iterable, &items) ||
        !filter_items(r, node, items, &items))
        return false;
    if (!items->count)
        return !node->e || run_body(r, node->e);
    struct value_loop *loop = arena_take(r->arena, sizeof(*loop));
    if (!loop)
        return false;
    *loop = (struct value_loop){.items = items, .depth = loop_depth(r)};
    for (; loop->index < items->count; loop->index++) {
        struct value as_value = {.type = VALUE_LOOP, .loop = loop};
        if (!run_step(r) || !run_push_frame(r, outer) ||
            !value_set_named(r->arena, &r->frame->variables, "loop", as_value) ||
            !run_assign(r, node->a, items->items[loop->index]) || !run_body(r, node->c))
            return false;
        enum flow flow = r->flow;
        r->flow = FLOW_ON;
        if (flow == FLOW_BREAK)
            break;
    }
    r->frame = outer;
    return true;
}

bool run_captured(struct run *r, const struct node *body, struct value *out)
{
    struct buffer text = {0}, *outer = r->out;
    r->out = &text;
    bool ok = run_body(r, body) && value_string(r->arena, text.data ? text.data : "", text.len, out);
    r->out = outer;
    buffer_free(&text);
    return ok;
}

/* A chain of filters over a block's text: the innermost has no input of its own. */
static bool filter_text(struct run *r, const struct node *chain, struct value text, struct value *out)
{
    if (!chain) {
        *out = text;
        return true;
    }
    struct value input;
    struct arguments arguments = {0};
    if (!filter_text(r, chain->a, text, &input))
        return false;
    for (size_t i = 0; i < chain->count; i++) {
        struct value value, key;
        if (!run_expression(r, chain->items[i], &value))
            return false;
        bool ok = chain->item_names[i].data ? name_value(r, &chain->item_names[i], &key) &&
                                                  value_set(r->arena, &arguments.named, key, value)
                                            : value_push(r->arena, &arguments.positional, value);
        if (!ok)
            return false;
    }
    return run_filter(r, &chain->name, input, &arguments, out);
}

static bool run_set_block(struct run *r, const struct node *node)
{
    struct value text;
    struct frame *outer = r->frame;
    bool ok = run_push_frame(r, outer) && run_captured(r, node->b, &text);
    r->frame = outer;
    return ok && filter_text(r, node->c, text, &text) && run_assign(r, node->a, text);
}

static bool run_filter_block(struct run *r, const struct node *node)
{
    struct value text;
    struct frame *outer = r->frame;
    bool ok = run_push_frame(r, outer) && run_captured(r, node->b, &text);
    r->frame = outer;
    return ok && filter_text(r, node->a, text, &text) && value_print(text, r->out, r->err);
}

static bool make_macro(struct run *r, const struct node *node, struct value *out)
{
    struct value_callable *macro = arena_take(r->arena, sizeof(*macro));
    if (!macro)
        return false;
    macro->macro = node;
    macro->closure = r->frame;
    *out = (struct value){.type = VALUE_CALLABLE, .callable = macro};
    return true;
}

static bool run_macro(struct run *r, const struct node *node)
{
    struct value macro, key;
    return make_macro(r, node, &macro) && name_value(r, &node->name, &key) &&
           value_set(r->arena, &r->frame->variables, key, macro);
}

/* {% call f() %}: the body becomes the macro `caller` that f can call. */
static bool run_call_block(struct run *r, const struct node *node)
{
    struct value caller, result;
    struct frame *outer = r->frame;
    bool ok = make_macro(r, node->b, &caller) && run_push_frame(r, outer) &&
              value_set_named(r->arena, &r->frame->variables, "caller", caller) &&
              run_expression(r, node->a, &result);
    r->frame = outer;
    return ok && value_print(result, r->out, r->err);
}

static bool run_with(struct run *r, const struct node *node)
{
    struct frame *outer = r->frame, *inner;
    if (!run_push_frame(r, outer))
        return false;
    inner = r->frame;
    bool ok = true;
    for (size_t i = 0; ok && i + 1 < node->count; i += 2) {
        struct value value;
        r->frame = outer;
        ok = run_expression(r, node->items[i + 1], &value);
        r->frame = inner;
        ok = ok && run_assign(r, node->items[i], value);
    }
    ok = ok && run_body(r, node->b);
    r->frame = outer;
    return ok;
}

static bool dispatch(struct run *r, const struct node *node)
{
    struct value value;
    switch (node->kind) {
    case NODE_BODY: return run_body(r, node);
    case NODE_TEXT: return buffer_append(r->out, node->name.data, node->name.len, r->err);
    case NODE_PRINT: return run_print(r, node);
    case NODE_IF: return run_if(r, node);
    case NODE_FOR: return run_for(r, node);
    case NODE_SET: return run_expression(r, node->b, &value) && run_assign(r, node->a, value);
    case NODE_SET_BLOCK: return run_set_block(r, node);
    case NODE_MACRO: return run_macro(r, node);
    case NODE_CALL_BLOCK: return run_call_block(r, node);
    case NODE_FILTER_BLOCK: return run_filter_block(r, node);
    case NODE_WITH: return run_with(r, node);
    case NODE_BREAK: r->flow = FLOW_BREAK; return true;
    case NODE_CONTINUE: r->flow = FLOW_CONTINUE; return true;
    default: return error_set(r->err, ERROR_INTERNAL, "statement %d is unknown", (int)node->kind);
    }
}

bool run_statement(struct run *r, const struct node *node)
{
    if (!run_step(r))
        return false;
    if (++r->depth > RUN_DEPTH_MAX)
        return error_set(r->err, ERROR_TOO_LARGE, "the chat template nests deeper than %d", RUN_DEPTH_MAX);
    bool ok = dispatch(r, node);
    r->depth--;
    return ok;
}
