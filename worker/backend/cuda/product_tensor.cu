/* Products on tensor cores: both factors in 16 bits, sums in float32.
 *
 * halve: activations to 16 bits, once a product. In f16 each row is first divided by a power of two that
 * brings its largest value just below 2^15, so that nothing overflows (T5's states do otherwise); the sum is
 * multiplied back. product_tile: a tile of ROWS x OUTPUTS a block, over k in steps of DEPTH that are fetched
 * STAGES - 1 ahead: weights stored in these 16 bits by cp.async, other forms by decoding one step ahead into
 * registers. Fragments by ldmatrix (a row's stride is an odd number of 16 bytes: no bank conflicts), products
 * by mma.sync m16n8k16. Each sum is one chain of mma over k in steps of 16 whatever the tile's shape, so a
 * row's result does not depend on how many rows there are. Reads (rows / ROWS) times the weight, (outputs /
 * OUTPUTS) times the activations.
 *
 * Grid: [outputs / OUTPUTS][rows / ROWS]. Three shapes: for up to 16 rows weights are the time, so blocks are
 * small and many, deep in k, with 32 KiB of weights under way each; for many, arithmetic is, and a warp's 64
 * x 32 tile does 32 products for every 16 values that it reads from shared memory. */
#include "worker/backend/cuda/decode.cuh"
#include "worker/backend/cuda/epilogue.cuh"
#include "worker/backend/cuda/mma.cuh"

enum { STEP = 16, PAD = 8, CHUNK = 8, HALVE_THREADS = 256 };

template <precision P> static __device__ __forceinline__ uint16_t rounded(float v)
{
    return P == PRECISION_F16 ? __half_as_ushort(__float2half_rn(v))
                              : __bfloat16_as_ushort(__float2bfloat16_rn(v));
}

template <precision P> static __device__ __forceinline__ uint32_t rounded_pair(float low, float high)
{
    return static_cast<uint32_t>(rounded<P>(low)) | static_cast<uint32_t>(rounded<P>(high)) << 16;
}

/* ---- activations ---- */

template <precision P> static __global__ void __launch_bounds__(HALVE_THREADS) halve(const halve_kernel h)
{
    __shared__ float warps[HALVE_THREADS / WARP];
    const float *in = h.in + blockIdx.x * h.in_stride;
    uint16_t *out = h.halves + blockIdx.x * h.half_stride;
    float scale = 1.0F;
    if (P == PRECISION_F16) {
        float largest = 0.0F;
        for (int i = static_cast<int>(threadIdx.x); i < h.k; i += HALVE_THREADS)
            largest = fmaxf(largest, fabsf(in[i]));
        largest = block_max(largest, warps);
        int exponent;
        if (largest > 0.0F && largest < INFINITY) {
            frexpf(largest, &exponent);
            scale = ldexpf(1.0F, min(max(exponent - 15, -100), 100));
        }
    }
    for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(h.half_stride); i += HALVE_THREADS)
        out[i] = i < h.k ? rounded<P>(in[i] / scale) : 0;
    if (threadIdx.x == 0)
        h.row_scales[blockIdx.x] = scale;
}

cudaError_t halve_launch(const struct halve_kernel *h, enum precision precision, cudaStream_t stream)
{
    if (precision == PRECISION_F16)
        halve<PRECISION_F16><<<h->rows, HALVE_THREADS, 0, stream>>>(*h);
    else
        halve<PRECISION_BF16><<<h->rows, HALVE_THREADS, 0, stream>>>(*h);
    return cudaGetLastError();
}

/* ---- tiles ---- */

template <int ROWS_, int OUTPUTS_, int DEPTH_, int STAGES_, int WARP_ROWS_, int WARP_OUTPUTS_> struct shape {
    enum {
        ROWS = ROWS_,
        OUTPUTS = OUTPUTS_,
        DEPTH = DEPTH_,
        STAGES = STAGES_,
        WARP_ROWS = WARP_ROWS_, /* of a warp's part of the tile */
        WARP_OUTPUTS = WARP_OUTPUTS_,
        WARPS_ACROSS = OUTPUTS / WARP_OUTPUTS,
        THREADS = ROWS / WARP_ROWS * WARPS_ACROSS * WARP,
        STRIDE = DEPTH + PAD,
        CHUNKS = DEPTH / CHUNK, /* of 16 bytes in a row of the tile */
        STAGE = (ROWS + OUTPUTS) * STRIDE,
        BYTES = STAGE * STAGES * 2,
    };
};
using few_shape = shape<16, 32, 128, 5, 16, 16>;
using some_shape = shape<64, 64, 64, 4, 32, 32>;
using many_shape = shape<128, 128, 32, 4, 64, 32>;

