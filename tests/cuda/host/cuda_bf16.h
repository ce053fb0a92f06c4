/* bfloat16 and pairs of it, computed in float and rounded to nearest even. Stands in for the toolkit's
 * header. */
#ifndef CUDA_EMULATION_CUDA_BF16_H
#define CUDA_EMULATION_CUDA_BF16_H

#include "cuda_runtime.h"

static inline unsigned short cuda_emulation_bfloat_bits(float x)
{
    const unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return 0x7fff;
    return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct __nv_bfloat16_raw {
    unsigned short x;
};
struct __nv_bfloat16 {
    unsigned short x;
    __nv_bfloat16() = default;
    __nv_bfloat16(float value) : x(cuda_emulation_bfloat_bits(value))
    {
    }
    __nv_bfloat16(double value) : __nv_bfloat16((float)value)
    {
    }
    __nv_bfloat16(int value) : __nv_bfloat16((float)value)
    {
    }
    __nv_bfloat16(__nv_bfloat16_raw raw) : x(raw.x)
    {
    }
    operator float() const
    {
        return __uint_as_float((unsigned)x << 16);
    }
};
typedef __nv_bfloat16 nv_bfloat16;
struct __attribute__((aligned(4))) __nv_bfloat162 {
    __nv_bfloat16 x, y;
    __nv_bfloat162() = default;
    __nv_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) : x(x), y(y)
    {
    }
};
typedef __nv_bfloat162 nv_bfloat162;

static inline __nv_bfloat16 __float2bfloat16(float x)
{
    return __nv_bfloat16(x);
}
static inline __nv_bfloat16 __float2bfloat16_rn(float x)
{
    return __nv_bfloat16(x);
}
static inline float __bfloat162float(__nv_bfloat16 x)
{
    return x;
}
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits)
{
    return __nv_bfloat16(__nv_bfloat16_raw{bits});
}
static inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x)
{
    return x.x;
}
static inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y)
{
    return {x, y};
}
static inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y)
{
    return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
static inline __nv_bfloat162 __float22bfloat162_rn(float2 v)
{
    return {__nv_bfloat16(v.x), __nv_bfloat16(v.y)};
}
static inline float2 __bfloat1622float2(__nv_bfloat162 v)
{
    return {(float)v.x, (float)v.y};
}
static inline float __low2float(__nv_bfloat162 v)
{
    return v.x;
}
static inline float __high2float(__nv_bfloat162 v)
{
    return v.y;
}

#endif
