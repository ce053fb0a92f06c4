#include "worker/model/tokenizer/pattern_syntax.h"

#include <stdio.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/unicode.h"

enum { GROUPS_MAX = 200 };

struct translation {
    const char *in;
    size_t len, at;
    struct buffer *out;
    size_t atom; /* where in `out` the last atom starts */
    size_t groups[GROUPS_MAX];
    size_t depth;
    struct error *err;
};

static bool emit(struct translation *t, const char *text)
{
    return buffer_append_string(t->out, text, t->err);
}

static bool emit_range(uint32_t first, uint32_t last, void *context)
{
    char text[40];
    snprintf(text, sizeof(text), first == last ? "\\x{%x}" : "\\x{%x}-\\x{%x}", first, last);
    return emit(context, text);
}

/* One class by its PCRE2 spelling and what the reference knows beyond PCRE2's Unicode version. */
static bool emit_class(
    struct translation *t, const char *spelling, uint32_t classes, bool negated, bool in_brackets)
{
    if (in_brackets && negated) /* the complement inside brackets: without the youngest code points */
        return emit(t, spelling);
    if (!in_brackets && !emit(t, negated ? "[^" : "["))
        return false;
    if (!emit(t, spelling) || (classes && !unicode_ranges(classes | CLASS_RECENT, emit_range, t)))
        return false;
    return in_brackets || emit(t, "]");
}

static const struct {
    const char *name;
    uint32_t classes;
} properties[] = {
    {"L", CLASS_LETTER},
    {"N", CLASS_NUMBER},
    {"M", CLASS_MARK},
    {"P", CLASS_PATTERN_PUNCTUATION},
    {"S", CLASS_SYMBOL},
    {"Lu", CLASS_UPPER},
    {"Lt", CLASS_TITLE},
    {"Ll", CLASS_LOWER},
    {"Lm", CLASS_MODIFIER},
    {"Lo", CLASS_OTHER_LETTER},
    {"Nd", CLASS_DECIMAL},
};

static bool translate_property(struct translation *t, bool in_brackets)
{
    bool negated = t->in[t->at + 1] == 'P';
    const char *open = t->in + t->at + 2;
    const char *close = t->at + 2 < t->len && *open == '{' ? memchr(open, '}', t->len - t->at - 2) : NULL;
    if (!close || close - open > 60)
        return error_set(t->err, ERROR_INVALID, "a split pattern has \\p without {name}");
    open++;
    if (open < close && *open == '^') {
        negated = !negated;
        open++;
    }
    char name[64], spelling[72];
    snprintf(name, sizeof(name), "%.*s", (int)(close - open), open);
    uint32_t classes = 0;
    for (size_t i = 0; i < sizeof(properties) / sizeof(*properties); i++) {
        if (strcmp(properties[i].name, name) == 0)
            classes = properties[i].classes;
    }
    t->at = (size_t)(close - t->in) + 1;
    snprintf(spelling, sizeof(spelling), "\\%c{%s}", negated && in_brackets ? 'P' : 'p', name);
    return emit_class(t, spelling, classes, negated, in_brackets);
}

static bool translate_escape(struct translation *t, bool in_brackets)
{
    if (t->at + 1 >= t->len)
        return error_set(t->err, ERROR_INVALID, "a split pattern ends in a backslash");
    char letter = t->in[t->at + 1];
    if (letter == 'p' || letter == 'P')
        return translate_property(t, in_brackets);
    t->at += 2;
    switch (letter) {
    case 's': return emit_class(t, "\\p{Z}\\x09-\\x0d\\x{85}", 0, false, in_brackets);
    case 'S': return in_brackets ? emit(t, "\\S") : emit_class(t, "\\p{Z}\\x09-\\x0d\\x{85}", 0, true, false);
    case 'd': return emit_class(t, "\\p{Nd}", CLASS_DECIMAL, false, in_brackets);
    case 'D': return emit_class(t, in_brackets ? "\\P{Nd}" : "\\p{Nd}", CLASS_DECIMAL, true, in_brackets);
    case 'w':
        return emit_class(
            t, "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}", CLASS_WORD, false, in_brackets);
    case 'W':
        return in_brackets ? emit(t, "\\W")
                           : emit_class(t, "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}", CLASS_WORD,
                                 true, false);
    case 'h': return emit(t, in_brackets ? "0-9a-fA-F" : "[0-9a-fA-F]");
    case 'H': return emit(t, in_brackets ? "\\H" : "[^0-9a-fA-F]");
    default: return buffer_append(t->out, t->in + t->at - 2, 2, t->err);
    }
}

