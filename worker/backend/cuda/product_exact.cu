/* Products in float32, with weights of any form decoded on the way.
 *
 * A sum over k is defined once and computed the same by both kernels, so that a row's result does not depend
 * on how many rows there are: blocks of 32 values, each summed in order by fused multiply-adds, and added up
 * in order.
 *
 * product_few: up to FEW_ROWS rows. Reading the weight is the time (rows * k * 4 bytes of activations are
 * little and stay in cache), so a warp takes OUTPUTS rows of it, a lane a block of 32 values: neighbouring
 * lanes read neighbouring memory. Each lane's sums go through shared memory to one lane an output, which adds
 * them up in order. Grid: [outputs / (WARPS * OUTPUTS)][rows / ROWS]; ROWS rows share each decoded value.
 * product_many: a tile of 64 rows x 64 outputs a block, 4 x 4 a thread, 32 of k at a time through shared
 * memory, the next ones on their way in registers. Reads (rows / 64) times the weight and (outputs / 64)
 * times the activations; 64 multiply-adds for 16 values read from shared memory. */
#include "worker/backend/cuda/decode.cuh"
#include "worker/backend/cuda/epilogue.cuh"

enum {
    BLOCK_K = 32,
    WARPS = 4,
    OUTPUTS = 4, /* of a warp */
    GROUP_K = WARP * BLOCK_K,
    X_STRIDE = BLOCK_K + 4, /* lanes that read 16 bytes each from their own blocks hit different banks */
    TILE = 64,
    TILE_STRIDE = TILE + 4,
    TILE_THREADS = 256,
};

/* ---- few rows ---- */

/* Activations of ROWS rows, the blocks of [first, first + GROUP_K) that there are, to shared memory; zeros
 * beyond k. */
template <int ROWS>
static __device__ __forceinline__ void load_group(
    const product_kernel &p, int row, int first, float (*x)[WARP * X_STRIDE])
{
    const int length = min(GROUP_K, (p.k - first + BLOCK_K - 1) / BLOCK_K * BLOCK_K);
    for (int i = static_cast<int>(threadIdx.x); i < ROWS * length; i += WARPS * WARP) {
        const int r = i / length, k = i % length;
        const bool there = row + r < p.rows && first + k < p.k;
        x[r][k / BLOCK_K * X_STRIDE + k % BLOCK_K] = there ? p.in[(row + r) * p.in_stride + first + k] : 0.0F;
    }
}

/* sums[o][r]: the products of this lane's block with the rows of activations. */
template <enum form FORM, int ROWS>
static __device__ __forceinline__ void block_sums(const product_kernel &p, int output, int k,
    const float (*x)[WARP * X_STRIDE], float (&sums)[OUTPUTS][ROWS])
{
    const int lane = static_cast<int>(threadIdx.x) % WARP;
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) {
        const uint8_t *weights = p.weight.data + min(output + o, p.weight.rows - 1) * p.weight.row_bytes;
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            sums[o][r] = 0.0F;
#pragma unroll
        for (int i = 0; i < BLOCK_K; i += 8) {
            float w[8];
            if (k + i >= p.k)
                break;
            decode_8(FORM, weights, k + i, w);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                const float4 *values = reinterpret_cast<const float4 *>(x[r] + lane * X_STRIDE + i);
                const float4 low = values[0], high = values[1];
                sums[o][r] = fmaf(low.x, w[0], sums[o][r]);
                sums[o][r] = fmaf(low.y, w[1], sums[o][r]);
                sums[o][r] = fmaf(low.z, w[2], sums[o][r]);
                sums[o][r] = fmaf(low.w, w[3], sums[o][r]);
                sums[o][r] = fmaf(high.x, w[4], sums[o][r]);
                sums[o][r] = fmaf(high.y, w[5], sums[o][r]);
                sums[o][r] = fmaf(high.z, w[6], sums[o][r]);
                sums[o][r] = fmaf(high.w, w[7], sums[o][r]);
            }
        }
    }
}

template <enum form FORM, int ROWS>
static __global__ void __launch_bounds__(WARPS *WARP) product_few(const product_kernel p)
{
    __shared__ __align__(16) float x[ROWS][WARP * X_STRIDE];
    __shared__ float joined[WARPS][OUTPUTS * ROWS][WARP + 1];
    const int warp = static_cast<int>(threadIdx.x) / WARP, lane = static_cast<int>(threadIdx.x) % WARP;
    const int output = (static_cast<int>(blockIdx.x) * WARPS + warp) * OUTPUTS;
    const int row = static_cast<int>(blockIdx.y) * ROWS;
    float total = 0.0F; /* lane o * ROWS + r: of output o and row r */
    for (int first = 0; first < p.k; first += GROUP_K) {
        float sums[OUTPUTS][ROWS];
        load_group<ROWS>(p, row, first, x);
        __syncthreads();
        block_sums<FORM, ROWS>(p, output, first + lane * BLOCK_K, x, sums);
#pragma unroll
        for (int o = 0; o < OUTPUTS; o++)
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                joined[warp][o * ROWS + r][lane] = sums[o][r];
        __syncthreads();
        const int blocks = min(WARP, (p.k - first + BLOCK_K - 1) / BLOCK_K);
        if (lane < OUTPUTS * ROWS)
            for (int b = 0; b < blocks; b++)
                total += joined[warp][lane][b];
    }
    if (lane < OUTPUTS * ROWS && output + lane / ROWS < p.weight.rows && row + lane % ROWS < p.rows)
        finish(p, row + lane % ROWS, output + lane / ROWS, total);
}

