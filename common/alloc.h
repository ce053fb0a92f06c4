/* Small allocations that do not fail: when there is no memory left for them, the process logs one line and
 * ends. Nothing acknowledged is lost by that (it is in Postgres), and a restart recovers; carrying on with
 * half an event applied would not. Sizes that a peer or a file chooses are checked before they come here. */
#ifndef LUMIGRID_COMMON_ALLOC_H
#define LUMIGRID_COMMON_ALLOC_H

#include <stddef.h>

/* Zeroed memory for `count` items; the caller frees. Count or size 0 gives a block of one byte. */
void *alloc_zero(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* Grows or shrinks; new bytes are not zeroed. */
void *alloc_resize(void *block, size_t count, size_t size) __attribute__((returns_nonnull));

/* A copy of `size` bytes with a zero byte after them. */
void *alloc_copy(const void *bytes, size_t size) __attribute__((malloc, returns_nonnull));

/* A copy of a string; NULL gives NULL. */
char *alloc_string(const char *text);

/* printf into a new string. */
char *alloc_format(const char *format, ...) __attribute__((format(printf, 1, 2), malloc, returns_nonnull));

#endif
