/* Operations on rows. A block takes a row (norms of heads: a warp takes a head); every operand is read once
 * from memory (norms read theirs again from L1) and the result is written once, so the bytes are the time. */
#include "worker/backend/cuda/decode.cuh"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/math.cuh"

enum { ROW_THREADS = 256 };

/* ---- embedding: a thread takes eight columns of a row ---- */

static __global__ void __launch_bounds__(ROW_THREADS) embed(const embed_kernel k)
{
    float *out = k.out + blockIdx.x * k.out_stride;
    for (int column = static_cast<int>(threadIdx.x) * 8; column < k.width; column += ROW_THREADS * 8) {
        float sum[8] = {0};
        for (int t = 0; t < k.terms; t++) {
            int row = k.term[t].ids[blockIdx.x];
            const segment *s = k.term[t].segments;
            for (; row >= s->rows; s++)
                row -= s->rows;
            float w[8];
            decode_8(s->form, s->data + row * s->row_bytes, column, w);
            const float own = s->form == FORM_I8 ? s->scales[row] : 1.0F;
#pragma unroll
            for (int i = 0; i < 8; i++)
                sum[i] = __fadd_rn(sum[i], __fmul_rn(__fmul_rn(w[i], own), k.term[t].scale));
        }
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (column + i < k.width)
                out[column + i] = sum[i];
    }
}

cudaError_t embed_launch(const struct embed_kernel *k, cudaStream_t stream)
{
    embed<<<k->rows, ROW_THREADS, 0, stream>>>(*k);
    return cudaGetLastError();
}

/* ---- norms: mean, then squares around it, then the result ---- */

/* One group of a row, by `threads` threads of which this is number `thread`; `total` sums over them. Where
 * the sum with the residual is kept, it is written first and read from there: it may be one of the inputs. */
template <class Total>
static __device__ __forceinline__ void norm_group(
    const norm_kernel &k, size_t row, int first, int thread, int threads, Total total)
{
    const float *x = k.in + row * k.in_stride + first;
    const float *residual = k.residual ? k.residual + row * k.residual_stride + first : nullptr;
    float mean = 0.0F, squares = 0.0F;
    if (k.sum) {
        float *sum = k.sum + row * k.sum_stride + first;
        for (int i = thread; i < k.group; i += threads)
            sum[i] = residual ? x[i] + residual[i] : x[i];
        x = sum;
        residual = nullptr;
    }
    if (k.centred) {
        for (int i = thread; i < k.group; i += threads)
            mean += residual ? x[i] + residual[i] : x[i];
        mean = total(mean) / static_cast<float>(k.group);
    }
    for (int i = thread; i < k.group; i += threads) {
        const float v = (residual ? x[i] + residual[i] : x[i]) - mean;
        squares = fmaf(v, v, squares);
    }
    const float inverse = 1.0F / sqrtf(total(squares) / static_cast<float>(k.group) + k.epsilon);
    float *out = k.out + row * k.out_stride + first;
    const float *after = k.after ? k.after + row * k.after_stride + first : nullptr;
    for (int i = thread; i < k.group; i += threads) {
        float v = ((residual ? x[i] + residual[i] : x[i]) - mean) * inverse;
        v = k.weight ? v * k.weight[i] : v;
        v = k.bias ? v + k.bias[i] : v;
        out[i] = after ? v + after[i] : v;
    }
}

static __global__ void __launch_bounds__(ROW_THREADS) norm_rows(const norm_kernel k)
{
    __shared__ float warps[ROW_THREADS / WARP];
    norm_group(k, blockIdx.x, 0, static_cast<int>(threadIdx.x), ROW_THREADS,
        [](float x) { return block_sum(x, warps); });
}

