/* Products with weights. Activations are packed into panels of three rows once; then every thread takes
 * chunks of outputs. For many rows a chunk's weights are decoded (or copied) into packed quads that stay in
 * L2 while all rows pass; for few rows each quad of weights passes through L1 once, straight from the file's
 * pages when they are float32, and reading memory is the limit. Parts in GGUF blocks are linear_blocks.c's,
 * parts of int8 linear_int8.c's. */
#include <string.h>

#include "worker/backend/cpu/convert.h"
#include "worker/backend/cpu/cpu.h"
#include "worker/backend/cpu/linear_blocks.h"
#include "worker/backend/cpu/linear_int8.h"

enum {
    FEW_ROWS = 48,
    GROUP_PANELS = 4, /* panels of activations that stay in L1 while quads of weights pass */
    C_STRIDE = 2 * CHUNK_OUTPUTS,
};

struct linear_job {
    struct cpu_backend *cpu;
    const struct linear_args *args;
    size_t rows, k, out;
    float *a;                        /* float panels, when some part needs them */
    struct block_activations blocks; /* for parts in GGUF blocks */
    struct int8_activations ints;    /* for parts of int8 */
    size_t chunks;                   /* over the outputs; of the gate when gated */
    size_t chunk_count[WEIGHT_PARTS_MAX];
};

static size_t smaller(size_t x, size_t y)
{
    return x < y ? x : y;
}

static size_t panel_rows(const struct linear_job *job, size_t panel)
{
    return smaller(GEMM_TILE_ROWS, job->rows - panel * GEMM_TILE_ROWS);
}

static bool is_short(const struct linear_job *job, const struct weight_part *part)
{
    return job->k <= GEMM_SHORT_K &&
           (part->dtype == DTYPE_F32 || part->dtype == DTYPE_F16 || part->dtype == DTYPE_BF16);
}

/* ---- activations ---- */

static void pack_panel(void *context, size_t panel, size_t thread)
{
    (void)thread;
    const struct linear_job *job = context;
    const struct kernels *kernels = job->cpu->kernels;
    size_t rows = panel_rows(job, panel), first = panel * GEMM_TILE_ROWS;
    for (size_t m = 0; m < rows; m++) {
        const float *x = tensor_row(job->args->in, first + m);
        kernels->decode[DTYPE_F32](
            x, 0, job->k, job->a + first * round_up(job->k, LANES) + m * LANES, rows * LANES);
    }
}

static bool pack_activations(struct linear_job *job)
{
    const struct weight *weight = job->args->weight;
    bool floats = false, ints = false, blocks = false;
    for (size_t p = 0; p < weight->part_count; p++) {
        enum dtype dtype = weight->parts[p].dtype;
        ints = ints || dtype == DTYPE_I8;
        blocks = blocks || dtype_is_blocks(dtype);
        floats =
            floats || (dtype != DTYPE_I8 && !dtype_is_blocks(dtype) && !is_short(job, &weight->parts[p]));
    }
    if ((blocks && !block_activations_make(job->cpu, job->args->in, &job->blocks)) ||
        (ints && !int8_activations_make(job->cpu, job->args->in, &job->ints)))
        return false;
    if (!floats)
        return true;
    job->a = arena_alloc(job->cpu, job->rows * round_up(job->k, LANES), sizeof(float));
    if (job->cpu->failed)
        return false;
    cpu_run(job->cpu, (job->rows + GEMM_TILE_ROWS - 1) / GEMM_TILE_ROWS, (double)job->rows * (double)job->k,
        pack_panel, job);
    return true;
}

/* ---- weights ---- */

/* Decodes rows [first, first + count) of a part, values [k, k + length), into a packed quad. Rows that are
 * not there repeat the last. */
static void pack_quad(const struct linear_job *job, const struct weight_part *part, size_t first,
    size_t count, size_t k, size_t length, float *quad)
{
    const struct kernels *kernels = job->cpu->kernels;
    for (size_t n = 0; n < GEMM_TILE_OUTPUTS; n++) {
        const uint8_t *row = part->data + (first + smaller(n, count - 1)) * part->row_bytes;
        kernels->decode[part->dtype](row, k, length, quad + n * LANES, (size_t)GEMM_TILE_OUTPUTS * LANES);
    }
}

struct product {
    const struct weight_part *part;
    size_t first, count; /* the part's rows */
    size_t first_panel, panels;
    float *c;      /* [rows][C_STRIDE] */
    float *packed; /* room for CHUNK_OUTPUTS * GEMM_K_BLOCK floats */
};

struct k_block {
    size_t first, length;
};

static struct k_block k_block_at(const struct linear_job *job, size_t first)
{
    return (struct k_block){.first = first, .length = smaller(GEMM_K_BLOCK, job->k - first)};
}

