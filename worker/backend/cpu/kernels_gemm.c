/* Matrix products: tiles of up to 3 rows of activations and 4 outputs, both operands walked along k.
 *
 * Weights are used as files have them, [outputs, k]: nothing is copied when a model is loaded, and a page of
 * the file is shared by all workers of a machine. Per step a tile loads 7 vectors for 12 multiply-adds, so
 * the arithmetic is the limit as long as the operands are near. */
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/vector.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

void KERNEL(gemm_f32)(const struct gemm_tile *tile);
void KERNEL(gemm_i16)(const struct gemm_tile *tile);
void KERNEL(widen)(const int8_t *row, size_t count, int16_t *out, size_t step);
float KERNEL(quantize_row)(const float *x, size_t count, int levels, int16_t *out, size_t step);

INLINE void tile_f32(const struct gemm_tile *tile, size_t rows, size_t b_step, size_t prefetching)
{
    const float *a = tile->a;
    const float *b0 = tile->b[0], *b1 = tile->b[1], *b2 = tile->b[2], *b3 = tile->b[3];
    const char *next = tile->prefetch;
    f8 sums[GEMM_TILE_ROWS][GEMM_TILE_OUTPUTS];
    for (size_t m = 0; m < rows; m++)
        for (size_t n = 0; n < GEMM_TILE_OUTPUTS; n++)
            sums[m][n] = f8_set(0.0F);
    for (size_t step = tile->steps; step > 0; step--) {
        const float *w[4] = {b0, b1, b2, b3};
        f8 x[GEMM_TILE_ROWS];
#pragma GCC unroll 3
        for (size_t m = 0; m < rows; m++)
            x[m] = f8_load(a + m * LANES);
#pragma GCC unroll 4
        for (size_t n = 0; n < GEMM_TILE_OUTPUTS; n++) {
            f8 value = f8_load(w[n]);
#pragma GCC unroll 3
            for (size_t m = 0; m < rows; m++)
                sums[m][n] += x[m] * value;
        }
        a += rows * LANES;
        b0 += b_step;
        b1 += b_step;
        b2 += b_step;
        b3 += b_step;
        if (prefetching) {
            __builtin_prefetch(next, 0, 2);
            next += tile->prefetch_step;
        }
    }
    float *c = tile->c;
    for (size_t m = 0; m < rows; m++, c += tile->c_stride) {
        f4 total = f8_sum4(sums[m][0], sums[m][1], sums[m][2], sums[m][3]);
        if (tile->accumulate)
            total += *(f4_any *)c;
        *(f4_any *)c = total;
    }
}

INLINE void tile_f32_rows(const struct gemm_tile *tile, size_t b_step, size_t prefetching)
{
    if (tile->rows == 3)
        tile_f32(tile, 3, b_step, prefetching);
    else if (tile->rows == 2)
        tile_f32(tile, 2, b_step, prefetching);
    else
        tile_f32(tile, 1, b_step, prefetching);
}

/* c always has room for four outputs a row. */
void KERNEL(gemm_f32)(const struct gemm_tile *tile)
{
    if (tile->b_step != LANES)
        tile_f32_rows(tile, GEMM_TILE_OUTPUTS * LANES, 0);
    else if (tile->prefetch)
        tile_f32_rows(tile, LANES, 1);
    else
        tile_f32_rows(tile, LANES, 0);
}

#ifdef __AVX2__
/* In assembly, because the compiler keeps half of the 12 sums on the stack otherwise. */
INLINE __m256i multiply_add_pairs(__m256i sum, __m256i w, const int16_t *x)
{
    __m256i product;
    __asm__("vpmaddwd %[x], %[w], %[product]\n\tvpaddd %[product], %[sum], %[sum]"
            : [sum] "+x"(sum), [product] "=&x"(product)
            : [w] "x"(w), [x] "m"(*(const __m256i_u *)x));
    return sum;
}

INLINE void put_i16(int32_t *c, bool accumulate, __m256i s0, __m256i s1, __m256i s2, __m256i s3)
{
    __m256i halves = _mm256_hadd_epi32(_mm256_hadd_epi32(s0, s1), _mm256_hadd_epi32(s2, s3));
    __m128i total = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
    if (accumulate)
        total = _mm_add_epi32(total, _mm_loadu_si128((const __m128i *)c));
    _mm_storeu_si128((__m128i *)c, total);
}

