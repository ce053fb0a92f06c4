/* Products with weights in GGUF blocks, in integers: see kernels_blocks.c. */
#ifndef LUMIGRID_WORKER_BACKEND_CPU_LINEAR_BLOCKS_H
#define LUMIGRID_WORKER_BACKEND_CPU_LINEAR_BLOCKS_H

#include "worker/backend/cpu/cpu.h"

/* Activations as 16-bit integers, a part of GEMM_K_BLOCK values of k after the other, in each all rows. */
struct block_activations {
    size_t rows, k;
    int16_t *x;
    float *scales, *sums;
};

/* Rounds the rows of `in`, whose width is a multiple of 32, into scratch. */
bool block_activations_make(struct cpu_backend *cpu, struct tensor in, struct block_activations *out);

struct block_product {
    const struct weight_part *part;
    size_t first, count; /* the part's rows: at most CHUNK_OUTPUTS */
    size_t first_row, rows;
    float *c; /* [rows][c_stride] */
    size_t c_stride;
    void *scratch; /* CHUNK_OUTPUTS * GEMM_K_BLOCK floats */
};
void block_product_run(
    const struct cpu_backend *cpu, const struct block_activations *x, const struct block_product *product);

#endif
