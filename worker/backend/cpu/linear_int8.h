/* Products with weights of 8-bit integers, one scale an output: see kernels_int8.c. */
#ifndef LUMIGRID_WORKER_BACKEND_CPU_LINEAR_INT8_H
#define LUMIGRID_WORKER_BACKEND_CPU_LINEAR_INT8_H

#include "worker/backend/cpu/cpu.h"

/* Largest k whose sums fit 32 bits: 255 * 63 * k. */
enum { INT8_K_MAX = 1 << 17 };

/* Activations as bytes with a scale every GEMM_K_BLOCK values: a part of k after the other, in each all rows,
 * filled up to INT8_STEP values. */
struct int8_activations {
    size_t rows, k;
    uint8_t *x;
    float *scales;
};
bool int8_activations_make(struct cpu_backend *cpu, struct tensor in, struct int8_activations *out);

/* The scratch holds rows * (CHUNK_OUTPUTS + GEMM_TILE_OUTPUTS) floats. */
void int8_product_run(
    const struct cpu_backend *cpu, const struct int8_activations *x, const struct part_product *product);

/* How a part of `rows` outputs is stored: four outputs a quad, INT8_STEP values of each in turn; after them a
 * scale an output, and for each part of k and output 128 times the sum of its weights. */
size_t int8_bytes(size_t rows, size_t k);
void int8_point_at(struct weight_part *part, size_t rows, size_t k, uint8_t *memory);
void int8_write_row(const struct weight_part *part, size_t row, size_t k, const float *values);
/* `out` has room for k rounded up to 8. */
void int8_read_row(
    const struct kernels *kernels, const struct weight_part *part, size_t row, size_t k, float *out);

#endif
