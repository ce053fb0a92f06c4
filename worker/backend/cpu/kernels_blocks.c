/* Products with GGUF blocks in integers.
 *
 * A row of activations is rounded to 16 bits with one scale every GEMM_K_BLOCK values: 32767 levels, so its
 * error is below 2^-16 of the block's largest value. Weights are unpacked to 16 bits without loss. 32
 * products are summed exactly, in eight lanes of four, and join a lane's float sum with the 32 values' scale;
 * the blocks' order is fixed, so a product does not depend on the tile it was computed in. A minimum (Q4_K,
 * Q5_K) meets the sum of the 32 activations instead: eight of them at once, one a lane. */
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/vector.h"

void KERNEL(block_tile)(const struct block_tile *tile);
float KERNEL(quantize_block)(const float *x, size_t count, int16_t *out, float *sums);

/* Float sums are single variables: the compiler would keep an array of them in memory. */
#define OUTPUT_ADD(n)                                                                                        \
    do {                                                                                                     \
        i16x16 w0 = i16x16_load(w + (n)*BLOCK_VALUES), w1 = i16x16_load(w + (n)*BLOCK_VALUES + 16);          \
        f8 scale = f8_load(scales + (n)*LANES);                                                              \
        s0##n += f8_from_ints(pair_products(x00, w0) + pair_products(x01, w1)) * scale;                      \
        if (rows > 1)                                                                                        \
            s1##n += f8_from_ints(pair_products(x10, w0) + pair_products(x11, w1)) * scale;                  \
    } while (0)

#define MINIMUM_ADD(n)                                                                                       \
    do {                                                                                                     \
        f8 minimum = f8_load(minimums + (n)*LANES);                                                          \
        s0##n += f8_load(sums0) * minimum;                                                                   \
        if (rows > 1)                                                                                        \
            s1##n += f8_load(sums1) * minimum;                                                               \
    } while (0)

/* Scaled before they are joined: a product and a sum side by side may become one instruction, or not. */
INLINE void put_sums(float *c, bool accumulate, float scale, f8 s0, f8 s1, f8 s2, f8 s3)
{
    f4 total = f8_sum4(s0 * scale, s1 * scale, s2 * scale, s3 * scale);
    if (accumulate)
        total += *(f4_any *)c;
    *(f4_any *)c = total;
}

INLINE void block_rows(const struct block_tile *t, size_t rows, bool with_minimums)
{
    const int16_t *x0 = t->x, *x1 = t->x + (rows > 1 ? t->x_stride : 0), *w = t->weights;
    const float *scales = t->scales, *minimums = t->minimums;
    const float *sums0 = t->sums, *sums1 = t->sums + (rows > 1 ? t->sum_stride : 0);
    f8 s00 = {0}, s01 = {0}, s02 = {0}, s03 = {0}, s10 = {0}, s11 = {0}, s12 = {0}, s13 = {0};
    for (size_t block = 0; block < t->blocks; block++) {
        i16x16 x00 = i16x16_load(x0), x01 = i16x16_load(x0 + 16);
        i16x16 x10 = i16x16_load(x1), x11 = i16x16_load(x1 + 16);
        OUTPUT_ADD(0);
        OUTPUT_ADD(1);
        OUTPUT_ADD(2);
        OUTPUT_ADD(3);
        x0 += BLOCK_VALUES;
        x1 += BLOCK_VALUES;
        w += (size_t)GEMM_TILE_OUTPUTS * BLOCK_VALUES;
        scales += (size_t)GEMM_TILE_OUTPUTS * LANES;
    }
    for (size_t block = 0; with_minimums && block < t->blocks; block += 8) {
        MINIMUM_ADD(0);
        MINIMUM_ADD(1);
        MINIMUM_ADD(2);
        MINIMUM_ADD(3);
        sums0 += LANES;
        sums1 += LANES;
        minimums += (size_t)GEMM_TILE_OUTPUTS * LANES;
    }
    put_sums(t->c, t->accumulate, t->x_scales[0], s00, s01, s02, s03);
    if (rows > 1)
        put_sums(t->c + t->c_stride, t->accumulate, t->x_scales[t->x_scale_stride], s10, s11, s12, s13);
}

void KERNEL(block_tile)(const struct block_tile *tile)
{
    struct block_tile t = *tile;
    for (; t.rows > 0; t.rows -= t.rows > 1 ? 2 : 1) {
        if (t.rows > 1 && t.minimums)
            block_rows(&t, 2, true);
        else if (t.rows > 1)
            block_rows(&t, 2, false);
        else if (t.minimums)
            block_rows(&t, 1, true);
        else
            block_rows(&t, 1, false);
        t.x += 2 * t.x_stride;
        t.x_scales += 2 * t.x_scale_stride;
        t.sums += 2 * t.sum_stride;
        t.c += 2 * t.c_stride;
    }
}

