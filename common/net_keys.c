/* CURVE key pairs and their files. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/net.h"

enum { KEY_FILE_BYTES_MAX = 4096 };

bool net_keypair_generate(struct net_keypair *out, struct error *err)
{
    if (zmq_curve_keypair(out->public_key, out->secret_key) != 0)
        return error_set(err, ERROR_INTERNAL, "making a CURVE key pair: %s", zmq_strerror(zmq_errno()));
    return true;
}

bool net_public_key_valid(const char *z85)
{
    uint8_t raw[32];
    if (!z85 || strlen(z85) != NET_KEY_CHARS)
        return false;
    static const char alphabet[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    return strspn(z85, alphabet) == NET_KEY_CHARS && zmq_z85_decode(raw, z85) != NULL;
}

/* Reads "name value" lines; a value that is no key is refused. Missing names leave the output empty. */
static bool parse_key_file(const char *path, char *text, struct net_keypair *out, struct error *err)
{
    out->public_key[0] = out->secret_key[0] = '\0';
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (*line == '#' || *line == '\0')
            continue;
        char *value = strchr(line, ' ');
        if (!value)
            return error_set(err, ERROR_INVALID, "%s: a line is not \"public KEY\" or \"secret KEY\"", path);
        *value++ = '\0';
        char *target = strcmp(line, "public") == 0   ? out->public_key
                       : strcmp(line, "secret") == 0 ? out->secret_key
                                                     : NULL;
        if (!target || !net_public_key_valid(value))
            return error_set(
                err, ERROR_INVALID, "%s: \"%.16s\" is not followed by a 40-character Z85 key", path, line);
        memcpy(target, value, NET_KEY_CHARS + 1);
    }
    return true;
}

static bool read_key_file(const char *path, struct net_keypair *out, struct error *err)
{
    char text[KEY_FILE_BYTES_MAX];
    struct stat info;
    bool ok = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        enum error_code code = errno == ENOENT ? ERROR_NOT_FOUND : ERROR_DENIED;
        return error_set(err, code, "key file %s: %s", path, strerror(errno));
    }
    ssize_t len = fstat(fd, &info) == 0 ? read(fd, text, sizeof(text) - 1) : -1;
    close(fd);
    if (len < 0)
        return error_set(err, ERROR_UNAVAILABLE, "key file %s: %s", path, strerror(errno));
    text[len] = '\0';
    ok = parse_key_file(path, text, out, err);
    sodium_memzero(text, sizeof(text));
    if (ok && out->secret_key[0] && (info.st_mode & 077)) {
        error_set(err, ERROR_DENIED, "key file %s holds a secret key and others can read it", path);
        return error_hint(err, "run: chmod 600 %s", path);
    }
    return ok;
}

bool net_keypair_load(const char *path, struct net_keypair *out, struct error *err)
{
    if (!read_key_file(path, out, err))
        return false;
    if (!out->public_key[0] || !out->secret_key[0])
        return error_set(err, ERROR_INVALID, "key file %s lacks its public or its secret line", path);
    return true;
}

bool net_public_key_load(const char *path, char out[NET_KEY_CHARS + 1], struct error *err)
{
    struct net_keypair pair;
    if (!read_key_file(path, &pair, err))
        return false;
    sodium_memzero(pair.secret_key, sizeof(pair.secret_key));
    if (!pair.public_key[0])
        return error_set(err, ERROR_INVALID, "key file %s lacks its public line", path);
    memcpy(out, pair.public_key, sizeof(pair.public_key));
    return true;
}

/* Writes beside the target and renames, so that a reader never sees half a file. */
static bool write_key_file(const char *path, const char *text, mode_t mode, struct error *err)
{
    char temporary[4096];
    if (snprintf(temporary, sizeof(temporary), "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof(temporary))
        return error_set(err, ERROR_INVALID, "key file path %.200s… is too long", path);
    unlink(temporary); /* what an earlier process of this number left */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return error_set(err, ERROR_DENIED, "key file %s: %s", temporary, strerror(errno));
    size_t len = strlen(text);
    bool ok = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (!ok || rename(temporary, path) != 0) {
        error_set(err, ERROR_UNAVAILABLE, "writing key file %s: %s", path, strerror(errno));
        unlink(temporary);
        return false;
    }
    return true;
}

bool net_keypair_save(const char *path, const struct net_keypair *pair, struct error *err)
{
    char text[2 * NET_KEY_CHARS + 32];
    snprintf(text, sizeof(text), "public %s\nsecret %s\n", pair->public_key, pair->secret_key);
    bool ok = write_key_file(path, text, 0600, err);
    sodium_memzero(text, sizeof(text));
    return ok;
}

bool net_public_key_save(const char *path, const char *public_key, struct error *err)
{
    char text[NET_KEY_CHARS + 16];
    snprintf(text, sizeof(text), "public %s\n", public_key);
    return write_key_file(path, text, 0644, err);
}

bool net_keypair_load_or_create(const char *path, struct net_keypair *out, struct error *err)
{
    struct error load = {0};
    if (net_keypair_load(path, out, &load))
        return true;
    if (load.code == ERROR_NOT_FOUND)
        return net_keypair_generate(out, err) && net_keypair_save(path, out, err);
    if (err)
        *err = load;
    return false;
}
