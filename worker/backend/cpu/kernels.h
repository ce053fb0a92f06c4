/* The inner loops, compiled once an instruction set.
 *
 * The kernel sources are written with the compiler's vector types, eight floats wide, and built several times
 * with different flags; `struct kernels` is one such build. A sum over k always runs in the same order: eight
 * lanes, lane l taking k = l, l + 8, …, over blocks of GEMM_K_BLOCK, lanes joined by a fixed tree and blocks
 * in order; a sum of GEMM_SHORT_K terms or fewer runs in plain order. So a result does not depend on the tile
 * it was computed in, nor on the width of the machine's registers. */
#ifndef LUMIGRID_WORKER_BACKEND_CPU_KERNELS_H
#define LUMIGRID_WORKER_BACKEND_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/backend/backend.h"

enum {
    LANES = 8,
    INT8_STEP = 32,     /* int8 weights and activations in a vector */
    GEMM_TILE_ROWS = 3, /* activations' rows in a tile: 3 x 4 accumulators fill 16 registers */
    GEMM_TILE_OUTPUTS = 4,
    GEMM_K_BLOCK = 512, /* a multiple of every block format's length; 12 rows of it and 4 weights fit L1 */
    GEMM_SHORT_K = 128, /* sums up to here are too short to be worth joining lanes */
    GEMM_SHORT_OUTPUTS = 48,
    BLOCK_VALUES = 32,         /* weights of a GGUF format that share a scale, or two scales of 16 */
    ATTENTION_TILE_ROWS = 6,   /* queries in a tile */
    ATTENTION_BLOCK_PAGES = 4, /* pages between two corrections of the running maximum */
};

/* Four outputs of some panels of activations: c[m][n] = sum over k of a[m][k] b[n][k]. */
struct gemm_tile {
    const void *a;            /* panels of GEMM_TILE_ROWS rows; for each step a vector a row */
    size_t a_stride;          /* elements from a panel to the next */
    size_t panels, last_rows; /* the last panel's rows may be fewer */
    size_t last_back;         /* elements it then begins earlier, as its steps before these were shorter */
    const void *b[GEMM_TILE_OUTPUTS]; /* weight rows, vectors of the same length */
    size_t b_step; /* elements of b from one step to the next: a vector, or four when packed */
    size_t steps;
    float *c;
    size_t c_stride;
    bool accumulate;      /* add to c instead of writing it */
    const char *prefetch; /* memory wanted next; NULL: none. Only for weights that are not packed */
    size_t prefetch_step; /* bytes a step */
};

/* Rows of activations times four rows of unpacked GGUF blocks, over at most GEMM_K_BLOCK of k. */
struct block_tile {
    size_t rows, blocks;   /* of 32 values */
    const int16_t *x;      /* [rows][x_stride], from this part of k on */
    const float *x_scales; /* [rows][x_scale_stride]: of this part of k */
    const float *sums;     /* [rows][sum_stride]: of each 32 of x */
    size_t x_stride, x_scale_stride, sum_stride;
    const int16_t *weights; /* [blocks][4][32] */
    const float *scales;    /* [blocks][4][LANES], a lane like the other */
    const float *minimums;  /* [blocks / 8][4][LANES]: a lane is a block; NULL: none */
    float *c;               /* room for four outputs a row */
    size_t c_stride;
    bool accumulate;
};

/* Rows of activations in bytes times four rows of int8 weights, over at most GEMM_K_BLOCK of k; added to c.
 */
struct int8_tile {
    size_t rows, steps; /* of INT8_STEP values */
    const uint8_t *x;   /* [rows][x_stride], from this part of k on */
    size_t x_stride;
    const float *x_scales;      /* [rows]: of this part of k */
    const int8_t *weights;      /* [steps][4][INT8_STEP] */
    const int32_t *corrections; /* [4]: 128 times the sum of each output's weights */
    float *c;                   /* room for four outputs a row */
    size_t c_stride;
};

