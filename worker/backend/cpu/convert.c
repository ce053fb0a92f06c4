#include "worker/backend/cpu/convert.h"

#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint16_t float_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U)
        return (uint16_t)(bits >> 16 | 0x40); /* quiet NaN */
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

uint16_t float_to_half(float value)
{
    uint32_t bits = bits_of(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t size = bits & 0x7FFFFFFFU;
    if (size > 0x7F800000U)
        return sign | 0x7E00;
    if (size >= 0x477FF000U) /* 65520 and more round to infinity */
        return sign | 0x7C00;
    if (size <
        0x38800000U) { /* below 2^-14: a multiple of 2^-24, by adding a number whose last bit is that */
        float shifted;
        uint32_t magic = 0x3F000000U; /* 0.5 */
        memcpy(&shifted, &size, sizeof shifted);
        shifted += 0.5F;
        return (uint16_t)(sign | (bits_of(shifted) - magic));
    }
    uint32_t rounded = size + 0xFFF + (size >> 13 & 1);
    return (uint16_t)(sign | (rounded - 0x38000000U) >> 13);
}

static const struct {
    size_t values, bytes;
} blocks[] = {
    [DTYPE_F32] = {1, 4},
    [DTYPE_F16] = {1, 2},
    [DTYPE_BF16] = {1, 2},
    [DTYPE_Q4_0] = {32, 18},
    [DTYPE_Q5_0] = {32, 22},
    [DTYPE_Q8_0] = {32, 34},
    [DTYPE_Q4_K] = {256, 144},
    [DTYPE_Q5_K] = {256, 176},
    [DTYPE_Q6_K] = {256, 210},
};

bool dtype_is_blocks(enum dtype dtype)
{
    return (size_t)dtype < sizeof blocks / sizeof *blocks && blocks[dtype].values > 1;
}

bool stored_row_bytes(enum dtype dtype, size_t count, size_t *out)
{
    if ((size_t)dtype >= sizeof blocks / sizeof *blocks || blocks[dtype].values == 0 ||
        count % blocks[dtype].values != 0)
        return false;
    return !__builtin_mul_overflow(count / blocks[dtype].values, blocks[dtype].bytes, out);
}