/* NaN and infinity make the scale NaN, and so every product with it. */
float KERNEL(quantize_block)(const float *x, size_t count, int16_t *out, float *sums)
{
    enum { LEVELS = 32767 };
    const float round = 12582912.0F; /* 1.5 * 2^23: adding it leaves the rounded integer in the low bits */
    f8 largest = {0}, broken = {0};
    for (size_t i = 0; i < count; i += LANES) {
        f8 v = f8_load(x + i);
        largest = f8_max(f8_max(v, -v), largest);
        broken += v * 0.0F;
    }
    float top = f8_max_lane(largest), inverse = top > 0.0F ? (float)LEVELS / top : 0.0F;
    for (size_t i = 0; i < count; i += BLOCK_VALUES) {
        i8x32 sum = {0};
        for (size_t j = i; j < i + BLOCK_VALUES; j += LANES) {
            i8x32 q = (i8x32)(f8_load(x + j) * inverse + round) - 0x4B400000;
            *(i16x8_any *)(out + j) = __builtin_convertvector(q, i16x8);
            sum += q;
        }
        *sums++ = (float)(sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7]);
    }
    return top / (float)LEVELS + f8_sum(broken);
}

/* ---- formats: 32 values as two vectors, and their scale ---- */

INLINE f8 scale_of(const uint8_t *block)
{
#ifdef __F16C__
    /* what follows the scale in a block of any format is converted with it and dropped */
    __m128 values = _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)block));
    return (f8)_mm256_broadcastss_ps(values);
#else
    return f8_set(half_to_float(block));
#endif
}

INLINE i16x16 q8_0_values(const uint8_t *block, size_t half)
{
    return i16x16_from_i8(block + 2 + 16 * half);
}

INLINE i16x16 q4_0_values(const uint8_t *block, size_t half)
{
    i16x16 packed = i16x16_from_u8(block + 2);
    return (half ? packed >> 4 : packed & 15) - 8;
}

INLINE i16x16 q5_0_values(const uint8_t *block, size_t half)
{
    const i16x16 bits = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768};
    int16_t high;
    memcpy(&high, block + 2 + 2 * half, sizeof high);
    i16x16 packed = i16x16_from_u8(block + 6);
    /* -16 where the fifth bit is not set */
    return (half ? packed >> 4 : packed & 15) + (((i16x16_set(high) & bits) == 0) & -16);
}

INLINE i16x16 q4_k_values(const uint8_t *block, size_t sub, size_t half)
{
    i16x16 packed = i16x16_from_u8(block + 16 + sub / 2 * 32 + 16 * half);
    return sub % 2 ? packed >> 4 : packed & 15;
}

INLINE i16x16 q5_k_values(const uint8_t *block, size_t sub, size_t half)
{
    i16x16 packed = i16x16_from_u8(block + 48 + sub / 2 * 32 + 16 * half);
    i16x16 high = i16x16_from_u8(block + 16 + 16 * half) >> (int16_t)sub;
    return (sub % 2 ? packed >> 4 : packed & 15) | (high & 1) << 4;
}

/* With the scale of their sixteen, which is an integer too: the products are below 2^13. */
INLINE i16x16 q6_k_values(const uint8_t *block, size_t sub, size_t half)
{
    size_t quarter = sub % 4;
    i16x16 packed = i16x16_from_u8(block + sub / 4 * 64 + quarter % 2 * 32 + 16 * half);
    i16x16 high = i16x16_from_u8(block + 128 + sub / 4 * 32 + 16 * half) >> (int16_t)(2 * quarter);
    i16x16 q = ((quarter < 2 ? packed & 15 : packed >> 4) | (high & 3) << 4) - 32;
    return q * i16x16_set((int8_t)block[192 + 2 * sub + half]);
}

/* Scales and minimums of the 8 sub-blocks of a Q4_K or Q5_K block. */
INLINE f8 k_scales(const uint8_t *block, f8 *minimums)
{
    uint8_t s[8], m[8];
    k_sub_scales(block + 4, s, m);
    *minimums = f8_from_u8(m) * -half_to_float(block + 2);
    return f8_from_u8(s) * half_to_float(block);
}

INLINE f8 q6_k_scales(const uint8_t *block, f8 *minimums)
{
    *minimums = f8_set(0.0F);
    return f8_set(half_to_float(block + 208));
}

/* ---- unpacking for tiles, and products of one row ---- */

enum { OUT_STEP = GEMM_TILE_OUTPUTS * BLOCK_VALUES, SCALE_STEP = GEMM_TILE_OUTPUTS * LANES };

#define UNPACKER(format)                                                                                     \
    void KERNEL(unpack_##format)(                                                                            \
        const void *row, size_t first, size_t count, int16_t *out, float *scales, float *minimums);          \
    void KERNEL(unpack_##format)(                                                                            \
        const void *row, size_t first, size_t count, int16_t *out, float *scales, float *minimums)

