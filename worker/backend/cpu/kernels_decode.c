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

/* The row's scale is applied by the caller. */
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

DECODER(q8_0)
{
    const uint8_t *block = (const uint8_t *)row + first / 32 * 34;
    for (; count >= 32; count -= 32, block += 34) {
        float scale = half_to_float(block);
        for (size_t i = 0; i < 32; i += 8, out += step)
            f8_store(out, f8_from_i8(block + 2 + i) * scale);
    }
}

DECODER(q4_0)
{
    const uint8_t *block = (const uint8_t *)row + first / 32 * 18;
    for (; count >= 32; count -= 32, block += 18) {
        uint8_t q[32];
        for (size_t i = 0; i < 16; i++) {
            q[i] = block[2 + i] & 15;
            q[16 + i] = block[2 + i] >> 4;
        }
        float scale = half_to_float(block);
        out = put_32(out, step, q, scale, -8.0F * scale);
    }
}

DECODER(q5_0)
{
    const uint8_t *block = (const uint8_t *)row + first / 32 * 22;
    for (; count >= 32; count -= 32, block += 22) {
        uint8_t q[32];
        uint32_t high;
        memcpy(&high, block + 2, sizeof high);
        for (size_t i = 0; i < 16; i++) {
            q[i] = (uint8_t)((block[6 + i] & 15) | (high >> i & 1) << 4);
            q[16 + i] = (uint8_t)(block[6 + i] >> 4 | (high >> (16 + i) & 1) << 4);
        }
        float scale = half_to_float(block);
        out = put_32(out, step, q, scale, -16.0F * scale);
    }
}

/* Scales and minimums of the 8 sub-blocks of a Q4_K or Q5_K block: 6 bits each, in 12 bytes. */
INLINE void sub_scales(const uint8_t *packed, uint8_t scales[8], uint8_t minimums[8])
{
    for (size_t i = 0; i < 4; i++) {
        scales[i] = packed[i] & 63;
        minimums[i] = packed[i + 4] & 63;
        scales[i + 4] = (uint8_t)((packed[i + 8] & 15) | (packed[i] >> 6) << 4);
        minimums[i + 4] = (uint8_t)(packed[i + 8] >> 4 | (packed[i + 4] >> 6) << 4);
    }
}

DECODER(q4_k)
{
    const uint8_t *block = (const uint8_t *)row + first / 256 * 144;
    for (; count >= 256; count -= 256, block += 144) {
        float scale = half_to_float(block), minimum = half_to_float(block + 2);
        uint8_t scales[8], minimums[8], q[32];
        sub_scales(block + 4, scales, minimums);
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
        sub_scales(block + 4, scales, minimums);
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

DECODER(q6_k)
{
    const uint8_t *block = (const uint8_t *)row + first / 256 * 210;
    for (; count >= 256; count -= 256, block += 210) {
        const uint8_t *low = block, *high = block + 128;
        const int8_t *scales = (const int8_t *)block + 192;
        float scale = half_to_float(block + 208);
        for (size_t half = 0; half < 2; half++, low += 64, high += 32, scales += 8)
            for (size_t quarter = 0; quarter < 4; quarter++) {
                uint8_t q[32];
                const uint8_t *p = low + (quarter & 1) * 32;
                for (size_t i = 0; i < 32; i++) {
                    uint8_t nibble = quarter < 2 ? p[i] & 15 : p[i] >> 4;
                    q[i] = (uint8_t)(nibble | (high[i] >> (2 * quarter) & 3) << 4);
                }
                for (size_t i = 0; i < 32; i += 8, out += step) {
                    float s = scale * (float)scales[2 * quarter + i / 16];
                    f8_store(out, f8_from_u8(q + i) * s - 32.0F * s);
                }
            }
    }
}