/* Activations of a step, by cp.async. */
template <class S>
static __device__ __forceinline__ void fetch_rows(const product_kernel &p, int first, int k, uint16_t *tile)
{
    for (int i = static_cast<int>(threadIdx.x); i < S::ROWS * S::CHUNKS; i += S::THREADS) {
        const int r = i / S::CHUNKS, c = i % S::CHUNKS * CHUNK;
        const bool there = first + r < p.rows && k + c < p.k;
        copy_async(tile + r * S::STRIDE + c,
            there ? p.halves + (first + r) * p.half_stride + k + c : p.halves, there ? 16 : 0);
    }
}

/* Weights of a step that are stored in the 16 bits they are multiplied in. */
template <class S>
static __device__ __forceinline__ void fetch_weights(
    const product_kernel &p, int first, int k, uint16_t *tile)
{
    for (int i = static_cast<int>(threadIdx.x); i < S::OUTPUTS * S::CHUNKS; i += S::THREADS) {
        const int o = i / S::CHUNKS, c = i % S::CHUNKS * CHUNK;
        const bool there = first + o < p.weight.rows && k + c < p.k;
        copy_async(tile + o * S::STRIDE + c,
            there ? p.weight.data + (first + o) * p.weight.row_bytes + (k + c) * 2 : p.weight.data,
            there ? 16 : 0);
    }
}

/* Weights of a step in any other form: decoded into registers, stored when their stage is free. */
template <class S, precision P> struct decoded_weights {
    enum { MINE = S::OUTPUTS * S::CHUNKS / S::THREADS };
    uint4 chunks[MINE];

    __device__ __forceinline__ void read(const product_kernel &p, int first, int k)
    {
#pragma unroll
        for (int m = 0; m < MINE; m++) {
            const int i = m * S::THREADS + static_cast<int>(threadIdx.x);
            const int o = min(first + i / S::CHUNKS, p.weight.rows - 1), c = k + i % S::CHUNKS * CHUNK;
            float w[8] = {};
            if (c < p.k)
                decode_8(p.weight.form, p.weight.data + o * p.weight.row_bytes, c, w);
            chunks[m] = make_uint4(rounded_pair<P>(w[0], w[1]), rounded_pair<P>(w[2], w[3]),
                rounded_pair<P>(w[4], w[5]), rounded_pair<P>(w[6], w[7]));
        }
    }
    __device__ __forceinline__ void write(uint16_t *tile) const
    {
#pragma unroll
        for (int m = 0; m < MINE; m++) {
            const int i = m * S::THREADS + static_cast<int>(threadIdx.x);
            *reinterpret_cast<uint4 *>(tile + i / S::CHUNKS * S::STRIDE + i % S::CHUNKS * CHUNK) = chunks[m];
        }
    }
};

/* sums += the products of one step; row and output: of this warp's part in the tile. */
template <class S, precision P>
static __device__ __forceinline__ void multiply_step(const uint16_t *rows, const uint16_t *weights, int row,
    int output, float (&sums)[S::WARP_ROWS / 16][S::WARP_OUTPUTS / 8][4])
{
    const int lane = static_cast<int>(threadIdx.x) % WARP;
    const uint16_t *a_row = rows + (row + lane % 16) * S::STRIDE + lane / 16 * 8;
    const uint16_t *b_row = weights + (output + lane % 8 + lane / 16 * 8) * S::STRIDE + lane / 8 % 2 * 8;
#pragma unroll
    for (int k = 0; k < S::DEPTH; k += STEP) {
        uint32_t a[S::WARP_ROWS / 16][4], b[S::WARP_OUTPUTS / 16][4];
#pragma unroll
        for (int r = 0; r < S::WARP_ROWS / 16; r++)
            load_matrices(a[r], a_row + r * 16 * S::STRIDE + k);
#pragma unroll
        for (int o = 0; o < S::WARP_OUTPUTS / 16; o++)
            load_matrices(b[o], b_row + o * 16 * S::STRIDE + k);
#pragma unroll
        for (int r = 0; r < S::WARP_ROWS / 16; r++)
#pragma unroll
            for (int o = 0; o < S::WARP_OUTPUTS / 8; o++) {
                const uint32_t column[2] = {b[o / 2][o % 2 * 2], b[o / 2][o % 2 * 2 + 1]};
                mma_16x8x16<P>(sums[r][o], a[r], column);
            }
    }
}

template <class S>
static __device__ __forceinline__ void write_sums(const product_kernel &p, int row, int output,
    const float (&sums)[S::WARP_ROWS / 16][S::WARP_OUTPUTS / 8][4])
{
    const int lane = static_cast<int>(threadIdx.x) % WARP;
#pragma unroll
    for (int r = 0; r < S::WARP_ROWS / 16; r++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int at = row + r * 16 + half * 8 + lane / 4;
            if (at >= p.rows)
                continue;
            const float scale = p.row_scales[at];
#pragma unroll
            for (int o = 0; o < S::WARP_OUTPUTS / 8; o++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const int column = output + o * 8 + lane % 4 * 2 + i;
                    if (column < p.weight.rows)
                        finish(p, at, column, sums[r][o][half * 2 + i] * scale);
                }
        }
}

