/* UTF-8: decoding, checking and repairing. Pure functions; any thread.
 *
 * Ill-formed bytes are read as U+FFFD, one for each maximal subpart (Unicode 15, section 3.9, as Python's and
 * Rust's lossy decoders do). */
#ifndef LUMIGRID_COMMON_TEXT_H
#define LUMIGRID_COMMON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_REPLACEMENT = 0xFFFD };

/* The code point at text[0..len), len > 0. Returns the bytes it takes (1 to 4); ill-formed: U+FFFD. */
size_t text_decode(const char *text, size_t len, uint32_t *code_point);

/* Writes a code point (a surrogate or one past U+10FFFF becomes U+FFFD). Returns 1 to 4. */
size_t text_encode(uint32_t code_point, char out[4]);

/* Bytes of the sequence that starts with this byte of well-formed text. */
static inline size_t text_step(char lead)
{
    unsigned char byte = (unsigned char)lead;
    return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

bool text_valid(const char *text, size_t len);

/* A malloc'd, zero-terminated, well-formed copy; *out_len is its bytes without the zero. NULL: no memory. */
char *text_repair(const char *text, size_t len, size_t *out_len);

/* Code points in well-formed text. */
size_t text_count(const char *text, size_t len);

#endif
