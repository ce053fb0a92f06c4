/* Eight floats at a time, and the functions of one variable that models need, for the kernel sources only. */
#ifndef LUMIGRID_WORKER_BACKEND_CPU_VECTOR_H
#define LUMIGRID_WORKER_BACKEND_CPU_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Each kernel source is built once an instruction set; the set's name is put behind its public names. */
#define KERNEL_JOIN_(name, set) name##_##set
#define KERNEL_JOIN(name, set) KERNEL_JOIN_(name, set)
#define KERNEL(name) KERNEL_JOIN(name, KERNEL_SET)

#define INLINE static inline __attribute__((always_inline))

typedef float f8 __attribute__((vector_size(32)));
typedef float f8_any __attribute__((vector_size(32), aligned(4), may_alias));
typedef float f4 __attribute__((vector_size(16)));
typedef float f4_any __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t i8x32 __attribute__((vector_size(32)));

INLINE f8 f8_load(const float *p)
{
    return *(const f8_any *)p;
}

INLINE void f8_store(float *p, f8 v)
{
    *(f8_any *)p = v;
}

INLINE f8 f8_set(float x)
{
    return (f8){x, x, x, x, x, x, x, x};
}

/* The first `count` < 8 values, then `fill`. */
INLINE f8 f8_load_part(const float *p, size_t count, float fill)
{
    float values[8];
    for (size_t i = 0; i < 8; i++)
        values[i] = i < count ? p[i] : fill;
    return f8_load(values);
}

INLINE void f8_store_part(float *p, size_t count, f8 v)
{
    float values[8];
    f8_store(values, v);
    memcpy(p, values, count * sizeof(float));
}

/* A product that is not to become part of a fused multiply-add. */
#if defined __has_builtin && __has_builtin(__builtin_assoc_barrier)
#define f8_rounded(x) __builtin_assoc_barrier(x)
#elif defined __has_builtin && __has_builtin(__arithmetic_fence)
#define f8_rounded(x) __arithmetic_fence(x)
#else
#define f8_rounded(x) (x)
#endif

/* mask ? x : y, lane by lane; a lane of mask is 0 or -1. */
INLINE f8 f8_choose(i8x32 mask, f8 x, f8 y)
{
    return (f8)(((i8x32)x & mask) | ((i8x32)y & ~mask));
}

INLINE f8 f8_max(f8 x, f8 y)
{
    return f8_choose(x > y, x, y); /* NaN in x gives y */
}

INLINE f8 f8_min(f8 x, f8 y)
{
    return f8_choose(x < y, x, y);
}

/* The fixed tree: ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)), a half folded onto the other each time. */
INLINE float f8_sum(f8 v)
{
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

INLINE f8 f8_pair_sums(f8 x, f8 y)
{
    return __builtin_shufflevector(x, y, 0, 2, 8, 10, 4, 6, 12, 14) +
           __builtin_shufflevector(x, y, 1, 3, 9, 11, 5, 7, 13, 15);
}

/* The sums of four vectors at once, by pairs of neighbours: ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). */
INLINE f4 f8_sum4(f8 x, f8 y, f8 z, f8 w)
{
    f8 halves = f8_pair_sums(f8_pair_sums(x, y), f8_pair_sums(z, w));
    return __builtin_shufflevector(halves, halves, 0, 1, 2, 3) +
           __builtin_shufflevector(halves, halves, 4, 5, 6, 7);
}

INLINE float f8_max_lane(f8 v)
{
    float best = v[0];
    for (int i = 1; i < 8; i++)
        best = v[i] > best ? v[i] : best;
    return best;
}

/* e^x within 2 units in the last place. x = n ln 2 + r, |r| <= ln 2 / 2; e^r by a polynomial (its Taylor
 * series, its coefficients fitted: those of Cephes' expf). Below -87.3 it is 0, above 88.7 infinity; NaN
 * stays. */
INLINE f8 f8_exp(f8 x)
{
    const float round = 12582912.0F; /* 1.5 * 2^23: adding it leaves the rounded integer in the low bits */
    f8 clamped = f8_choose(x > 88.72284F, f8_set(88.72284F), x);
    clamped = f8_choose(x < -87.33654F, f8_set(-87.33654F), clamped);
    f8 shifted = clamped * 1.44269504F + round;
    f8 n = shifted - round;
    f8 r = clamped - n * 0.693359375F;
    r = r - n * -2.12194440e-4F;
    f8 p = r * 1.9875691500e-4F + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * (r * r) + r + 1.0F;
    /* 2^n in two halves, so that n = 128 does not overflow before the product does */
    i8x32 exponent = (i8x32)shifted - 0x4B400000;
    i8x32 half = exponent >> 1;
    f8 result = p * (f8)((half + 127) << 23) * (f8)((exponent - half + 127) << 23);
    result = f8_choose(x < -87.33654F, f8_set(0.0F), result);
    return f8_choose(x > 88.72284F, f8_set(__builtin_inff()), result);
}

/* Absolute error below 1.5e-7. */
INLINE f8 f8_tanh(f8 x)
{
    return 1.0F - 2.0F / (1.0F + f8_exp(2.0F * x));
}

/* erf x = sign(x) (1 - e^(-|x| p(|x|))), p fitted on [0, 4] to an absolute error of 2e-8; 1 beyond. */
INLINE f8 f8_erf(f8 x)
{
    f8 size = f8_min(f8_max(x, -x), f8_set(4.0F));
    f8 p = size * 3.143859014e-05F - 3.087892577e-04F;
    p = p * size + 1.032360019e-03F;
    p = p * size + 5.370005676e-04F;
    p = p * size - 1.958401784e-02F;
    p = p * size + 1.029196387e-01F;
    p = p * size + 6.365977283e-01F;
    p = p * size + 1.128380252e+00F;
    f8 value = 1.0F - f8_exp(-size * p);
    return f8_choose(x < 0.0F, -value, value);
}

INLINE f8 f8_sigmoid(f8 x)
{
    return 1.0F / (1.0F + f8_exp(-x));
}

#endif
