#include "tests/cuda/emulation_kernels.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

static __global__ void reverse(reverse_mistake mistake, float *out, const float *in)
{
    __shared__ float values[EMULATION_THREADS];
    const int thread = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
    out += n * static_cast<int>(blockIdx.x);
    const float mine = in[thread - (mistake == REVERSE_READ_BEFORE && thread == 0)];
    if (mistake == REVERSE_HOST_POINTER)
        *out = mine;
    if (mistake != REVERSE_UNSET || thread != 5)
        values[thread] = mine;
    if (mistake == REVERSE_SHARED_BEYOND && thread == 7) {
        float *end = values + n;
        end[thread - 7] = 0;
    }
    if (mistake == REVERSE_TWO_BARRIERS) {
        if (thread < n / 2)
            __syncthreads();
        else
            __syncthreads();
    } else if (mistake == REVERSE_DIVERGENT) {
        if (thread >= n / 2)
            return;
        __syncthreads();
    } else if (mistake != REVERSE_NO_BARRIER) {
        __syncthreads();
    }
    const float other = values[n - 1 - thread];
    if (mistake != REVERSE_NO_SECOND)
        __syncthreads();
    values[thread] = other;
    out[thread + (mistake == REVERSE_WRITE_BEYOND && blockIdx.x == 1 && thread == n - 1)] = values[thread];
}

void reverse_launch(reverse_mistake mistake, float *out, const float *in, int threads, cudaStream_t stream)
{
    reverse<<<2, threads, 0, stream>>>(mistake, out, in);
}

static __global__ void sums(sum_mistake mistake, int *out, const int *in)
{
    extern __shared__ int shared[];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int mine = in[threadIdx.x];
    int by_shuffle = mine;
    if (mistake == SUM_DEAD_LANE && lane == 31)
        return;
    if (mistake == SUM_DIVERGENT_SHUFFLE && lane >= 16)
        by_shuffle += __shfl_down_sync(0xffffffff, by_shuffle, 1);
    const unsigned mask = mistake == SUM_WRONG_MASK ? 0xffff : 0xffffffff;
    for (int step = 16; step > 0; step /= 2)
        by_shuffle += __shfl_xor_sync(mask, by_shuffle, step);
    shared[threadIdx.x] = mine;
    if (mistake != SUM_NO_SYNCWARP)
        __syncwarp();
    int by_memory = 0, by_votes = 0;
    for (unsigned i = 0; i < 32; i++)
        by_memory += shared[warp * 32 + i];
    for (int bit = 0; bit < 8; bit++)
        by_votes += __popc(__ballot_sync(0xffffffff, mine >> bit & 1)) << bit;
    atomicAdd(&out[warp * 5], mine);
    if (lane == 0) {
        out[warp * 5 + 1] = by_shuffle;
        out[warp * 5 + 2] = by_memory;
    }
    const int by_reduce = __reduce_add_sync(0xffffffff, mine);
    if (lane == 31) {
        out[warp * 5 + 3] = by_votes;
        out[warp * 5 + 4] = by_reduce;
    }
}

void sums_launch(sum_mistake mistake, int *out, const int *in, int warps, cudaStream_t stream)
{
    sums<<<1, warps * 32, warps * 32 * sizeof(int), stream>>>(mistake, out, in);
}

static __global__ void exchange(exchange_mistake mistake, int *out, int *through)
{
    const int thread = static_cast<int>(threadIdx.x), first = 64 * static_cast<int>(blockIdx.x);
    through[first + thread] = thread;
    if (mistake != EXCHANGE_NO_BARRIER)
        __syncthreads();
    out[first + thread] = through[(mistake == EXCHANGE_OTHER_BLOCK ? 0 : first) + 63 - thread];
    if (mistake == EXCHANGE_SAME_PLACE && thread == 9)
        out[128] = 1;
    if (thread < 2)
        atomicAdd(&out[129], 1);
}

void exchange_launch(exchange_mistake mistake, int *out, int *through, cudaStream_t stream)
{
    exchange<<<2, 64, 0, stream>>>(mistake, out, through);
}

