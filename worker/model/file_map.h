/* A file mapped read-only, and what identifies its content without reading it. */
#ifndef LUMIGRID_WORKER_MODEL_FILE_MAP_H
#define LUMIGRID_WORKER_MODEL_FILE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct file_map {
    char *path;
    const uint8_t *bytes; /* page-aligned */
    size_t len;
    uint64_t device, inode;
    int64_t mtime_ns;
};

/* Maps the regular file at `path` (symbolic links are followed: the hub's cache is made of them). An empty
 * file is refused: none of the formats has an empty form. Shrinking a mapped file ends the process with
 * SIGBUS: model files are replaced by renaming, never written in place. */
bool file_map_open(const char *path, struct file_map *out, struct error *err);
void file_map_close(struct file_map *map); /* a zeroed struct is fine */

/* "dir/name", malloc'd; NULL and an error when there is no memory. */
char *path_join(const char *dir, const char *name, struct error *err);

/* Whether a regular file is there. */
bool path_is_file(const char *path);

/* Whether `name` is a plain file name: no '/', not empty, not "." or "..", no control characters. */
bool path_is_plain_name(const char *name);

/* The last part of a path, for messages. */
const char *path_base(const char *path);

#endif
