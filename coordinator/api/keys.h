/* The coordinator's own keys, and what is done with them: sealing secrets, signing download URLs. One random
 * master key, made once, kept in the data folder; both working keys are derived from it. Private to the api
 * room; any thread. */
#ifndef LUMIGRID_COORDINATOR_API_KEYS_H
#define LUMIGRID_COORDINATOR_API_KEYS_H

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum {
    KEYS_SEAL_OVERHEAD = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES,
    KEYS_SIGNATURE_CHARS = 43
};

struct keys {
    unsigned char seal[crypto_secretbox_KEYBYTES];
    unsigned char sign[crypto_generichash_KEYBYTES];
    /* Of master.key.previous, while a rotation is under way: they open and check, never seal or sign. */
    bool has_previous;
    unsigned char previous_seal[crypto_secretbox_KEYBYTES];
    unsigned char previous_sign[crypto_generichash_KEYBYTES];
};

/* Reads data_dir/master.key, or makes it (mode 0600). A file of another size, or one that others may read, is
 * an error: a key is never replaced silently, what it sealed would be lost. */
bool keys_open(const char *data_dir, struct keys *out, struct error *err);

/* Puts a new master key in place; the old one becomes master.key.previous. ERROR_CONFLICT: there is one
 * already, the last rotation is not over. Takes effect at the next start, see rotation.h. */
bool keys_rotate(const char *data_dir, struct error *err);
/* Deletes the previous key: nothing is sealed with it any more. */
bool keys_forget_previous(const char *data_dir, struct keys *keys, struct error *err);

/* `out` has room for size + KEYS_SEAL_OVERHEAD bytes. The name is bound to the value: a sealed value does not
 * open under another name. */
void keys_seal(const struct keys *keys, const char *name, const void *value, size_t size, unsigned char *out);
/* `out` has room for size - KEYS_SEAL_OVERHEAD bytes. False: forged, damaged, or sealed with another key.
 * `old` (may be NULL): it took the previous key. */
bool keys_unseal(
    const struct keys *keys, const char *name, const void *sealed, size_t size, void *out, bool *old);

/* URL-safe signature (keyed BLAKE2b) over a subject and the second at which it expires. */
void keys_sign(
    const struct keys *keys, const char *subject, int64_t expires_s, char out[KEYS_SIGNATURE_CHARS + 1]);
enum keys_verdict { KEYS_GOOD, KEYS_FORGED, KEYS_EXPIRED };
enum keys_verdict keys_check(
    const struct keys *keys, const char *subject, int64_t expires_s, const char *signature, int64_t now_s);

#endif