static __global__ void __launch_bounds__(ROW_THREADS) norm_heads(const norm_kernel k)
{
    const int warp = static_cast<int>(threadIdx.x) / WARP, lane = static_cast<int>(threadIdx.x) % WARP;
    for (int first = warp * k.group; first < k.width; first += ROW_THREADS / WARP * k.group)
        norm_group(k, blockIdx.x, first, lane, WARP, warp_sum);
}

cudaError_t norm_launch(const struct norm_kernel *k, cudaStream_t stream)
{
    if (k->group == k->width)
        norm_rows<<<k->rows, ROW_THREADS, 0, stream>>>(*k);
    else
        norm_heads<<<k->rows, ROW_THREADS, 0, stream>>>(*k);
    return cudaGetLastError();
}

/* ---- rotation: a thread takes a pair of columns of every head, and computes its angle once ---- */

enum { ROPE_THREADS = 64 };

static __global__ void __launch_bounds__(ROPE_THREADS) rope(const rope_kernel k)
{
    const float position = static_cast<float>(k.positions[blockIdx.x]);
    const int step = k.interleaved ? 2 : 1, far = k.interleaved ? 1 : k.pairs;
    for (int i = static_cast<int>(threadIdx.x); i < k.pairs; i += ROPE_THREADS) {
        float sine, cosine;
        sincosf(position * k.inverse_frequency[i], &sine, &cosine);
        sine *= k.scale;
        cosine *= k.scale;
        float *x = k.x + blockIdx.x * k.stride + i * step;
        for (int head = 0; head < k.heads; head++, x += k.head_dim) {
            const float low = x[0], high = x[far];
            x[0] = low * cosine - high * sine;
            x[far] = high * cosine + low * sine;
        }
    }
}

cudaError_t rope_launch(const struct rope_kernel *k, cudaStream_t stream)
{
    rope<<<k->rows, ROPE_THREADS, 0, stream>>>(*k);
    return cudaGetLastError();
}

/* ---- moving, adding, gating: a thread takes a column ---- */

static __global__ void __launch_bounds__(ROW_THREADS) move_rows(const move_kernel k)
{
    const size_t from = k.from ? k.from[blockIdx.x] : blockIdx.x, to = k.to ? k.to[blockIdx.x] : blockIdx.x;
    for (int i = static_cast<int>(threadIdx.x); i < k.width; i += ROW_THREADS)
        k.out[to * k.out_stride + i] = k.in[from * k.in_stride + i];
}

cudaError_t move_launch(const struct move_kernel *k, cudaStream_t stream)
{
    move_rows<<<k->rows, ROW_THREADS, 0, stream>>>(*k);
    return cudaGetLastError();
}

static __global__ void __launch_bounds__(ROW_THREADS) add_rows(const add_kernel k)
{
    for (int i = static_cast<int>(threadIdx.x); i < k.width; i += ROW_THREADS) {
        float v = k.x[blockIdx.x * k.x_stride + i];
        v = k.y ? v + k.y[blockIdx.x * k.y_stride + i] : v;
        k.out[blockIdx.x * k.out_stride + i] = capped(k.scale * v, k.soft_cap);
    }
}

cudaError_t add_launch(const struct add_kernel *k, cudaStream_t stream)
{
    add_rows<<<k->rows, ROW_THREADS, 0, stream>>>(*k);
    return cudaGetLastError();
}

static __global__ void __launch_bounds__(ROW_THREADS) gate_rows(const gate_kernel k)
{
    const float *in = k.in + blockIdx.x * k.in_stride;
    for (int i = static_cast<int>(threadIdx.x); i < k.width; i += ROW_THREADS) {
        float v = activated(k.activation, in[i]) * in[k.width + i];
        v = k.residual ? v + k.residual[blockIdx.x * k.residual_stride + i] : v;
        k.out[blockIdx.x * k.out_stride + i] = v;
    }
}

cudaError_t gate_launch(const struct gate_kernel *k, cudaStream_t stream)
{
    gate_rows<<<k->rows, ROW_THREADS, 0, stream>>>(*k);
    return cudaGetLastError();
}
