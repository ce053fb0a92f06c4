#include "coordinator/api/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MASTER_BYTES = crypto_kdf_KEYBYTES, SEAL_KEY_NUMBER = 1, SIGN_KEY_NUMBER = 2, PATH_BYTES = 4000 };
static const char KEY_CONTEXT[crypto_kdf_CONTEXTBYTES + 1] = "lumigrid";

/* Written beside and linked into place: two starts at once agree on one key, and none sees half of it. */
static bool create_master(const char *path, struct error *err)
{
    unsigned char master[MASTER_BYTES];
    char temporary[PATH_BYTES + 32];
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

static bool master_path(const char *data_dir, const char *suffix, char out[PATH_BYTES], struct error *err)
{
    if (snprintf(out, PATH_BYTES, "%s/master.key%s", data_dir, suffix) < PATH_BYTES)
        return true;
    return error_set(err, ERROR_INVALID, "the data folder's name is too long");
}

static void derive(const unsigned char master[MASTER_BYTES + 1], unsigned char *seal, unsigned char *sign)
{
    crypto_kdf_derive_from_key(seal, crypto_secretbox_KEYBYTES, SEAL_KEY_NUMBER, KEY_CONTEXT, master);
    crypto_kdf_derive_from_key(sign, crypto_generichash_KEYBYTES, SIGN_KEY_NUMBER, KEY_CONTEXT, master);
}

bool keys_open(const char *data_dir, struct keys *out, struct error *err)
{
    char path[PATH_BYTES], previous[PATH_BYTES];
    unsigned char master[MASTER_BYTES + 1];
    memset(out, 0, sizeof(*out));
    if (sodium_init() < 0)
        return error_set(err, ERROR_INTERNAL, "libsodium does not start");
    if (!master_path(data_dir, "", path, err) || !master_path(data_dir, ".previous", previous, err))
        return false;
    out->has_previous = access(previous, F_OK) == 0;
    if (access(path, F_OK) != 0 && out->has_previous) {
        error_set(err, ERROR_DENIED, "%s is missing, and %s is there", path, previous);
        return error_hint(err, "a rotation of the master key broke off: rename it back, then rotate again");
    }
    if (access(path, F_OK) != 0 && !create_master(path, err))
        return false;
    if (!read_master(path, master, err))
        return false;
    derive(master, out->seal, out->sign);
    bool ok = !out->has_previous || read_master(previous, master, err);
    if (ok && out->has_previous)
        derive(master, out->previous_seal, out->previous_sign);
    sodium_memzero(master, sizeof(master));
    return ok;
}

/* The old key's second name comes first: at no moment is there neither name of it. */
bool keys_rotate(const char *data_dir, struct error *err)
{
    char path[PATH_BYTES], previous[PATH_BYTES], next[PATH_BYTES];
    unsigned char master[MASTER_BYTES + 1];
    if (!master_path(data_dir, "", path, err) || !master_path(data_dir, ".previous", previous, err) ||
        !master_path(data_dir, ".next", next, err) || !read_master(path, master, err))
        return false;
    sodium_memzero(master, sizeof(master));
    unlink(next); /* of a rotation that broke off before it began */
    if (!create_master(next, err))
        return false;
    if (link(path, previous) != 0) {
        int number = errno;
        unlink(next);
        if (number != EEXIST)
            return error_set(err, ERROR_UNAVAILABLE, "cannot write %s: %s", previous, strerror(number));
        error_set(err, ERROR_CONFLICT, "%s is there: the last rotation is not over", previous);
        return error_hint(err, "start the coordinator, which ends it, and rotate again after that");
    }
    return rename(next, path) == 0 ||
           error_set(err, ERROR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
}

bool keys_forget_previous(const char *data_dir, struct keys *keys, struct error *err)
{
    char previous[PATH_BYTES];
    if (!master_path(data_dir, ".previous", previous, err))
        return false;
    if (unlink(previous) != 0 && errno != ENOENT)
        return error_set(err, ERROR_UNAVAILABLE, "cannot delete %s: %s", previous, strerror(errno));
    keys->has_previous = false;
    sodium_memzero(keys->previous_seal, sizeof(keys->previous_seal));
    sodium_memzero(keys->previous_sign, sizeof(keys->previous_sign));
    return true;
}

/* One key a name. */
static void name_key(const unsigned char seal[crypto_secretbox_KEYBYTES], const char *name,
    unsigned char out[crypto_secretbox_KEYBYTES])
{
    crypto_generichash(out, crypto_secretbox_KEYBYTES, (const unsigned char *)name, strlen(name), seal,
        crypto_secretbox_KEYBYTES);
}

void keys_seal(const struct keys *keys, const char *name, const void *value, size_t size, unsigned char *out)
{
    unsigned char key[crypto_secretbox_KEYBYTES];
    name_key(keys->seal, name, key);
    randombytes_buf(out, crypto_secretbox_NONCEBYTES);
    crypto_secretbox_easy(out + crypto_secretbox_NONCEBYTES, value, size, out, key);
    sodium_memzero(key, sizeof(key));
}

static bool unseal_with(const unsigned char seal[crypto_secretbox_KEYBYTES], const char *name,
    const unsigned char *bytes, size_t size, void *out)
{
    unsigned char key[crypto_secretbox_KEYBYTES];
    name_key(seal, name, key);
    int failed = crypto_secretbox_open_easy(
        out, bytes + crypto_secretbox_NONCEBYTES, size - crypto_secretbox_NONCEBYTES, bytes, key);
    sodium_memzero(key, sizeof(key));
    return failed == 0;
}

bool keys_unseal(
    const struct keys *keys, const char *name, const void *sealed, size_t size, void *out, bool *old)
{
    if (size < KEYS_SEAL_OVERHEAD)
        return false;
    bool current = unseal_with(keys->seal, name, sealed, size, out);
    if (old)
        *old = !current;
    return current || (keys->has_previous && unseal_with(keys->previous_seal, name, sealed, size, out));
}

static void sign_with(const unsigned char key[crypto_generichash_KEYBYTES], const char *subject,
    int64_t expires_s, char out[KEYS_SIGNATURE_CHARS + 1])
{
    unsigned char mac[32];
    char expires[32];
    crypto_generichash_state state;
    crypto_generichash_init(&state, key, crypto_generichash_KEYBYTES, sizeof(mac));
    crypto_generichash_update(&state, (const unsigned char *)subject, strlen(subject) + 1);
    int len = snprintf(expires, sizeof(expires), "%lld", (long long)expires_s);
    crypto_generichash_update(&state, (const unsigned char *)expires, (unsigned long long)len);
    crypto_generichash_final(&state, mac, sizeof(mac));
    sodium_bin2base64(
        out, KEYS_SIGNATURE_CHARS + 1, mac, sizeof(mac), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void keys_sign(
    const struct keys *keys, const char *subject, int64_t expires_s, char out[KEYS_SIGNATURE_CHARS + 1])
{
    sign_with(keys->sign, subject, expires_s, out);
}

static bool signed_with(const unsigned char key[crypto_generichash_KEYBYTES], const char *subject,
    int64_t expires_s, const char *signature)
{
    char right[KEYS_SIGNATURE_CHARS + 1];
    sign_with(key, subject, expires_s, right);
    return strlen(signature) == KEYS_SIGNATURE_CHARS &&
           sodium_memcmp(right, signature, KEYS_SIGNATURE_CHARS) == 0;
}

enum keys_verdict keys_check(
    const struct keys *keys, const char *subject, int64_t expires_s, const char *signature, int64_t now_s)
{
    if (!signed_with(keys->sign, subject, expires_s, signature) &&
        (!keys->has_previous || !signed_with(keys->previous_sign, subject, expires_s, signature)))
        return KEYS_FORGED;
    return now_s > expires_s ? KEYS_EXPIRED : KEYS_GOOD;
}