/* The lanes' sums of one row of weights, as block_tile has them. */
#define DOT_ROW(format)                                                                                      \
    INLINE f8 dot_row_##format(const uint8_t *block, size_t count, const int16_t *x, const float *sums)

#define DOT(format)                                                                                          \
    void KERNEL(dot_##format)(                                                                               \
        const uint8_t *const rows[GEMM_TILE_OUTPUTS], size_t count, const struct block_tile *tile);          \
    void KERNEL(dot_##format)(                                                                               \
        const uint8_t *const rows[GEMM_TILE_OUTPUTS], size_t count, const struct block_tile *tile)           \
    {                                                                                                        \
        put_sums(tile->c, tile->accumulate, tile->x_scales[0],                                               \
            dot_row_##format(rows[0], count, tile->x, tile->sums),                                           \
            dot_row_##format(rows[1], count, tile->x, tile->sums),                                           \
            dot_row_##format(rows[2], count, tile->x, tile->sums),                                           \
            dot_row_##format(rows[3], count, tile->x, tile->sums));                                          \
    }

#define FORMAT_OF_32(format, bytes)                                                                          \
    UNPACKER(format)                                                                                         \
    {                                                                                                        \
        (void)minimums;                                                                                      \
        const uint8_t *block = (const uint8_t *)row + first / 32 * (bytes);                                  \
        for (; count > 0; count -= 32, block += (bytes), out += OUT_STEP, scales += SCALE_STEP) {            \
            f8_store(scales, scale_of(block));                                                               \
            i16x16_store(out, format##_values(block, 0));                                                    \
            i16x16_store(out + 16, format##_values(block, 1));                                               \
        }                                                                                                    \
    }                                                                                                        \
    DOT_ROW(format)                                                                                          \
    {                                                                                                        \
        (void)sums;                                                                                          \
        f8 sum = {0};                                                                                        \
        for (; count > 0; count -= 32, block += (bytes), x += 32) {                                          \
            i8x32 products = pair_products(i16x16_load(x), format##_values(block, 0)) +                      \
                             pair_products(i16x16_load(x + 16), format##_values(block, 1));                  \
            sum += f8_from_ints(products) * scale_of(block);                                                 \
        }                                                                                                    \
        return sum;                                                                                          \
    }                                                                                                        \
    DOT(format)

FORMAT_OF_32(q4_0, 18)
FORMAT_OF_32(q5_0, 22)
FORMAT_OF_32(q8_0, 34)

#define FORMAT_OF_256(format, bytes, scales_of, has_minimums)                                                \
    UNPACKER(format)                                                                                         \
    {                                                                                                        \
        const uint8_t *block = (const uint8_t *)row + first / 256 * (bytes);                                 \
        for (; count > 0; count -= 256, block += (bytes)) {                                                  \
            f8 low;                                                                                          \
            float each[8];                                                                                   \
            f8_store(each, scales_of(block, &low));                                                          \
            if (has_minimums)                                                                                \
                f8_store(minimums, low);                                                                     \
            minimums += (has_minimums) ? SCALE_STEP : 0;                                                     \
            _Pragma("GCC unroll 8") for (size_t sub = 0; sub < 8; sub++)                                     \
            {                                                                                                \
                f8_store(scales, f8_set(each[sub]));                                                         \
                i16x16_store(out, format##_values(block, sub, 0));                                           \
                i16x16_store(out + 16, format##_values(block, sub, 1));                                      \
                out += OUT_STEP;                                                                             \
                scales += SCALE_STEP;                                                                        \
            }                                                                                                \
        }                                                                                                    \
    }                                                                                                        \
    DOT_ROW(format)                                                                                          \
    {                                                                                                        \
        static_assert(GEMM_K_BLOCK == 512, "two blocks at most");                                            \
        f8 sum = {0}, low[2];                                                                                \
        size_t blocks = count / 256;                                                                         \
        for (size_t i = 0; i < blocks; i++, block += (bytes)) {                                              \
            float each[8];                                                                                   \
            f8_store(each, scales_of(block, &low[i]));                                                       \
            _Pragma("GCC unroll 8") for (size_t sub = 0; sub < 8; sub++, x += 32)                            \
            {                                                                                                \
                i8x32 products = pair_products(i16x16_load(x), format##_values(block, sub, 0)) +             \
                                 pair_products(i16x16_load(x + 16), format##_values(block, sub, 1));         \
                sum += f8_from_ints(products) * f8_set(each[sub]);                                           \
            }                                                                                                \
        }                                                                                                    \
        for (size_t i = 0; (has_minimums) && i < blocks; i++)                                                \
            sum += f8_load(sums + i * LANES) * low[i];                                                       \
        return sum;                                                                                          \
    }                                                                                                        \
    DOT(format)

FORMAT_OF_256(q4_k, 144, k_scales, true)
FORMAT_OF_256(q5_k, 176, k_scales, true)
FORMAT_OF_256(q6_k, 210, q6_k_scales, false)
