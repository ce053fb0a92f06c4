/* Products with weights: one launch for each run of rows that are stored alike, mostly one. A gated product
 * writes both halves to scratch and joins them by a kernel of its own: the halves may be stored differently.
 */
#include "worker/backend/cuda/device.h"

static bool multiply(struct cuda_backend *cuda, const struct weight *weight, struct product_kernel k)
{
    const float *residual = k.residual, *bias = weight->bias;
    float *out = k.out;
    for (int i = 0, first = 0; i < weight->segment_count; first += weight->segments[i].rows, i++) {
        k.weight = weight->segments[i];
        k.bias = bias ? bias + first : NULL;
        k.residual = residual ? residual + first : NULL;
        k.out = out + first;
        if (!cuda_check(cuda, product_exact_launch(&k, cuda->stream), "product"))
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
