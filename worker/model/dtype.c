#include "worker/model/weights.h"

#include <assert.h>
#include <string.h>

/* Bytes of one block and elements in it; a plain dtype is a block of one element. */
static const struct {
    const char *name;
    size_t block_bytes;
    size_t block_elements;
} dtypes[] = {
    [DTYPE_F32] = {"f32", 4, 1},
    [DTYPE_F16] = {"f16", 2, 1},
    [DTYPE_BF16] = {"bf16", 2, 1},
    [DTYPE_I8] = {"i8", 1, 1},
    [DTYPE_I32] = {"i32", 4, 1},
    [DTYPE_I64] = {"i64", 8, 1},
    [DTYPE_Q4_0] = {"q4_0", 18, 32},
    [DTYPE_Q5_0] = {"q5_0", 22, 32},
    [DTYPE_Q8_0] = {"q8_0", 34, 32},
    [DTYPE_Q4_K] = {"q4_k", 144, 256},
    [DTYPE_Q5_K] = {"q5_k", 176, 256},
    [DTYPE_Q6_K] = {"q6_k", 210, 256},
};

const char *dtype_name(enum dtype dtype)
{
    assert(dtype < sizeof dtypes / sizeof *dtypes);
    return dtypes[dtype].name;
}

bool dtype_compute_parse(const char *name, enum dtype *out)
{
    static const struct {
        const char *name;
        enum dtype dtype;
    } known[] = {{"f32", DTYPE_F32}, {"f16", DTYPE_F16}, {"bf16", DTYPE_BF16}, {"int8", DTYPE_I8}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].dtype;
            return true;
        }
    }
    return false;
}

size_t dtype_block_elements(enum dtype dtype)
{
    assert(dtype < sizeof dtypes / sizeof *dtypes);
    return dtypes[dtype].block_elements;
}

size_t dtype_bytes(enum dtype dtype, size_t elements)
{
    size_t block = dtype_block_elements(dtype);
    assert(elements % block == 0);
    return elements / block * dtypes[dtype].block_bytes;
}
