#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/jinja/syntax.h"

enum { TOKENS_MAX = 1 << 20 };

struct lexer {
    struct arena *arena;
    const char *source;
    size_t len, at;
    int line;
    bool line_starting; /* only a line end lies between here and the tag before */
    struct token_list *out;
};

static bool fail(struct lexer *l, const char *what)
{
    return error_set(l->arena->err, ERROR_INVALID, "the chat template's line %d: %s", l->line, what);
}

static bool push(struct lexer *l, struct token token)
{
    struct token_list *list = l->out;
    if (list->count >= TOKENS_MAX)
        return error_set(
            l->arena->err, ERROR_TOO_LARGE, "the chat template has more than %d tokens", TOKENS_MAX);
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 256;
        struct token *items = arena_take(l->arena, capacity * sizeof(*items));
        if (!items)
            return false;
        if (list->count)
            memcpy(items, list->items, list->count * sizeof(*items));
        list->items = items;
        list->capacity = capacity;
    }
    token.line = l->line;
    list->items[list->count++] = token;
    return true;
}

static bool starts(const struct lexer *l, const char *text)
{
    size_t len = strlen(text);
    return l->len - l->at >= len && memcmp(l->source + l->at, text, len) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void advance(struct lexer *l, size_t count)
{
    for (size_t i = 0; i < count && l->at < l->len; i++, l->at++)
        l->line += l->source[l->at] == '\n';
}

/* After a tag's end: "-" takes all space that follows, otherwise blocks and comments take one line end. */
static void after_tag(struct lexer *l, bool minus, bool plus, bool block)
{
    size_t before = l->at;
    if (minus) {
        while (l->at < l->len && is_space(l->source[l->at]))
            advance(l, 1);
    } else if (block && !plus && l->at < l->len && l->source[l->at] == '\n') {
        advance(l, 1);
    }
    l->line_starting = l->at > before && l->source[l->at - 1] == '\n';
}

/* The text before a tag at `end`, shortened by "-" or lstrip_blocks. */
static bool push_text(struct lexer *l, size_t begin, size_t end, bool minus, bool lstrip)
{
    size_t stop = end;
    if (minus) {
        while (stop > begin && is_space(l->source[stop - 1]))
            stop--;
    } else if (lstrip) {
        size_t line = end;
        while (line > begin && l->source[line - 1] != '\n')
            line--;
        bool blank = line > begin || l->line_starting;
        for (size_t i = line; i < end; i++)
            blank = blank && is_space(l->source[i]);
        if (blank)
            stop = line;
    }
    if (stop == begin)
        return true;
    return push(l, (struct token){.kind = TOKEN_TEXT, .data = l->source + begin, .len = stop - begin});
}

static bool lex_string(struct lexer *l)
{
    char quote = l->source[l->at];
    struct buffer text = {0};
    struct error *err = l->arena->err;
    bool ok = true, closed = false;
    advance(l, 1);
    while (ok && l->at < l->len) {
        char c = l->source[l->at];
        if (c == quote) {
            advance(l, 1);
            closed = true;
            break;
        }
        if (c == '\\' && l->at + 1 < l->len) {
            static const char from[] = "ntr\\'\"0abfv", to[] = "\n\t\r\\'\"\0\a\b\f\v";
            char next = l->source[l->at + 1];
            const char *known = next ? strchr(from, next) : NULL;
            size_t digits = next == 'x' ? 2 : next == 'u' ? 4 : next == 'U' ? 8 : 0;
            if (known) {
                ok = buffer_append(&text, &to[known - from], 1, err);
                advance(l, 2);
            } else if (digits && l->len - l->at >= digits + 2) {
                char hex[9] = {0}, *end;
                memcpy(hex, l->source + l->at + 2, digits);
                unsigned long value = strtoul(hex, &end, 16);
                ok = *end ? fail(l, "a string has a bad escape")
                          : buffer_append_code_point(&text, (uint32_t)value, err);
                advance(l, digits + 2);
            } else {
                if (next != '\n')
                    ok = buffer_append(&text, l->source + l->at, 2, err);
                advance(l, 2);
            }
            continue;
        }
        ok = buffer_append(&text, &c, 1, err);
        advance(l, 1);
    }
    if (ok && !closed)
        ok = fail(l, "a string is not closed");
    char *data = ok ? arena_take(l->arena, text.len + 1) : NULL;
    ok = ok && data;
    if (ok && text.len)
        memcpy(data, text.data, text.len);
    ok = ok && push(l, (struct token){.kind = TOKEN_STRING, .data = data, .len = text.len});
    buffer_free(&text);
    return ok;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c) ||
           (unsigned char)c >= 0x80;
}

