/* A template's tokens and syntax tree. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_SYNTAX_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_SYNTAX_H

#include "worker/model/tokenizer/jinja/value.h"

enum token_kind {
    TOKEN_END,
    TOKEN_TEXT,       /* outside tags */
    TOKEN_BLOCK_OPEN, /* {% */
    TOKEN_BLOCK_CLOSE,
    TOKEN_PRINT_OPEN, /* {{ */
    TOKEN_PRINT_CLOSE,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INT,
    TOKEN_FLOAT,
    TOKEN_OPERATOR,
};

struct token {
    enum token_kind kind;
    const char *data; /* TEXT, NAME, OPERATOR: the source; STRING: unescaped */
    size_t len;
    int64_t integer;
    double number;
    int line;
};

struct token_list {
    struct token *items;
    size_t count, capacity;
};

/* Splits a template as transformers configures Jinja: trim_blocks, lstrip_blocks. `source` must outlive the
 * tokens. */
bool jinja_lex(struct arena *arena, const char *source, size_t len, struct token_list *out);

enum node_kind {
    /* expressions */
    NODE_LITERAL,
    NODE_NAME,
    NODE_LIST,      /* items */
    NODE_TUPLE,     /* items */
    NODE_DICT,      /* items: key, value, … */
    NODE_ATTRIBUTE, /* a.name */
    NODE_INDEX,     /* a[b] */
    NODE_SLICE,     /* a[b:c:d] */
    NODE_CALL,      /* a(items) */
    NODE_FILTER,    /* a|name(items); a NULL: the block's text */
    NODE_TEST,      /* a is name(items) */
    NODE_NOT,
    NODE_NEGATE,
    NODE_POSITIVE,
    NODE_AND,
    NODE_OR,
    NODE_BINARY,    /* a name b */
    NODE_COMPARE,   /* a name b */
    NODE_CHAIN,     /* items: comparisons of neighbours */
    NODE_CONDITION, /* a if b else c */
    /* statements */
    NODE_BODY, /* items */
    NODE_TEXT,
    NODE_PRINT,        /* a */
    NODE_IF,           /* a: condition, b: then, c: else */
    NODE_FOR,          /* a: target, b: iterable, c: body, d: filter, e: else */
    NODE_SET,          /* a: target, b: value */
    NODE_SET_BLOCK,    /* a: target, b: body, c: filter chain over it, or NULL */
    NODE_MACRO,        /* name, items: parameters (NAME with default in a), b: body */
    NODE_CALL_BLOCK,   /* a: call, b: the caller macro */
    NODE_FILTER_BLOCK, /* a: filter chain, b: body */
    NODE_WITH,         /* items: target, value, …; b: body */
    NODE_BREAK,
    NODE_CONTINUE,
};

struct node {
    enum node_kind kind;
    int line;
    struct value_string name;
    struct value literal;
    struct node *a, *b, *c, *d, *e;
    struct node **items;
    struct value_string *item_names; /* CALL, FILTER, TEST: keyword of each item, data NULL: positional */
    size_t count, capacity;
};

/* Parses a template; the tree lives in the arena. */
bool jinja_parse(struct arena *arena, const char *source, size_t len, struct node **out);

/* Shared by the parser's two files. */
struct parser {
    struct arena *arena;
    struct token *tokens;
    size_t count, at;
    int depth;
};
enum { PARSER_DEPTH_MAX = 200 };
bool parser_fail(struct parser *p, const char *what);
bool parser_is(const struct parser *p, enum token_kind kind, const char *text);
bool parser_take(struct parser *p, enum token_kind kind, const char *text); /* moves on when it is that */
bool parser_expect(struct parser *p, enum token_kind kind, const char *text);
struct node *parser_node(struct parser *p, enum node_kind kind);
bool parser_add(struct parser *p, struct node *parent, struct node *child, struct value_string name);
struct node *parser_expression(struct parser *p); /* with ternary, no bare tuple */
struct node *parser_expression_or_tuple(struct parser *p, bool ternary);
struct node *parser_target(struct parser *p); /* names and attributes that may be assigned */
struct node *parser_filters(struct parser *p, struct node *of); /* name(args)|name…, after a | */
struct node *parser_postfix_call(struct parser *p);
struct node *parser_primary(struct parser *p);

#endif
