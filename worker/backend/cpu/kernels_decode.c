/* Weight rows as floats. GGUF blocks: layouts as in ggml's documentation of the format; a block's values are
 * scale * q + offset, computed in float32. */
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/vector.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

#define DECODER(format)                                                                                      \
    void KERNEL(decode_##format)(const void *row, size_t first, size_t count, float *out, size_t step);      \
    void KERNEL(decode_##format)(const void *row, size_t first, size_t count, float *out, size_t step)

INLINE f8 f8_from_halves(const uint8_t *p)
{
#ifdef __F16C__
    return (f8)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#else
    float values[8];
    for (size_t i = 0; i < 8; i++)
        values[i] = half_to_float(p + 2 * i);
    return f8_load(values);
#endif
}

INLINE f8 f8_from_bf16(const uint8_t *p)
{
    uint16_t bits[8];
    memcpy(bits, p, sizeof bits);
    uint32_t words[8];
    for (size_t i = 0; i < 8; i++)
        words[i] = (uint32_t)bits[i] << 16;
    f8 value;
    memcpy(&value, words, sizeof value);
    return value;
}

INLINE f8 f8_from_i8(const uint8_t *p)
{
#ifdef __AVX2__
    return (f8)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    float values[8];
    for (size_t i = 0; i < 8; i++)
        values[i] = (float)(int8_t)p[i];
    return f8_load(values);
#endif
}

DECODER(f32)
{
    const float *p = (const float *)row + first;
    for (; count >= 8; count -= 8, p += 8, out += step)
        f8_store(out, f8_load(p));
    if (count > 0)
        f8_store(out, f8_load_part(p, count, 0.0F));
}

DECODER(f16)
{
    const uint8_t *p = (const uint8_t *)row + first * 2;
    for (; count >= 8; count -= 8, p += 16, out += step)
        f8_store(out, f8_from_halves(p));
    if (count > 0) {
        uint8_t tail[16] = {0};
        memcpy(tail, p, count * 2);
        f8_store(out, f8_from_halves(tail));
    }
}

DECODER(bf16)
{
    const uint8_t *p = (const uint8_t *)row + first * 2;
    for (; count >= 8; count -= 8, p += 16, out += step)
        f8_store(out, f8_from_bf16(p));
    if (count > 0) {
        uint8_t tail[16] = {0};
        memcpy(tail, p, count * 2);
        f8_store(out, f8_from_bf16(tail));
    }
}

/* The output's scale is applied by the caller. */
DECODER(i8)
{
    const uint8_t *p = (const uint8_t *)row + first;
    for (; count >= 8; count -= 8, p += 8, out += step)
        f8_store(out, f8_from_i8(p));
    if (count > 0) {
        uint8_t tail[8] = {0};
        memcpy(tail, p, count);
        f8_store(out, f8_from_i8(tail));
    }
}

/* 32 unsigned values: scale * q + offset. */
INLINE float *put_32(float *out, size_t step, const uint8_t *q, float scale, float offset)
{
    for (size_t i = 0; i < 32; i += 8, out += step)
        f8_store(out, f8_from_u8(q + i) * scale + offset);
    return out;
}

/* Values 8 i .. 8 i + 7 of a block of 32, as floats, before its scale. */
INLINE f8 q8_0_vector(const uint8_t *block, size_t i)
{
    return f8_from_i8(block + 2 + 8 * i);
}

INLINE i8x32 nibbles(const uint8_t *packed, size_t i)
{
#ifdef __AVX2__
    i8x32 q = (i8x32)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(packed + i % 2 * 8)));
#else
    i8x32 q;
    for (int j = 0; j < 8; j++)
        q[j] = packed[i % 2 * 8 + (size_t)j];
#endif
    return i < 2 ? q & 15 : q >> 4;
}

INLINE f8 q4_0_vector(const uint8_t *block, size_t i)
{
    return __builtin_convertvector(nibbles(block + 2, i) - 8, f8);
}

INLINE f8 q5_0_vector(const uint8_t *block, size_t i)
{
    const i8x32 bit = {1, 2, 4, 8, 16, 32, 64, 128};
    uint8_t high = block[2 + i];
    i8x32 byte = {high, high, high, high, high, high, high, high};
    i8x32 missing = (byte & bit) == 0; /* -1 where the fifth bit is not set */
    return __builtin_convertvector(nibbles(block + 6, i) + (missing & -16), f8);
}