static bool lex_number(struct lexer *l)
{
    char text[64];
    size_t used = 0, at = l->at;
    bool real = false;
    while (at < l->len && used + 1 < sizeof(text)) {
        char c = l->source[at];
        bool point = c == '.' && !real && at + 1 < l->len && is_digit(l->source[at + 1]);
        bool exponent = (c == 'e' || c == 'E') && at + 1 < l->len &&
                        (is_digit(l->source[at + 1]) || l->source[at + 1] == '-' || l->source[at + 1] == '+');
        if (!is_digit(c) && c != '_' && !point && !exponent)
            break;
        if (c != '_')
            text[used++] = c;
        at++;
        if (exponent)
            text[used++] = l->source[at++];
        real = real || point || exponent;
        if (used + 2 >= sizeof(text))
            return fail(l, "a number is too long");
    }
    text[used] = '\0';
    advance(l, at - l->at);
    if (real)
        return push(l, (struct token){.kind = TOKEN_FLOAT, .number = strtod(text, NULL)});
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno)
        return fail(l, "a number is too large");
    return push(l, (struct token){.kind = TOKEN_INT, .integer = value});
}

static bool lex_operator(struct lexer *l)
{
    static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~",
        "<", ">", "=", "(", ")", "[", "]", "{", "}", ",", ".", ":", "|", ";"};
    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
        if (starts(l, operators[i])) {
            size_t len = strlen(operators[i]);
            bool ok = push(l, (struct token){.kind = TOKEN_OPERATOR, .data = l->source + l->at, .len = len});
            advance(l, len);
            return ok;
        }
    }
    return fail(l, "an unexpected character in a tag");
}

/* The inside of a tag up to `close`; *minus and *plus say how it closes. Brackets hide a closing one. */
static bool lex_inside(struct lexer *l, const char *close, bool *minus, bool *plus)
{
    int brackets = 0;
    for (;;) {
        while (l->at < l->len && is_space(l->source[l->at]))
            advance(l, 1);
        if (l->at >= l->len)
            return fail(l, "a tag is not closed");
        size_t skip = l->source[l->at] == '-' || (l->source[l->at] == '+' && close[0] == '%') ? 1 : 0;
        bool closes = l->len - l->at >= skip + 2 && memcmp(l->source + l->at + skip, close, 2) == 0;
        if (closes && brackets <= 0) {
            *minus = skip && l->source[l->at] == '-';
            *plus = skip && !*minus;
            advance(l, skip + 2);
            return true;
        }
        char c = l->source[l->at];
        bool ok;
        if (c == '"' || c == '\'') {
            ok = lex_string(l);
        } else if (is_digit(c)) {
            ok = lex_number(l);
        } else if (is_name(c)) {
            size_t end = l->at;
            while (end < l->len && is_name(l->source[end]))
                end++;
            ok = push(l, (struct token){.kind = TOKEN_NAME, .data = l->source + l->at, .len = end - l->at});
            advance(l, end - l->at);
        } else {
            brackets += c == '(' || c == '[' || c == '{';
            brackets -= c == ')' || c == ']' || c == '}';
            ok = lex_operator(l);
        }
        if (!ok)
            return false;
    }
}

