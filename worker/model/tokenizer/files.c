#include "worker/model/tokenizer/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 512 << 20 };

static bool join_path(char out[PATH_MAX], const char *dir, const char *name, struct error *err)
{
    int len = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return (len > 0 && len < PATH_MAX) || error_set(err, ERROR_INVALID, "the path of %s is too long", name);
}

bool files_exist(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    return join_path(path, dir, name, NULL) && stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static bool read_all(int fd, char *data, size_t len, const char *path, struct error *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = read(fd, data + done, len - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set(
                err, ERROR_UNAVAILABLE, "reading %s: %s", path, got ? strerror(errno) : "it got shorter");
        done += (size_t)got;
    }
    return true;
}

bool files_read(const char *dir, const char *name, char **data, size_t *len, struct error *err)
{
    char path[PATH_MAX];
    struct stat status;
    if (!join_path(path, dir, name, err))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_UNAVAILABLE, "opening %s: %s", path,
            strerror(errno));
    char *bytes = NULL;
    bool ok = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    if (!ok)
        error_set(err, ERROR_INVALID, "%s is no regular file", path);
    if (ok && status.st_size > FILE_BYTES_MAX)
        ok = error_set(err, ERROR_TOO_LARGE, "%s is larger than %d MiB", path, FILE_BYTES_MAX >> 20);
    if (ok && !(bytes = malloc((size_t)status.st_size + 1)))
        ok = error_set(err, ERROR_MEMORY, "no memory to read %s", path);
    ok = ok && read_all(fd, bytes, (size_t)status.st_size, path, err);
    close(fd);
    if (!ok) {
        free(bytes);
        return false;
    }
    bytes[status.st_size] = '\0';
    *data = bytes;
    *len = (size_t)status.st_size;
    return true;
}

bool files_read_json(const char *dir, const char *name, size_t flags, json_t **json, struct error *err)
{
    char *text;
    size_t len;
    json_error_t reason;
    if (!files_read(dir, name, &text, &len, err))
        return false;
    *json = json_loadb(text, len, JSON_ALLOW_NUL | flags, &reason);
    free(text);
    return *json || error_set(err, ERROR_INVALID, "%s/%s line %d: %s", dir, name, reason.line, reason.text);
}

bool files_digest(const char *dir, char hex[65], struct error *err)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model",
        "sentencepiece.bpe.model", "spm.model", "source.spm", "target.spm", "chat_template.jinja"};
    crypto_hash_sha256_state state;
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char *data;
        size_t len;
        if (!files_exist(dir, names[i]))
            continue;
        if (!files_read(dir, names[i], &data, &len, err))
            return false;
        crypto_hash_sha256_update(&state, (const unsigned char *)names[i], strlen(names[i]) + 1);
        crypto_hash_sha256_update(&state, (const unsigned char *)data, len);
        free(data);
    }
    crypto_hash_sha256_final(&state, digest);
    sodium_bin2hex(hex, 65, digest, sizeof(digest));
    return true;
}
