#include "coordinator/api/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MASTER_BYTES = crypto_kdf_KEYBYTES, SEAL_KEY_NUMBER = 1, SIGN_KEY_NUMBER = 2 };
static const char KEY_CONTEXT[crypto_kdf_CONTEXTBYTES + 1] = "lumigrid";

/* Written beside and linked into place: two starts at once agree on one key, and none sees half of it. */
static bool create_master(const char *path, struct error *err)
{
    unsigned char master[MASTER_BYTES];
    char temporary[4096];
    snprintf(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, ERROR_UNAVAILABLE, "cannot create %s: %s", temporary, strerror(errno));
    crypto_kdf_keygen(master);
    bool ok = write(fd, master, sizeof(master)) == (ssize_t)sizeof(master) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    sodium_memzero(master, sizeof(master));
    if (ok)
        ok = link(temporary, path) == 0 || errno == EEXIST;
    int number = errno;
    unlink(temporary);
    return ok || error_set(err, ERROR_UNAVAILABLE, "cannot write %s: %s", path, strerror(number));
}

static bool read_master(const char *path, unsigned char master[MASTER_BYTES + 1], struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0)
        return error_set(err, ERROR_DENIED, "cannot read %s: %s", path, strerror(errno));
    bool known = fstat(fd, &info) == 0;
    ssize_t got = read(fd, master, MASTER_BYTES + 1);
    close(fd);
    if (got != MASTER_BYTES)
        return error_set(
            err, ERROR_INVALID, "%s is no master key: it must have %d bytes", path, MASTER_BYTES);
    if (known && (info.st_mode & 077) != 0) {
        error_set(err, ERROR_DENIED, "%s can be read by others", path);
        return error_hint(err, "chmod 600 %s", path);
    }
    return true;
}

bool keys_open(const char *data_dir, struct keys *out, struct error *err)
{
    char path[4000];
    unsigned char master[MASTER_BYTES + 1];
    if (sodium_init() < 0)
        return error_set(err, ERROR_INTERNAL, "libsodium does not start");
    if (snprintf(path, sizeof(path), "%s/master.key", data_dir) >= (int)sizeof(path))
        return error_set(err, ERROR_INVALID, "the data folder's name is too long");
    if (access(path, F_OK) != 0 && !create_master(path, err))
        return false;
    if (!read_master(path, master, err))
        return false;
    crypto_kdf_derive_from_key(out->seal, sizeof(out->seal), SEAL_KEY_NUMBER, KEY_CONTEXT, master);
    crypto_kdf_derive_from_key(out->sign, sizeof(out->sign), SIGN_KEY_NUMBER, KEY_CONTEXT, master);
    sodium_memzero(master, sizeof(master));
    return true;
}

/* One key a name. */
static void name_key(const struct keys *keys, const char *name, unsigned char out[crypto_secretbox_KEYBYTES])
{
    crypto_generichash(out, crypto_secretbox_KEYBYTES, (const unsigned char *)name, strlen(name), keys->seal,
        sizeof(keys->seal));
}

void keys_seal(const struct keys *keys, const char *name, const void *value, size_t size, unsigned char *out)
{
    unsigned char key[crypto_secretbox_KEYBYTES];
    name_key(keys, name, key);
    randombytes_buf(out, crypto_secretbox_NONCEBYTES);
    crypto_secretbox_easy(out + crypto_secretbox_NONCEBYTES, value, size, out, key);
    sodium_memzero(key, sizeof(key));
}

bool keys_unseal(const struct keys *keys, const char *name, const void *sealed, size_t size, void *out)
{
    unsigned char key[crypto_secretbox_KEYBYTES];
    const unsigned char *bytes = sealed;
    if (size < KEYS_SEAL_OVERHEAD)
        return false;
    name_key(keys, name, key);
    int failed = crypto_secretbox_open_easy(
        out, bytes + crypto_secretbox_NONCEBYTES, size - crypto_secretbox_NONCEBYTES, bytes, key);
    sodium_memzero(key, sizeof(key));
    return failed == 0;
}

void keys_sign(
    const struct keys *keys, const char *subject, int64_t expires_s, char out[KEYS_SIGNATURE_CHARS + 1])
{
    unsigned char mac[32];
    char expires[32];
    crypto_generichash_state state;
    crypto_generichash_init(&state, keys->sign, sizeof(keys->sign), sizeof(mac));
    crypto_generichash_update(&state, (const unsigned char *)subject, strlen(subject) + 1);
    int len = snprintf(expires, sizeof(expires), "%lld", (long long)expires_s);
    crypto_generichash_update(&state, (const unsigned char *)expires, (unsigned long long)len);
    crypto_generichash_final(&state, mac, sizeof(mac));
    sodium_bin2base64(
        out, KEYS_SIGNATURE_CHARS + 1, mac, sizeof(mac), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

enum keys_verdict keys_check(
    const struct keys *keys, const char *subject, int64_t expires_s, const char *signature, int64_t now_s)
{
    char right[KEYS_SIGNATURE_CHARS + 1];
    keys_sign(keys, subject, expires_s, right);
    if (strlen(signature) != KEYS_SIGNATURE_CHARS ||
        sodium_memcmp(right, signature, KEYS_SIGNATURE_CHARS) != 0)
        return KEYS_FORGED;
    return now_s > expires_s ? KEYS_EXPIRED : KEYS_GOOD;
}
