/* Matrix products: tiles of up to 3 rows of activations and 4 outputs, both operands walked along k.
 *
 * Weights are used as files have them, [outputs, k]: nothing is copied when a model is loaded, and a page of
 * the file is shared by all workers of a machine. Per step a tile loads 7 vectors for 12 multiply-adds, so
 * the arithmetic is the limit as long as the operands are near. */
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/vector.h"

void KERNEL(gemm_f32)(const struct gemm_tile *tile);
void KERNEL(gemm_short)(
    const float *a, size_t a_stride, size_t rows, const float *b, size_t k, float *c, size_t c_stride);

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
