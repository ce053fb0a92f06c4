/* The emulation's file in place of the backend's: the same functions, done by the emulation. */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_MMA_CUH
#define LUMIGRID_WORKER_BACKEND_CUDA_MMA_CUH

#include <cuda_runtime.h>
#include <stdint.h>

#include "worker/backend/cuda/kernels.h"

template <precision P>
static inline void mma_16x8x16(
    float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], CUDA_EMULATION_SITE)
{
    const float4 r = cuda_emulation::mma(
        P == PRECISION_F16 ? cuda_emulation::matrix_kind::f16 : cuda_emulation::matrix_kind::bf16,
        uint4{a[0], a[1], a[2], a[3]}, uint2{b[0], b[1]}, float4{d[0], d[1], d[2], d[3]}, file, line);
    d[0] = r.x;
    d[1] = r.y;
    d[2] = r.z;
    d[3] = r.w;
}

static inline void load_matrices(uint32_t (&r)[4], const void *row, CUDA_EMULATION_SITE)
{
    const uint4 v = cuda_emulation::load_matrix(row, 4, false, file, line);
    r[0] = v.x;
    r[1] = v.y;
    r[2] = v.z;
    r[3] = v.w;
}

static inline void load_matrices_transposed(uint32_t (&r)[4], const void *row, CUDA_EMULATION_SITE)
{
    const uint4 v = cuda_emulation::load_matrix(row, 4, true, file, line);
    r[0] = v.x;
    r[1] = v.y;
    r[2] = v.z;
    r[3] = v.w;
}

static inline void load_matrices(uint32_t (&r)[2], const void *row, CUDA_EMULATION_SITE)
{
    const uint4 v = cuda_emulation::load_matrix(row, 2, false, file, line);
    r[0] = v.x;
    r[1] = v.y;
}

static inline void load_matrices_transposed(uint32_t (&r)[2], const void *row, CUDA_EMULATION_SITE)
{
    const uint4 v = cuda_emulation::load_matrix(row, 2, true, file, line);
    r[0] = v.x;
    r[1] = v.y;
}

static inline void copy_async(void *shared, const void *global, int valid, CUDA_EMULATION_SITE)
{
    cuda_emulation::copy_async(shared, global, 16, (unsigned)valid, file, line);
}

static inline void copy_async_commit()
{
    cuda_emulation::copy_async_commit();
}

template <int left> static inline void copy_async_wait()
{
    cuda_emulation::copy_async_wait(left);
}

#endif
