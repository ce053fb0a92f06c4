/* What the model tests share: temporary directories, files and byte strings made on the spot. */
#ifndef LUMIGRID_TESTS_UNIT_MODEL_FILES_H
#define LUMIGRID_TESTS_UNIT_MODEL_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/model/model.h"
#include "worker/model/weights.h"

/* Fails the test unless `err` has the code and its message contains `text`, on one line. */
void expect_error(const struct error *err, enum error_code code, const char *text);

/* A new directory under TMPDIR, malloc'd; scratch_remove deletes it with everything in it and frees the name.
 */
char *scratch_directory(void);
void scratch_remove(char *dir);

/* Writes dir/name; folders in the name are made. Returns the path (malloc'd). */
char *scratch_write(const char *dir, const char *name, const void *bytes, size_t len);

/* A whole file, malloc'd with a zero behind it. */
uint8_t *scratch_read(const char *path, size_t *len);
char *golden_path(const char *name); /* tests/golden/model/<name>, malloc'd */

/* Compares tensors with a file's entry of expected.json: dtype, shape, SHA-256 of the bytes, and the count.
 * `find` gives the tensor of a name. */
void expect_golden(const char *file, size_t count,
    const struct tensor_view *(*find)(const void *, const char *), const void *context);

/* Bytes in the making. */
struct bytes {
    uint8_t *data;
    size_t len, capacity;
};
void bytes_add(struct bytes *bytes, const void *data, size_t len);
void bytes_text(struct bytes *bytes, const char *text);             /* without its zero */
void bytes_number(struct bytes *bytes, uint64_t number, int width); /* little-endian */
void bytes_free(struct bytes *bytes);

#endif
