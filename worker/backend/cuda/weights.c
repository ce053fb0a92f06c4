/* Loading parameters: copied as they stand where that is what is computed with, converted on the device
 * otherwise. */
#include <stdlib.h>
#include <string.h>

#include "worker/backend/arguments.h"
#include "worker/backend/cuda/device.h"

enum { ROW_VALUES = 8 }; /* rows that are not blocks are padded to a multiple */

/* ---- forms ---- */

static const struct {
    enum form form;
    uint8_t values, bytes; /* of a block; bytes 0: not a form */
} forms[] = {
    [DTYPE_F32] = {FORM_F32, 1, 4},
    [DTYPE_F16] = {FORM_F16, 1, 2},
    [DTYPE_BF16] = {FORM_BF16, 1, 2},
    [DTYPE_Q4_0] = {FORM_Q4_0, 32, 18},
    [DTYPE_Q5_0] = {FORM_Q5_0, 32, 22},
    [DTYPE_Q8_0] = {FORM_Q8_0, 32, 34},
    [DTYPE_Q4_K] = {FORM_Q4_K, 0, 144}, /* 256 */
    [DTYPE_Q5_K] = {FORM_Q5_K, 0, 176},
    [DTYPE_Q6_K] = {FORM_Q6_K, 0, 210},
};

static size_t block_values(enum dtype dtype)
{
    return forms[dtype].values ? forms[dtype].values : 256;
}

static bool stored_bytes(enum dtype dtype, size_t count, size_t *out)
{
    if ((size_t)dtype >= sizeof forms / sizeof *forms || forms[dtype].bytes == 0 ||
        count % block_values(dtype) != 0)
        return false;
    return !__builtin_mul_overflow(count / block_values(dtype), (size_t)forms[dtype].bytes, out);
}

static bool is_blocks(enum form form)
{
    return form > FORM_I8;
}

static size_t device_row_bytes(enum form form, size_t in, size_t stored)
{
    static const uint8_t bytes[] = {[FORM_F32] = 4, [FORM_F16] = 2, [FORM_BF16] = 2, [FORM_I8] = 1};
    return is_blocks(form) ? stored : round_up(in, ROW_VALUES) * bytes[form];
}

/* ---- checks ---- */

struct part {
    const struct tensor_view *view;
    size_t out, in, stored_row_bytes;
    enum form from, to;
};

static enum form target_form(const struct weight_args *args, enum dtype stored)
{
    enum form form = forms[stored].form;
    if (args->lookup || is_blocks(form))
        return form;
    if (args->compute == DTYPE_I8)
        return FORM_I8;
    if (form == FORM_F32 && args->compute != DTYPE_F32)
        return args->compute == DTYPE_F16 ? FORM_F16 : FORM_BF16;
    return form;
}

static bool check_part(const struct weight_args *args, size_t p, struct part *out, struct error *err)
{
    const struct tensor_view *view = args->parts[p];
    *out = (struct part){.view = view};
    if (view->rank != 2 || view->shape[0] <= 0 || view->shape[1] <= 0)
        return error_set(err, ERROR_INVALID, "tensor %s is not a matrix", view_name(view));
    out->out = (size_t)view->shape[args->transposed ? 1 : 0];
    out->in = (size_t)view->shape[args->transposed ? 0 : 1];
    size_t bytes;
    if (!stored_bytes(view->dtype, (size_t)view->shape[1], &out->stored_row_bytes) ||
        (args->transposed && is_blocks(forms[view->dtype].form)))
        return error_set(
            err, ERROR_UNSUPPORTED, "tensor %s: its data type cannot be computed with", view_name(view));
    if (__builtin_mul_overflow(out->stored_row_bytes, (size_t)view->shape[0], &bytes) ||
        bytes != view->bytes || out->out > INT32_MAX / 2 || out->in > INT32_MAX / 2)
        return error_set(err, ERROR_INVALID, "tensor %s: its size does not match its shape", view_name(view));
    out->from = forms[view->dtype].form;
    out->to = target_form(args, view->dtype);
    return true;
}

/* ---- memory ---- */

static void *own(
    struct cuda_backend *cuda, struct weight *weight, size_t bytes, const char *name, struct error *err)
{
    void *memory = cuda_take(cuda, bytes, err, name);
    if (!memory)
        return NULL;
    weight->owned[weight->owned_count++] = memory;
    weight->bytes += bytes;
    cuda->weight_bytes += bytes;
    cudaError_t status = cudaMemsetAsync(memory, 0, bytes, cuda->stream); /* the padding of rows */
    if (status == cudaSuccess)
        return memory;
    cuda_error(cuda, status, err, name);
    return NULL;
}

/* ---- parts ---- */