/* The tile of `panels` panels; its weights are the caller's to set. */
static struct gemm_tile tile_of(const struct linear_job *job, const struct product *p,
    const struct k_block *block, size_t panel, size_t panels)
{
    size_t first = (p->first_panel + panel) * GEMM_TILE_ROWS;
    size_t k = round_up(job->k, LANES);
    /* a last panel of fewer rows begins a block of k earlier than a whole one would */
    size_t last_rows = panel_rows(job, p->first_panel + panel + panels - 1);
    size_t start = first * k + block->first * (panels == 1 ? last_rows : GEMM_TILE_ROWS);
    return (struct gemm_tile){
        .a = job->a + start,
        .a_stride = GEMM_TILE_ROWS * k,
        .panels = panels,
        .last_rows = last_rows,
        .last_back = panels == 1 ? 0 : block->first * (GEMM_TILE_ROWS - last_rows),
        .b_step = (size_t)GEMM_TILE_OUTPUTS * LANES,
        .steps = (block->length + LANES - 1) / LANES,
        .c = p->c + panel * GEMM_TILE_ROWS * C_STRIDE,
        .c_stride = C_STRIDE,
        .accumulate = block->first > 0,
    };
}

static void point_at_quad(struct gemm_tile *tile, const float *quad)
{
    for (size_t n = 0; n < GEMM_TILE_OUTPUTS; n++)
        tile->b[n] = quad + n * LANES;
}

static void multiply_many(const struct linear_job *job, const struct product *p)
{
    size_t quads = (p->count + GEMM_TILE_OUTPUTS - 1) / GEMM_TILE_OUTPUTS;
    struct k_block block;
    for (size_t k = 0; k < job->k; k += block.length) {
        block = k_block_at(job, k);
        size_t quad_floats = GEMM_TILE_OUTPUTS * round_up(block.length, LANES);
        for (size_t q = 0; q < quads; q++)
            pack_quad(job, p->part, p->first + q * GEMM_TILE_OUTPUTS,
                smaller(GEMM_TILE_OUTPUTS, p->count - q * GEMM_TILE_OUTPUTS), k, block.length,
                p->packed + q * quad_floats);
        for (size_t group = 0; group < p->panels; group += GROUP_PANELS) {
            size_t end = smaller(group + GROUP_PANELS, p->panels);
            struct gemm_tile tile = tile_of(job, p, &block, group, end - group);
            for (size_t q = 0; q < quads; q++, tile.c += GEMM_TILE_OUTPUTS) {
                point_at_quad(&tile, p->packed + q * quad_floats);
                job->cpu->kernels->gemm_f32(&tile);
            }
        }
    }
}

static void prefetch_rows(const uint8_t *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(from + i, 0, 2);
}

static void multiply_few(const struct linear_job *job, const struct product *p)
{
    const struct weight_part *part = p->part;
    bool direct = part->dtype == DTYPE_F32 && job->k % LANES == 0;
    size_t quad_bytes = GEMM_TILE_OUTPUTS * part->row_bytes;
    size_t tile_steps = p->panels * job->k / LANES;
    size_t prefetch_step = (quad_bytes + tile_steps - 1) / (tile_steps ? tile_steps : 1);
    for (size_t n = 0; n < p->count; n += GEMM_TILE_OUTPUTS) {
        size_t count = smaller(GEMM_TILE_OUTPUTS, p->count - n);
        const uint8_t *rows = part->data + (p->first + n) * part->row_bytes;
        const char *next = (const char *)rows + quad_bytes;
        if (!direct)
            prefetch_rows((const uint8_t *)next, quad_bytes);
        struct k_block block;
        for (size_t k = 0; k < job->k; k += block.length) {
            block = k_block_at(job, k);
            if (!direct)
                pack_quad(job, part, p->first + n, count, k, block.length, p->packed);
            struct gemm_tile tile = tile_of(job, p, &block, 0, p->panels);
            tile.c += n;
            point_at_quad(&tile, p->packed);
            if (direct) {
                for (size_t i = 0; i < GEMM_TILE_OUTPUTS; i++)
                    tile.b[i] = rows + smaller(i, count - 1) * part->row_bytes + k * sizeof(float);
                tile.b_step = LANES;
                tile.prefetch = next;
                tile.prefetch_step = prefetch_step;
                next += tile.steps * p->panels * prefetch_step;
            }
            job->cpu->kernels->gemm_f32(&tile);
        }
    }
}

/* Short sums: the chunk's weights are turned, so that outputs lie in lanes and no lanes need joining. */
static void multiply_short(const struct linear_job *job, const struct product *p, size_t rows)
{
    const struct kernels *kernels = job->cpu->kernels;
    float values[GEMM_SHORT_K];
    for (size_t n = 0; n < GEMM_SHORT_OUTPUTS; n++) {
        size_t row = p->first + smaller(n, p->count - 1);
        kernels->decode[p->part->dtype](p->part->data + row * p->part->row_bytes, 0, job->k, values, LANES);
        for (size_t i = 0; i < job->k; i++)
            p->packed[i * GEMM_SHORT_OUTPUTS + n] = values[i];
    }
    kernels->gemm_short(tensor_row(job->args->in, p->first_panel * GEMM_TILE_ROWS), job->args->in.stride,
        rows, p->packed, job->k, p->c, C_STRIDE);
}

