/* A growable run of bytes. Zero-initialise; free with buffer_free. Not shared between threads. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_BUFFER_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct buffer {
    char *data; /* NULL while empty */
    size_t len;
    size_t capacity;
};

void buffer_free(struct buffer *buffer);
/* Room for `more` bytes past len. */
bool buffer_reserve(struct buffer *buffer, size_t more, struct error *err);
bool buffer_append(struct buffer *buffer, const char *data, size_t len, struct error *err);
bool buffer_append_string(struct buffer *buffer, const char *text, struct error *err);
bool buffer_append_code_point(struct buffer *buffer, uint32_t code_point, struct error *err);
/* Replaces bytes [at, at+removed) by data[0..len). */
bool buffer_splice(
    struct buffer *buffer, size_t at, size_t removed, const char *data, size_t len, struct error *err);
void buffer_swap(struct buffer *a, struct buffer *b);
/* The bytes as a zero-terminated string that the caller frees; the buffer is empty afterwards. */
char *buffer_take(struct buffer *buffer, size_t *len, struct error *err);

/* A growable array's next capacity: room for `wanted` elements of `size` bytes, at least doubling. Returns
 * the new pointer, or NULL with `err` filled and the old one untouched. */
void *array_grow(void *data, size_t *capacity, size_t wanted, size_t size, struct error *err);

#endif
