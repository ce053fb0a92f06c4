/* The tensor cores' instructions and asynchronous copies: all inline PTX is here, and nowhere else, because
 * the host emulation puts its own file of this name in place of this one (tests/cuda/host). Fragments are
 * laid out as the PTX manual says for mma.m16n8k16; a full warp must come to each of these together. */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_MMA_CUH
#define LUMIGRID_WORKER_BACKEND_CUDA_MMA_CUH

#include <cuda_runtime.h>
#include <stdint.h>

#include "worker/backend/cuda/kernels.h"

/* d [16, 8] += a [16, 16] b [8, 16]', in float32. */
template <precision P>
static __device__ __forceinline__ void mma_16x8x16(
    float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    if (P == PRECISION_F16)
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
            "{%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
            "{%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Matrices of 8 by 8 16-bit values in shared memory: lane l gives the address of row l % 8 of matrix l / 8
 * (16 bytes, aligned), and gets columns 2 (l % 4) and the next of row l / 4 of each; transposed, of the
 * transposed matrix. */
static __device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
                 : "memory");
}

static __device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
                 : "memory");
}

/* Two matrices: lanes 0 to 15 give rows. */
static __device__ __forceinline__ void load_matrices(uint32_t (&r)[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
                 : "memory");
}

static __device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
                 : "memory");
}

/* Starts copying 16 bytes to shared memory, both addresses aligned; bytes beyond `valid` (0 to 16) become
 * zeros and are not read. Done for this thread once its group is waited for, and for others after a barrier.
 */
static __device__ __forceinline__ void copy_async(void *shared, const void *global, int valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))), "l"(global), "r"(valid)
                 : "memory");
}

/* Closes the group of the copies started since the last call. */
static __device__ __forceinline__ void copy_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until all but the last `left` groups are done. */
template <int left> static __device__ __forceinline__ void copy_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

#endif
