#include <string.h>

#include "worker/model/tokenizer/jinja/syntax.h"

static const struct value_string no_name = {NULL, 0};

static struct node *unary(struct parser *p, bool with_filters);
static struct node *condition(struct parser *p);

static struct node *with(struct parser *p, enum node_kind kind, struct node *a, struct node *b)
{
    struct node *node = a ? parser_node(p, kind) : NULL;
    if (node) {
        node->a = a;
        node->b = b;
    }
    return node;
}

static struct node *binary(
    struct parser *p, enum node_kind kind, struct node *a, const struct token *op, struct node *b)
{
    struct node *node = b ? with(p, kind, a, b) : NULL;
    if (node)
        node->name = (struct value_string){op->data, op->len};
    return node;
}

static bool is_operator(const struct parser *p, const char *const *names)
{
    for (; *names; names++) {
        if (parser_is(p, TOKEN_OPERATOR, *names))
            return true;
    }
    return false;
}

/* Left-associative operators of one precedence. */
static struct node *climb(struct parser *p, const char *const *names, struct node *(*next)(struct parser *p))
{
    struct node *left = next(p);
    while (left && is_operator(p, names)) {
        const struct token *op = &p->tokens[p->at++];
        struct node *right = next(p);
        left = binary(p, NODE_BINARY, left, op, right);
    }
    return left;
}

static struct node *unary_filtered(struct parser *p)
{
    return unary(p, true);
}

static struct node *power(struct parser *p)
{
    static const char *const names[] = {"**", NULL};
    return climb(p, names, unary_filtered);
}

static struct node *product(struct parser *p)
{
    static const char *const names[] = {"*", "/", "//", "%", NULL};
    return climb(p, names, power);
}

static struct node *concatenation(struct parser *p)
{
    static const char *const names[] = {"~", NULL};
    return climb(p, names, product);
}

static struct node *sum(struct parser *p)
{
    static const char *const names[] = {"+", "-", NULL};
    return climb(p, names, concatenation);
}

static bool take_comparison(struct parser *p, struct value_string *name)
{
    static const char *const names[] = {"==", "!=", "<", ">", "<=", ">=", NULL};
    const struct token *token = &p->tokens[p->at];
    bool not_in = parser_is(p, TOKEN_NAME, "not") && token[1].kind == TOKEN_NAME && token[1].len == 2 &&
                  memcmp(token[1].data, "in", 2) == 0;
    if (not_in) {
        *name = (struct value_string){"not in", 6};
        p->at += 2;
        return true;
    }
    if (!is_operator(p, names) && !parser_is(p, TOKEN_NAME, "in"))
        return false;
    *name = (struct value_string){token->data, token->len};
    p->at++;
    return true;
}

static struct node *comparison(struct parser *p)
{
    struct value_string name;
    struct node *left = sum(p), *chain = NULL;
    while (left && take_comparison(p, &name)) {
        struct node *right = sum(p);
        struct node *pair =
            right ? with(p, NODE_COMPARE, chain ? chain->items[chain->count - 1]->b : left, right) : NULL;
        if (!pair)
            return NULL;
        pair->name = name;
        if (!chain && !(chain = parser_node(p, NODE_CHAIN)))
            return NULL;
        if (!parser_add(p, chain, pair, no_name))
            return NULL;
    }
    return chain && left ? chain : left;
}

static struct node *negation(struct parser *p)
{
    if (!parser_take(p, TOKEN_NAME, "not"))
        return comparison(p);
    if (++p->depth > PARSER_DEPTH_MAX) {
        parser_fail(p, "expressions nest too deep");
        return NULL;
    }
    struct node *node = with(p, NODE_NOT, negation(p), NULL);
    p->depth--;
    return node;
}

static struct node *conjunction(struct parser *p)
{
    struct node *left = negation(p);
    while (left && parser_take(p, TOKEN_NAME, "and")) {
        struct node *right = negation(p);
        left = right ? with(p, NODE_AND, left, right) : NULL;
    }
    return left;
}

static struct node *disjunction(struct parser *p)
{
    struct node *left = conjunction(p);
    while (left && parser_take(p, TOKEN_NAME, "or")) {
        struct node *right = conjunction(p);
        left = right ? with(p, NODE_OR, left, right) : NULL;
    }
    return left;
}

