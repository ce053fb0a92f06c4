#include "worker/backend/cpu/linear_int8.h"

#include <string.h>

enum {
    FEW_ROWS = 48,   /* up to so many, all rows pass each four outputs, whose memory is the limit */
    GROUP_ROWS = 24, /* of activations that stay in L1 while a chunk of weights passes from L2 */
    LEVELS = 63,     /* of weights */
    ZERO = 128,      /* what zero is as an activation */
};

static size_t smaller(size_t x, size_t y)
{
    return x < y ? x : y;
}

static size_t k_parts(size_t k)
{
    return (k + GEMM_K_BLOCK - 1) / GEMM_K_BLOCK;
}

static size_t outputs_in_quads(size_t rows)
{
    return round_up(rows, GEMM_TILE_OUTPUTS);
}

/* ---- weights ---- */

size_t int8_bytes(size_t rows, size_t k)
{
    size_t outputs = outputs_in_quads(rows);
    return outputs * (round_up(k, INT8_STEP) + sizeof(float) + k_parts(k) * sizeof(int32_t));
}

void int8_point_at(struct weight_part *part, size_t rows, size_t k, uint8_t *memory)
{
    size_t outputs = outputs_in_quads(rows);
    part->row_bytes = round_up(k, INT8_STEP);
    part->data = memory;
    part->scales = (float *)(void *)(memory + outputs * part->row_bytes);
    part->corrections = (int32_t *)(void *)(part->scales + outputs);
    memset(memory, 0, int8_bytes(rows, k)); /* outputs that are not there, and values beyond k */
}

static int8_t *step_of(const struct weight_part *part, size_t row, size_t k)
{
    return (int8_t *)part->data + row / GEMM_TILE_OUTPUTS * GEMM_TILE_OUTPUTS * part->row_bytes +
           k * GEMM_TILE_OUTPUTS + row % GEMM_TILE_OUTPUTS * INT8_STEP;
}

/* The largest value becomes LEVELS. */
void int8_write_row(const struct weight_part *part, size_t row, size_t k, const float *values)
{
    float largest = 0.0F;
    for (size_t i = 0; i < k; i++) {
        float size = values[i] < 0.0F ? -values[i] : values[i];
        largest = size > largest ? size : largest;
    }
    float inverse = largest > 0.0F ? (float)LEVELS / largest : 0.0F;
    part->scales[row] = largest / (float)LEVELS;
    for (size_t i = 0; i < k; i++) {
        float v = values[i] * inverse;
        int rounded = (int)(v >= 0.0F ? v + 0.5F : v <= 0.0F ? v - 0.5F : 0.0F);
        step_of(part, row, i / INT8_STEP * INT8_STEP)[i % INT8_STEP] = (int8_t)rounded;
        part->corrections[row * k_parts(k) + i / GEMM_K_BLOCK] += ZERO * rounded;
    }
}

void int8_read_row(
    const struct kernels *kernels, const struct weight_part *part, size_t row, size_t k, float *out)
{
    for (size_t i = 0; i < k; i += INT8_STEP)
        kernels->decode[DTYPE_I8](step_of(part, row, i), 0, smaller(INT8_STEP, k - i), out + i, LANES);
    kernels->scale(out, k, part->scales[row], 0.0F);
}

/* ---- activations ---- */

struct rounding {
    const struct kernels *kernels;
    struct tensor in;
    const struct int8_activations *out;
};

static void round_row(void *context, size_t row, size_t thread)
{
    (void)thread;
    const struct rounding *r = context;
    const struct int8_activations *out = r->out;
    const float *in = tensor_row(r->in, row);
    for (size_t k = 0; k < out->k; k += GEMM_K_BLOCK) {
        size_t length = smaller(GEMM_K_BLOCK, out->k - k);
        out->scales[k / GEMM_K_BLOCK * out->rows + row] = r->kernels->quantize_u8(
            in + k, length, out->x + k * out->rows + row * round_up(length, INT8_STEP));
    }
}