/* Rows [row, row + part->out) of a segment. */
static cudaError_t copy_part(
    struct cuda_backend *cuda, const struct part *part, const struct segment *segment, size_t row)
{
    char *to = (char *)segment->data + row * segment->row_bytes;
    return cudaMemcpy2DAsync(to, segment->row_bytes, part->view->data, part->stored_row_bytes,
        part->stored_row_bytes, part->out, cudaMemcpyHostToDevice, cuda->stream);
}

/* Goes to the device as it is stored, and is freed when it has been converted. */
static bool convert_part(struct cuda_backend *cuda, const struct part *part, bool transposed,
    const struct segment *segment, size_t row, struct error *err)
{
    void *stored = cuda_take(cuda, part->view->bytes, err, view_name(part->view));
    if (!stored)
        return false;
    struct convert_kernel k = {
        .to = (uint8_t *)segment->data + row * segment->row_bytes,
        .scales = segment->scales ? (float *)segment->scales + row : NULL,
        .from = stored,
        .to_row_bytes = segment->row_bytes,
        .from_row_bytes = part->stored_row_bytes,
        .out = (int)part->out,
        .in = (int)part->in,
        .from_form = part->from,
        .to_form = part->to,
        .transposed = transposed,
    };
    cudaError_t status =
        cudaMemcpyAsync(stored, part->view->data, part->view->bytes, cudaMemcpyHostToDevice, cuda->stream);
    if (status == cudaSuccess)
        status = convert_launch(&k, cuda->stream);
    cuda_give(cuda, stored);
    return status == cudaSuccess || cuda_error(cuda, status, err, view_name(part->view));
}

/* Parts [first, first + count), which have the same form. */
static bool load_segment(struct cuda_backend *cuda, const struct part *parts, size_t count, bool transposed,
    struct weight *weight, struct error *err)
{
    struct segment *segment = &weight->segments[weight->segment_count++];
    size_t rows = 0;
    for (size_t p = 0; p < count; p++)
        rows += parts[p].out;
    *segment = (struct segment){.rows = (int)rows, .form = parts->to};
    segment->row_bytes = device_row_bytes(parts->to, parts->in, parts->stored_row_bytes);
    segment->data = own(cuda, weight, rows * segment->row_bytes, view_name(parts->view), err);
    if (!segment->data)
        return false;
    if (parts->to == FORM_I8) {
        segment->scales = own(cuda, weight, rows * sizeof(float), view_name(parts->view), err);
        if (!segment->scales)
            return false;
    }
    for (size_t p = 0, row = 0; p < count; row += parts[p].out, p++) {
        if (parts[p].from != parts[p].to || transposed) {
            if (!convert_part(cuda, &parts[p], transposed, segment, row, err))
                return false;
            continue;
        }
        cudaError_t status = copy_part(cuda, &parts[p], segment, row);
        if (status != cudaSuccess)
            return cuda_error(cuda, status, err, view_name(parts[p].view));
    }
    return true;
}

static bool load_parts(
    struct cuda_backend *cuda, const struct weight_args *args, struct weight *weight, struct error *err)
{
    struct part parts[WEIGHT_PARTS_MAX];
    for (size_t p = 0; p < args->part_count; p++) {
        if (!check_part(args, p, &parts[p], err))
            return false;
        if (parts[p].in != parts[0].in)
            return error_set(err, ERROR_INVALID, "tensor %s is %zu wide where %s is %zu",
                view_name(parts[p].view), parts[p].in, view_name(parts[0].view), parts[0].in);
        weight->out += parts[p].out;
    }
    weight->in = parts[0].in;
    if (weight->out > INT32_MAX / 2)
        return error_set(err, ERROR_TOO_LARGE, "tensor %s: %zu outputs are too many",
            view_name(parts[0].view), weight->out);
    for (size_t p = 0, count; p < args->part_count; p += count) {
        for (count = 1; p + count < args->part_count && parts[p + count].to == parts[p].to;)
            count++;
        if (!load_segment(cuda, &parts[p], count, args->transposed, weight, err))
            return false;
    }
    return true;
}

/* Writes a vector's values, as float32, to device memory. */
static bool write_vector(struct cuda_backend *cuda, const struct tensor_view *view, size_t count,
    float offset, float *to, struct error *err)
{
    if (!view_check_vector(view, count, err))
        return false;
    struct part part = {.view = view, .out = 1, .in = count, .stored_row_bytes = view->bytes};
    part.from = forms[view->dtype].form;
    void *stored = cuda_take(cuda, view->bytes, err, view_name(view));
    if (!stored)
        return false;
    struct convert_kernel k = {.to = (uint8_t *)to,
        .from = stored,
        .to_row_bytes = count * sizeof(float),
        .from_row_bytes = view->bytes,
        .out = 1,
        .in = (int)count,
        .from_form = part.from,
        .to_form = FORM_F32,
        .offset = offset};
    cudaError_t status =
        cudaMemcpyAsync(stored, view->data, view->bytes, cudaMemcpyHostToDevice, cuda->stream);
    if (status == cudaSuccess)
        status = convert_launch(&k, cuda->stream);
    cuda_give(cuda, stored);
    return status == cudaSuccess || cuda_error(cuda, status, err, view_name(view));
}

