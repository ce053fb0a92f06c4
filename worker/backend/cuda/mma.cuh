/* Tensor cores and asynchronous copies: the only instructions here that C++ has no words for. The emulation
 * of the tests has its own file in the place of this one.
 *
 * Fragments are as PTX lays them out (mma.sync m16n8k16): with g = lane / 4 and t = lane % 4, `a` holds rows
 * g and g + 8 at columns 2t.. and 2t + 8.., `b` column g at rows 2t.. and 2t + 8.., `d` rows g and g + 8 at
 * columns 2t... */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_MMA_CUH
#define LUMIGRID_WORKER_BACKEND_CUDA_MMA_CUH

#include <cuda_runtime.h>
#include <stdint.h>

#include "worker/backend/cuda/kernels.h"

/* d [16][8] += a [16][16] b [16][8]; factors of 16 bits, sums in float32. */
template <precision P>
static __device__ __forceinline__ void mma_16x8x16(
    float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    if (P == PRECISION_F16)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                     "{%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                     "{%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

static __device__ __forceinline__ unsigned shared_address(const void *p)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

/* Four matrices of 8 x 8: lanes 8i..8i + 7 name the rows (16 bytes each, in shared memory) of matrix i. */
static __device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

static __device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* 16 bytes to shared memory, the first `valid` of them from global memory, the rest zeros; both aligned
 * to 16. */
static __device__ __forceinline__ void copy_async(void *shared, const void *global, int valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(shared)), "l"(global), "r"(valid)
                 : "memory");
}

static __device__ __forceinline__ void copy_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most `left` of this thread's groups are under way. */
template <int left> static __device__ __forceinline__ void copy_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

#endif