template <enum form FORM> static void launch_few(const product_kernel &p, cudaStream_t stream)
{
    const unsigned blocks = (p.weight.rows + WARPS * OUTPUTS - 1) / (WARPS * OUTPUTS);
    if (p.rows == 1)
        product_few<FORM, 1><<<blocks, WARPS * WARP, 0, stream>>>(p);
    else
        product_few<FORM, 4><<<dim3(blocks, (p.rows + 3) / 4), WARPS * WARP, 0, stream>>>(p);
}

/* ---- many rows ---- */

/* Eight of k of one row, zeros beyond the matrix. */
static __device__ __forceinline__ void load_row_part(const product_kernel &p, int row, int k, float (&x)[8])
{
    const float *in = p.in + min(row, p.rows - 1) * p.in_stride;
#pragma unroll
    for (int i = 0; i < 8; i++)
        x[i] = row < p.rows && k + i < p.k ? in[k + i] : 0.0F;
}

static __device__ __forceinline__ void load_weight_part(
    const product_kernel &p, int output, int k, float (&w)[8])
{
    if (k < p.k) {
        decode_8(p.weight.form, p.weight.data + min(output, p.weight.rows - 1) * p.weight.row_bytes, k, w);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        w[i] = 0.0F;
}

/* sums += the products of 32 of k. */
static __device__ __forceinline__ void multiply_tile(
    const float (*a)[TILE_STRIDE], const float (*b)[TILE_STRIDE], int row, int output, float (&totals)[4][4])
{
    float sums[4][4] = {};
#pragma unroll
    for (int k = 0; k < BLOCK_K; k++) {
        const float4 x = *reinterpret_cast<const float4 *>(&a[k][row]);
        const float4 w = *reinterpret_cast<const float4 *>(&b[k][output]);
        const float xs[4] = {x.x, x.y, x.z, x.w}, ws[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int r = 0; r < 4; r++)
#pragma unroll
            for (int o = 0; o < 4; o++)
                sums[r][o] = fmaf(xs[r], ws[o], sums[r][o]);
    }
#pragma unroll
    for (int r = 0; r < 4; r++)
#pragma unroll
        for (int o = 0; o < 4; o++)
            totals[r][o] += sums[r][o];
}

/* Grid: [outputs / 64][rows / 64]. */
static __global__ void __launch_bounds__(TILE_THREADS) product_many(const product_kernel p)
{
    __shared__ __align__(16) float a[BLOCK_K][TILE_STRIDE], b[BLOCK_K][TILE_STRIDE];
    const int thread = static_cast<int>(threadIdx.x), line = thread % TILE, part = thread / TILE * 8;
    const int first_row = static_cast<int>(blockIdx.y) * TILE,
              first_output = static_cast<int>(blockIdx.x) * TILE;
    const int row = thread / 16 * 4, output = thread % 16 * 4;
    float totals[4][4] = {}, x[8], w[8];
    load_row_part(p, first_row + line, part, x);
    load_weight_part(p, first_output + line, part, w);
    for (int k = 0; k < p.k; k += BLOCK_K) {
#pragma unroll
        for (int i = 0; i < 8; i++) {
            a[part + i][line] = x[i];
            b[part + i][line] = w[i];
        }
        __syncthreads();
        load_row_part(p, first_row + line, k + BLOCK_K + part, x);
        load_weight_part(p, first_output + line, k + BLOCK_K + part, w);
        multiply_tile(a, b, row, output, totals);
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 4; r++)
#pragma unroll
        for (int o = 0; o < 4; o++)
            if (first_row + row + r < p.rows && first_output + output + o < p.weight.rows)
                finish(p, first_row + row + r, first_output + output + o, totals[r][o]);
}

cudaError_t product_exact_launch(const struct product_kernel *p, cudaStream_t stream)
{
    if (p->rows > FEW_ROWS) {
        const dim3 grid((p->weight.rows + TILE - 1) / TILE, (p->rows + TILE - 1) / TILE);
        product_many<<<grid, TILE_THREADS, 0, stream>>>(*p);
        return cudaGetLastError();
    }
    switch (p->weight.form) {
    case FORM_F32: launch_few<FORM_F32>(*p, stream); break;
    case FORM_F16: launch_few<FORM_F16>(*p, stream); break;
    case FORM_BF16: launch_few<FORM_BF16>(*p, stream); break;
    case FORM_I8: launch_few<FORM_I8>(*p, stream); break;
    case FORM_Q4_0: launch_few<FORM_Q4_0>(*p, stream); break;
    case FORM_Q5_0: launch_few<FORM_Q5_0>(*p, stream); break;
    case FORM_Q8_0: launch_few<FORM_Q8_0>(*p, stream); break;
    case FORM_Q4_K: launch_few<FORM_Q4_K>(*p, stream); break;
    case FORM_Q5_K: launch_few<FORM_Q5_K>(*p, stream); break;
    case FORM_Q6_K: launch_few<FORM_Q6_K>(*p, stream); break;
    }
    return cudaGetLastError();
}