static struct node *condition(struct parser *p)
{
    struct node *value = disjunction(p);
    while (value && parser_take(p, TOKEN_NAME, "if")) {
        struct node *test = disjunction(p);
        struct node *node = test ? with(p, NODE_CONDITION, value, test) : NULL;
        if (!node)
            return NULL;
        if (parser_take(p, TOKEN_NAME, "else") && !(node->c = condition(p)))
            return NULL;
        value = node;
    }
    return value;
}

struct node *parser_expression(struct parser *p)
{
    if (++p->depth > PARSER_DEPTH_MAX) {
        parser_fail(p, "expressions nest too deep");
        return NULL;
    }
    struct node *node = condition(p);
    p->depth--;
    return node;
}

static bool at_end(const struct parser *p)
{
    enum token_kind kind = p->tokens[p->at].kind;
    return kind == TOKEN_BLOCK_CLOSE || kind == TOKEN_PRINT_CLOSE || kind == TOKEN_END ||
           parser_is(p, TOKEN_OPERATOR, ")") || parser_is(p, TOKEN_OPERATOR, "=") ||
           parser_is(p, TOKEN_NAME, "if") || parser_is(p, TOKEN_NAME, "recursive");
}

struct node *parser_expression_or_tuple(struct parser *p, bool ternary)
{
    struct node *first = ternary ? parser_expression(p) : disjunction(p), *tuple = NULL;
    while (first && parser_take(p, TOKEN_OPERATOR, ",")) {
        if (!tuple && (!(tuple = parser_node(p, NODE_TUPLE)) || !parser_add(p, tuple, first, no_name)))
            return NULL;
        if (at_end(p))
            break;
        struct node *next = ternary ? parser_expression(p) : disjunction(p);
        if (!next || !parser_add(p, tuple, next, no_name))
            return NULL;
    }
    return tuple ? tuple : first;
}

/* (a, b, name=c) after its opening parenthesis. */
static bool arguments(struct parser *p, struct node *call)
{
    while (!parser_take(p, TOKEN_OPERATOR, ")")) {
        struct value_string name = no_name;
        const struct token *token = &p->tokens[p->at];
        if (parser_is(p, TOKEN_OPERATOR, "*") || parser_is(p, TOKEN_OPERATOR, "**"))
            return parser_fail(p, "unpacked arguments are not supported");
        if (token->kind == TOKEN_NAME && token[1].kind == TOKEN_OPERATOR && token[1].len == 1 &&
            *token[1].data == '=') {
            name = (struct value_string){token->data, token->len};
            p->at += 2;
        }
        struct node *value = parser_expression(p);
        if (!value || !parser_add(p, call, value, name))
            return false;
        if (!parser_take(p, TOKEN_OPERATOR, ",") && !parser_is(p, TOKEN_OPERATOR, ")"))
            return parser_fail(p, "expected , or ) after an argument");
    }
    return true;
}

static struct node *filter(struct parser *p, struct node *of)
{
    const struct token *name = &p->tokens[p->at];
    struct node *node = parser_expect(p, TOKEN_NAME, NULL) ? parser_node(p, NODE_FILTER) : NULL;
    if (!node)
        return NULL;
    node->a = of;
    node->name = (struct value_string){name->data, name->len};
    if (parser_take(p, TOKEN_OPERATOR, "(") && !arguments(p, node))
        return NULL;
    return node;
}

struct node *parser_filters(struct parser *p, struct node *of)
{
    struct node *node = filter(p, of);
    while (node && parser_take(p, TOKEN_OPERATOR, "|"))
        node = filter(p, node);
    return node;
}

static bool starts_argument(const struct parser *p)
{
    enum token_kind kind = p->tokens[p->at].kind;
    if (kind == TOKEN_NAME)
        return !parser_is(p, kind, "else") && !parser_is(p, kind, "or") && !parser_is(p, kind, "and") &&
               !parser_is(p, kind, "is") && !parser_is(p, kind, "if") && !parser_is(p, kind, "not") &&
               !parser_is(p, kind, "in");
    return kind == TOKEN_STRING || kind == TOKEN_INT || kind == TOKEN_FLOAT ||
           parser_is(p, TOKEN_OPERATOR, "[") || parser_is(p, TOKEN_OPERATOR, "{");
}