static struct part_product part_product_of(const struct product *p, size_t rows)
{
    return (struct part_product){.part = p->part,
        .first = p->first,
        .count = p->count,
        .first_row = p->first_panel * GEMM_TILE_ROWS,
        .rows = rows,
        .c = p->c,
        .c_stride = C_STRIDE,
        .scratch = p->packed};
}

static void multiply(const struct linear_job *job, const struct product *p, size_t rows)
{
    struct part_product product = part_product_of(p, rows);
    if (dtype_is_blocks(p->part->dtype))
        block_product_run(job->cpu, &job->blocks, &product);
    else if (p->part->dtype == DTYPE_I8)
        int8_product_run(job->cpu, &job->ints, &product);
    else if (is_short(job, p->part))
        multiply_short(job, p, rows);
    else if (job->rows <= FEW_ROWS)
        multiply_few(job, p);
    else
        multiply_many(job, p);
}

/* ---- a thread's piece ---- */

/* Bias, activation, gate and residual for one row of products, into out. */
static void finish_row(const struct linear_job *job, float *c, size_t row, size_t first, size_t count)
{
    const struct kernels *kernels = job->cpu->kernels;
    const struct linear_args *args = job->args;
    const float *bias = args->weight->bias;
    if (bias)
        kernels->add(c, c, bias + first, count);
    kernels->activate(args->activation, c, count);
    if (args->gated) {
        float *up = c + CHUNK_OUTPUTS;
        if (bias)
            kernels->add(up, up, bias + job->out + first, count);
        kernels->multiply(c, up, count);
    }
    float *out = tensor_row(args->out, row) + first;
    if (args->residual)
        kernels->add(out, c, tensor_row(*args->residual, row) + first, count);
    else
        memcpy(out, c, count * sizeof(float));
}

static void run_piece(void *context, size_t index, size_t thread)
{
    const struct linear_job *job = context;
    const struct weight *weight = job->args->weight;
    size_t chunk = index % job->chunks, row = index / job->chunks * CHUNK_ROWS;
    size_t rows = smaller(CHUNK_ROWS, job->rows - row);
    size_t part = 0, first_of_part = 0;
    for (; chunk >= job->chunk_count[part]; part++) {
        chunk -= job->chunk_count[part];
        first_of_part += weight->parts[part].rows;
    }
    size_t part_rows = job->args->gated ? job->out : weight->parts[part].rows;
    struct product product = {
        .part = &weight->parts[part],
        .first = chunk * CHUNK_OUTPUTS,
        .count = smaller(CHUNK_OUTPUTS, part_rows - chunk * CHUNK_OUTPUTS),
        .first_panel = row / GEMM_TILE_ROWS,
        .panels = (rows + GEMM_TILE_ROWS - 1) / GEMM_TILE_ROWS,
        .c = job->cpu->chunks[thread],
        .packed = job->cpu->chunks[thread] + (size_t)CHUNK_ROWS * C_STRIDE,
    };
    multiply(job, &product, rows);
    if (job->args->gated) {
        struct product up = product;
        up.c += CHUNK_OUTPUTS;
        if (weight->part_count == 1)
            up.first += job->out;
        else
            up.part++;
        multiply(job, &up, rows);
    }
    for (size_t m = 0; m < rows; m++)
        finish_row(job, product.c + m * C_STRIDE, row + m, first_of_part + product.first, product.count);
}

void cpu_linear(struct backend *b, const struct linear_args *args)
{
    struct cpu_backend *cpu = cpu_of(b);
    const struct weight *weight = args->weight;
    struct linear_job job = {.cpu = cpu, .args = args, .rows = args->in.rows, .k = weight->in};
    job.out = args->gated ? weight->out / 2 : weight->out;
    assert(args->in.width == job.k && args->out.width == job.out && args->out.rows == job.rows);
    assert(!args->gated ||
           (weight->out % 2 == 0 &&
               (weight->part_count == 1 ||
                   (weight->part_count == 2 && weight->parts[0].rows == weight->parts[1].rows))));
    assert(!args->residual || (args->residual->rows == job.rows && args->residual->width == job.out));
    if (cpu->failed || job.rows == 0)
        return;
    for (size_t p = 0; p < (args->gated ? 1 : weight->part_count); p++) {
        size_t rows = args->gated ? job.out : weight->parts[p].rows;
        job.chunk_count[p] = (rows + CHUNK_OUTPUTS - 1) / CHUNK_OUTPUTS;
        job.chunks += job.chunk_count[p];
    }
    size_t mark = arena_mark(cpu);
    if (pack_activations(&job))
        cpu_run(cpu, job.chunks * ((job.rows + CHUNK_ROWS - 1) / CHUNK_ROWS),
            (double)job.rows * (double)job.k * (double)weight->out, run_piece, &job);
    arena_release(cpu, mark);
}
