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

/* The scratch holds CHUNK_OUTPUTS * GEMM_K_BLOCK floats. */
void block_product_run(
    const struct cpu_backend *cpu, const struct block_activations *x, const struct part_product *product);

#endif
