/* The globals that a checkpoint's pickle may name, and what each means here. None is ever imported. */
#ifndef LUMIGRID_WORKER_MODEL_PICKLE_GLOBALS_H
#define LUMIGRID_WORKER_MODEL_PICKLE_GLOBALS_H

#include "worker/model/pickle.h"

enum pickle_global_kind {
    PICKLE_GLOBAL_REFUSED,
    PICKLE_GLOBAL_STORAGE,           /* a storage class; never called */
    PICKLE_GLOBAL_REBUILD_TENSOR,    /* (storage, offset, size, stride, …) → tensor */
    PICKLE_GLOBAL_REBUILD_PARAMETER, /* (tensor, …) → the tensor */
    PICKLE_GLOBAL_DICT,              /* () → an empty dict */
    PICKLE_GLOBAL_TUPLE,             /* (tuple) → the tuple */
    PICKLE_GLOBAL_OPAQUE,            /* (anything) → an opaque value */
};

struct pickle_global {
    const char *module; /* ending in '.': every module that begins so, any name */
    const char *name;
    enum pickle_global_kind kind;
    enum pickle_dtype dtype; /* of a storage */
};

/* An index into the table, -1 when the global is not in it. */
int pickle_global_find(const char *module, size_t module_len, const char *name, size_t name_len);
const struct pickle_global *pickle_global_at(int index);

#endif
