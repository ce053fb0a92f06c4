/* What happens to a finished sum: scale, bias, activation, residual; then it is written, once. */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_EPILOGUE_CUH
#define LUMIGRID_WORKER_BACKEND_CUDA_EPILOGUE_CUH

#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/math.cuh"

static __device__ __forceinline__ void finish(const product_kernel &p, int row, int output, float sum)
{
    if (p.weight.scales)
        sum *= p.weight.scales[output];
    if (p.bias)
        sum += p.bias[output];
    sum = activated(p.activation, sum);
    if (p.residual)
        sum += p.residual[row * p.residual_stride + output];
    p.out[row * p.out_stride + output] = sum;
}

#endif
