/* Oniguruma's Ruby syntax written in PCRE2's: the meanings of \p{..}, \w, \s, \d follow the reference's
 * Unicode version, (?m) is PCRE2's (?s), and {n,m}+ repeats instead of being possessive. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_PATTERN_SYNTAX_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_PATTERN_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/model/tokenizer/buffer.h"

bool pattern_translate(const char *expression, size_t len, struct buffer *out, struct error *err);

#endif
