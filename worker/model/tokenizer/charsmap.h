/* SentencePiece's precompiled character map: a Darts double array from byte sequences to replacement strings,
 * as spiece.model and tokenizer.json's Precompiled normalizer carry it. Immutable once open; borrows nothing.
 */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_CHARSMAP_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_CHARSMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct charsmap {
    uint32_t *units;
    size_t unit_count;
    char *replacements; /* zero-terminated strings, one after the other */
    size_t replacement_bytes;
};

bool charsmap_open(struct charsmap *map, const char *blob, size_t len, struct error *err);
void charsmap_free(struct charsmap *map);

/* The longest key that is a prefix of text[0..len): its bytes (0: none) and its replacement. */
size_t charsmap_longest(const struct charsmap *map, const char *text, size_t len, const char **replacement,
    size_t *replacement_len);

/* The shortest such key within exactly text[0..len), as the `tokenizers` library looks a chunk up. */
bool charsmap_first(const struct charsmap *map, const char *text, size_t len, const char **replacement,
    size_t *replacement_len);

#endif
