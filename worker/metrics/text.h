/* Text as the reference implementations see it: code points, with the whitespace, letter classes and
 * lower-casing of Python's str, of its `re`, and of the `regex` package that NLTK uses. */
#ifndef LUMIGRID_WORKER_METRICS_TEXT_H
#define LUMIGRID_WORKER_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/metrics/arena.h"

struct metric_text {
    uint32_t *cp; /* owned by the arena */
    size_t len;
};

enum metric_class {
    METRIC_CLASS_WORD = 1,       /* \w of `regex` */
    METRIC_CLASS_RE_WORD = 2,    /* \w of `re`: str.isalnum or '_' */
    METRIC_CLASS_DIGIT = 4,      /* \d of `regex` */
    METRIC_CLASS_UPPER = 8,      /* str.isupper of the character alone */
    METRIC_CLASS_LOWER = 16,     /* str.islower of the character alone */
    METRIC_CLASS_CASED = 32,     /* Unicode: Cased and not Case_Ignorable */
    METRIC_CLASS_IGNORABLE = 64, /* Unicode: Case_Ignorable */
    METRIC_CLASS_MAPPED = 128,   /* str.lower changes it */
};

/* The set of metric_class bits of a code point. */
unsigned metric_text_class(uint32_t cp);

/* str.isspace, which is also what str.split and str.strip go by. */
bool metric_text_is_space(uint32_t cp);

/* \s of `regex`: the same without the separators U+001C to U+001F. */
bool metric_text_is_regex_space(uint32_t cp);

/* Decodes UTF-8. ERROR_INVALID on a malformed sequence (overlong, surrogate, above U+10FFFF, cut), with its
 * byte offset. */
bool metric_text_decode(
    struct metric_arena *arena, const char *utf8, size_t len, struct metric_text *out, struct error *err);

/* Whether metric_text_decode would succeed. */
bool metric_text_is_valid(const char *utf8, size_t len);

/* str.lower, with its two rules that are not one to one: I with dot above becomes two code points, and a
 * capital sigma that ends a word becomes the final sigma. */
bool metric_text_lower(
    struct metric_arena *arena, struct metric_text text, struct metric_text *out, struct error *err);

/* str.split: runs between whitespace, as views into `text`. */
bool metric_text_split(struct metric_arena *arena, struct metric_text text, struct metric_text **tokens,
    size_t *count, struct error *err);

/* How many tokens metric_text_split would give. */
size_t metric_text_count_words(struct metric_text text);

/* str.rstrip: how much of the text remains. */
size_t metric_text_stripped_len(struct metric_text text);

#endif
