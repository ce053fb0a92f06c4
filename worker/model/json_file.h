/* JSON from untrusted files: bounded in bytes, depth and values before the parser allocates anything. */
#ifndef LUMIGRID_WORKER_MODEL_JSON_FILE_H
#define LUMIGRID_WORKER_MODEL_JSON_FILE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct json_limits {
    size_t bytes_max;
    size_t values_max; /* a value costs the parser about a hundred bytes, however short its text */
};

enum { JSON_DEPTH_MAX = 64 };

/* Parses text[0..len), which must be an object without repeated keys; `name` is for messages. Returns a new
 * reference; NULL on error. */
json_t *json_object_parse(
    const char *name, const char *text, size_t len, const struct json_limits *limits, struct error *err);

/* The same for a file. A UTF-8 byte-order mark is skipped. */
json_t *json_object_read(const char *path, const struct json_limits *limits, struct error *err);

#endif
