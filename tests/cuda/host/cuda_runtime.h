/* CUDA C++ for the host compiler: qualifiers, built-in variables, intrinsics. Stands in for the toolkit's
 * header of this name; translate.py does what macros cannot. */
#ifndef CUDA_EMULATION_CUDA_RUNTIME_H
#define CUDA_EMULATION_CUDA_RUNTIME_H

#include <cmath>
#include <cstring>

#include "kernel.h"

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __grid_constant__
#define __builtin_assume(condition) ((void)0)

#define threadIdx (::cuda_emulation::thread_index())
#define blockIdx (::cuda_emulation::block_index())
#define blockDim (::cuda_emulation::block_size())
#define gridDim (::cuda_emulation::grid_size())
constexpr int warpSize = 32;

#define CUDA_EMULATION_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* ---- barriers and fences ---- */

static inline void __syncthreads(CUDA_EMULATION_SITE)
{
    cuda_emulation::barrier(cuda_emulation::barrier_kind::plain, 0, file, line);
}
static inline int __syncthreads_count(int predicate, CUDA_EMULATION_SITE)
{
    return cuda_emulation::barrier(cuda_emulation::barrier_kind::count, predicate, file, line);
}
static inline int __syncthreads_and(int predicate, CUDA_EMULATION_SITE)
{
    return cuda_emulation::barrier(cuda_emulation::barrier_kind::all, predicate, file, line);
}
static inline int __syncthreads_or(int predicate, CUDA_EMULATION_SITE)
{
    return cuda_emulation::barrier(cuda_emulation::barrier_kind::any, predicate, file, line);
}
static inline void __syncwarp(unsigned mask = 0xffffffff, CUDA_EMULATION_SITE)
{
    cuda_emulation::warp(cuda_emulation::warp_kind::sync, mask, 0, 0, 32, file, line);
}
static inline unsigned __activemask()
{
    return cuda_emulation::active_mask();
}
static inline void __threadfence()
{
    cuda_emulation::race_fence();
}
static inline void __threadfence_block()
{
}
static inline void __threadfence_system()
{
}
static inline void __nanosleep(unsigned)
{
}

/* ---- the warp's collectives ---- */

template <class T>
static inline T cuda_emulation_shuffle(cuda_emulation::warp_kind kind, unsigned mask, T value, int argument,
    int width, const char *file, int line)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = cuda_emulation::warp(kind, mask, bits, argument, width, file, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T>
static inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, CUDA_EMULATION_SITE)
{
    return cuda_emulation_shuffle(
        cuda_emulation::warp_kind::shuffle_index, mask, value, lane, width, file, line);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATION_SITE)
{
    return cuda_emulation_shuffle(
        cuda_emulation::warp_kind::shuffle_up, mask, value, (int)delta, width, file, line);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATION_SITE)
{
    return cuda_emulation_shuffle(
        cuda_emulation::warp_kind::shuffle_down, mask, value, (int)delta, width, file, line);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, CUDA_EMULATION_SITE)
{
    return cuda_emulation_shuffle(
        cuda_emulation::warp_kind::shuffle_xor, mask, value, bits, width, file, line);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_EMULATION_SITE)
{
    return (unsigned)cuda_emulation::warp(
        cuda_emulation::warp_kind::ballot, mask, predicate != 0, 0, 32, file, line);
}
static inline int __all_sync(unsigned mask, int predicate, CUDA_EMULATION_SITE)
{
    return (int)cuda_emulation::warp(cuda_emulation::warp_kind::all, mask, predicate != 0, 0, 32, file, line);
}
static inline int __any_sync(unsigned mask, int predicate, CUDA_EMULATION_SITE)
{
    return (int)cuda_emulation::warp(cuda_emulation::warp_kind::any, mask, predicate != 0, 0, 32, file, line);
}
template <class T> static inline unsigned __match_any_sync(unsigned mask, T value, CUDA_EMULATION_SITE)
{
    return (unsigned)cuda_emulation_shuffle(
        cuda_emulation::warp_kind::match_any, mask, (unsigned long long)value, 0, 32, file, line);
}
#define CUDA_EMULATION_REDUCE(name, type, kind)                                                              \
    static inline type name(unsigned mask, type value, CUDA_EMULATION_SITE)                                  \
    {                                                                                                        \
        return (type)cuda_emulation::warp(                                                                   \
            cuda_emulation::warp_kind::kind, mask, (unsigned)value, 0, 32, file, line);                      \
    }
