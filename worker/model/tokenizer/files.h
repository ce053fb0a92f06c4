/* A model directory's small files, read whole. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_FILES_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

bool files_exist(const char *dir, const char *name);

/* *data is malloc'd, zero-terminated past len; ERROR_TOO_LARGE over 512 MiB. */
bool files_read(const char *dir, const char *name, char **data, size_t *len, struct error *err);
/* *json is a new reference. `flags` are Jansson's; JSON_DECODE_INT_AS_REAL for configurations, which write
 * "unlimited" as an integer of thirty digits. */
bool files_read_json(const char *dir, const char *name, size_t flags, json_t **json, struct error *err);

/* SHA-256 over names and bytes of every tokenizer file the directory has, as lower-case hex. */
bool files_digest(const char *dir, char hex[65], struct error *err);

#endif
