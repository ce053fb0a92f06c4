/* Products of 8-bit integers: activations are 0..255 (128 means 0), weights -63..63.
 *
 * `vpmaddubsw` adds two products in 16 bits, which saturate; 2 * 255 * 63 fits. So sums are exact whatever
 * their order, on any machine. 128 times the sum of the weights is taken off at the end. */
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/vector.h"

void KERNEL(int8_tile)(const struct int8_tile *tile);
float KERNEL(quantize_u8)(const float *x, size_t count, uint8_t *out);

#ifdef __AVX2__
/* In assembly, so that no sum leaves its register. */
INLINE __m256i add_products(__m256i sum, __m256i x, __m256i w, __m256i ones)
{
    __m256i pairs;
    __asm__("vpmaddubsw %[w], %[x], %[pairs]\n\tvpmaddwd %[ones], %[pairs], %[pairs]\n\tvpaddd %[pairs], "
            "%[sum], %[sum]"
            : [sum] "+x"(sum), [pairs] "=&x"(pairs)
            : [w] "x"(w), [x] "x"(x), [ones] "x"(ones));
    return sum;
}

INLINE i32x4 join(__m256i s0, __m256i s1, __m256i s2, __m256i s3)
{
    __m256i halves = _mm256_hadd_epi32(_mm256_hadd_epi32(s0, s1), _mm256_hadd_epi32(s2, s3));
    return (i32x4)_mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
}

#define OUTPUT_ADD(n)                                                                                        \
    do {                                                                                                     \
        __m256i v = _mm256_loadu_si256((const __m256i *)(w + (n)*INT8_STEP));                                \
        s0##n = add_products(s0##n, a0, v, ones);                                                            \
        if (rows > 1)                                                                                        \
            s1##n = add_products(s1##n, a1, v, ones);                                                        \
    } while (0)

INLINE void sum_rows(const struct int8_tile *t, const uint8_t *x, size_t rows, i32x4 out[2])
{
    const int8_t *w = t->weights;
    const uint8_t *x1 = x + (rows > 1 ? t->x_stride : 0);
    const __m256i zero = _mm256_setzero_si256(), ones = _mm256_set1_epi16(1);
    __m256i s00 = zero, s01 = zero, s02 = zero, s03 = zero, s10 = zero, s11 = zero, s12 = zero, s13 = zero;
    for (size_t step = 0; step < t->steps; step++) {
        __m256i a0 = _mm256_loadu_si256((const __m256i *)x), a1 = _mm256_loadu_si256((const __m256i *)x1);
        OUTPUT_ADD(0);
        OUTPUT_ADD(1);
        OUTPUT_ADD(2);
        OUTPUT_ADD(3);
        x += INT8_STEP;
        x1 += INT8_STEP;
        w += GEMM_TILE_OUTPUTS * INT8_STEP;
    }
    out[0] = join(s00, s01, s02, s03);
    if (rows > 1)
        out[1] = join(s10, s11, s12, s13);
}
#else
INLINE void sum_rows(const struct int8_tile *t, const uint8_t *x, size_t rows, i32x4 out[2])
{
    for (size_t m = 0; m < rows; m++, x += t->x_stride) {
        const int8_t *w = t->weights;
        int32_t sums[GEMM_TILE_OUTPUTS] = {0};
        for (size_t step = 0; step < t->steps; step++)
            for (size_t n = 0; n < GEMM_TILE_OUTPUTS; n++, w += INT8_STEP)
                for (size_t i = 0; i < INT8_STEP; i++)
                    sums[n] += x[step * INT8_STEP + i] * w[i];
        memcpy(&out[m], sums, sizeof sums);
    }
}
#endif

/* c begins as zeros, so that every part of k is added by the same instruction. */
void KERNEL(int8_tile)(const struct int8_tile *t)
{
    const uint8_t *x = t->x;
    float *c = t->c;
    i32x4 corrections = *(const i32x4_any *)t->corrections;
    for (size_t row = 0; row < t->rows; row += 2, x += 2 * t->x_stride) {
        size_t rows = t->rows - row > 1 ? 2 : 1;
        i32x4 sums[2];
        if (rows > 1)
            sum_rows(t, x, 2, sums);
        else
            sum_rows(t, x, 1, sums);
        for (size_t m = 0; m < rows; m++, c += t->c_stride)
            *(f4_any *)c += __builtin_convertvector(sums[m] - corrections, f4) * t->x_scales[row + m];
    }
}

/* NaN and infinity make the scale NaN, and so every product with it. */
float KERNEL(quantize_u8)(const float *x, size_t count, uint8_t *out)
{
    enum { LEVELS = 127, ZERO = 128 };
    const float round = 12582912.0F; /* 1.5 * 2^23: adding it leaves the rounded integer in the low bits */
    float top = 0.0F, broken = 0.0F;
    size_t whole = count & ~(size_t)(LANES - 1);
    f8 largest = {0}, not_finite = {0};
    for (size_t i = 0; i < whole; i += LANES) {
        f8 v = f8_load(x + i);
        largest = f8_max(f8_max(v, -v), largest);
        not_finite += v * 0.0F;
    }
    if (whole < count) {
        f8 v = f8_load_part(x + whole, count - whole, 0.0F);
        largest = f8_max(f8_max(v, -v), largest);
        not_finite += v * 0.0F;
    }
    top = f8_max_lane(largest);
    broken = f8_sum(not_finite);
    float inverse = top > 0.0F ? (float)LEVELS / top : 0.0F;
    for (size_t i = 0; i < whole; i += LANES) {
        i8x32 q = (i8x32)(f8_load(x + i) * inverse + round) - (0x4B400000 - ZERO);
        *(u8x8_any *)(out + i) = __builtin_convertvector(q, u8x8);
    }
    for (size_t i = whole; i < (count + INT8_STEP - 1) / INT8_STEP * INT8_STEP; i++) {
        f8 v = f8_set(i < count ? x[i] : 0.0F) * inverse + round;
        out[i] = (uint8_t)(((i8x32)v)[0] - (0x4B400000 - ZERO));
    }
    return top / (float)LEVELS + broken;
}