CUDA_EMULATION_REDUCE(__reduce_add_sync, int, add)
CUDA_EMULATION_REDUCE(__reduce_add_sync, unsigned, add)
CUDA_EMULATION_REDUCE(__reduce_min_sync, int, min_signed)
CUDA_EMULATION_REDUCE(__reduce_min_sync, unsigned, min_unsigned)
CUDA_EMULATION_REDUCE(__reduce_max_sync, int, max_signed)
CUDA_EMULATION_REDUCE(__reduce_max_sync, unsigned, max_unsigned)
CUDA_EMULATION_REDUCE(__reduce_and_sync, unsigned, bit_and)
CUDA_EMULATION_REDUCE(__reduce_or_sync, unsigned, bit_or)
CUDA_EMULATION_REDUCE(__reduce_xor_sync, unsigned, bit_xor)
#undef CUDA_EMULATION_REDUCE

/* ---- atomics: the compiler turns them into calls that the emulation checks ---- */

#define CUDA_EMULATION_ATOMIC_INTEGER(type)                                                                  \
    static inline type atomicAdd(type *p, type value)                                                        \
    {                                                                                                        \
        return __atomic_fetch_add(p, value, __ATOMIC_RELAXED);                                               \
    }                                                                                                        \
    static inline type atomicSub(type *p, type value)                                                        \
    {                                                                                                        \
        return __atomic_fetch_sub(p, value, __ATOMIC_RELAXED);                                               \
    }                                                                                                        \
    static inline type atomicAnd(type *p, type value)                                                        \
    {                                                                                                        \
        return __atomic_fetch_and(p, value, __ATOMIC_RELAXED);                                               \
    }                                                                                                        \
    static inline type atomicOr(type *p, type value)                                                         \
    {                                                                                                        \
        return __atomic_fetch_or(p, value, __ATOMIC_RELAXED);                                                \
    }                                                                                                        \
    static inline type atomicXor(type *p, type value)                                                        \
    {                                                                                                        \
        return __atomic_fetch_xor(p, value, __ATOMIC_RELAXED);                                               \
    }                                                                                                        \
    static inline type atomicExch(type *p, type value)                                                       \
    {                                                                                                        \
        return __atomic_exchange_n(p, value, __ATOMIC_RELAXED);                                              \
    }                                                                                                        \
    static inline type atomicCAS(type *p, type expected, type value)                                         \
    {                                                                                                        \
        __atomic_compare_exchange_n(p, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);         \
        return expected;                                                                                     \
    }                                                                                                        \
    static inline type atomicMax(type *p, type value)                                                        \
    {                                                                                                        \
        type old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                     \
        while (old < value &&                                                                                \
               !__atomic_compare_exchange_n(p, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))      \
            ;                                                                                                \
        return old;                                                                                          \
    }                                                                                                        \
    static inline type atomicMin(type *p, type value)                                                        \
    {                                                                                                        \
        type old = __atomic_load_n(p, __ATOMIC_RELAXED);                                                     \
        while (value < old &&                                                                                \
               !__atomic_compare_exchange_n(p, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))      \
            ;                                                                                                \
        return old;                                                                                          \
    }
CUDA_EMULATION_ATOMIC_INTEGER(int)
CUDA_EMULATION_ATOMIC_INTEGER(unsigned)
CUDA_EMULATION_ATOMIC_INTEGER(unsigned long long)
#undef CUDA_EMULATION_ATOMIC_INTEGER