/* Sums are single variables: an array of them would be kept in memory. */
#define ROW_SUMS(m) __m256i s##m##0 = zero, s##m##1 = zero, s##m##2 = zero, s##m##3 = zero
#define ROW_ADD(m, n) s##m##n = multiply_add_pairs(s##m##n, w, a + (m)*INT_LANES)
#define OUTPUT_ADD(n)                                                                                        \
    do {                                                                                                     \
        __m256i w = _mm256_loadu_si256((const __m256i *)(b + (n)*INT_LANES));                                \
        ROW_ADD(0, n);                                                                                       \
        if (rows > 1)                                                                                        \
            ROW_ADD(1, n);                                                                                   \
        if (rows > 2)                                                                                        \
            ROW_ADD(2, n);                                                                                   \
    } while (0)

INLINE void tile_i16(const struct gemm_tile *tile, size_t rows)
{
    const int16_t *a = tile->a, *b = tile->b[0];
    const __m256i zero = _mm256_setzero_si256();
    ROW_SUMS(0);
    ROW_SUMS(1);
    ROW_SUMS(2);
    for (size_t step = tile->steps; step > 0; step--) {
        OUTPUT_ADD(0);
        OUTPUT_ADD(1);
        OUTPUT_ADD(2);
        OUTPUT_ADD(3);
        a += rows * INT_LANES;
        b += GEMM_TILE_OUTPUTS * INT_LANES;
    }
    int32_t *c = (int32_t *)tile->c;
    put_i16(c, tile->accumulate, s00, s01, s02, s03);
    if (rows > 1)
        put_i16(c + tile->c_stride, tile->accumulate, s10, s11, s12, s13);
    if (rows > 2)
        put_i16(c + 2 * tile->c_stride, tile->accumulate, s20, s21, s22, s23);
}
#else
INLINE void tile_i16(const struct gemm_tile *tile, size_t rows)
{
    int32_t *c = (int32_t *)tile->c;
    for (size_t m = 0; m < rows; m++)
        for (size_t n = 0; n < GEMM_TILE_OUTPUTS; n++) {
            const int16_t *a = (const int16_t *)tile->a + m * INT_LANES;
            const int16_t *b = (const int16_t *)tile->b[0] + n * INT_LANES;
            int32_t sum = tile->accumulate ? c[m * tile->c_stride + n] : 0;
            for (size_t step = 0; step < tile->steps; step++) {
                for (size_t i = 0; i < INT_LANES; i++)
                    sum += a[i] * b[i];
                a += rows * INT_LANES;
                b += GEMM_TILE_OUTPUTS * INT_LANES;
            }
            c[m * tile->c_stride + n] = sum;
        }
}
#endif

/* b is packed always. */
void KERNEL(gemm_i16)(const struct gemm_tile *tile)
{
    if (tile->rows == 3)
        tile_i16(tile, 3);
    else if (tile->rows == 2)
        tile_i16(tile, 2);
    else
        tile_i16(tile, 1);
}

void KERNEL(widen)(const int8_t *row, size_t count, int16_t *out, size_t step)
{
    for (; count >= INT_LANES; count -= INT_LANES, row += INT_LANES, out += step)
        for (size_t i = 0; i < INT_LANES; i++)
            out[i] = row[i];
    if (count > 0)
        for (size_t i = 0; i < INT_LANES; i++)
            out[i] = i < count ? row[i] : 0;
}

float KERNEL(quantize_row)(const float *x, size_t count, int levels, int16_t *out, size_t step)
{
    f8 largest = f8_set(0.0F);
    size_t whole = count & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        f8 v = f8_load(x + i);
        largest = f8_max(f8_max(v, -v), largest);
    }
    if (whole < count) {
        f8 v = f8_load_part(x + whole, count - whole, 0.0F);
        largest = f8_max(f8_max(v, -v), largest);
    }
    float top = f8_max_lane(largest);
    float inverse = top > 0.0F ? (float)levels / top : 0.0F;
    for (size_t i = 0; i < count; i += 16, out += step)
        for (size_t j = 0; j < 16; j++) {
            float v = i + j < count ? x[i + j] * inverse : 0.0F;
            v = v >= 0.0F ? v + 0.5F : v - 0.5F;
            out[j] = (int16_t)(v > (float)levels ? (float)levels : v >= (float)-levels ? v : (float)-levels);
        }
    return top / (float)levels;
}
