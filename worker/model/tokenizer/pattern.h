/* Split patterns: a regular expression as tokenizer.json writes it (Oniguruma, Ruby syntax), matched by a
 * hand-written function where the expression is one of the few that nearly every model uses, else by PCRE2
 * with JIT.
 *
 * Compiled once, then immutable: any thread may match with a scratch of its own. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_PATTERN_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct pattern;

enum pattern_choice { PATTERN_FASTEST, PATTERN_PCRE2 /* never the hand-written one: for tests */ };

bool pattern_compile(
    const char *expression, size_t len, enum pattern_choice choice, struct pattern **out, struct error *err);
/* A literal string. */
bool pattern_literal(const char *text, size_t len, struct pattern **out, struct error *err);
void pattern_free(struct pattern *pattern); /* NULL is fine */

struct pattern_scan {
    const struct pattern *pattern;
    const char *text;
    size_t len;
    size_t at;   /* where the next search starts */
    void *match; /* PCRE2's match data, reused between calls; free with pattern_scan_free */
};
void pattern_scan_free(struct pattern_scan *scan);

/* The next match in well-formed text, or *found = false. An empty match moves on by one character. Fails with
 * ERROR_TOO_LARGE when the expression backtracks beyond its limit. */
bool pattern_next(struct pattern_scan *scan, size_t *begin, size_t *end, bool *found, struct error *err);

#endif