static inline unsigned atomicInc(unsigned *p, unsigned limit)
{
    unsigned old = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(
        p, &old, old >= limit ? 0 : old + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    return old;
}
static inline float atomicAdd(float *p, float value)
{
    unsigned *bits = reinterpret_cast<unsigned *>(p), old = __atomic_load_n(bits, __ATOMIC_RELAXED), next;
    float sum;
    do {
        memcpy(&sum, &old, 4);
        sum += value;
        memcpy(&next, &sum, 4);
    } while (!__atomic_compare_exchange_n(bits, &old, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return sum - value;
}

/* ---- bits and integers ---- */

static inline int __float_as_int(float x)
{
    int bits;
    memcpy(&bits, &x, 4);
    return bits;
}
static inline unsigned __float_as_uint(float x)
{
    return (unsigned)__float_as_int(x);
}
static inline float __int_as_float(int bits)
{
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline float __uint_as_float(unsigned bits)
{
    return __int_as_float((int)bits);
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline unsigned __brev(unsigned x)
{
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++)
        reversed |= (x >> i & 1) << (31 - i);
    return reversed;
}
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector)
{
    const unsigned long long bytes = (unsigned long long)y << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned pick = selector >> (4 * i) & 15;
        unsigned byte = (unsigned)(bytes >> (8 * (pick & 7))) & 255;
        if (pick & 8)
            byte = byte & 128 ? 255 : 0;
        result |= byte << (8 * i);
    }
    return result;
}
static inline int __dp4a(int x, int y, int sum)
{
    for (int i = 0; i < 4; i++)
        sum += (int)(signed char)(x >> (8 * i)) * (int)(signed char)(y >> (8 * i));
    return sum;
}
static inline unsigned __dp4a(unsigned x, unsigned y, unsigned sum)
{
    for (int i = 0; i < 4; i++)
        sum += (x >> (8 * i) & 255) * (y >> (8 * i) & 255);
    return sum;
}
static inline unsigned __vsub4(unsigned x, unsigned y)
{
    unsigned result = 0;
    for (int i = 0; i < 32; i += 8)
        result |= (((x >> i) - (y >> i)) & 255) << i;
    return result;
}
static inline unsigned __vsubss4(unsigned x, unsigned y)
{
    unsigned result = 0;
    for (int i = 0; i < 32; i += 8) {
        int d = (signed char)(x >> i) - (signed char)(y >> i);
        result |= ((unsigned)(d < -128 ? -128 : d > 127 ? 127 : d) & 255) << i;
    }
    return result;
}
static inline unsigned __umulhi(unsigned x, unsigned y)
{
    return (unsigned)((unsigned long long)x * y >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift)
{
    return (unsigned)(((unsigned long long)high << 32 | low) >> (shift & 31));
}
static inline size_t __cvta_generic_to_shared(const void *p)
{
    return (size_t)p;
}

template <class T> static inline T __ldg(const T *p)
{
    return *p;
}
template <class T> static inline T __ldcs(const T *p)
{
    return *p;
}
template <class T> static inline T __ldcg(const T *p)
{
    return *p;
}
template <class T> static inline void __stcs(T *p, T value)
{
    *p = value;
}
template <class T> static inline void __stcg(T *p, T value)
{
    *p = value;
}

/* ---- arithmetic ---- */

/* Macros, because the C library has functions of these names. */
#define __expf(x) expf(x)
#define __exp2f(x) exp2f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __powf(x, y) powf(x, y)
static inline float rsqrtf(float x)
{
    return 1.0F / sqrtf(x);
}
static inline float __frsqrt_rn(float x)
{
    return 1.0F / sqrtf(x);
}
static inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}
static inline float __frcp_rn(float x)
{
    return 1.0F / x;
}
static inline float __fdividef(float x, float y)
{
    return x / y;
}
static inline float __fdiv_rn(float x, float y)
{
    return x / y;
}
static inline float __fmaf_rn(float x, float y, float z)
{
    return fmaf(x, y, z);
}
/* Never joined into one multiply-add: the barrier keeps the compiler from it, as the intrinsic does on a
 * device. */
static inline float __fmul_rn(float x, float y)
{
    float product = x * y;
    asm("" : "+x"(product));
    return product;
}
static inline float __fadd_rn(float x, float y)
{
    float sum = x + y;
    asm("" : "+x"(sum));
    return sum;
}
static inline float __fsub_rn(float x, float y)
{
    float difference = x - y;
    asm("" : "+x"(difference));
    return difference;
}
static inline float __saturatef(float x)
{
    return x > 0 ? (x < 1 ? x : 1) : 0;
}
static inline int __float2int_rn(float x)
{
    return (int)rintf(x);
}
static inline int __float2int_rz(float x)
{
    return (int)x;
}
static inline int __float2int_rd(float x)
{
    return (int)floorf(x);
}
static inline float __int2float_rn(int x)
{
    return (float)x;
}
static inline float __uint2float_rn(unsigned x)
{
    return (float)x;
}
#define CUDA_EMULATION_MINMAX(type)                                                                          \
    static inline type min(type x, type y)                                                                   \
    {                                                                                                        \
        return y < x ? y : x;                                                                                \
    }                                                                                                        \
    static inline type max(type x, type y)                                                                   \
    {                                                                                                        \
        return x < y ? y : x;                                                                                \
    }
CUDA_EMULATION_MINMAX(int)
CUDA_EMULATION_MINMAX(unsigned)
CUDA_EMULATION_MINMAX(long)
CUDA_EMULATION_MINMAX(unsigned long)
CUDA_EMULATION_MINMAX(long long)
CUDA_EMULATION_MINMAX(unsigned long long)
#undef CUDA_EMULATION_MINMAX
static inline float min(float x, float y)
{
    return fminf(x, y);
}
static inline float max(float x, float y)
{
    return fmaxf(x, y);
}

#endif
