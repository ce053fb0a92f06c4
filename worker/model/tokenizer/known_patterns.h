/* Hand-written matchers for the split patterns that GPT-2, Llama 3 and Qwen 2 published and most models
 * copied. Each returns the end of the token that starts at text[at]; every character belongs to exactly one
 * token, so that a scan never searches. Proven equal to the expressions in tests/unit/tokenizer. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_KNOWN_PATTERNS_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_KNOWN_PATTERNS_H

#include <stddef.h>

typedef size_t (*known_pattern)(const char *text, size_t len, size_t at);

extern const char known_gpt2[];
extern const char known_llama3[];
extern const char known_qwen2[];

/* NULL: not one of them. */
known_pattern known_pattern_find(const char *expression, size_t len);

/* GPT-2's by the letters and numbers of Python's `regex`, for the slow classes. */
size_t known_match_gpt2_python(const char *text, size_t len, size_t at);
size_t known_match_gpt2(const char *text, size_t len, size_t at);

#endif
