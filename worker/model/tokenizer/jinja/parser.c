#include <stdio.h>
#include <string.h>

#include "worker/model/tokenizer/jinja/syntax.h"

static const struct value_string no_name = {NULL, 0};

bool parser_fail(struct parser *p, const char *what)
{
    /* The innermost reason is the useful one. */
    if (p->arena->err && p->arena->err->code != ERROR_NONE)
        return false;
    return error_set(
        p->arena->err, ERROR_INVALID, "the chat template's line %d: %s", p->tokens[p->at].line, what);
}

bool parser_is(const struct parser *p, enum token_kind kind, const char *text)
{
    const struct token *token = &p->tokens[p->at];
    return token->kind == kind &&
           (!text || (strlen(text) == token->len && memcmp(token->data, text, token->len) == 0));
}

bool parser_take(struct parser *p, enum token_kind kind, const char *text)
{
    if (!parser_is(p, kind, text))
        return false;
    p->at++;
    return true;
}

bool parser_expect(struct parser *p, enum token_kind kind, const char *text)
{
    char what[96];
    if (parser_take(p, kind, text))
        return true;
    snprintf(what, sizeof(what), "%s was expected",
        text                        ? text
        : kind == TOKEN_NAME        ? "a name"
        : kind == TOKEN_BLOCK_CLOSE ? "%}"
                                    : "}}");
    return parser_fail(p, what);
}

struct node *parser_node(struct parser *p, enum node_kind kind)
{
    struct node *node = arena_take(p->arena, sizeof(*node));
    if (node) {
        node->kind = kind;
        node->line = p->tokens[p->at].line;
    }
    return node;
}

bool parser_add(struct parser *p, struct node *parent, struct node *child, struct value_string name)
{
    if (parent->count == parent->capacity) {
        size_t capacity = parent->capacity ? parent->capacity * 2 : 4;
        struct node **items = arena_take(p->arena, capacity * sizeof(struct node *));
        struct value_string *names = items ? arena_take(p->arena, capacity * sizeof(*names)) : NULL;
        if (!names)
            return false;
        if (parent->count) {
            memcpy(items, parent->items, parent->count * sizeof(struct node *));
            memcpy(names, parent->item_names, parent->count * sizeof(*names));
        }
        parent->items = items;
        parent->item_names = names;
        parent->capacity = capacity;
    }
    parent->items[parent->count] = child;
    parent->item_names[parent->count++] = name;
    return true;
}

static struct node *body(struct parser *p, const char *const *ends);

/* The body up to one of the tags in `ends`, whose name is taken; its %} is not. */
static struct node *block(struct parser *p, const char *const *ends)
{
    return parser_expect(p, TOKEN_BLOCK_CLOSE, NULL) ? body(p, ends) : NULL;
}

static struct node *closed(struct parser *p, struct node *node)
{
    return node && parser_expect(p, TOKEN_BLOCK_CLOSE, NULL) ? node : NULL;
}

static struct node *single_target(struct parser *p)
{
    const struct token *name = &p->tokens[p->at];
    if (!parser_expect(p, TOKEN_NAME, NULL))
        return NULL;
    struct node *node = parser_node(p, NODE_NAME);
    if (!node)
        return NULL;
    node->name = (struct value_string){name->data, name->len};
    if (!parser_take(p, TOKEN_OPERATOR, "."))
        return node;
    struct node *attribute = parser_node(p, NODE_ATTRIBUTE);
    name = &p->tokens[p->at];
    if (!attribute || !parser_expect(p, TOKEN_NAME, NULL))
        return NULL;
    attribute->a = node;
    attribute->name = (struct value_string){name->data, name->len};
    return attribute;
}

struct node *parser_target(struct parser *p)
{
    bool fenced = parser_take(p, TOKEN_OPERATOR, "(");
    struct node *first = single_target(p), *tuple = NULL;
    while (first && parser_take(p, TOKEN_OPERATOR, ",")) {
        if (!tuple && (!(tuple = parser_node(p, NODE_TUPLE)) || !parser_add(p, tuple, first, no_name)))
            return NULL;
        if (p->tokens[p->at].kind != TOKEN_NAME || parser_is(p, TOKEN_NAME, "in"))
            break;
        struct node *next = single_target(p);
        if (!next || !parser_add(p, tuple, next, no_name))
            return NULL;
    }
    if (first && fenced && !parser_expect(p, TOKEN_OPERATOR, ")"))
        return NULL;
    return tuple ? tuple : first;
}

