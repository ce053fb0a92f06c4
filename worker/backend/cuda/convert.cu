/* Weights into the form they are computed with: once, at load. A block takes an output's row, first for the
 * largest value where one is needed, then to write; a transposed matrix is read across its rows, which the
 * cache forgives. */
#include "worker/backend/cuda/decode.cuh"
#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/math.cuh"

enum { CONVERT_THREADS = 256 };

static __device__ __forceinline__ float stored_value(const convert_kernel &k, int out, int in)
{
    const size_t row = k.transposed ? in : out, column = k.transposed ? out : in;
    const uint8_t *p = k.from + row * k.from_row_bytes;
    if (k.from_form == FORM_F32)
        return reinterpret_cast<const float *>(p)[column] + k.offset;
    const unsigned short bits = reinterpret_cast<const unsigned short *>(p)[column];
    if (k.from_form == FORM_F16)
        return __half2float(__ushort_as_half(bits)) + k.offset;
    return __uint_as_float(static_cast<unsigned>(bits) << 16) + k.offset;
}

/* Away from zero at the middle; NaN becomes zero. */
static __device__ __forceinline__ int8_t rounded(float v)
{
    return static_cast<int8_t>(v >= 0.0F ? v + 0.5F : v <= 0.0F ? v - 0.5F : 0.0F);
}

static __global__ void __launch_bounds__(CONVERT_THREADS) convert(const convert_kernel k)
{
    __shared__ float warps[CONVERT_THREADS / WARP];
    const int out = static_cast<int>(blockIdx.x);
    uint8_t *to = k.to + out * k.to_row_bytes;
    float largest = 0.0F;
    if (k.to_form == FORM_I8) {
        for (int i = static_cast<int>(threadIdx.x); i < k.in; i += CONVERT_THREADS)
            largest = fmaxf(largest, fabsf(stored_value(k, out, i)));
        largest = block_max(largest, warps);
        if (threadIdx.x == 0)
            k.scales[out] = largest / 127.0F;
    }
    const float inverse = largest > 0.0F ? 127.0F / largest : 0.0F;
    for (int i = static_cast<int>(threadIdx.x); i < k.in; i += CONVERT_THREADS) {
        const float v = stored_value(k, out, i);
        switch (k.to_form) {
        case FORM_F32: reinterpret_cast<float *>(to)[i] = v; break;
        case FORM_F16:
            reinterpret_cast<unsigned short *>(to)[i] = __half_as_ushort(__float2half_rn(v));
            break;
        case FORM_BF16:
            reinterpret_cast<unsigned short *>(to)[i] = __bfloat16_as_ushort(__float2bfloat16_rn(v));
            break;
        default: reinterpret_cast<int8_t *>(to)[i] = rounded(v * inverse); break;
        }
    }
}

cudaError_t convert_launch(const struct convert_kernel *k, cudaStream_t stream)
{
    convert<<<k->out, CONVERT_THREADS, 0, stream>>>(*k);
    return cudaGetLastError();
}
