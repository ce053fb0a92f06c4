/* Reads the pickle inside a torch checkpoint as data. Nothing is imported and nothing is called: the few
 * globals that rebuild tensors are known by name and handled here, a few that checkpoints carry along
 * (argparse.Namespace, lightning's own) become opaque values, and any other ends in an error that names it.
 *
 * Values refer to each other as in the pickle, so they may be shared and cyclic: a reader must not recurse
 * without a bound. All values live as long as the `struct pickle`; strings point into the input. */
#ifndef LUMIGRID_WORKER_MODEL_PICKLE_H
#define LUMIGRID_WORKER_MODEL_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_STRING, /* text or bytes */
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT, /* items are key, value, key, value, … */
    PICKLE_GLOBAL,
    PICKLE_STORAGE,
    PICKLE_TENSOR,
    PICKLE_OPAQUE, /* an object of no interest: numbers past 64 bits, sets, namespaces */
};

enum { PICKLE_RANK_MAX = 8, PICKLE_BYTES_MAX = 16 << 20, PICKLE_VALUES_MAX = 1 << 20 };

/* Element types of torch's storages. */
enum pickle_dtype {
    PICKLE_F32,
    PICKLE_F16,
    PICKLE_BF16,
    PICKLE_F64,
    PICKLE_I8,
    PICKLE_U8,
    PICKLE_I16,
    PICKLE_I32,
    PICKLE_I64,
    PICKLE_BOOLEAN,
    PICKLE_C64,
};

struct pickle_value {
    enum pickle_kind kind;
    union {
        int64_t integer; /* PICKLE_INT, PICKLE_BOOL */
        double real;
        struct {
            const char *data;
            size_t len;
        } text;
        struct {
            struct pickle_value **items;
            size_t count, capacity;
        } list; /* tuple, list, dict */
        int global;
        struct {
            const char *key;
            size_t key_len;
            enum pickle_dtype dtype;
            int64_t elements;
        } storage;
        struct {
            const struct pickle_value *storage;
            int64_t offset; /* elements; all of these are ≥ 0 */
            int rank;
            int64_t shape[PICKLE_RANK_MAX], stride[PICKLE_RANK_MAX];
        } tensor;
    };
};

struct pickle;

/* Reads bytes[0..len), borrowed for the life of *out; `name` is for messages. */
bool pickle_read(const char *name, const uint8_t *bytes, size_t len, struct pickle **out, struct error *err);
void pickle_free(struct pickle *pickle); /* NULL is fine */

const struct pickle_value *pickle_root(const struct pickle *pickle);

/* The value of a string key in a dict; NULL when there is none or `dict` is no dict. */
const struct pickle_value *pickle_dict_get(const struct pickle_value *dict, const char *key);

#endif
