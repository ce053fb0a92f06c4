#include "worker/backend/cpu/linear_blocks.h"

#include "worker/backend/cpu/convert.h"

enum {
    FEW_ROWS = 48,   /* up to so many, four outputs are unpacked into L1 at a time and all rows pass them */
    GROUP_ROWS = 12, /* of activations that stay in L1 while unpacked weights pass from L2 */
    SUMS = GEMM_K_BLOCK / BLOCK_VALUES,
    QUAD_WEIGHTS = GEMM_TILE_OUTPUTS * GEMM_K_BLOCK,
    QUAD_SCALES = GEMM_TILE_OUTPUTS * SUMS * LANES,
    QUAD_MINIMUMS = QUAD_SCALES / 8,
    CHUNK_QUADS = CHUNK_OUTPUTS / GEMM_TILE_OUTPUTS,
};

static size_t smaller(size_t x, size_t y)
{
    return x < y ? x : y;
}

/* ---- activations ---- */

struct rounding {
    const struct kernels *kernels;
    struct tensor in;
    const struct block_activations *out;
};

static void round_row(void *context, size_t row, size_t thread)
{
    (void)thread;
    const struct rounding *r = context;
    const struct block_activations *out = r->out;
    const float *in = tensor_row(r->in, row);
    for (size_t k = 0; k < out->k; k += GEMM_K_BLOCK) {
        size_t length = smaller(GEMM_K_BLOCK, out->k - k), part = k / GEMM_K_BLOCK;
        out->scales[part * out->rows + row] =
            r->kernels->quantize_block(in + k, length, out->x + k * out->rows + row * length,
                out->sums + k / BLOCK_VALUES * out->rows + row * (length / BLOCK_VALUES));
    }
}

bool block_activations_make(struct cpu_backend *cpu, struct tensor in, struct block_activations *out)
{
    out->rows = in.rows;
    out->k = in.width;
    assert(in.width % BLOCK_VALUES == 0);
    out->x = arena_alloc(cpu, in.rows * in.width, sizeof *out->x);
    out->sums = arena_alloc(cpu, in.rows * in.width / BLOCK_VALUES, sizeof *out->sums);
    out->scales =
        arena_alloc(cpu, in.rows * ((in.width + GEMM_K_BLOCK - 1) / GEMM_K_BLOCK), sizeof *out->scales);
    struct rounding rounding = {.kernels = cpu->kernels, .in = in, .out = out};
    cpu_run(cpu, in.rows, (double)in.rows * (double)in.width, round_row, &rounding);
    return !cpu->failed;
}

/* ---- weights ---- */

/* Unpacked quads of a part of k, in the product's scratch. */
struct unpacked {
    size_t k, length; /* the part */
    size_t quads;
    int16_t *weights;
    float *scales, *minimums; /* minimums: NULL when the format has none */
};

static bool has_minimums(enum dtype dtype)
{
    return dtype == DTYPE_Q4_K || dtype == DTYPE_Q5_K;
}

static void prefetch(const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(from + i, 0, 2);
}

/* Outputs that are not there repeat the last. What comes after them is asked for meanwhile. */
static void unpack(
    const struct cpu_backend *cpu, const struct part_product *p, size_t first, const struct unpacked *u)
{
    const struct weight_part *part = p->part;
    size_t at_bytes = 0, bytes = 0, outputs = u->quads * GEMM_TILE_OUTPUTS;
    stored_row_bytes(part->dtype, u->k, &at_bytes);
    stored_row_bytes(part->dtype, u->length, &bytes);
    for (size_t n = 0; n < outputs; n++) {
        const uint8_t *row = part->data + (p->first + smaller(first + n, p->count - 1)) * part->row_bytes;
        size_t quad = n / GEMM_TILE_OUTPUTS, in_quad = n % GEMM_TILE_OUTPUTS;
        prefetch(row + outputs * part->row_bytes + at_bytes, bytes);
        cpu->kernels->unpack[part->dtype](row, u->k, u->length,
            u->weights + quad * QUAD_WEIGHTS + in_quad * BLOCK_VALUES,
            u->scales + quad * QUAD_SCALES + in_quad * LANES,
            u->minimums ? u->minimums + quad * QUAD_MINIMUMS + in_quad * LANES : NULL);
    }
}

