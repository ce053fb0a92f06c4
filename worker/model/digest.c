#include "worker/model/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASH_BYTES = crypto_hash_sha256_BYTES };

static void add_number(crypto_hash_sha256_state *state, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    crypto_hash_sha256_update(state, bytes, sizeof bytes);
}

/* With its length, so that neighbouring parts cannot be shifted into each other. */
static void add_text(crypto_hash_sha256_state *state, const char *text)
{
    add_number(state, strlen(text));
    crypto_hash_sha256_update(state, (const uint8_t *)text, strlen(text));
}

static void finish(crypto_hash_sha256_state *state, char hex[DIGEST_HEX_BYTES])
{
    uint8_t hash[HASH_BYTES];
    crypto_hash_sha256_final(state, hash);
    sodium_bin2hex(hex, DIGEST_HEX_BYTES, hash, sizeof hash);
}

static void hash_content(const struct weights *weights, const char *config, char hex[DIGEST_HEX_BYTES])
{
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    for (size_t i = 0; i < weights->tensor_count; i++) {
        const struct tensor_view *tensor = &weights->tensors[i];
        add_text(&state, tensor->name);
        add_text(&state, dtype_name(tensor->dtype));
        add_number(&state, (uint64_t)tensor->rank);
        for (int d = 0; d < tensor->rank; d++)
            add_number(&state, (uint64_t)tensor->shape[d]);
        add_number(&state, tensor->bytes);
        crypto_hash_sha256_update(&state, tensor->data, tensor->bytes);
    }
    add_text(&state, config);
    finish(&state, hex);
}

static void add_identity(crypto_hash_sha256_state *state, const struct file_map *map)
{
    add_number(state, map->device);
    add_number(state, map->inode);
    add_number(state, map->len);
    add_number(state, (uint64_t)map->mtime_ns);
}

/* What names the cached digest: the identity of every file and the configuration. */
static void hash_identity(const struct weights *weights, const char *config, char hex[DIGEST_HEX_BYTES])
{
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    add_text(&state, "lumigrid model digest 1");
    for (size_t i = 0; i < weights->file_count; i++)
        add_identity(&state, &weights->files[i]);
    if (weights->gguf != NULL && gguf_file_map(weights->gguf) != NULL)
        add_identity(&state, gguf_file_map(weights->gguf));
    add_text(&state, config);
    finish(&state, hex);
}

/* Makes a directory and its parents; what exists is fine. */
static bool make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
        *slash = '/';
        if (!ok)
            return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* "<cache>/lumigrid/digests/<key>", its directory made; NULL when there is no place for it. */
static char *cache_path(const char *key)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME"), *infix = "";
    if (base == NULL || *base != '/') {
        base = home;
        infix = "/.cache";
    }
    char *dir = NULL, *path = NULL;
    if (base == NULL || *base != '/' || asprintf(&dir, "%s%s/lumigrid/digests", base, infix) < 0)
        return NULL;
    if (!make_directories(dir) || asprintf(&path, "%s/%s", dir, key) < 0)
        path = NULL;
    free(dir);
    return path;
}

static bool read_cached(const char *path, char hex[DIGEST_HEX_BYTES])
{
    char text[DIGEST_HEX_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t count = read(fd, text, sizeof text);
    close(fd);
    if (count != DIGEST_HEX_BYTES - 1)
        return false;
    text[count] = '\0';
    if (strspn(text, "0123456789abcdef") != DIGEST_HEX_BYTES - 1)
        return false;
    memcpy(hex, text, DIGEST_HEX_BYTES);
    return true;
}

/* Written whole under another name and renamed, so that no reader sees half of it. */
static void write_cached(const char *path, const char hex[DIGEST_HEX_BYTES])
{
    char *partial = NULL;
    if (asprintf(&partial, "%s.%ld", path, (long)getpid()) < 0)
        return;
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        bool ok = write(fd, hex, DIGEST_HEX_BYTES - 1) == DIGEST_HEX_BYTES - 1;
        ok = close(fd) == 0 && ok;
        if (!ok || rename(partial, path) != 0)
            unlink(partial);
    }
    free(partial);
}

bool digest_compute(
    const struct weights *weights, const json_t *config, char hex[DIGEST_HEX_BYTES], struct error *err)
{
    if (sodium_init() < 0)
        return error_set(err, ERROR_INTERNAL, "libsodium does not start");
    char *text = json_dumps(config, JSON_SORT_KEYS | JSON_COMPACT);
    if (text == NULL)
        return error_set(err, ERROR_MEMORY, "no memory for the model's digest");
    char key[DIGEST_HEX_BYTES];
    hash_identity(weights, text, key);
    char *path = cache_path(key);
    if (path == NULL || !read_cached(path, hex)) {
        hash_content(weights, text, hex);
        if (path != NULL)
            write_cached(path, hex);
    }
    free(path);
    free(text);
    return true;
}
