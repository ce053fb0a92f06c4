/* Eight floats at a time, and the functions of one variable that models need, for the kernel sources only. */
#ifndef LUMIGRID_WORKER_BACKEND_CPU_VECTOR_H
#define LUMIGRID_WORKER_BACKEND_CPU_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

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
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4_any __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint8_t u8x8 __attribute__((vector_size(8)));
typedef uint8_t u8x8_any __attribute__((vector_size(8), aligned(1), may_alias));
typedef int16_t i16x16 __attribute__((vector_size(32)));
typedef int16_t i16x16_any __attribute__((vector_size(32), aligned(2), may_alias));
typedef int16_t i16x8 __attribute__((vector_size(16)));
typedef int16_t i16x8_any __attribute__((vector_size(16), aligned(2), may_alias));
typedef int8_t s8x16_any __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint8_t u8x16_any __attribute__((vector_size(16), aligned(1), may_alias));

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

INLINE i16x16 i16x16_load(const int16_t *p)
{
    return *(const i16x16_any *)p;
}

INLINE void i16x16_store(int16_t *p, i16x16 v)
{
    *(i16x16_any *)p = v;
}

/* Keeps a value in a register, where the compiler would read memory again for each use. */
INLINE void i16x16_keep(i16x16 *v)
{
#ifdef __AVX2__
    __asm__("" : "+x"(*v));
#else
    (void)v;
#endif
}

INLINE i16x16 i16x16_set(int16_t x)
{
    return (i16x16){0} + x;
}

INLINE i16x16 i16x16_from_u8(const uint8_t *p)
{
#ifdef __AVX2__
    return (i16x16)_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p));
#else
    return __builtin_convertvector(*(const u8x16_any *)p, i16x16);
#endif
}

INLINE i16x16 i16x16_from_i8(const uint8_t *p)
{
#ifdef __AVX2__
    return (i16x16)_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
#else
    return __builtin_convertvector(*(const s8x16_any *)p, i16x16);
#endif
}

INLINE f8 f8_from_ints(i8x32 v)
{
    return __builtin_convertvector(v, f8);
}

/* Lane l: x[2l] y[2l] + x[2l + 1] y[2l + 1]. */
INLINE i8x32 pair_products(i16x16 x, i16x16 y)
{
#ifdef __AVX2__
    return (i8x32)_mm256_madd_epi16((__m256i)x, (__m256i)y);
#else
    i8x32 sum;
    for (int i = 0; i < 8; i++)
        sum[i] = x[2 * i] * y[2 * i] + x[2 * i + 1] * y[2 * i + 1];
    return sum;
#endif
}

/* ---- stored forms ---- */

INLINE float half_to_float(const uint8_t *p)
{
    uint16_t bits;
    memcpy(&bits, p, sizeof bits);
#ifdef __F16C__
    return _cvtsh_ss(bits);
#else
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = (bits >> 10) & 31, mantissa = bits & 0x3FF;
    float value;
    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24 */
        value = (float)mantissa * 5.9604644775390625e-8F;
        return sign ? -value : value;
    }
    uint32_t word = sign | (exponent == 31 ? 0x7F800000U : (exponent + 112) << 23) | mantissa << 13;
    memcpy(&value, &word, sizeof value);
    return value;
#endif
}

INLINE f8 f8_from_u8(const uint8_t *p)
{
#ifdef __AVX2__
    return (f8)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    float values[8];
    for (size_t i = 0; i < 8; i++)
        values[i] = (float)p[i];
    return f8_load(values);
#endif
}

/* Scales and minimums of the 8 sub-blocks of a Q4_K or Q5_K block: 6 bits each, in 12 bytes. */
INLINE void k_sub_scales(const uint8_t *packed, uint8_t scales[8], uint8_t minimums[8])
{
    uint32_t low, middle, high; /* four bytes at a time */
    memcpy(&low, packed, 4);
    memcpy(&middle, packed + 4, 4);
    memcpy(&high, packed + 8, 4);
    uint32_t s[2] = {low & 0x3F3F3F3FU, (high & 0x0F0F0F0FU) | (low >> 2 & 0x30303030U)};
    uint32_t m[2] = {middle & 0x3F3F3F3FU, (high >> 4 & 0x0F0F0F0FU) | (middle >> 2 & 0x30303030U)};
    memcpy(scales, s, 8);
    memcpy(minimums, m, 8);
}

/* ---- functions ---- */

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