static bool translate_brackets(struct translation *t)
{
    size_t begin = t->at++;
    if (!emit(t, "["))
        return false;
    if (t->at < t->len && t->in[t->at] == '^') {
        t->at++;
        if (!emit(t, "^"))
            return false;
    }
    for (bool first = true;; first = false) {
        if (t->at >= t->len)
            return error_set(
                t->err, ERROR_INVALID, "a split pattern has a [ without its ] at byte %zu", begin);
        char c = t->in[t->at];
        if (c == ']' && !first) {
            t->at++;
            return emit(t, "]");
        }
        if (c == '\\') {
            if (!translate_escape(t, true))
                return false;
            continue;
        }
        bool posix = c == '[' && t->at + 1 < t->len && t->in[t->at + 1] == ':';
        if ((c == '[' && !posix) || (c == '&' && t->at + 1 < t->len && t->in[t->at + 1] == '&'))
            return error_set(
                t->err, ERROR_UNSUPPORTED, "a split pattern nests or intersects character classes");
        const char *end = posix ? memmem(t->in + t->at, t->len - t->at, ":]", 2) : NULL;
        size_t step = end ? (size_t)(end - (t->in + t->at)) + 2 : posix ? 2 : text_step(c);
        if (step > t->len - t->at)
            step = t->len - t->at;
        if (!buffer_append(t->out, t->in + t->at, step, t->err))
            return false;
        t->at += step;
    }
}

/* "(?m-i:" and the like: Ruby's m is PCRE2's s. */
static bool translate_open(struct translation *t)
{
    if (t->depth == GROUPS_MAX)
        return error_set(t->err, ERROR_TOO_LARGE, "a split pattern nests more than %d groups", GROUPS_MAX);
    t->groups[t->depth++] = t->out->len;
    t->at++;
    if (!emit(t, "("))
        return false;
    if (t->at >= t->len || t->in[t->at] != '?')
        return true;
    size_t end = t->at + 1 + strspn(t->in + t->at + 1, "imx-");
    if (end >= t->len || (t->in[end] != ':' && t->in[end] != ')') || end == t->at + 1)
        return true;
    for (; t->at < end; t->at++) {
        char c = t->in[t->at];
        if (!buffer_append(t->out, c == 'm' ? "s" : &c, 1, t->err))
            return false;
    }
    return true;
}

static bool translate_braces(struct translation *t)
{
    size_t digits = strspn(t->in + t->at + 1, "0123456789,");
    size_t close = t->at + 1 + digits;
    if (!digits || close >= t->len || t->in[close] != '}') {
        t->at++;
        return emit(t, "\\{");
    }
    bool repeated = close + 1 < t->len && t->in[close + 1] == '+';
    if (repeated && !buffer_splice(t->out, t->atom, 0, "(?:", 3, t->err))
        return false;
    /* Ruby reads {,n} as {0,n}. */
    if (!emit(t, t->in[t->at + 1] == ',' ? "{0" : "{") ||
        !buffer_append(t->out, t->in + t->at + 1, digits, t->err))
        return false;
    t->at = close + 1;
    return emit(t, repeated ? "})" : "}");
}

bool pattern_translate(const char *expression, size_t len, struct buffer *out, struct error *err)
{
    /* strspn below must stop: a zero byte inside would cut the pattern short in the reference too. */
    if (memchr(expression, '\0', len))
        return error_set(err, ERROR_INVALID, "a split pattern contains a zero byte");
    struct translation t = {.in = expression, .len = len, .out = out, .err = err};
    bool ok = true;
    while (ok && t.at < len) {
        char c = expression[t.at];
        size_t before = out->len;
        if (c == '\\') {
            ok = translate_escape(&t, false);
            t.atom = before;
        } else if (c == '[') {
            ok = translate_brackets(&t);
            t.atom = before;
        } else if (c == '(') {
            ok = translate_open(&t);
        } else if (c == ')') {
            t.atom = t.depth ? t.groups[--t.depth] : before;
            t.at++;
            ok = buffer_append(out, ")", 1, err);
        } else if (c == '{') {
            ok = translate_braces(&t);
        } else {
            size_t step = text_step(c) > len - t.at ? 1 : text_step(c);
            if (!strchr("*+?|^$", c))
                t.atom = before;
            ok = buffer_append(out, expression + t.at, step, err);
            t.at += step;
        }
    }
    return ok;
}