static struct node *parse_if(struct parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    struct node *node = parser_node(p, NODE_IF);
    if (!node || !(node->a = parser_expression_or_tuple(p, true)) || !(node->b = block(p, ends)))
        return NULL;
    struct node *tail = node;
    /* body() stops behind the tag's name; which one it was decides what follows. */
    for (;;) {
        const struct token *end = &p->tokens[p->at - 1];
        if (end->len == 5)
            return closed(p, node);
        bool otherwise = memcmp(end->data, "else", 4) == 0;
        if (otherwise)
            return (tail->c = block(p, last)) ? closed(p, node) : NULL;
        struct node *next = parser_node(p, NODE_IF);
        if (!next || !(next->a = parser_expression_or_tuple(p, true)) || !(next->b = block(p, ends)))
            return NULL;
        tail->c = next;
        tail = next;
    }
}

static struct node *parse_for(struct parser *p)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    static const char *const last[] = {"endfor", NULL};
    struct node *node = parser_node(p, NODE_FOR);
    if (!node || !(node->a = parser_target(p)) || !parser_expect(p, TOKEN_NAME, "in") ||
        !(node->b = parser_expression_or_tuple(p, false)))
        return NULL;
    if (parser_take(p, TOKEN_NAME, "if") && !(node->d = parser_expression(p)))
        return NULL;
    if (parser_is(p, TOKEN_NAME, "recursive")) {
        parser_fail(p, "recursive loops are not supported");
        return NULL;
    }
    if (!(node->c = block(p, ends)))
        return NULL;
    if (p->tokens[p->at - 1].len == 4 && !(node->e = block(p, last)))
        return NULL;
    return closed(p, node);
}

static struct node *parse_set(struct parser *p)
{
    static const char *const ends[] = {"endset", NULL};
    struct node *node = parser_node(p, NODE_SET);
    if (!node || !(node->a = parser_target(p)))
        return NULL;
    if (parser_take(p, TOKEN_OPERATOR, "="))
        return (node->b = parser_expression_or_tuple(p, true)) ? closed(p, node) : NULL;
    node->kind = NODE_SET_BLOCK;
    if (parser_take(p, TOKEN_OPERATOR, "|") && !(node->c = parser_filters(p, NULL)))
        return NULL;
    return (node->b = block(p, ends)) ? closed(p, node) : NULL;
}

static bool parameters(struct parser *p, struct node *macro)
{
    if (!parser_expect(p, TOKEN_OPERATOR, "("))
        return false;
    while (!parser_take(p, TOKEN_OPERATOR, ")")) {
        struct node *parameter = parser_node(p, NODE_NAME);
        const struct token *name = &p->tokens[p->at];
        if (!parameter || !parser_expect(p, TOKEN_NAME, NULL))
            return false;
        parameter->name = (struct value_string){name->data, name->len};
        if (parser_take(p, TOKEN_OPERATOR, "=") && !(parameter->a = parser_expression(p)))
            return false;
        if (!parser_add(p, macro, parameter, parameter->name))
            return false;
        if (!parser_take(p, TOKEN_OPERATOR, ",") && !parser_is(p, TOKEN_OPERATOR, ")"))
            return parser_fail(p, "expected , between parameters");
    }
    return true;
}

static struct node *parse_macro(struct parser *p)
{
    static const char *const ends[] = {"endmacro", NULL};
    struct node *node = parser_node(p, NODE_MACRO);
    const struct token *name = &p->tokens[p->at];
    if (!node || !parser_expect(p, TOKEN_NAME, NULL))
        return NULL;
    node->name = (struct value_string){name->data, name->len};
    return parameters(p, node) && (node->b = block(p, ends)) ? closed(p, node) : NULL;
}

static struct node *parse_call(struct parser *p)
{
    static const char *const ends[] = {"endcall", NULL};
    struct node *node = parser_node(p, NODE_CALL_BLOCK), *caller = parser_node(p, NODE_MACRO);
    if (!node || !caller)
        return NULL;
    caller->name = (struct value_string){"caller", 6};
    node->b = caller;
    if (parser_is(p, TOKEN_OPERATOR, "(") && !parameters(p, caller))
        return NULL;
    node->a = parser_postfix_call(p);
    if (!node->a || node->a->kind != NODE_CALL) {
        parser_fail(p, "a call block needs a call");
        return NULL;
    }
    return (caller->b = block(p, ends)) ? closed(p, node) : NULL;
}