/* {% raw %} … {% endraw %}: everything between is text. Returns whether this tag was one. */
static bool lex_raw(struct lexer *l, bool *was_raw)
{
    size_t at = l->at + 2;
    *was_raw = false;
    if (at < l->len && (l->source[at] == '-' || l->source[at] == '+'))
        at++;
    while (at < l->len && is_space(l->source[at]))
        at++;
    if (l->len - at < 3 || memcmp(l->source + at, "raw", 3) != 0 ||
        (at + 3 < l->len && is_name(l->source[at + 3])))
        return true;
    const char *open_end = memmem(l->source + at, l->len - at, "%}", 2);
    if (!open_end)
        return fail(l, "a tag is not closed");
    bool minus = open_end[-1] == '-';
    advance(l, (size_t)(open_end - l->source) + 2 - l->at);
    after_tag(l, minus, false, true);
    size_t begin = l->at;
    for (size_t i = begin; i + 2 <= l->len; i++) {
        if (memcmp(l->source + i, "{%", 2) != 0)
            continue;
        size_t name = i + 2;
        bool strip = name < l->len && l->source[name] == '-';
        name += strip || (name < l->len && l->source[name] == '+');
        while (name < l->len && is_space(l->source[name]))
            name++;
        if (l->len - name < 6 || memcmp(l->source + name, "endraw", 6) != 0)
            continue;
        const char *close = memmem(l->source + name, l->len - name, "%}", 2);
        if (!close)
            break;
        if (!push_text(l, begin, i, strip, true))
            return false;
        advance(l, (size_t)(close - l->source) + 2 - l->at);
        after_tag(l, close[-1] == '-', close[-1] == '+', true);
        *was_raw = true;
        return true;
    }
    return fail(l, "a raw block is not closed");
}

static bool lex_tag(struct lexer *l)
{
    bool block = l->source[l->at + 1] == '%', minus = false, plus = false;
    size_t modifier = l->at + 2;
    if (block) {
        bool was_raw;
        if (!lex_raw(l, &was_raw))
            return false;
        if (was_raw)
            return true;
    }
    bool modified =
        modifier < l->len && (l->source[modifier] == '-' || (block && l->source[modifier] == '+'));
    if (!push(l, (struct token){.kind = block ? TOKEN_BLOCK_OPEN : TOKEN_PRINT_OPEN}))
        return false;
    advance(l, modified ? 3 : 2);
    if (!lex_inside(l, block ? "%}" : "}}", &minus, &plus) ||
        !push(l, (struct token){.kind = block ? TOKEN_BLOCK_CLOSE : TOKEN_PRINT_CLOSE}))
        return false;
    after_tag(l, minus, plus, block);
    return true;
}

static bool lex_comment(struct lexer *l)
{
    const char *end = memmem(l->source + l->at + 2, l->len - l->at - 2, "#}", 2);
    if (!end)
        return fail(l, "a comment is not closed");
    size_t stop = (size_t)(end - l->source);
    bool minus = stop > l->at + 2 && l->source[stop - 1] == '-',
         plus = stop > l->at + 2 && l->source[stop - 1] == '+';
    advance(l, stop + 2 - l->at);
    after_tag(l, minus, plus, true);
    return true;
}

bool jinja_lex(struct arena *arena, const char *source, size_t len, struct token_list *out)
{
    struct lexer l = {
        .arena = arena, .source = source, .len = len, .line = 1, .line_starting = true, .out = out};
    /* Jinja drops one line end at the end of a template. */
    if (l.len && source[l.len - 1] == '\n')
        l.len--;
    size_t begin = 0;
    while (l.at < l.len) {
        char next = l.source[l.at] == '{' && l.at + 1 < l.len ? l.source[l.at + 1] : '\0';
        if (next != '{' && next != '%' && next != '#') {
            advance(&l, 1);
            continue;
        }
        char modifier = l.at + 2 < l.len ? l.source[l.at + 2] : '\0';
        bool lstrip = next != '{' && modifier != '+';
        if (!push_text(&l, begin, l.at, modifier == '-', lstrip) ||
            !(next == '#' ? lex_comment(&l) : lex_tag(&l)))
            return false;
        begin = l.at;
    }
    return push_text(&l, begin, l.len, false, false) && push(&l, (struct token){.kind = TOKEN_END});
}
