#include "worker/model/tokenizer/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/known_patterns.h"
#include "worker/model/tokenizer/pattern_syntax.h"
#include "worker/model/tokenizer/unicode.h"

/* Expressions come with models, so what they may cost is bounded. */
enum { EXPRESSION_BYTES_MAX = 1 << 16, MATCH_STEPS_MAX = 10000000, JIT_STACK_BYTES_MAX = 8 << 20 };

struct pattern {
    known_pattern known;
    char *literal;
    size_t literal_len;
    pcre2_code *code;
};

struct match_state {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static bool compile(struct pattern *pattern, const char *expression, size_t len, struct error *err)
{
    struct buffer translated = {0};
    if (!pattern_translate(expression, len, &translated, err)) {
        buffer_free(&translated);
        return false;
    }
    int code = 0;
    size_t at = 0;
    pattern->code = pcre2_compile((PCRE2_SPTR)translated.data, translated.len,
        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    buffer_free(&translated);
    if (!pattern->code) {
        PCRE2_UCHAR reason[128] = {0};
        pcre2_get_error_message(code, reason, sizeof(reason));
        return error_set(err, ERROR_INVALID, "the split pattern \"%.200s\" does not compile: %s", expression,
            (const char *)reason);
    }
    /* Without JIT on this machine matching is slower, never different. */
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE);
    return true;
}

bool pattern_compile(
    const char *expression, size_t len, enum pattern_choice choice, struct pattern **out, struct error *err)
{
    unicode_open();
    if (len > EXPRESSION_BYTES_MAX)
        return error_set(err, ERROR_TOO_LARGE, "a split pattern of %zu bytes is over the limit of %d", len,
            EXPRESSION_BYTES_MAX);
    struct pattern *pattern = calloc(1, sizeof(*pattern));
    if (!pattern)
        return error_set(err, ERROR_MEMORY, "no memory for a split pattern");
    pattern->known = choice == PATTERN_FASTEST ? known_pattern_find(expression, len) : NULL;
    if (!pattern->known && !compile(pattern, expression, len, err)) {
        pattern_free(pattern);
        return false;
    }
    *out = pattern;
    return true;
}

bool pattern_literal(const char *text, size_t len, struct pattern **out, struct error *err)
{
    struct pattern *pattern = calloc(1, sizeof(*pattern));
    char *literal = malloc(len + 1);
    if (!pattern || !literal) {
        free(pattern);
        free(literal);
        return error_set(err, ERROR_MEMORY, "no memory for a split pattern");
    }
    if (len)
        memcpy(literal, text, len);
    literal[len] = '\0';
    pattern->literal = literal;
    pattern->literal_len = len;
    *out = pattern;
    return true;
}

void pattern_free(struct pattern *pattern)
{
    if (!pattern)
        return;
    free(pattern->literal);
    pcre2_code_free(pattern->code);
    free(pattern);
}

static void match_state_free(struct match_state *state)
{
    if (!state)
        return;
    pcre2_match_data_free(state->data);
    pcre2_match_context_free(state->context);
    pcre2_jit_stack_free(state->stack);
    free(state);
}

void pattern_scan_free(struct pattern_scan *scan)
{
    match_state_free(scan->match);
    scan->match = NULL;
}

static struct match_state *match_state_new(const struct pattern *pattern, struct error *err)
{
    struct match_state *state = calloc(1, sizeof(*state));
    if (state) {
        state->data = pcre2_match_data_create_from_pattern(pattern->code, NULL);
        state->context = pcre2_match_context_create(NULL);
        state->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK_BYTES_MAX, NULL);
    }
    if (!state || !state->data || !state->context || !state->stack) {
        match_state_free(state);
        error_set(err, ERROR_MEMORY, "no memory to match a split pattern");
        return NULL;
    }
    pcre2_set_match_limit(state->context, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(state->context, JIT_STACK_BYTES_MAX >> 10);
    pcre2_jit_stack_assign(state->context, NULL, state->stack);
    return state;
}

static bool search(struct pattern_scan *scan, size_t *begin, size_t *end, bool *found, struct error *err)
{
    if (!scan->match && !(scan->match = match_state_new(scan->pattern, err)))
        return false;
    struct match_state *state = scan->match;
    int rc = pcre2_match(scan->pattern->code, (PCRE2_SPTR)scan->text, scan->len, scan->at, PCRE2_NO_UTF_CHECK,
        state->data, state->context);
    *found = rc >= 0;
    if (rc == PCRE2_ERROR_NOMATCH)
        return true;
    if (rc < 0) {
        PCRE2_UCHAR reason[128] = {0};
        pcre2_get_error_message(rc, reason, sizeof(reason));
        return error_set(
            err, ERROR_TOO_LARGE, "the model's split pattern gave up on a text: %s", (const char *)reason);
    }
    const size_t *offsets = pcre2_get_ovector_pointer(state->data);
    *begin = offsets[0];
    *end = offsets[1];
    /* \K can put the start behind the end; treat it as empty. */
    if (*begin > *end)
        *begin = *end;
    return true;
}

bool pattern_next(struct pattern_scan *scan, size_t *begin, size_t *end, bool *found, struct error *err)
{
    const struct pattern *pattern = scan->pattern;
    *found = false;
    if (scan->at > scan->len || (scan->at == scan->len && (pattern->known || scan->len == 0)))
        return true;
    if (pattern->known) {
        *begin = scan->at;
        scan->at = *end = pattern->known(scan->text, scan->len, scan->at);
        *found = true;
        return true;
    }
    if (pattern->literal) {
        const char *at = pattern->literal_len ? memmem(scan->text + scan->at, scan->len - scan->at,
                                                    pattern->literal, pattern->literal_len)
                                              : NULL;
        if (at) {
            *begin = (size_t)(at - scan->text);
            scan->at = *end = *begin + pattern->literal_len;
            *found = true;
        }
        return true;
    }
    if (!search(scan, begin, end, found, err))
        return false;
    if (*found)
        scan->at = *end > *begin      ? *end
                   : *end < scan->len ? *end + text_step(scan->text[*end])
                                      : scan->len + 1;
    return true;
}