static struct node *parse_with(struct parser *p)
{
    static const char *const ends[] = {"endwith", NULL};
    struct node *node = parser_node(p, NODE_WITH);
    while (node && !parser_is(p, TOKEN_BLOCK_CLOSE, NULL)) {
        struct node *target = parser_target(p);
        struct node *value = target && parser_expect(p, TOKEN_OPERATOR, "=") ? parser_expression(p) : NULL;
        if (!value || !parser_add(p, node, target, no_name) || !parser_add(p, node, value, no_name))
            return NULL;
        parser_take(p, TOKEN_OPERATOR, ",");
    }
    return node && (node->b = block(p, ends)) ? closed(p, node) : NULL;
}

static struct node *parse_filter(struct parser *p)
{
    static const char *const ends[] = {"endfilter", NULL};
    struct node *node = parser_node(p, NODE_FILTER_BLOCK);
    return node && (node->a = parser_filters(p, NULL)) && (node->b = block(p, ends)) ? closed(p, node) : NULL;
}

/* {% generation %} marks what the assistant wrote; rendering ignores it. */
static struct node *parse_generation(struct parser *p)
{
    static const char *const ends[] = {"endgeneration", NULL};
    return closed(p, block(p, ends));
}

static struct node *statement(struct parser *p)
{
    static const struct {
        const char *name;
        struct node *(*parse)(struct parser *p);
    } statements[] = {{"if", parse_if}, {"for", parse_for}, {"set", parse_set}, {"macro", parse_macro},
        {"call", parse_call}, {"with", parse_with}, {"filter", parse_filter},
        {"generation", parse_generation}};
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        if (parser_take(p, TOKEN_NAME, statements[i].name))
            return statements[i].parse(p);
    }
    if (parser_take(p, TOKEN_NAME, "break"))
        return closed(p, parser_node(p, NODE_BREAK));
    if (parser_take(p, TOKEN_NAME, "continue"))
        return closed(p, parser_node(p, NODE_CONTINUE));
    char what[96];
    const struct token *token = &p->tokens[p->at];
    snprintf(what, sizeof(what), "the tag \"%.*s\" is not known",
        token->kind == TOKEN_NAME ? (int)(token->len < 40 ? token->len : 40) : 0,
        token->data ? token->data : "");
    parser_fail(p, what);
    return NULL;
}

static bool is_end(struct parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++) {
        if (parser_take(p, TOKEN_NAME, *ends))
            return true;
    }
    return false;
}

static struct node *print(struct parser *p)
{
    struct node *node = parser_node(p, NODE_PRINT);
    if (!node || !(node->a = parser_expression_or_tuple(p, true)))
        return NULL;
    return parser_expect(p, TOKEN_PRINT_CLOSE, NULL) ? node : NULL;
}

static struct node *text(struct parser *p)
{
    struct node *node = parser_node(p, NODE_TEXT);
    if (node)
        node->name = (struct value_string){p->tokens[p->at].data, p->tokens[p->at].len};
    p->at++;
    return node;
}

static struct node *body(struct parser *p, const char *const *ends)
{
    struct node *list = parser_node(p, NODE_BODY);
    if (!list)
        return NULL;
    if (++p->depth > PARSER_DEPTH_MAX) {
        parser_fail(p, "blocks nest too deep");
        return NULL;
    }
    for (;;) {
        struct node *item;
        if (parser_is(p, TOKEN_END, NULL)) {
            if (ends) {
                parser_fail(p, "the template ends inside a block");
                return NULL;
            }
            break;
        }
        if (parser_take(p, TOKEN_BLOCK_OPEN, NULL)) {
            if (is_end(p, ends))
                break;
            item = statement(p);
        } else if (parser_take(p, TOKEN_PRINT_OPEN, NULL)) {
            item = print(p);
        } else {
            item = text(p);
        }
        if (!item || !parser_add(p, list, item, no_name))
            return NULL;
    }
    p->depth--;
    return list;
}

bool jinja_parse(struct arena *arena, const char *source, size_t len, struct node **out)
{
    struct token_list tokens = {0};
    struct error discarded = {0};
    if (!arena->err)
        arena->err = &discarded;
    arena->err->code = ERROR_NONE;
    bool ok = jinja_lex(arena, source, len, &tokens);
    struct parser p = {.arena = arena, .tokens = tokens.items, .count = tokens.count};
    ok = ok && (*out = body(&p, NULL)) != NULL;
    if (arena->err == &discarded)
        arena->err = NULL;
    return ok;
}