static bool load_biases(
    struct cuda_backend *cuda, const struct weight_args *args, struct weight *weight, struct error *err)
{
    bool any = false;
    for (size_t p = 0; p < args->part_count; p++)
        any = any || args->biases[p];
    if (!any)
        return true;
    weight->bias = own(cuda, weight, weight->out * sizeof(float), "allocating a bias", err);
    if (!weight->bias)
        return false;
    for (size_t p = 0, first = 0; p < args->part_count; p++) {
        size_t count = (size_t)args->parts[p]->shape[args->transposed ? 1 : 0];
        if (args->biases[p] && !write_vector(cuda, args->biases[p], count, 0.0F, weight->bias + first, err))
            return false;
        first += count;
    }
    return true;
}

/* Weights of 16 bits go to the tensor cores as they are, those of 8 (exact in f16) and blocks are decoded
 * to 16. Blocks of a model in int8 stay exact: they are never rounded again. */
static enum precision precision_of(const struct weight_args *args, enum form form)
{
    if (args->lookup || args->compute == DTYPE_F32 || (args->compute == DTYPE_I8 && form != FORM_I8))
        return PRECISION_EXACT;
    bool bf16 = form == FORM_BF16 || (is_blocks(form) && args->compute == DTYPE_BF16);
    return bf16 ? PRECISION_BF16 : PRECISION_F16;
}

bool cuda_weight_load(
    struct backend *b, const struct weight_args *args, struct weight **out, struct error *err)
{
    struct cuda_backend *cuda = cuda_of(b);
    assert(args->part_count >= 1 && args->part_count <= WEIGHT_PARTS_MAX);
    static_assert((int)WEIGHT_PARTS_MAX <= (int)SEGMENTS_MAX, "a part is a segment at most");
    if (!args->lookup && args->compute != DTYPE_F32 && args->compute != DTYPE_F16 &&
        args->compute != DTYPE_BF16 && args->compute != DTYPE_I8)
        return error_set(err, ERROR_UNSUPPORTED, "weights compute in f32, f16, bf16 or int8");
    struct weight *weight = calloc(1, sizeof *weight);
    if (!weight)
        return error_set(err, ERROR_MEMORY, "no memory for a weight");
    if (!load_parts(cuda, args, weight, err) || !load_biases(cuda, args, weight, err)) {
        cuda_weight_free(b, weight);
        return false;
    }
    for (int i = 0; i < weight->segment_count; i++)
        weight->precisions[i] = precision_of(args, weight->segments[i].form);
    *out = weight;
    return true;
}

void cuda_weight_free(struct backend *b, struct weight *weight)
{
    if (!weight)
        return;
    struct cuda_backend *cuda = cuda_of(b);
    cuda->weight_bytes -= weight->bytes;
    for (int i = 0; i < weight->owned_count; i++)
        cuda_give(cuda, weight->owned[i]);
    free(weight);
}

void cuda_weight_shape(const struct weight *weight, size_t *out_width, size_t *in_width)
{
    *out_width = weight->out;
    *in_width = weight->in;
}

bool cuda_vector_load(
    struct backend *b, const struct tensor_view *view, float offset, struct vector **out, struct error *err)
{
    struct cuda_backend *cuda = cuda_of(b);
    size_t count = view_elements(view);
    if (count == 0 || count > INT32_MAX)
        return error_set(err, ERROR_INVALID, "tensor %s is not a vector", view_name(view));
    if (!view_check_vector(view, count, err))
        return false;
    struct vector *vector = calloc(1, sizeof *vector);
    if (!vector)
        return error_set(err, ERROR_MEMORY, "no memory for a vector");
    vector->count = count;
    vector->values = cuda_take(cuda, count * sizeof(float), err, view_name(view));
    if (!vector->values || !write_vector(cuda, view, count, offset, vector->values, err)) {
        cuda_vector_free(b, vector);
        return false;
    }
    *out = vector;
    return true;
}

void cuda_vector_free(struct backend *b, struct vector *vector)
{
    if (!vector)
        return;
    cuda_give(cuda_of(b), vector->values);
    free(vector);
}