static void point_at_rows(
    const struct block_activations *x, size_t k, size_t length, size_t row, struct block_tile *tile)
{
    tile->blocks = tile->sum_stride = length / BLOCK_VALUES;
    tile->x_stride = length;
    tile->x_scale_stride = 1;
    tile->x = x->x + k * x->rows + row * length;
    tile->sums = x->sums + k / BLOCK_VALUES * x->rows + row * tile->blocks;
    tile->x_scales = x->scales + k / GEMM_K_BLOCK * x->rows + row;
    tile->accumulate = k > 0;
}

static void multiply(const struct cpu_backend *cpu, const struct block_activations *x,
    const struct part_product *p, size_t first, const struct unpacked *u)
{
    struct block_tile tile = {.c_stride = p->c_stride};
    for (size_t row = 0; row < p->rows; row += GROUP_ROWS) {
        point_at_rows(x, u->k, u->length, p->first_row + row, &tile);
        tile.rows = smaller(GROUP_ROWS, p->rows - row);
        for (size_t quad = 0; quad < u->quads; quad++) {
            tile.weights = u->weights + quad * QUAD_WEIGHTS;
            tile.scales = u->scales + quad * QUAD_SCALES;
            tile.minimums = u->minimums ? u->minimums + quad * QUAD_MINIMUMS : NULL;
            tile.c = p->c + row * p->c_stride + first + quad * GEMM_TILE_OUTPUTS;
            cpu->kernels->block_tile(&tile);
        }
    }
}

/* One row of activations: weights go from memory through registers. */
static void multiply_one(
    const struct cpu_backend *cpu, const struct block_activations *x, const struct part_product *p)
{
    const struct weight_part *part = p->part;
    for (size_t n = 0; n < p->count; n += GEMM_TILE_OUTPUTS) {
        struct block_tile tile = {.c = p->c + n};
        const uint8_t *rows[GEMM_TILE_OUTPUTS];
        for (size_t i = 0; i < GEMM_TILE_OUTPUTS; i++)
            rows[i] = part->data + (p->first + smaller(n + i, p->count - 1)) * part->row_bytes;
        for (size_t k = 0, length; k < x->k; k += length) {
            size_t bytes = 0;
            length = smaller(GEMM_K_BLOCK, x->k - k);
            stored_row_bytes(part->dtype, length, &bytes);
            for (size_t i = 0; i < GEMM_TILE_OUTPUTS; i++)
                prefetch(rows[i] + GEMM_TILE_OUTPUTS * part->row_bytes, bytes);
            point_at_rows(x, k, length, p->first_row, &tile);
            cpu->kernels->dot[part->dtype](rows, length, &tile);
            for (size_t i = 0; i < GEMM_TILE_OUTPUTS; i++)
                rows[i] += bytes;
        }
    }
}

/* A few rows: each four outputs are unpacked into L1 and all rows pass them. Many: a chunk is unpacked into
 * L2. */
static void multiply_some(
    const struct cpu_backend *cpu, const struct block_activations *x, const struct part_product *p)
{
    static_assert(
        CHUNK_QUADS * (QUAD_WEIGHTS * sizeof(int16_t) + (QUAD_SCALES + QUAD_MINIMUMS) * sizeof(float)) <=
            CHUNK_OUTPUTS * GEMM_K_BLOCK * sizeof(float),
        "unpacked blocks fit the scratch");
    struct unpacked u = {.weights = p->scratch};
    u.scales = (float *)(void *)(u.weights + (size_t)CHUNK_QUADS * QUAD_WEIGHTS);
    if (has_minimums(p->part->dtype))
        u.minimums = u.scales + (size_t)CHUNK_QUADS * QUAD_SCALES;
    size_t quads_at_once = p->rows <= FEW_ROWS ? 1 : CHUNK_QUADS;
    size_t quads = (p->count + GEMM_TILE_OUTPUTS - 1) / GEMM_TILE_OUTPUTS;
    for (size_t quad = 0; quad < quads; quad += u.quads) {
        u.quads = smaller(quads_at_once, quads - quad);
        for (u.k = 0; u.k < x->k; u.k += u.length) {
            u.length = smaller(GEMM_K_BLOCK, x->k - u.k);
            unpack(cpu, p, quad * GEMM_TILE_OUTPUTS, &u);
            multiply(cpu, x, p, quad * GEMM_TILE_OUTPUTS, &u);
        }
    }
}

void block_product_run(
    const struct cpu_backend *cpu, const struct block_activations *x, const struct part_product *p)
{
    if (p->rows == 1)
        multiply_one(cpu, x, p);
    else
        multiply_some(cpu, x, p);
}