static __global__ void vectors(vector_mistake mistake, float *out, const float *in, int index)
{
    float local[4];
    for (int i = 0; i < 4; i++)
        local[i] = in[i] * 2;
    const float4 v = *reinterpret_cast<const float4 *>(in + (mistake == VECTOR_MISALIGNED));
    *reinterpret_cast<float4 *>(out) = v;
    out[4] = local[mistake == VECTOR_LOCAL_INDEX ? index + 2 : index];
}

void vector_launch(vector_mistake mistake, float *out, const float *in, int index, cudaStream_t stream)
{
    vectors<<<1, 1, 0, stream>>>(mistake, out, in, index);
}

static __global__ void copy_through(copy_mistake mistake, float *out, const float *in)
{
    __shared__ __align__(16) float values[32 * 4];
    cuda_emulation::copy_async(values + threadIdx.x * 4, in + threadIdx.x * 4, 16, 16, __FILE__, __LINE__);
    cuda_emulation::copy_async_commit();
    if (mistake != COPY_NO_WAIT)
        cuda_emulation::copy_async_wait(0);
    if (mistake != COPY_NO_BARRIER)
        __syncthreads();
    for (int i = 0; i < 4; i++)
        out[i * 32 + threadIdx.x] = values[i * 32 + threadIdx.x] + 1;
}

void copy_async_launch(copy_mistake mistake, float *out, const float *in, cudaStream_t stream)
{
    copy_through<<<1, 32, 0, stream>>>(mistake, out, in);
}

static __global__ void multiply(
    float *d, const unsigned short *a, const unsigned short *b, bool bfloat, bool transposed)
{
    __shared__ __align__(16) unsigned short left[16][16], right[16 * 8];
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < 256; i += 32)
        left[i / 16][i % 16] = a[i];
    for (int i = lane; i < 128; i += 32)
        right[i] = b[i];
    __syncwarp();
    const uint4 x =
        cuda_emulation::load_matrix(&left[lane % 16][lane / 16 * 8], 4, false, __FILE__, __LINE__);
    const unsigned short *row = transposed ? right + lane % 16 * 8 : right + lane % 8 * 16 + lane / 8 % 2 * 8;
    const uint4 y = cuda_emulation::load_matrix(row, 2, transposed, __FILE__, __LINE__);
    const float4 start = {1, 1, 1, 1};
    const float4 r =
        cuda_emulation::mma(bfloat ? cuda_emulation::matrix_kind::bf16 : cuda_emulation::matrix_kind::f16, x,
            uint2{y.x, y.y}, start, __FILE__, __LINE__);
    float *to = d + lane / 4 * 8 + lane % 4 * 2;
    *reinterpret_cast<float2 *>(to) = float2{r.x, r.y};
    *reinterpret_cast<float2 *>(to + 64) = float2{r.z, r.w};
}

void multiply_launch(
    float *d, const unsigned short *a, const unsigned short *b, bool bfloat, cudaStream_t stream)
{
    multiply<<<1, 32, 0, stream>>>(d, a, b, bfloat, false);
}

void multiply_transposed_launch(
    float *d, const unsigned short *a, const unsigned short *b, cudaStream_t stream)
{
    multiply<<<1, 32, 0, stream>>>(d, a, b, false, true);
}

static __global__ void number(int *out)
{
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
    out[i] = static_cast<int>(i);
}

void number_launch(int *out, dim3 grid, dim3 block, size_t dynamic_bytes, cudaStream_t stream)
{
    number<<<grid, block, dynamic_bytes, stream>>>(out);
}

static __global__ void __launch_bounds__(64) bounded(int *out)
{
    out[threadIdx.x] = 1;
}

void bounded_launch(int *out, int threads, cudaStream_t stream)
{
    bounded<<<1, threads, 0, stream>>>(out);
}

template <class T> static __global__ void add(T *values, int count, T amount)
{
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count)
        values[i] += amount;
}

void add_launch(int *values, int count, int amount, cudaStream_t stream)
{
    add<int><<<(count + 63) / 64, 64, 0, stream>>>(values, count, amount);
}
