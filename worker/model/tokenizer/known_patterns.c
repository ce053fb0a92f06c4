#include "worker/model/tokenizer/known_patterns.h"

#include <stdbool.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/unicode.h"

const char known_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char known_llama3[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char known_qwen2[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* What a pattern means by letter and number. */
struct alphabet {
    uint32_t letter, number;
};
static const struct alphabet onig = {CLASS_LETTER, CLASS_NUMBER};
static const struct alphabet python = {CLASS_PYTHON_LETTER, CLASS_PYTHON_NUMBER};

static inline uint32_t classes_at(const char *text, size_t len, size_t at, size_t *step, uint32_t *c)
{
    if (at >= len) {
        *step = 0;
        *c = UINT32_MAX;
        return 0;
    }
    *step = text_decode(text + at, len - at, c);
    return unicode_classes(*c);
}

/* The end of the run, from `at`, of characters whose classes meet `wanted` (or meet none of it, when
 * `without`). */
static size_t run_end(const char *text, size_t len, size_t at, uint32_t wanted, bool without)
{
    while (at < len) {
        size_t step;
        uint32_t c;
        uint32_t classes = classes_at(text, len, at, &step, &c);
        if (((classes & wanted) != 0) == without)
            break;
        at += step;
    }
    return at;
}

/* \s+(?!\S)|\s+ : a run of spaces, but its last one is left for the word that follows. */
static size_t match_spaces(const char *text, size_t len, size_t at)
{
    size_t end = at, last = at;
    while (end < len) {
        size_t step;
        uint32_t c;
        if (!(classes_at(text, len, end, &step, &c) & CLASS_SPACE))
            break;
        last = end;
        end += step;
    }
    return end < len && last > at ? last : end;
}

/* 's 't 're 've 'm 'll 'd after the apostrophe at `at`; 0: none. Case folding adds U+017F (long s) to s. */
static size_t match_contraction(const char *text, size_t len, size_t at, bool fold)
{
    size_t left = len - at;
    if (left < 2)
        return 0;
    char a = text[at + 1], b = left > 2 ? text[at + 2] : '\0';
    if (fold) {
        if (left > 2 && a == '\xC5' && b == '\xBF')
            return at + 3;
        a = a >= 'A' && a <= 'Z' ? (char)(a + 32) : a;
        b = b >= 'A' && b <= 'Z' ? (char)(b + 32) : b;
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return at + 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return at + 3;
    return 0;
}

static size_t match_gpt2_over(const char *text, size_t len, size_t at, const struct alphabet *alphabet)
{
    if (text[at] == '\'') {
        size_t end = match_contraction(text, len, at, false);
        if (end)
            return end;
    }
    size_t word = text[at] == ' ' ? at + 1 : at;
    size_t step;
    uint32_t c;
    uint32_t classes = classes_at(text, len, word, &step, &c);
    if (step && (classes & alphabet->letter))
        return run_end(text, len, word + step, alphabet->letter, false);
    if (step && (classes & alphabet->number))
        return run_end(text, len, word + step, alphabet->number, false);
    if (step && !(classes & CLASS_SPACE))
        return run_end(text, len, word + step, CLASS_SPACE | alphabet->letter | alphabet->number, true);
    return match_spaces(text, len, at);
}

size_t known_match_gpt2(const char *text, size_t len, size_t at)
{
    return match_gpt2_over(text, len, at, &onig);
}

size_t known_match_gpt2_python(const char *text, size_t len, size_t at)
{
    return match_gpt2_over(text, len, at, &python);
}

static bool is_line_end(uint32_t c)
{
    return c == '\r' || c == '\n';
}

/* \s*[\r\n]+ : through the last line end of a run of spaces; 0: the run has none. */
static size_t match_lines(const char *text, size_t len, size_t at)
{
    size_t end = 0;
    while (at < len) {
        size_t step;
        uint32_t c;
        if (!(classes_at(text, len, at, &step, &c) & CLASS_SPACE))
            break;
        at += step;
        if (is_line_end(c))
            end = at;
    }
    return end;
}

static size_t match_llama_over(const char *text, size_t len, size_t at, int digits)
{
    const uint32_t word_classes = CLASS_LETTER | CLASS_NUMBER;
    if (text[at] == '\'') {
        size_t end = match_contraction(text, len, at, true);
        if (end)
            return end;
    }
    size_t step, next_step;
    uint32_t c, next;
    uint32_t classes = classes_at(text, len, at, &step, &c);
    if (classes & CLASS_LETTER)
        return run_end(text, len, at + step, CLASS_LETTER, false);
    uint32_t next_classes = classes_at(text, len, at + step, &next_step, &next);
    if (!is_line_end(c) && !(classes & word_classes) && next_step && (next_classes & CLASS_LETTER))
        return run_end(text, len, at + step + next_step, CLASS_LETTER, false);
    if (classes & CLASS_NUMBER) {
        size_t end = at + step;
        for (int i = 1; i < digits && (classes_at(text, len, end, &step, &c) & CLASS_NUMBER); i++)
            end += step;
        return end;
    }
    size_t mark = c == ' ' ? at + step : at;
    uint32_t mark_classes = c == ' ' ? next_classes : classes;
    if (mark < len && !(mark_classes & (CLASS_SPACE | word_classes))) {
        size_t end = run_end(text, len, mark, CLASS_SPACE | word_classes, true);
        while (end < len && is_line_end((unsigned char)text[end]))
            end++;
        return end;
    }
    size_t lines = match_lines(text, len, at);
    return lines ? lines : match_spaces(text, len, at);
}

static size_t match_llama3(const char *text, size_t len, size_t at)
{
    return match_llama_over(text, len, at, 3);
}

static size_t match_qwen2(const char *text, size_t len, size_t at)
{
    return match_llama_over(text, len, at, 1);
}

known_pattern known_pattern_find(const char *expression, size_t len)
{
    static const struct {
        const char *expression;
        known_pattern match;
    } known[] = {{known_gpt2, known_match_gpt2}, {known_llama3, match_llama3}, {known_qwen2, match_qwen2}};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (strlen(known[i].expression) == len && memcmp(known[i].expression, expression, len) == 0)
            return known[i].match;
    }
    return NULL;
}
