/* Eight consecutive values of a stored weight row as floats.
 *
 * `k` is a multiple of eight. GGUF blocks: layouts as in ggml's documentation of the format. A block's value
 * is computed in float32 the same way everywhere, so that every kernel sees the same matrix. */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_DECODE_CUH
#define LUMIGRID_WORKER_BACKEND_CUDA_DECODE_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "worker/backend/cuda/kernels.h"

static __device__ __forceinline__ float half_at(const uint8_t *p)
{
    return __half2float(__ushort_as_half(*reinterpret_cast<const unsigned short *>(p)));
}

/* Eight bytes that are aligned to two only. */
static __device__ __forceinline__ void load_bytes(const uint8_t *p, uint8_t (&bytes)[8])
{
    const unsigned short *pairs = reinterpret_cast<const unsigned short *>(p);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        bytes[2 * i] = static_cast<uint8_t>(pairs[i] & 255);
        bytes[2 * i + 1] = static_cast<uint8_t>(pairs[i] >> 8);
    }
}

/* The same, aligned to eight. */
static __device__ __forceinline__ void load_aligned_bytes(const uint8_t *p, uint8_t (&bytes)[8])
{
    const uint2 words = *reinterpret_cast<const uint2 *>(p);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        bytes[i] = static_cast<uint8_t>(words.x >> 8 * i & 255);
        bytes[4 + i] = static_cast<uint8_t>(words.y >> 8 * i & 255);
    }
}

static __device__ __forceinline__ void decode_f32(const uint8_t *row, int k, float (&w)[8])
{
    const float4 *p = reinterpret_cast<const float4 *>(row) + k / 4;
    const float4 low = p[0], high = p[1];
    w[0] = low.x, w[1] = low.y, w[2] = low.z, w[3] = low.w;
    w[4] = high.x, w[5] = high.y, w[6] = high.z, w[7] = high.w;
}

static __device__ __forceinline__ void decode_f16(const uint8_t *row, int k, float (&w)[8])
{
    const uint4 packed = reinterpret_cast<const uint4 *>(row)[k / 8];
    const unsigned words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        w[2 * i] = __half2float(__ushort_as_half(static_cast<unsigned short>(words[i] & 0xFFFF)));
        w[2 * i + 1] = __half2float(__ushort_as_half(static_cast<unsigned short>(words[i] >> 16)));
    }
}

static __device__ __forceinline__ void decode_bf16(const uint8_t *row, int k, float (&w)[8])
{
    const uint4 packed = reinterpret_cast<const uint4 *>(row)[k / 8];
    const unsigned words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        w[2 * i] = __uint_as_float(words[i] << 16);
        w[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000U);
    }
}

static __device__ __forceinline__ void decode_i8(const uint8_t *row, int k, float (&w)[8])
{
    uint8_t q[8];
    load_aligned_bytes(row + k, q);
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = static_cast<float>(static_cast<int8_t>(q[i]));
}

/* Blocks of 32: scale, 16 bytes of two values each. */
static __device__ __forceinline__ void decode_q4_0(const uint8_t *row, int k, float (&w)[8])
{
    const uint8_t *block = row + k / 32 * 18;
    const int j = k % 32, shift = j < 16 ? 0 : 4;
    const float scale = half_at(block);
    uint8_t q[8];
    load_bytes(block + 2 + j % 16, q);
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = static_cast<float>((q[i] >> shift & 15) - 8) * scale;
}

/* Blocks of 32: scale, a word of fifth bits, 16 bytes of two values each. */
static __device__ __forceinline__ void decode_q5_0(const uint8_t *row, int k, float (&w)[8])
{
    const uint8_t *block = row + k / 32 * 22;
    const int j = k % 32, shift = j < 16 ? 0 : 4;
    const float scale = half_at(block);
    const unsigned fifth = block[2 + j / 8];
    uint8_t q[8];
    load_bytes(block + 6 + j % 16, q);
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = static_cast<float>((q[i] >> shift & 15) + static_cast<int>(fifth >> i & 1) * 16 - 16) * scale;
}

