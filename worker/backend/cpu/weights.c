/* Loading parameters: mapped where the file's form is computed with as it stands, converted otherwise. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "worker/backend/arguments.h"
#include "worker/backend/cpu/convert.h"
#include "worker/backend/cpu/cpu.h"
#include "worker/backend/cpu/linear_int8.h"

enum { ROWS_AT_ONCE = 8, HUGE_PAGE = 2 << 20 };

static void *take_memory(struct cpu_backend *cpu, size_t bytes)
{
    size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    void *memory = aligned_alloc(alignment, round_up(bytes, alignment));
    if (memory && bytes >= HUGE_PAGE)
        madvise(memory, bytes, MADV_HUGEPAGE); /* a wish: streaming weights misses fewer translations */
    if (memory)
        cpu->weight_bytes += bytes;
    return memory;
}

/* ---- checks ---- */

static bool check_part(
    const struct weight_args *args, size_t p, size_t *out, size_t *in, size_t *row_bytes, struct error *err)
{
    const struct tensor_view *view = args->parts[p];
    if (view->rank != 2 || view->shape[0] <= 0 || view->shape[1] <= 0)
        return error_set(err, ERROR_INVALID, "tensor %s is not a matrix", view_name(view));
    *out = (size_t)view->shape[args->transposed ? 1 : 0];
    *in = (size_t)view->shape[args->transposed ? 0 : 1];
    size_t stored, bytes;
    if (!stored_row_bytes(view->dtype, (size_t)view->shape[1], &stored) ||
        (args->transposed && dtype_is_blocks(view->dtype)))
        return error_set(
            err, ERROR_UNSUPPORTED, "tensor %s: its data type cannot be computed with", view_name(view));
    if (__builtin_mul_overflow(stored, (size_t)view->shape[0], &bytes) || bytes != view->bytes ||
        *out > INT32_MAX || *in > INT32_MAX)
        return error_set(err, ERROR_INVALID, "tensor %s: its size does not match its shape", view_name(view));
    *row_bytes = stored;
    return true;
}

/* ---- conversion ---- */

struct conversion {
    const struct cpu_backend *cpu;
    const struct tensor_view *view;
    bool transposed;
    size_t out, in, view_row_bytes;
    enum dtype target;
    struct weight_part part; /* what is written */
    float *rows;             /* a thread's: [ROWS_AT_ONCE][in, rounded up to 8] */
};

/* Rows first..first+count of the matrix [out, in] as floats. */
static void read_rows(const struct conversion *c, size_t first, size_t count, float *rows)
{
    size_t stride = round_up(c->in, LANES);
    const uint8_t *data = c->view->data;
    if (!c->transposed) {
        for (size_t i = 0; i < count; i++)
            c->cpu->kernels->decode[c->view->dtype](
                data + (first + i) * c->view_row_bytes, 0, c->in, rows + i * stride, LANES);
        return;
    }
    for (size_t k = 0; k < c->in; k++) {
        float values[ROWS_AT_ONCE];
        c->cpu->kernels->decode[c->view->dtype](
            data + k * c->view_row_bytes, first, count, values, ROWS_AT_ONCE);
        for (size_t i = 0; i < count; i++)
            rows[i * stride + k] = values[i];
    }
}

static void write_row(const struct conversion *c, size_t row, const float *values)
{
    uint8_t *to = (uint8_t *)c->part.data + row * c->part.row_bytes;
    uint16_t *halves = (uint16_t *)(void *)to;
    switch (c->target) {
    case DTYPE_F32: memcpy(to, values, c->in * sizeof(float)); break;
    case DTYPE_F16:
        for (size_t k = 0; k < c->in; k++)
            halves[k] = float_to_half(values[k]);
        break;
    case DTYPE_BF16:
        for (size_t k = 0; k < c->in; k++)
            halves[k] = float_to_bf16(values[k]);
        break;
    default: int8_write_row(&c->part, row, c->in, values); break;
    }
}

static void convert_rows(void *context, size_t index, size_t thread)
{
    const struct conversion *c = context;
    size_t stride = round_up(c->in, LANES);
    float *rows = c->rows + thread * ROWS_AT_ONCE * stride;
    size_t first = index * ROWS_AT_ONCE;
    size_t count = c->out - first < ROWS_AT_ONCE ? c->out - first : ROWS_AT_ONCE;
    read_rows(c, first, count, rows);
    for (size_t i = 0; i < count; i++)
        write_row(c, first + i, rows + i * stride);
}

static enum dtype target_dtype(const struct weight_args *args, enum dtype stored)
{
    if (args->lookup || dtype_is_blocks(stored))
        return stored;
    if (args->compute == DTYPE_I8)
        return DTYPE_I8;
    if (stored == DTYPE_F32 && (args->compute == DTYPE_F16 || args->compute == DTYPE_BF16))
        return args->compute;
    return stored;
}