bool int8_activations_make(struct cpu_backend *cpu, struct tensor in, struct int8_activations *out)
{
    out->rows = in.rows;
    out->k = in.width;
    out->x = arena_alloc(cpu, in.rows * round_up(in.width, INT8_STEP), 1);
    out->scales = arena_alloc(cpu, in.rows * k_parts(in.width), sizeof *out->scales);
    struct rounding rounding = {.kernels = cpu->kernels, .in = in, .out = out};
    cpu_run(cpu, in.rows, (double)in.rows * (double)in.width, round_row, &rounding);
    return !cpu->failed;
}

/* ---- products ---- */

/* Rows [row, row + rows) of the activations and the four outputs from `output` on, over one part of k. */
static void run_tile(const struct cpu_backend *cpu, const struct int8_activations *x,
    const struct part_product *p, size_t output, size_t row, size_t rows, size_t k)
{
    size_t length = round_up(smaller(GEMM_K_BLOCK, x->k - k), INT8_STEP), at = p->first_row + row;
    size_t part = k / GEMM_K_BLOCK, parts = k_parts(x->k);
    int32_t corrections[GEMM_TILE_OUTPUTS];
    for (size_t n = 0; n < GEMM_TILE_OUTPUTS; n++)
        corrections[n] = p->part->corrections[(p->first + output + n) * parts + part];
    struct int8_tile tile = {.rows = rows,
        .steps = length / INT8_STEP,
        .x = x->x + k * x->rows + at * length,
        .x_stride = length,
        .x_scales = x->scales + part * x->rows + at,
        .weights = step_of(p->part, p->first + output, k),
        .corrections = corrections,
        .c = p->c + row * p->c_stride + output,
        .c_stride = p->c_stride};
    cpu->kernels->int8_tile(&tile);
}

static void prefetch(const int8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(from + i, 0, 2);
}

static void multiply_few(
    const struct cpu_backend *cpu, const struct int8_activations *x, const struct part_product *p)
{
    for (size_t n = 0; n < p->count; n += GEMM_TILE_OUTPUTS)
        for (size_t k = 0; k < x->k; k += GEMM_K_BLOCK) {
            prefetch(step_of(p->part, p->first + n + GEMM_TILE_OUTPUTS, k),
                GEMM_TILE_OUTPUTS * smaller(GEMM_K_BLOCK, x->k - k));
            run_tile(cpu, x, p, n, 0, p->rows, k);
        }
}

static void multiply_many(
    const struct cpu_backend *cpu, const struct int8_activations *x, const struct part_product *p)
{
    for (size_t k = 0; k < x->k; k += GEMM_K_BLOCK)
        for (size_t row = 0; row < p->rows; row += GROUP_ROWS)
            for (size_t n = 0; n < p->count; n += GEMM_TILE_OUTPUTS)
                run_tile(cpu, x, p, n, row, smaller(GROUP_ROWS, p->rows - row), k);
}

static void multiply(
    const struct cpu_backend *cpu, const struct int8_activations *x, const struct part_product *p)
{
    size_t outputs = outputs_in_quads(p->count);
    for (size_t m = 0; m < p->rows; m++)
        memset(p->c + m * p->c_stride, 0, outputs * sizeof(float));
    if (p->rows <= FEW_ROWS)
        multiply_few(cpu, x, p);
    else
        multiply_many(cpu, x, p);
    for (size_t m = 0; m < p->rows; m++)
        cpu->kernels->multiply(p->c + m * p->c_stride, p->part->scales + p->first, p->count);
}

/* A gated weight in one part may have its second half begin within a quad. */
void int8_product_run(
    const struct cpu_backend *cpu, const struct int8_activations *x, const struct part_product *p)
{
    size_t extra = p->first % GEMM_TILE_OUTPUTS;
    if (extra == 0) {
        multiply(cpu, x, p);
        return;
    }
    struct part_product whole = *p;
    whole.first -= extra;
    whole.count += extra;
    whole.c = p->scratch;
    whole.c_stride = CHUNK_OUTPUTS + GEMM_TILE_OUTPUTS;
    multiply(cpu, x, &whole);
    for (size_t m = 0; m < p->rows; m++)
        memcpy(p->c + m * p->c_stride, whole.c + m * whole.c_stride + extra, p->count * sizeof(float));
}
