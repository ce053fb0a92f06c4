/* One instruction set's kernels as a table. */
#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/vector.h"

#define KERNEL_TEXT_(set) #set
#define KERNEL_TEXT(set) KERNEL_TEXT_(set)

void KERNEL(gemm_f32)(const struct gemm_tile *tile);
void KERNEL(gemm_short)(
    const float *a, size_t a_stride, size_t rows, const float *b, size_t k, float *c, size_t c_stride);
void KERNEL(int8_tile)(const struct int8_tile *tile);
float KERNEL(quantize_u8)(const float *x, size_t count, uint8_t *out);
void KERNEL(block_tile)(const struct block_tile *tile);
float KERNEL(quantize_block)(const float *x, size_t count, int16_t *out, float *sums);
void KERNEL(activate)(enum activation kind, float *x, size_t count);
void KERNEL(multiply)(float *x, const float *y, size_t count);
void KERNEL(add)(float *out, const float *x, const float *y, size_t count);
void KERNEL(scale)(float *x, size_t count, float scale, float soft_cap);
void KERNEL(norm)(enum norm_kind kind, const float *x, const float *weight, const float *bias, float epsilon,
    size_t count, float *out);
float KERNEL(maximum)(const float *x, size_t count);
float KERNEL(log_sum_exp)(const float *x, size_t count, float maximum);
void KERNEL(attend)(const struct attend_tile *tile);

#define DECODER(format)                                                                                      \
    void KERNEL(decode_##format)(const void *row, size_t first, size_t count, float *out, size_t step)
DECODER(f32);
DECODER(f16);
DECODER(bf16);
DECODER(i8);
DECODER(q4_0);
DECODER(q5_0);
DECODER(q8_0);
DECODER(q4_k);
DECODER(q5_k);
DECODER(q6_k);

#define DOT(format)                                                                                          \
    void KERNEL(dot_##format)(                                                                               \
        const uint8_t *const rows[GEMM_TILE_OUTPUTS], size_t count, const struct block_tile *tile)
DOT(q4_0);
DOT(q5_0);
DOT(q8_0);
DOT(q4_k);
DOT(q5_k);
DOT(q6_k);

#define UNPACKER(format)                                                                                     \
    void KERNEL(unpack_##format)(                                                                            \
        const void *row, size_t first, size_t count, int16_t *out, float *scales, float *minimums)
UNPACKER(q4_0);
UNPACKER(q5_0);
UNPACKER(q8_0);
UNPACKER(q4_k);
UNPACKER(q5_k);
UNPACKER(q6_k);

const struct kernels KERNEL(kernels) = {
    .name = KERNEL_TEXT(KERNEL_SET),
    .gemm_f32 = KERNEL(gemm_f32),
    .gemm_short = KERNEL(gemm_short),
    .int8_tile = KERNEL(int8_tile),
    .quantize_u8 = KERNEL(quantize_u8),
    .decode =
        {
            [DTYPE_F32] = KERNEL(decode_f32),
            [DTYPE_F16] = KERNEL(decode_f16),
            [DTYPE_BF16] = KERNEL(decode_bf16),
            [DTYPE_I8] = KERNEL(decode_i8),
            [DTYPE_Q4_0] = KERNEL(decode_q4_0),
            [DTYPE_Q5_0] = KERNEL(decode_q5_0),
            [DTYPE_Q8_0] = KERNEL(decode_q8_0),
            [DTYPE_Q4_K] = KERNEL(decode_q4_k),
            [DTYPE_Q5_K] = KERNEL(decode_q5_k),
            [DTYPE_Q6_K] = KERNEL(decode_q6_k),
        },
    .block_tile = KERNEL(block_tile),
    .quantize_block = KERNEL(quantize_block),
    .unpack =
        {
            [DTYPE_Q4_0] = KERNEL(unpack_q4_0),
            [DTYPE_Q5_0] = KERNEL(unpack_q5_0),
            [DTYPE_Q8_0] = KERNEL(unpack_q8_0),
            [DTYPE_Q4_K] = KERNEL(unpack_q4_k),
            [DTYPE_Q5_K] = KERNEL(unpack_q5_k),
            [DTYPE_Q6_K] = KERNEL(unpack_q6_k),
        },
    .dot =
        {
            [DTYPE_Q4_0] = KERNEL(dot_q4_0),
            [DTYPE_Q5_0] = KERNEL(dot_q5_0),
            [DTYPE_Q8_0] = KERNEL(dot_q8_0),
            [DTYPE_Q4_K] = KERNEL(dot_q4_k),
            [DTYPE_Q5_K] = KERNEL(dot_q5_k),
            [DTYPE_Q6_K] = KERNEL(dot_q6_k),
        },
    .activate = KERNEL(activate),
    .multiply = KERNEL(multiply),
    .add = KERNEL(add),
    .scale = KERNEL(scale),
    .norm = KERNEL(norm),
    .maximum = KERNEL(maximum),
    .log_sum_exp = KERNEL(log_sum_exp),
    .attend = KERNEL(attend),
};