/* The decoder of a format of 32-value blocks. */
#define FORMAT_OF_32(format, block_bytes)                                                                    \
    DECODER(format)                                                                                          \
    {                                                                                                        \
        const uint8_t *block = (const uint8_t *)row + first / 32 * (block_bytes);                            \
        for (; count >= 32; count -= 32, block += (block_bytes)) {                                           \
            float scale = half_to_float(block);                                                              \
            for (size_t i = 0; i < 4; i++, out += step)                                                      \
                f8_store(out, format##_vector(block, i) * scale);                                            \
        }                                                                                                    \
    }

FORMAT_OF_32(q4_0, 18)
FORMAT_OF_32(q5_0, 22)
FORMAT_OF_32(q8_0, 34)

DECODER(q4_k)
{
    const uint8_t *block = (const uint8_t *)row + first / 256 * 144;
    for (; count >= 256; count -= 256, block += 144) {
        float scale = half_to_float(block), minimum = half_to_float(block + 2);
        uint8_t scales[8], minimums[8], q[32];
        k_sub_scales(block + 4, scales, minimums);
        const uint8_t *packed = block + 16;
        for (size_t sub = 0; sub < 8; sub += 2, packed += 32) {
            for (size_t i = 0; i < 32; i++)
                q[i] = packed[i] & 15;
            out = put_32(out, step, q, scale * (float)scales[sub], -(minimum * (float)minimums[sub]));
            for (size_t i = 0; i < 32; i++)
                q[i] = packed[i] >> 4;
            out = put_32(out, step, q, scale * (float)scales[sub + 1], -(minimum * (float)minimums[sub + 1]));
        }
    }
}

DECODER(q5_k)
{
    const uint8_t *block = (const uint8_t *)row + first / 256 * 176;
    for (; count >= 256; count -= 256, block += 176) {
        float scale = half_to_float(block), minimum = half_to_float(block + 2);
        uint8_t scales[8], minimums[8], q[32];
        k_sub_scales(block + 4, scales, minimums);
        const uint8_t *high = block + 16, *packed = block + 48;
        for (size_t sub = 0; sub < 8; sub += 2, packed += 32) {
            for (size_t i = 0; i < 32; i++)
                q[i] = (uint8_t)((packed[i] & 15) | (high[i] >> sub & 1) << 4);
            out = put_32(out, step, q, scale * (float)scales[sub], -(minimum * (float)minimums[sub]));
            for (size_t i = 0; i < 32; i++)
                q[i] = (uint8_t)(packed[i] >> 4 | (high[i] >> (sub + 1) & 1) << 4);
            out = put_32(out, step, q, scale * (float)scales[sub + 1], -(minimum * (float)minimums[sub + 1]));
        }
    }
}

/* 32 of the 128 values of half a block. */
INLINE float *q6_k_quarter(const uint8_t *low, const uint8_t *high, const int8_t *scales, float scale,
    size_t quarter, float *out, size_t step)
{
    uint8_t q[32];
    low += quarter % 2 * 32;
    for (size_t i = 0; i < 32; i++) {
        uint8_t nibble = quarter < 2 ? low[i] & 15 : low[i] >> 4;
        q[i] = (uint8_t)(nibble | (high[i] >> (2 * quarter) & 3) << 4);
    }
    for (size_t i = 0; i < 32; i += 8, out += step) {
        size_t sixteen = 2 * quarter + i / 16;
        float s = scale * (float)scales[sixteen];
        f8_store(out, f8_from_u8(q + i) * s - 32.0F * s);
    }
    return out;
}

DECODER(q6_k)
{
    const uint8_t *block = (const uint8_t *)row + first / 256 * 210;
    for (; count >= 256; count -= 256, block += 210) {
        const uint8_t *low = block, *high = block + 128;
        const int8_t *scales = (const int8_t *)block + 192;
        float scale = half_to_float(block + 208);
        for (size_t half = 0; half < 2; half++, low += 64, high += 32, scales += 8) {
            out = q6_k_quarter(low, high, scales, scale, 0, out, step);
            out = q6_k_quarter(low, high, scales, scale, 1, out, step);
            out = q6_k_quarter(low, high, scales, scale, 2, out, step);
            out = q6_k_quarter(low, high, scales, scale, 3, out, step);
        }
    }
}
