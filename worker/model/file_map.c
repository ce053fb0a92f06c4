#include "worker/model/file_map.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_map_open(const char *path, struct file_map *out, struct error *err)
{
    memset(out, 0, sizeof *out);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block the open */
    if (fd < 0) {
        enum error_code code = errno == ENOENT || errno == ENOTDIR ? ERROR_NOT_FOUND
                               : errno == EACCES                   ? ERROR_DENIED
                                                                   : ERROR_UNAVAILABLE;
        return error_set(err, code, "cannot open %s: %s", path, strerror(errno));
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        error_set(err, ERROR_UNAVAILABLE, "cannot stat %s: %s", path, strerror(errno));
        goto fail;
    }
    if (!S_ISREG(st.st_mode)) {
        error_set(err, ERROR_INVALID, "%s is not a regular file", path);
        goto fail;
    }
    if (st.st_size <= 0) {
        error_set(err, ERROR_INVALID, "%s is empty", path);
        goto fail;
    }
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        error_set(err, ERROR_MEMORY, "cannot map %s: %s", path, strerror(errno));
        goto fail;
    }
    out->bytes = bytes;
    out->len = (size_t)st.st_size;
    out->device = (uint64_t)st.st_dev;
    out->inode = (uint64_t)st.st_ino;
    out->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    out->path = strdup(path);
    if (out->path == NULL) {
        error_set(err, ERROR_MEMORY, "no memory to open %s", path);
        file_map_close(out);
        goto fail;
    }
    close(fd);
    return true;
fail:
    close(fd);
    return false;
}

void file_map_close(struct file_map *map)
{
    if (map->bytes != NULL)
        munmap((void *)map->bytes, map->len);
    free(map->path);
    memset(map, 0, sizeof *map);
}

char *path_join(const char *dir, const char *name, struct error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        error_set(err, ERROR_MEMORY, "no memory for a path");
        return NULL;
    }
    return path;
}

bool path_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool path_is_plain_name(const char *name)
{
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strlen(name) > 255)
        return false;
    for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++) {
        if (*c == '/' || *c == '\\' || *c < 0x20 || *c == 0x7f)
            return false;
    }
    return true;
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}