static struct node *postfix(struct parser *p, struct node *of);

static struct node *test(struct parser *p, struct node *of)
{
    bool negated = parser_take(p, TOKEN_NAME, "not");
    const struct token *name = &p->tokens[p->at];
    struct node *node = parser_expect(p, TOKEN_NAME, NULL) ? parser_node(p, NODE_TEST) : NULL;
    if (!node)
        return NULL;
    node->a = of;
    node->name = (struct value_string){name->data, name->len};
    if (parser_take(p, TOKEN_OPERATOR, "(")) {
        if (!arguments(p, node))
            return NULL;
    } else if (starts_argument(p)) {
        struct node *value = parser_primary(p);
        value = value ? postfix(p, value) : NULL;
        if (!value || !parser_add(p, node, value, no_name))
            return NULL;
    }
    return negated ? with(p, NODE_NOT, node, NULL) : node;
}

static struct node *slice_or_index(struct parser *p, struct node *of)
{
    struct node *part[3] = {NULL, NULL, NULL};
    int parts = 0;
    bool sliced = false;
    for (;;) {
        if (parser_take(p, TOKEN_OPERATOR, ":")) {
            sliced = true;
            if (++parts > 2) {
                parser_fail(p, "a slice has too many parts");
                return NULL;
            }
        } else if (parser_take(p, TOKEN_OPERATOR, "]")) {
            break;
        } else if (part[parts] || !(part[parts] = parser_expression_or_tuple(p, true))) {
            parser_fail(p, "expected ] after an index");
            return NULL;
        }
    }
    struct node *node = sliced || part[0] ? with(p, sliced ? NODE_SLICE : NODE_INDEX, of, part[0]) : NULL;
    if (!node) {
        parser_fail(p, "an index is empty");
        return NULL;
    }
    node->c = part[1];
    node->d = part[2];
    return node;
}

static struct node *attribute(struct parser *p, struct node *of)
{
    const struct token *name = &p->tokens[p->at];
    if (name->kind == TOKEN_INT) {
        struct node *index = parser_node(p, NODE_LITERAL);
        if (!index)
            return NULL;
        p->at++;
        index->literal = value_int(name->integer);
        return with(p, NODE_INDEX, of, index);
    }
    struct node *node = parser_expect(p, TOKEN_NAME, NULL) ? with(p, NODE_ATTRIBUTE, of, NULL) : NULL;
    if (node)
        node->name = (struct value_string){name->data, name->len};
    return node;
}

static struct node *call(struct parser *p, struct node *of)
{
    struct node *node = with(p, NODE_CALL, of, NULL);
    return node && arguments(p, node) ? node : NULL;
}

static struct node *postfix(struct parser *p, struct node *of)
{
    while (of) {
        if (parser_take(p, TOKEN_OPERATOR, "."))
            of = attribute(p, of);
        else if (parser_take(p, TOKEN_OPERATOR, "["))
            of = slice_or_index(p, of);
        else if (parser_take(p, TOKEN_OPERATOR, "("))
            of = call(p, of);
        else
            break;
    }
    return of;
}

static struct node *filtered(struct parser *p, struct node *of)
{
    while (of) {
        if (parser_take(p, TOKEN_OPERATOR, "|"))
            of = filter(p, of);
        else if (parser_take(p, TOKEN_NAME, "is"))
            of = test(p, of);
        else if (parser_take(p, TOKEN_OPERATOR, "("))
            of = call(p, of);
        else
            break;
    }
    return of;
}

static struct node *unary(struct parser *p, bool with_filters)
{
    struct node *node = NULL;
    if (++p->depth > PARSER_DEPTH_MAX) {
        parser_fail(p, "expressions nest too deep");
        return NULL;
    }
    if (parser_take(p, TOKEN_OPERATOR, "-"))
        node = with(p, NODE_NEGATE, unary(p, false), NULL);
    else if (parser_take(p, TOKEN_OPERATOR, "+"))
        node = with(p, NODE_POSITIVE, unary(p, false), NULL);
    else
        node = parser_primary(p);
    node = node ? postfix(p, node) : NULL;
    if (node && with_filters)
        node = filtered(p, node);
    p->depth--;
    return node;
}

