/* GPT-2's byte alphabet: every byte as one printable character, and grapheme ends. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_BYTE_LEVEL_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_BYTE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/model/tokenizer/buffer.h"

/* The character that stands for a byte: printable Latin-1 for itself, the rest from U+0100 up in order. */
uint32_t byte_level_character(uint8_t byte);
/* -1: the character stands for no byte. */
int byte_level_byte(uint32_t character);

bool byte_level_append(struct buffer *out, const char *bytes, size_t len, struct error *err);

/* The end of the extended grapheme cluster that starts at text[at]. */
size_t byte_level_grapheme_end(const char *text, size_t len, size_t at);

#endif
