/* Products with weights: one launch for each run of rows that are stored alike, mostly one. A gated product
 * writes both halves to scratch and joins them by a kernel of its own: the halves may be stored differently.
 */
#include "worker/backend/cuda/device.h"

/* The activations in 16 bits, where some segment wants them so. */
static bool halve(struct cuda_backend *cuda, struct product_kernel *k, enum precision precision)
{
    struct halve_kernel h = {.in = k->in, .in_stride = k->in_stride, .rows = k->rows, .k = k->k};
    h.half_stride = round_up((size_t)k->k, 8);
    h.halves = scratch_take(cuda, (size_t)k->rows * h.half_stride, sizeof *h.halves);
    h.row_scales = scratch_take(cuda, (size_t)k->rows, sizeof *h.row_scales);
    k->halves = h.halves;
    k->half_stride = h.half_stride;
    k->row_scales = h.row_scales;
    return !cuda->failed &&
           cuda_check(cuda, halve_launch(&h, precision, cuda->stream), "rounding activations");
}

static bool multiply(struct cuda_backend *cuda, const struct weight *weight, struct product_kernel k)
{
    const float *residual = k.residual, *bias = weight->bias;
    float *out = k.out;
    enum precision halved = PRECISION_EXACT;
    for (int i = 0, first = 0; i < weight->segment_count; first += weight->segments[i].rows, i++) {
        enum precision precision = weight->precisions[i];
        k.weight = weight->segments[i];
        k.bias = bias ? bias + first : NULL;
        k.residual = residual ? residual + first : NULL;
        k.out = out + first;
        if (precision != PRECISION_EXACT && precision != halved && !halve(cuda, &k, precision))
            return false;
        halved = precision == PRECISION_EXACT ? halved : precision;
        cudaError_t status = precision == PRECISION_EXACT
                                 ? product_exact_launch(&k, cuda->stream)
                                 : product_tensor_launch(&k, precision, cuda->stream);
        if (!cuda_check(cuda, status, "product"))
            return false;
    }
    return true;
}

void cuda_linear(struct backend *b, const struct linear_args *args)
{
    struct cuda_backend *cuda = cuda_of(b);
    const struct weight *weight = args->weight;
    size_t width = args->gated ? weight->out / 2 : weight->out, mark = scratch_mark(cuda);
    assert(args->in.width == weight->in && args->out.width == width && args->out.rows == args->in.rows);
    assert(!args->gated || weight->out % 2 == 0);
    assert(!args->residual || (args->residual->rows == args->in.rows && args->residual->width == width));
    if (cuda->failed || args->in.rows == 0)
        return;
    struct product_kernel product = {
        .in = tensor_at(args->in),
        .in_stride = args->in.stride,
        .out = tensor_at(args->out),
        .out_stride = args->out.stride,
        .rows = (int)args->in.rows,
        .k = (int)weight->in,
        .activation = args->gated ? ACTIVATION_NONE : (int)args->activation,
    };
    struct gate_kernel gate = {
        .out = product.out,
        .out_stride = product.out_stride,
        .in_stride = weight->out,
        .rows = product.rows,
        .width = (int)width,
        .activation = (int)args->activation,
    };
    if (args->residual) {
        gate.residual = product.residual = tensor_at(*args->residual);
        gate.residual_stride = product.residual_stride = args->residual->stride;
    }
    if (args->gated) {
        float *halves = scratch_take(cuda, args->in.rows * weight->out, sizeof(float));
        gate.in = product.out = halves;
        product.out_stride = weight->out;
        product.residual = NULL;
        if (!halves)
            return;
    }
    if (multiply(cuda, weight, product) && args->gated)
        cuda_check(cuda, gate_launch(&gate, cuda->stream), "gate");
    scratch_release(cuda, mark);
}
