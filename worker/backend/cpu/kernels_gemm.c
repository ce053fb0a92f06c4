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
void KERNEL(gemm_short)(
    const float *a, size_t a_stride, size_t rows, const float *b, size_t k, float *c, size_t c_stride);
void KERNEL(gemm_i16)(const struct gemm_tile *tile);
void KERNEL(widen)(const int8_t *row, size_t count, int16_t *out, size_t step);
float KERNEL(quantize_row)(const float *x, size_t count, int levels, int16_t *out, size_t step);

/* Sums are single variables: the compiler would keep an array of them in memory. */
#define ROW_SUMS(m, zero) s##m##0 = (zero), s##m##1 = (zero), s##m##2 = (zero), s##m##3 = (zero)

#define OUTPUT_ADD(n)                                                                                        \
    do {                                                                                                     \
        f8 w = f8_load(b##n);                                                                                \
        s0##n += x0 * w;                                                                                     \
        if (rows > 1)                                                                                        \
            s1##n += x1 * w;                                                                                 \
        if (rows > 2)                                                                                        \
            s2##n += x2 * w;                                                                                 \
        b##n += b_step;                                                                                      \
    } while (0)

INLINE void put_f32(float *c, bool accumulate, f8 s0, f8 s1, f8 s2, f8 s3)
{
    f4 total = f8_sum4(s0, s1, s2, s3);
    if (accumulate)
        total += *(f4_any *)c;
    *(f4_any *)c = total;
}

INLINE void panel_f32(const struct gemm_tile *tile, const float *a, float *c, const char *next, size_t rows,
    size_t b_step, size_t prefetching)
{
    const float *b0 = tile->b[0], *b1 = tile->b[1], *b2 = tile->b[2], *b3 = tile->b[3];
    const f8 zero = f8_set(0.0F);
    f8 ROW_SUMS(0, zero), ROW_SUMS(1, zero), ROW_SUMS(2, zero);
    for (size_t step = tile->steps; step > 0; step--) {
        f8 x0 = f8_load(a), x1 = rows > 1 ? f8_load(a + LANES) : zero,
           x2 = rows > 2 ? f8_load(a + 2 * LANES) : zero;
        OUTPUT_ADD(0);
        OUTPUT_ADD(1);
        OUTPUT_ADD(2);
        OUTPUT_ADD(3);
        a += rows * LANES;
        if (prefetching) {
            __builtin_prefetch(next, 0, 2);
            next += tile->prefetch_step;
        }
    }
    put_f32(c, tile->accumulate, s00, s01, s02, s03);
    if (rows > 1)
        put_f32(c + tile->c_stride, tile->accumulate, s10, s11, s12, s13);
    if (rows > 2)
        put_f32(c + 2 * tile->c_stride, tile->accumulate, s20, s21, s22, s23);
}

INLINE void panels_f32(const struct gemm_tile *tile, size_t b_step, size_t prefetching)
{
    const float *a = tile->a;
    float *c = tile->c;
    const char *next = tile->prefetch;
    size_t whole = tile->last_rows == GEMM_TILE_ROWS ? tile->panels : tile->panels - 1;
    for (size_t panel = 0; panel < whole; panel++) {
        panel_f32(tile, a, c, next, 3, b_step, prefetching);
        a += tile->a_stride;
        c += GEMM_TILE_ROWS * tile->c_stride;
        if (prefetching)
            next += tile->steps * tile->prefetch_step;
    }
    a -= whole < tile->panels ? tile->last_back : 0;
    if (tile->last_rows == 2)
        panel_f32(tile, a, c, next, 2, b_step, prefetching);
    else if (tile->last_rows == 1)
        panel_f32(tile, a, c, next, 1, b_step, prefetching);
}

/* c always has room for four outputs a row. */
void KERNEL(gemm_f32)(const struct gemm_tile *tile)
{
    if (tile->b_step != LANES)
        panels_f32(tile, (size_t)GEMM_TILE_OUTPUTS * LANES, 0);
    else if (tile->prefetch)
        panels_f32(tile, LANES, 1);
    else
        panels_f32(tile, LANES, 0);
}
#undef OUTPUT_ADD

/* A row of activations times GEMM_SHORT_OUTPUTS columns. */
INLINE void short_rows(
    const float *a, size_t a_stride, const float *b, size_t k, float *c, size_t c_stride, size_t rows)
{
    enum { VECTORS = GEMM_SHORT_OUTPUTS / LANES };
    f8 sums[2][VECTORS];
    for (size_t m = 0; m < rows; m++)
        for (size_t v = 0; v < VECTORS; v++)
            sums[m][v] = f8_set(0.0F);
    for (size_t i = 0; i < k; i++, b += GEMM_SHORT_OUTPUTS)
#pragma GCC unroll 6
        for (size_t v = 0; v < VECTORS; v++) {
            f8 w = f8_load(b + v * LANES);
            for (size_t m = 0; m < rows; m++)
                sums[m][v] += f8_set(a[m * a_stride + i]) * w;
        }
    for (size_t m = 0; m < rows; m++)
        for (size_t v = 0; v < VECTORS; v++)
            f8_store(c + m * c_stride + v * LANES, sums[m][v]);
}

void KERNEL(gemm_short)(
    const float *a, size_t a_stride, size_t rows, const float *b, size_t k, float *c, size_t c_stride)
{
    for (; rows >= 2; rows -= 2, a += 2 * a_stride, c += 2 * c_stride)
        short_rows(a, a_stride, b, k, c, c_stride, 2);
    if (rows > 0)
        short_rows(a, a_stride, b, k, c, c_stride, 1);
}

#ifdef __AVX2__
/* In assembly, because the compiler keeps half of the 12 sums on the stack otherwise. */
INLINE __m256i multiply_add_pairs(__m256i sum, __m256i w, __m256i x)
{
    __m256i product;
    __asm__("vpmaddwd %[x], %[w], %[product]\n\tvpaddd %[product], %[sum], %[sum]"
            : [sum] "+x"(sum), [product] "=&x"(product)
            : [w] "x"(w), [x] "x"(x));
    return sum;
}

/* The same with x in memory: there is no register left for a third row. */
INLINE __m256i multiply_add_loaded(__m256i sum, __m256i w, const int16_t *x)
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

#define OUTPUT_ADD(n)                                                                                        \
    do {                                                                                                     \
        __m256i w = _mm256_loadu_si256((const __m256i *)(b + (n)*INT_LANES));                                \
        s0##n = multiply_add_pairs(s0##n, w, x0);                                                            \
        if (rows > 1)                                                                                        \
            s1##n = multiply_add_pairs(s1##n, w, x1);                                                        \
        if (rows > 2)                                                                                        \
            s2##n = multiply_add_loaded(s2##n, w, a + 2 * INT_LANES);                                        \
    } while (0)

INLINE void panel_i16(const struct gemm_tile *tile, const int16_t *a, int32_t *c, size_t rows)
{
    const int16_t *b = tile->b[0];
    const __m256i zero = _mm256_setzero_si256();
    __m256i ROW_SUMS(0, zero), ROW_SUMS(1, zero), ROW_SUMS(2, zero);
    for (size_t step = tile->steps; step > 0; step--) {
        __m256i x0 = _mm256_loadu_si256((const __m256i *)a);
        __m256i x1 = rows > 1 ? _mm256_loadu_si256((const __m256i *)(a + INT_LANES)) : zero;
        OUTPUT_ADD(0);
        OUTPUT_ADD(1);
        OUTPUT_ADD(2);
        OUTPUT_ADD(3);
        a += rows * INT_LANES;
        b += GEMM_TILE_OUTPUTS * INT_LANES;
    }
    put_i16(c, tile->accumulate, s00, s01, s02, s03);
    if (rows > 1)
        put_i16(c + tile->c_stride, tile->accumulate, s10, s11, s12, s13);
    if (rows > 2)
        put_i16(c + 2 * tile->c_stride, tile->accumulate, s20, s21, s22, s23);
}
#else
INLINE void panel_i16(const struct gemm_tile *tile, const int16_t *panel, int32_t *c, size_t rows)
{
    for (size_t m = 0; m < rows; m++)
        for (size_t n = 0; n < GEMM_TILE_OUTPUTS; n++) {
            const int16_t *a = panel + m * INT_LANES;
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
    const int16_t *a = tile->a;
    int32_t *c = (int32_t *)tile->c;
    size_t whole = tile->last_rows == GEMM_TILE_ROWS ? tile->panels : tile->panels - 1;
    for (size_t panel = 0; panel < whole; panel++) {
        panel_i16(tile, a, c, 3);
        a += tile->a_stride;
        c += GEMM_TILE_ROWS * tile->c_stride;
    }
    a -= whole < tile->panels ? tile->last_back : 0;
    if (tile->last_rows == 2)
        panel_i16(tile, a, c, 2);
    else if (tile->last_rows == 1)
        panel_i16(tile, a, c, 1);
}

void KERNEL(widen)(const int8_t *row, size_t count, int16_t *out, size_t step)
{
    for (; count >= INT_LANES; count -= INT_LANES, row += INT_LANES, out += step)
        for (size_t i = 0; i < INT_LANES; i++)
            out[i] = row[i]; /* NOLINT(bugprone-signed-char-misuse): numbers, not characters */
    for (size_t i = 0; count > 0 && i < INT_LANES; i++)
        out[i] = 0;
    for (size_t i = 0; i < count; i++)
        out[i] = row[i]; /* NOLINT(bugprone-signed-char-misuse) */
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
