/* The entries of a zip archive whose data is stored uncompressed, so that it can be used where it lies in the
 * mapping. (libzip reads entries through a buffer and does not tell where they lie.) Zip64 is understood;
 * encryption, compression and split archives are refused. Format: PKWARE APPNOTE 6.3. */
#ifndef LUMIGRID_WORKER_MODEL_ZIP_STORED_H
#define LUMIGRID_WORKER_MODEL_ZIP_STORED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct zip_entry {
    const char *name; /* in the archive: not zero-terminated */
    size_t name_len;
    const uint8_t *data;
    size_t len;
};

struct zip_stored {
    struct zip_entry *entries; /* sorted by name; names are distinct, data ranges do not overlap */
    size_t count;
};

/* Whether the bytes begin as a zip archive does. */
bool zip_stored_detect(const uint8_t *bytes, size_t len);

/* Reads the central directory of bytes[0..len), borrowed. Checksums are not verified: that would read every
 * byte of the weights. */
bool zip_stored_open(
    const char *name, const uint8_t *bytes, size_t len, struct zip_stored *out, struct error *err);
void zip_stored_close(struct zip_stored *zip); /* a zeroed struct is fine */

const struct zip_entry *zip_stored_find(const struct zip_stored *zip, const char *name, size_t name_len);

#endif