/* Blocks of 32: scale, 32 signed bytes. */
static __device__ __forceinline__ void decode_q8_0(const uint8_t *row, int k, float (&w)[8])
{
    const uint8_t *block = row + k / 32 * 34;
    const float scale = half_at(block);
    uint8_t q[8];
    load_bytes(block + 2 + k % 32, q);
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = static_cast<float>(static_cast<int8_t>(q[i])) * scale;
}

/* Scale and minimum of sub-block `sub` of a Q4_K or Q5_K block: 6 bits each, in 12 bytes. */
static __device__ __forceinline__ void sub_scale(const uint8_t *packed, int sub, float *scale, float *minimum)
{
    int s, m;
    if (sub < 4) {
        s = packed[sub] & 63;
        m = packed[sub + 4] & 63;
    } else {
        s = (packed[sub + 4] & 15) | packed[sub - 4] >> 6 << 4;
        m = packed[sub + 4] >> 4 | packed[sub] >> 6 << 4;
    }
    *scale = static_cast<float>(s);
    *minimum = static_cast<float>(m);
}

/* Blocks of 256: scale, minimum, 12 bytes of sub-scales, then nibbles: 32 bytes hold sub-blocks 2i and 2i
 * + 1. */
static __device__ __forceinline__ void decode_q4_k(const uint8_t *row, int k, float (&w)[8])
{
    const uint8_t *block = row + k / 256 * 144;
    const int sub = k % 256 / 32, shift = sub % 2 * 4;
    float scale, minimum;
    sub_scale(block + 4, sub, &scale, &minimum);
    scale *= half_at(block);
    minimum *= half_at(block + 2);
    uint8_t q[8];
    load_aligned_bytes(block + 16 + sub / 2 * 32 + k % 32, q);
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = fmaf(static_cast<float>(q[i] >> shift & 15), scale, -minimum);
}

/* The same with 32 bytes of fifth bits before the nibbles, bit `sub` of byte j for value j. */
static __device__ __forceinline__ void decode_q5_k(const uint8_t *row, int k, float (&w)[8])
{
    const uint8_t *block = row + k / 256 * 176;
    const int sub = k % 256 / 32, shift = sub % 2 * 4;
    float scale, minimum;
    sub_scale(block + 4, sub, &scale, &minimum);
    scale *= half_at(block);
    minimum *= half_at(block + 2);
    uint8_t q[8], fifth[8];
    load_aligned_bytes(block + 48 + sub / 2 * 32 + k % 32, q);
    load_aligned_bytes(block + 16 + k % 32, fifth);
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = fmaf(static_cast<float>((q[i] >> shift & 15) | (fifth[i] >> sub & 1) << 4), scale, -minimum);
}

/* Blocks of 256: 128 bytes of low nibbles, 64 of two high bits, 16 signed sub-scales, scale. */
static __device__ __forceinline__ void decode_q6_k(const uint8_t *row, int k, float (&w)[8])
{
    const uint8_t *block = row + k / 256 * 210;
    const int half = k % 256 / 128, quarter = k % 128 / 32, j = k % 32;
    const float scale = half_at(block + 208) *
                        static_cast<float>(static_cast<int8_t>(block[192 + half * 8 + quarter * 2 + j / 16]));
    uint8_t low[8], high[8];
    load_bytes(block + half * 64 + quarter % 2 * 32 + j, low);
    load_bytes(block + 128 + half * 32 + j, high);
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = scale * static_cast<float>(
                           ((low[i] >> quarter / 2 * 4 & 15) | (high[i] >> 2 * quarter & 3) << 4) - 32);
}

static __device__ __forceinline__ void decode_8(enum form form, const uint8_t *row, int k, float (&w)[8])
{
    switch (form) {
    case FORM_F32: decode_f32(row, k, w); break;
    case FORM_F16: decode_f16(row, k, w); break;
    case FORM_BF16: decode_bf16(row, k, w); break;
    case FORM_I8: decode_i8(row, k, w); break;
    case FORM_Q4_0: decode_q4_0(row, k, w); break;
    case FORM_Q5_0: decode_q5_0(row, k, w); break;
    case FORM_Q8_0: decode_q8_0(row, k, w); break;
    case FORM_Q4_K: decode_q4_k(row, k, w); break;
    case FORM_Q5_K: decode_q5_k(row, k, w); break;
    case FORM_Q6_K: decode_q6_k(row, k, w); break;
    }
}

#endif
