/* Code point classes, case and normal forms as the reference tokenizers see them (see
 * tests/golden/tokenizer/unicode_tables.py for why their answers differ). Tables are expanded once, on first
 * use. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_UNICODE_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/model/tokenizer/buffer.h"

enum unicode_class {
    CLASS_LETTER = 1 << 0, /* \p{L}, \p{N}, \w, \s of Split patterns (Oniguruma) */
    CLASS_NUMBER = 1 << 1,
    CLASS_WORD = 1 << 2,
    CLASS_SPACE = 1 << 3,
    CLASS_RUST_WORD = 1 << 4, /* \w of the Whitespace pre-tokenizer and of single_word tokens */
    CLASS_PUNCTUATION = 1 << 5,
    CLASS_NUMERIC = 1 << 6,        /* the Digits pre-tokenizer's */
    CLASS_BERT_ACCENT = 1 << 7,    /* what BertNormalizer strips after NFD */
    CLASS_COMBINING = 1 << 8,      /* what StripAccents strips */
    CLASS_BERT_CONTROL = 1 << 9,   /* what BertNormalizer's clean_text removes */
    CLASS_PYTHON_LETTER = 1 << 10, /* \p{L} and \p{N} of transformers' slow classes */
    CLASS_PYTHON_NUMBER = 1 << 11,
    CLASS_PYTHON_PUNCTUATION = 1 << 12, /* unicodedata's P*, Mn and C*, and str.isspace */
    CLASS_PYTHON_ACCENT = 1 << 13,
    CLASS_PYTHON_CONTROL = 1 << 14,
    CLASS_PYTHON_SPACE = 1 << 15,
    CLASS_MARK = 1 << 16, /* the rest are Split patterns' \p{...} */
    CLASS_PATTERN_PUNCTUATION = 1 << 17,
    CLASS_SYMBOL = 1 << 18,
    CLASS_UPPER = 1 << 19,
    CLASS_TITLE = 1 << 20,
    CLASS_LOWER = 1 << 21,
    CLASS_MODIFIER = 1 << 22,
    CLASS_OTHER_LETTER = 1 << 23,
    CLASS_DECIMAL = 1 << 24,
    CLASS_RECENT = 1 << 25, /* assigned after Unicode 14: PCRE2 may not know it */
};

/* Must run before the functions below; cheap when it has run. Any thread. */
void unicode_open(void);

extern const uint8_t *unicode_kinds;  /* by code point, into unicode_flags */
extern const uint32_t *unicode_flags; /* unions of unicode_class */

static inline uint32_t unicode_classes(uint32_t code_point)
{
    return code_point <= 0x10FFFF ? unicode_flags[unicode_kinds[code_point]] : 0;
}

static inline bool unicode_is(uint32_t code_point, uint32_t classes)
{
    return (unicode_classes(code_point) & classes) != 0;
}

/* Calls `each` for every range of code points that have all of `classes`, in order. */
bool unicode_ranges(
    uint32_t classes, bool (*each)(uint32_t first, uint32_t last, void *context), void *context);

uint32_t unicode_lower(uint32_t code_point); /* U+0130 lowers to two code points: see unicode_append_lower */
bool unicode_append_lower(struct buffer *out, uint32_t code_point, struct error *err);

enum unicode_form { FORM_NFC, FORM_NFD, FORM_NFKC, FORM_NFKD };

/* Appends the normal form of well-formed text. When `mark` is not NULL, *mark (bytes of text) is replaced by
 * the bytes of output that came from text[0..*mark). */
bool unicode_normalize(enum unicode_form form, const char *text, size_t len, struct buffer *out, size_t *mark,
    struct error *err);

#endif
