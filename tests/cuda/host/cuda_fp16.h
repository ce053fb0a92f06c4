/* half and half2, computed in float and rounded to nearest even. Stands in for the toolkit's header of this
 * name. */
#ifndef CUDA_EMULATION_CUDA_FP16_H
#define CUDA_EMULATION_CUDA_FP16_H

#include "cuda_runtime.h"

static inline unsigned short cuda_emulation_half_bits(float x)
{
    unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (unsigned short)(sign | 0x7fff);
    if (magnitude >= 0x477ff000) /* rounds beyond the largest finite value */
        return (unsigned short)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* subnormal: let the float unit round at the right place */
        const float scaled = __uint_as_float(magnitude) + 0.5F;
        return (unsigned short)(sign | (__float_as_uint(scaled) - 0x3f000000));
    }
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return (unsigned short)(sign | ((magnitude - 0x38000000) >> 13));
}
static inline float cuda_emulation_half_value(unsigned short bits)
{
    const unsigned sign = (unsigned)(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
    if (magnitude >= 0x7c00)
        return __uint_as_float(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    if (magnitude < 0x400)
        return __uint_as_float(sign | __float_as_uint((float)magnitude * 0x1p-24F));
    return __uint_as_float(sign | ((magnitude << 13) + 0x38000000));
}

struct __half_raw {
    unsigned short x;
};
struct __half {
    unsigned short x;
    __half() = default;
    __half(float value) : x(cuda_emulation_half_bits(value))
    {
    }
    __half(double value) : __half((float)value)
    {
    }
    __half(int value) : __half((float)value)
    {
    }
    __half(__half_raw raw) : x(raw.x)
    {
    }
    operator float() const
    {
        return cuda_emulation_half_value(x);
    }
};
typedef __half half;
struct __attribute__((aligned(4))) __half2 {
    __half x, y;
    __half2() = default;
    __half2(__half x, __half y) : x(x), y(y)
    {
    }
};
typedef __half2 half2;

static inline __half __float2half(float x)
{
    return __half(x);
}
static inline __half __float2half_rn(float x)
{
    return __half(x);
}
static inline float __half2float(__half x)
{
    return x;
}
static inline __half __ushort_as_half(unsigned short bits)
{
    return __half(__half_raw{bits});
}
static inline unsigned short __half_as_ushort(__half x)
{
    return x.x;
}
static inline __half2 __halves2half2(__half x, __half y)
{
    return {x, y};
}
static inline __half2 __half2half2(__half x)
{
    return {x, x};
}
static inline __half2 make_half2(__half x, __half y)
{
    return {x, y};
}
static inline __half2 __floats2half2_rn(float x, float y)
{
    return {__half(x), __half(y)};
}
static inline __half2 __float22half2_rn(float2 v)
{
    return {__half(v.x), __half(v.y)};
}
static inline __half2 __float2half2_rn(float x)
{
    return {__half(x), __half(x)};
}
static inline float2 __half22float2(__half2 v)
{
    return {(float)v.x, (float)v.y};
}
static inline float __low2float(__half2 v)
{
    return v.x;
}
static inline float __high2float(__half2 v)
{
    return v.y;
}
static inline __half __low2half(__half2 v)
{
    return v.x;
}
static inline __half __high2half(__half2 v)
{
    return v.y;
}
static inline __half __hadd(__half x, __half y)
{
    return __half((float)x + (float)y);
}
static inline __half __hsub(__half x, __half y)
{
    return __half((float)x - (float)y);
}
static inline __half __hmul(__half x, __half y)
{
    return __half((float)x * (float)y);
}
static inline __half __hfma(__half x, __half y, __half z)
{
    return __half((float)((double)(float)x * (double)(float)y + (double)(float)z));
}
static inline __half2 __hadd2(__half2 x, __half2 y)
{
    return {__hadd(x.x, y.x), __hadd(x.y, y.y)};
}
static inline __half2 __hsub2(__half2 x, __half2 y)
{
    return {__hsub(x.x, y.x), __hsub(x.y, y.y)};
}
static inline __half2 __hmul2(__half2 x, __half2 y)
{
    return {__hmul(x.x, y.x), __hmul(x.y, y.y)};
}
static inline __half2 __hfma2(__half2 x, __half2 y, __half2 z)
{
    return {__hfma(x.x, y.x, z.x), __hfma(x.y, y.y, z.y)};
}

#endif