/* Converts `view` into memory of weight part `p`. */
static bool convert_part(
    struct cpu_backend *cpu, struct weight *weight, size_t p, struct conversion *c, struct error *err)
{
    size_t bytes = 0;
    if (c->target == DTYPE_I8)
        bytes = int8_bytes(c->out, c->in);
    else if (!stored_row_bytes(c->target, c->in, &c->part.row_bytes))
        return error_set(err, ERROR_INTERNAL, "no stored form of a converted weight");
    bytes += c->out * c->part.row_bytes;
    size_t values = (size_t)threads_count(cpu->threads) * ROWS_AT_ONCE * round_up(c->in, LANES);
    uint8_t *memory = take_memory(cpu, bytes);
    float *rows = aligned_alloc(64, round_up(values * sizeof(float), 64));
    weight->owned[p] = memory;
    if (memory)
        weight->bytes += bytes;
    if (!memory || !rows) {
        free(rows);
        return error_set(
            err, ERROR_MEMORY, "no memory for tensor %s, %zu MiB", view_name(c->view), bytes >> 20);
    }
    if (c->target == DTYPE_I8)
        int8_point_at(&c->part, c->out, c->in, memory);
    c->part.data = memory;
    c->rows = rows;
    threads_run(cpu->threads, (c->out + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, convert_rows, c);
    free(rows);
    return true;
}

static bool load_part(struct cpu_backend *cpu, const struct weight_args *args, size_t p,
    struct weight *weight, struct error *err)
{
    struct conversion c = {.cpu = cpu, .view = args->parts[p], .transposed = args->transposed};
    if (!check_part(args, p, &c.out, &c.in, &c.view_row_bytes, err))
        return false;
    if (p > 0 && c.in != weight->in)
        return error_set(err, ERROR_INVALID, "tensor %s is %zu wide where %s is %zu", view_name(c.view), c.in,
            view_name(args->parts[0]), weight->in);
    c.target = target_dtype(args, c.view->dtype);
    if (c.target == DTYPE_I8 && c.in > INT8_K_MAX)
        return error_set(err, ERROR_UNSUPPORTED, "tensor %s is %zu wide; int8 takes up to %d",
            view_name(c.view), c.in, INT8_K_MAX);
    bool mapped = c.target == c.view->dtype && !c.transposed;
    if (!mapped && !convert_part(cpu, weight, p, &c, err))
        return false;
    if (mapped) {
        c.part.row_bytes = c.view_row_bytes;
        c.part.data = c.view->data;
    }
    c.part.rows = c.out;
    c.part.dtype = c.target;
    weight->parts[p] = c.part;
    weight->in = c.in;
    weight->out += c.out;
    weight->part_count = p + 1;
    return true;
}

static bool load_biases(
    struct cpu_backend *cpu, const struct weight_args *args, struct weight *weight, struct error *err)
{
    bool any = false;
    for (size_t p = 0; p < args->part_count; p++)
        any = any || args->biases[p];
    if (!any)
        return true;
    /* decoding writes whole vectors */
    weight->bias = aligned_alloc(64, round_up((weight->out + LANES) * sizeof(float), 64));
    if (!weight->bias)
        return error_set(err, ERROR_MEMORY, "no memory for a bias of %zu values", weight->out);
    size_t first = 0;
    for (size_t p = 0; p < args->part_count; first += weight->parts[p].rows, p++) {
        size_t count = weight->parts[p].rows;
        const struct tensor_view *view = args->biases[p];
        if (!view)
            memset(weight->bias + first, 0, count * sizeof(float));
        else if (view_check_vector(view, count, err))
            cpu->kernels->decode[view->dtype](view->data, 0, count, weight->bias + first, LANES);
        else
            return false;
    }
    return true;
}

bool cpu_weight_load(
    struct backend *b, const struct weight_args *args, struct weight **out, struct error *err)
{
    struct cpu_backend *cpu = cpu_of(b);
    assert(args->part_count >= 1 && args->part_count <= WEIGHT_PARTS_MAX);
    if (!args->lookup && args->compute != DTYPE_F32 && args->compute != DTYPE_F16 &&
        args->compute != DTYPE_BF16 && args->compute != DTYPE_I8)
        return error_set(err, ERROR_UNSUPPORTED, "weights compute in f32, f16, bf16 or int8");
    struct weight *weight = calloc(1, sizeof *weight);
    if (!weight)
        return error_set(err, ERROR_MEMORY, "no memory for a weight");
    for (size_t p = 0; p < args->part_count; p++)
        if (!load_part(cpu, args, p, weight, err)) {
            cpu_weight_free(b, weight);
            return false;
        }
    if (!load_biases(cpu, args, weight, err)) {
        cpu_weight_free(b, weight);
        return false;
    }
    *out = weight;
    return true;
}

void cpu_weight_free(struct backend *b, struct weight *weight)
{
    if (!weight)
        return;
    cpu_of(b)->weight_bytes -= weight->bytes;
    for (size_t p = 0; p < WEIGHT_PARTS_MAX; p++)
        free(weight->owned[p]);
    free(weight->bias);
    free(weight);
}

void cpu_weight_shape(const struct weight *weight, size_t *out_width, size_t *in_width)
{
    *out_width = weight->out;
    *in_width = weight->in;
}

void weight_row(const struct cpu_backend *cpu, const struct weight *weight, size_t row, float *out)
{
    const struct weight_part *part = weight->parts;
    for (; row >= part->rows; part++)
        row -= part->rows;
    if (part->dtype == DTYPE_I8)
        int8_read_row(cpu->kernels, part, row, weight->in, out);
    else
        cpu->kernels->decode[part->dtype](part->data + row * part->row_bytes, 0, weight->in, out, LANES);
}

bool cpu_vector_load(
    struct backend *b, const struct tensor_view *view, float offset, struct vector **out, struct error *err)
{
    size_t count = view_elements(view);
    if (count == 0 || count > INT32_MAX)
        return error_set(err, ERROR_INVALID, "tensor %s is not a vector", view_name(view));
    if (!view_check_vector(view, count, err))
        return false;
    struct vector *vector = malloc(sizeof *vector + (count + LANES) * sizeof(float));
    if (!vector)
        return error_set(err, ERROR_MEMORY, "no memory for a vector of %zu values", count);
    vector->count = count;
    cpu_of(b)->kernels->decode[view->dtype](view->data, 0, count, vector->values, LANES);
    for (size_t i = 0; i < count; i++)
        vector->values[i] += offset;
    *out = vector;
    return true;
}

void cpu_vector_free(struct backend *b, struct vector *vector)
{
    (void)b;
    free(vector);
}
