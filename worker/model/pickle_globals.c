#include "worker/model/pickle_globals.h"

#include <string.h>

#define STORAGE(name, dtype)                                                                                 \
    {                                                                                                        \
        "torch", name "Storage", PICKLE_GLOBAL_STORAGE, dtype                                                \
    }
#define OPAQUE(module, name)                                                                                 \
    {                                                                                                        \
        module, name, PICKLE_GLOBAL_OPAQUE, 0                                                                \
    }

static const struct pickle_global globals[] = {
    STORAGE("Float", PICKLE_F32),
    STORAGE("Half", PICKLE_F16),
    STORAGE("BFloat16", PICKLE_BF16),
    STORAGE("Double", PICKLE_F64),
    STORAGE("Char", PICKLE_I8),
    STORAGE("Byte", PICKLE_U8),
    STORAGE("Short", PICKLE_I16),
    STORAGE("Int", PICKLE_I32),
    STORAGE("Long", PICKLE_I64),
    STORAGE("Bool", PICKLE_BOOLEAN),
    STORAGE("ComplexFloat", PICKLE_C64),
    {"torch._utils", "_rebuild_tensor_v2", PICKLE_GLOBAL_REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor", PICKLE_GLOBAL_REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", PICKLE_GLOBAL_REBUILD_PARAMETER, 0},
    {"torch._utils", "_rebuild_parameter_with_state", PICKLE_GLOBAL_REBUILD_PARAMETER, 0},
    {"collections", "OrderedDict", PICKLE_GLOBAL_DICT, 0},
    {"torch", "Size", PICKLE_GLOBAL_TUPLE, 0},
    /* Carried by training checkpoints beside the weights; their content is dropped. */
    OPAQUE("torch", "device"),
    OPAQUE("torch", "float32"),
    OPAQUE("torch", "float16"),
    OPAQUE("torch", "bfloat16"),
    OPAQUE("torch", "int64"),
    OPAQUE("argparse", "Namespace"),
    OPAQUE("collections", "defaultdict"),
    OPAQUE("collections", "Counter"),
    OPAQUE("_codecs", "encode"),
    OPAQUE("numpy", "dtype"),
    OPAQUE("numpy.core.multiarray", "scalar"),
    OPAQUE("numpy._core.multiarray", "scalar"),
    OPAQUE("pathlib", "PosixPath"),
    OPAQUE("__builtin__", "set"),
    OPAQUE("builtins", "set"),
    OPAQUE("__builtin__", "dict"),
    OPAQUE("builtins", "dict"),
    OPAQUE("pytorch_lightning.", ""),
    OPAQUE("lightning.", ""),
    OPAQUE("lightning_fabric.", ""),
};

static bool equals(const char *text, const char *bytes, size_t len)
{
    return strlen(text) == len && memcmp(text, bytes, len) == 0;
}

int pickle_global_find(const char *module, size_t module_len, const char *name, size_t name_len)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        size_t len = strlen(globals[i].module);
        if (globals[i].module[len - 1] == '.') {
            if (module_len >= len && memcmp(globals[i].module, module, len) == 0)
                return (int)i;
        } else if (equals(globals[i].module, module, module_len) && equals(globals[i].name, name, name_len)) {
            return (int)i;
        }
    }
    return -1;
}

const struct pickle_global *pickle_global_at(int index)
{
    return &globals[index];
}
