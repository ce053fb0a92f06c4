/* A GGUF file (v2, v3, little-endian): typed metadata and tensors, all checked before anything points at
 * them.
 *
 * The file is mapped and never copied: strings and tensor data point into the mapping and live as long as the
 * `struct gguf`. Immutable once open: any thread may read. Strings are bytes with a length, as in the file:
 * not zero-terminated, and not promised to be UTF-8.
 *
 * Getters return false when the key is missing or its value has another kind; `out` is then untouched, so
 * that a caller can set its default first. Numbers convert between widths when the value fits. */
#ifndef LUMIGRID_WORKER_MODEL_GGUF_H
#define LUMIGRID_WORKER_MODEL_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/model/model.h"

struct gguf;
struct file_map; /* worker/model/file_map.h */

/* The file's own value types, numbered as in the file. */
enum gguf_type {
    GGUF_UINT8,
    GGUF_INT8,
    GGUF_UINT16,
    GGUF_INT16,
    GGUF_UINT32,
    GGUF_INT32,
    GGUF_FLOAT32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_UINT64,
    GGUF_INT64,
    GGUF_FLOAT64,
};

struct gguf_string {
    const char *data;
    size_t len;
};

/* Maps and checks the file at `path`. */
bool gguf_open(const char *path, struct gguf **out, struct error *err);

/* The same over bytes in memory, borrowed until gguf_close; `name` is for messages. `bytes` must be aligned
 * to 32 for tensor data to be. */
bool gguf_open_memory(const char *name, const void *bytes, size_t len, struct gguf **out, struct error *err);

void gguf_close(struct gguf *file); /* NULL is fine */

uint32_t gguf_version(const struct gguf *file);
const struct file_map *gguf_file_map(const struct gguf *file); /* NULL when opened from memory */

/* Metadata, in the file's order. A key is a zero-terminated string owned by the file. */
size_t gguf_key_count(const struct gguf *file);
const char *gguf_key_at(const struct gguf *file, size_t index);
bool gguf_has(const struct gguf *file, const char *key);
bool gguf_type_of(const struct gguf *file, const char *key, enum gguf_type *out);

bool gguf_get_bool(const struct gguf *file, const char *key, bool *out);
bool gguf_get_int(const struct gguf *file, const char *key, int64_t *out);
bool gguf_get_float(const struct gguf *file, const char *key, double *out); /* an integer converts */
bool gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *out);

/* Arrays (of scalars or strings; an array of arrays is refused when opening). */
bool gguf_get_array(const struct gguf *file, const char *key, enum gguf_type *element, size_t *count);
/* Element `index`; false also when the index is past the end. */
bool gguf_array_string(const struct gguf *file, const char *key, size_t index, struct gguf_string *out);
bool gguf_array_int(const struct gguf *file, const char *key, size_t index, int64_t *out);
bool gguf_array_float(const struct gguf *file, const char *key, size_t index, double *out);

/* Tensors under the file's own names ("blk.0.attn_q.weight"), shape row-major as torch prints it (the
 * reverse of the file's order). */
size_t gguf_tensor_count(const struct gguf *file);
const struct tensor_view *gguf_tensor_at(const struct gguf *file, size_t index);
const struct tensor_view *gguf_tensor(const struct gguf *file, const char *name); /* NULL: none */

#endif