static struct node *sequence(struct parser *p, enum node_kind kind, const char *close)
{
    struct node *node = parser_node(p, kind);
    while (node && !parser_take(p, TOKEN_OPERATOR, close)) {
        struct node *item = parser_expression(p);
        if (!item || !parser_add(p, node, item, no_name))
            return NULL;
        if (kind == NODE_DICT) {
            struct node *value = parser_expect(p, TOKEN_OPERATOR, ":") ? parser_expression(p) : NULL;
            if (!value || !parser_add(p, node, value, no_name))
                return NULL;
        }
        if (!parser_take(p, TOKEN_OPERATOR, ",") && !parser_is(p, TOKEN_OPERATOR, close)) {
            parser_fail(p, "expected , between items");
            return NULL;
        }
    }
    return node;
}

static struct node *parenthesised(struct parser *p)
{
    if (parser_take(p, TOKEN_OPERATOR, ")"))
        return parser_node(p, NODE_TUPLE);
    struct node *node = parser_expression_or_tuple(p, true);
    return node && parser_expect(p, TOKEN_OPERATOR, ")") ? node : NULL;
}

static struct node *name_or_constant(struct parser *p, const struct token *token)
{
    static const struct {
        const char *name;
        enum value_type type;
        bool boolean;
    } constants[] = {{"true", VALUE_BOOL, true}, {"True", VALUE_BOOL, true}, {"false", VALUE_BOOL, false},
        {"False", VALUE_BOOL, false}, {"none", VALUE_NONE, false}, {"None", VALUE_NONE, false}};
    struct node *node = parser_node(p, NODE_NAME);
    if (!node)
        return NULL;
    node->name = (struct value_string){token->data, token->len};
    for (size_t i = 0; i < sizeof(constants) / sizeof(*constants); i++) {
        if (strlen(constants[i].name) == token->len &&
            memcmp(constants[i].name, token->data, token->len) == 0) {
            node->kind = NODE_LITERAL;
            node->literal = constants[i].type == VALUE_BOOL ? value_bool(constants[i].boolean) : value_none();
        }
    }
    return node;
}

static struct node *string_literal(struct parser *p, const struct token *token)
{
    struct node *node = parser_node(p, NODE_LITERAL);
    struct buffer text = {0};
    struct error *err = p->arena->err;
    bool ok = node && buffer_append(&text, token->data, token->len, err);
    /* Neighbouring strings are one. */
    for (; ok && p->tokens[p->at].kind == TOKEN_STRING; p->at++)
        ok = buffer_append(&text, p->tokens[p->at].data, p->tokens[p->at].len, err);
    ok = ok && value_string(p->arena, text.data ? text.data : "", text.len, &node->literal);
    buffer_free(&text);
    return ok ? node : NULL;
}

struct node *parser_primary(struct parser *p)
{
    const struct token *token = &p->tokens[p->at];
    if (token->kind == TOKEN_END) {
        parser_fail(p, "the template ends inside an expression");
        return NULL;
    }
    p->at++;
    if (token->kind == TOKEN_NAME)
        return name_or_constant(p, token);
    if (token->kind == TOKEN_STRING)
        return string_literal(p, token);
    if (token->kind == TOKEN_INT || token->kind == TOKEN_FLOAT) {
        struct node *node = parser_node(p, NODE_LITERAL);
        if (node)
            node->literal = token->kind == TOKEN_INT ? value_int(token->integer) : value_float(token->number);
        return node;
    }
    if (token->kind == TOKEN_OPERATOR && *token->data == '(')
        return parenthesised(p);
    if (token->kind == TOKEN_OPERATOR && *token->data == '[')
        return sequence(p, NODE_LIST, "]");
    if (token->kind == TOKEN_OPERATOR && *token->data == '{')
        return sequence(p, NODE_DICT, "}");
    p->at--;
    parser_fail(p, "an expression was expected");
    return NULL;
}

struct node *parser_postfix_call(struct parser *p)
{
    struct node *node = parser_primary(p);
    return node ? postfix(p, node) : NULL;
}