/* Queries of one key head against its keys, a page after the other. */
struct attend_tile {
    size_t rows; /* 1..ATTENTION_TILE_ROWS */
    const float *q[ATTENTION_TILE_ROWS];
    float *out[ATTENTION_TILE_ROWS];
    int32_t position[ATTENTION_TILE_ROWS];
    /* Added to the scaled score of key j: bias[row][j], readable to the end of the last block; NULL: none. */
    const float *bias[ATTENTION_TILE_ROWS];
    const float *pages; /* page p of this head begins at pages + p * page_stride */
    size_t page_stride;
    const int32_t *page_ids; /* NULL: 0, 1, 2… */
    size_t keys;
    size_t head_dim, value_dim, value_stride; /* a page holds keys [head_dim][16], then values [16][stride] */
    float scale, soft_cap;
    int32_t window_left, window_right;
    size_t global_keys;
    float *accumulator; /* scratch, [ATTENTION_TILE_ROWS][value_stride] */
};

struct kernels {
    const char *name;
    void (*gemm_f32)(const struct gemm_tile *tile);
    /* c[m][n] = sum over i < k of a[m][i] b[i][n], one multiply-add after the other, for GEMM_SHORT_OUTPUTS
     * columns that b holds row by row. */
    void (*gemm_short)(
        const float *a, size_t a_stride, size_t rows, const float *b, size_t k, float *c, size_t c_stride);
    void (*int8_tile)(const struct int8_tile *tile);
    /* At most GEMM_K_BLOCK values as 1..255, 128 for 0, filled up to a multiple of INT8_STEP with 128.
     * Returns the scale: NaN when a value is not finite. */
    float (*quantize_u8)(const float *x, size_t count, uint8_t *out);
    /* Values [first, first + count) of a weight row as floats: vector i goes to out + i * step; the last one
     * is filled up with zeros. `first` is a multiple of GEMM_K_BLOCK. Indexed by enum dtype; NULL: no such.
     */
    void (*decode[DTYPE_Q6_K + 1])(const void *row, size_t first, size_t count, float *out, size_t step);
    void (*block_tile)(const struct block_tile *tile);
    /* At most GEMM_K_BLOCK values, a multiple of 32, as 16-bit integers; the integers' sums, every 32.
     * Returns the scale: NaN when a value is not finite. */
    float (*quantize_block)(const float *x, size_t count, int16_t *out, float *sums);
    /* Values [first, first + count) of a GGUF weight row as one of the four of block_tile's weights, scales
     * and minimums; the minimums are left alone where the format has none. NULL: no block format. */
    void (*unpack[DTYPE_Q6_K + 1])(
        const void *row, size_t first, size_t count, int16_t *out, float *scales, float *minimums);
    /* The same as block_tile for one row of activations, the four rows of weights unpacked in registers. They
     * begin at the part of k that the tile's x, x_scales and sums are of. */
    void (*dot[DTYPE_Q6_K + 1])(
        const uint8_t *const rows[GEMM_TILE_OUTPUTS], size_t count, const struct block_tile *tile);
    void (*activate)(enum activation kind, float *x, size_t count);
    void (*multiply)(float *x, const float *y, size_t count);
    void (*add)(float *out, const float *x, const float *y, size_t count);
    void (*scale)(float *x, size_t count, float scale, float soft_cap);
    /* One group of a norm; weight and bias may be NULL. */
    void (*norm)(enum norm_kind kind, const float *x, const float *weight, const float *bias, float epsilon,
        size_t count, float *out);
    float (*maximum)(const float *x, size_t count); /* NaN counts as minus infinity */
    float (*log_sum_exp)(const float *x, size_t count, float maximum);
    void (*attend)(const struct attend_tile *tile);
};

extern const struct kernels kernels_generic;
#ifdef __x86_64__
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
#endif

/* The best build this machine can run; LUMIGRID_CPU_KERNELS names another (generic, avx2, avx512), which is
 * taken when the machine can run it. On 64-bit ARM the generic build is NEON: every such processor has it. */
const struct kernels *kernels_pick(void);

#endif
