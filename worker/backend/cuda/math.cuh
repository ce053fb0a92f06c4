/* Activations, soft caps and sums over a block, the same in every kernel. */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_MATH_CUH
#define LUMIGRID_WORKER_BACKEND_CUDA_MATH_CUH

#include <cuda_runtime.h>

#include "worker/backend/backend.h"

enum { WARP = 32 };
static constexpr unsigned ALL_LANES = 0xFFFFFFFFU;

static __device__ __forceinline__ float activated(int kind, float x)
{
    switch (kind) {
    case ACTIVATION_RELU: return x < 0.0F ? 0.0F : x; /* NaN stays */
    case ACTIVATION_GELU: return 0.5F * x * (1.0F + erff(x * 0.707106781F));
    case ACTIVATION_GELU_TANH: return 0.5F * x * (1.0F + tanhf(0.797884561F * (x + 0.044715F * (x * x * x))));
    case ACTIVATION_SILU: return x / (1.0F + expf(-x));
    case ACTIVATION_TANH: return tanhf(x);
    case ACTIVATION_QUICK_GELU: return x / (1.0F + expf(-1.702F * x));
    default: return x;
    }
}

static __device__ __forceinline__ float capped(float x, float cap)
{
    return cap > 0.0F ? cap * tanhf(x / cap) : x;
}

/* Butterflies: every lane gets the same bits. */
static __device__ __forceinline__ float warp_sum(float x)
{
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

static __device__ __forceinline__ float warp_max(float x)
{
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, step));
    return x;
}

/* Over all threads of a block of whole warps; `warps` is shared memory for one float a warp. Every thread
 * must come, and gets the result. May be called again at once. */
static __device__ __forceinline__ float block_sum(float x, float *warps)
{
    x = warp_sum(x);
    if (threadIdx.x % WARP == 0)
        warps[threadIdx.x / WARP] = x;
    __syncthreads();
    x = warps[0];
    for (unsigned w = 1; w < blockDim.x / WARP; w++)
        x += warps[w];
    __syncthreads();
    return x;
}

static __device__ __forceinline__ float block_max(float x, float *warps)
{
    x = warp_max(x);
    if (threadIdx.x % WARP == 0)
        warps[threadIdx.x / WARP] = x;
    __syncthreads();
    x = warps[0];
    for (unsigned w = 1; w < blockDim.x / WARP; w++)
        x = fmaxf(x, warps[w]);
    __syncthreads();
    return x;
}

#endif