template <class S, precision P, bool STORED>
static __global__ void __launch_bounds__(S::THREADS) product_tile(const product_kernel p)
{
    extern __shared__ __align__(16) uint16_t stages[];
    const int warp = static_cast<int>(threadIdx.x) / WARP;
    const int first_row = static_cast<int>(blockIdx.y) * S::ROWS,
              first_output = static_cast<int>(blockIdx.x) * S::OUTPUTS;
    const int row = warp / S::WARPS_ACROSS * S::WARP_ROWS, output = warp % S::WARPS_ACROSS * S::WARP_OUTPUTS;
    const int steps = (p.k + S::DEPTH - 1) / S::DEPTH;
    float sums[S::WARP_ROWS / 16][S::WARP_OUTPUTS / 8][4] = {};
    decoded_weights<S, P> decoded;
    /* stage s: rows, then weights */
    for (int s = 0; s < S::STAGES - 1; s++) {
        uint16_t *stage = stages + s * S::STAGE;
        if (s < steps) {
            fetch_rows<S>(p, first_row, s * S::DEPTH, stage);
            if (STORED) {
                fetch_weights<S>(p, first_output, s * S::DEPTH, stage + S::ROWS * S::STRIDE);
            } else {
                decoded.read(p, first_output, s * S::DEPTH);
                decoded.write(stage + S::ROWS * S::STRIDE);
            }
        }
        copy_async_commit();
    }
    for (int step = 0; step < steps; step++) {
        copy_async_wait<S::STAGES - 2>();
        __syncthreads();
        const int next = step + S::STAGES - 1;
        uint16_t *free_stage = stages + next % S::STAGES * S::STAGE;
        if (next < steps) {
            fetch_rows<S>(p, first_row, next * S::DEPTH, free_stage);
            if (STORED)
                fetch_weights<S>(p, first_output, next * S::DEPTH, free_stage + S::ROWS * S::STRIDE);
            else
                decoded.read(p, first_output, next * S::DEPTH);
        }
        copy_async_commit();
        const uint16_t *stage = stages + step % S::STAGES * S::STAGE;
        multiply_step<S, P>(stage, stage + S::ROWS * S::STRIDE, row, output, sums);
        if (!STORED && next < steps)
            decoded.write(free_stage + S::ROWS * S::STRIDE);
    }
    write_sums<S>(p, first_row + row, first_output + output, sums);
}

template <class S, precision P, bool STORED>
static cudaError_t launch(const product_kernel &p, cudaStream_t stream)
{
    const dim3 grid((p.weight.rows + S::OUTPUTS - 1) / S::OUTPUTS, (p.rows + S::ROWS - 1) / S::ROWS);
    product_tile<S, P, STORED><<<grid, S::THREADS, S::BYTES, stream>>>(p);
    return cudaGetLastError();
}

template <precision P, bool STORED>
static cudaError_t launch_shape(const product_kernel &p, cudaStream_t stream)
{
    if (p.rows <= few_shape::ROWS)
        return launch<few_shape, P, STORED>(p, stream);
    return p.rows <= 2 * some_shape::ROWS ? launch<some_shape, P, STORED>(p, stream)
                                          : launch<many_shape, P, STORED>(p, stream);
}

cudaError_t product_tensor_launch(
    const struct product_kernel *p, enum precision precision, cudaStream_t stream)
{
    if (precision == PRECISION_F16)
        return p->weight.form == FORM_F16 ? launch_shape<PRECISION_F16, true>(*p, stream)
                                          : launch_shape<PRECISION_F16, false>(*p, stream);
    return p->weight.form == FORM_BF16 ? launch_shape<PRECISION_BF16, true>(*p, stream)
                                       : launch_shape<PRECISION_BF16, false>(*p, stream);
}

template <class S, precision P> static cudaError_t allow(void)
{
    const cudaError_t status =
        cudaFuncSetAttribute(product_tile<S, P, true>, cudaFuncAttributeMaxDynamicSharedMemorySize, S::BYTES);
    return status != cudaSuccess ? status
                                 : cudaFuncSetAttribute(product_tile<S, P, false>,
                                       cudaFuncAttributeMaxDynamicSharedMemorySize, S::BYTES);
}

template <precision P> static cudaError_t allow_shapes(void)
{
    cudaError_t status = allow<few_shape, P>();
    status = status == cudaSuccess ? allow<some_shape, P>() : status;
    return status == cudaSuccess ? allow<many_shape, P>() : status;
}

cudaError_t product_prepare(void)
{
    const cudaError_t status = allow_shapes<PRECISION_F16>();
    return status == cudaSuccess ? allow_shapes<PRECISION_BF16>() : status;
}
