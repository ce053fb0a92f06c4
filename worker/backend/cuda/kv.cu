/* Pages of keys and values: appended rows are scattered into them, shared pages are copied before they are
 * written. Bound by memory; a block takes a row, or a page of a layer. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "worker/backend/cuda/kernels.h"

enum { KV_THREADS = 128, PAGE_TOKENS = 16 };

static __device__ __forceinline__ void store(float *to, float v)
{
    *to = v;
}

static __device__ __forceinline__ void store(__half *to, float v)
{
    *to = __float2half_rn(v);
}

static __device__ __forceinline__ void store(__nv_bfloat16 *to, float v)
{
    *to = __float2bfloat16_rn(v);
}

static __host__ __device__ __forceinline__ size_t head_elements(const pages &p)
{
    return static_cast<size_t>(PAGE_TOKENS) * (p.head_dim + p.value_dim);
}

template <class T> static __global__ void __launch_bounds__(KV_THREADS) append(const kv_append_kernel a)
{
    const pages &p = a.pages;
    const size_t slot = a.slots[blockIdx.x], row = a.from[blockIdx.x];
    const size_t page = static_cast<size_t>(a.layer) * p.count + slot / PAGE_TOKENS,
                 token = slot % PAGE_TOKENS;
    T *to = static_cast<T *>(p.data) + page * p.heads * head_elements(p);
    const float *k = a.k + row * a.k_stride, *v = a.v + row * a.v_stride;
    for (int i = static_cast<int>(threadIdx.x); i < p.heads * p.head_dim; i += KV_THREADS)
        store(to + i / p.head_dim * head_elements(p) + token * p.head_dim + i % p.head_dim, k[i]);
    to += static_cast<size_t>(PAGE_TOKENS) * p.head_dim;
    for (int i = static_cast<int>(threadIdx.x); i < p.heads * p.value_dim; i += KV_THREADS)
        store(to + i / p.value_dim * head_elements(p) + token * p.value_dim + i % p.value_dim, v[i]);
}

cudaError_t kv_append_launch(const struct kv_append_kernel *k, cudaStream_t stream)
{
    switch (k->pages.precision) {
    case PRECISION_EXACT: append<float><<<k->rows, KV_THREADS, 0, stream>>>(*k); break;
    case PRECISION_F16: append<__half><<<k->rows, KV_THREADS, 0, stream>>>(*k); break;
    case PRECISION_BF16: append<__nv_bfloat16><<<k->rows, KV_THREADS, 0, stream>>>(*k); break;
    }
    return cudaGetLastError();
}

/* Grid: [copies][layers]. A page is a multiple of 32 bytes. */
static __global__ void __launch_bounds__(KV_THREADS) copy_pages(const kv_copy_kernel k, size_t page_bytes)
{
    const size_t first = static_cast<size_t>(blockIdx.y) * k.pages.count;
    char *data = static_cast<char *>(k.pages.data);
    const uint4 *from = reinterpret_cast<const uint4 *>(data + (first + k.from[blockIdx.x]) * page_bytes);
    uint4 *to = reinterpret_cast<uint4 *>(data + (first + k.to[blockIdx.x]) * page_bytes);
    for (size_t i = threadIdx.x; i < page_bytes / sizeof(uint4); i += KV_THREADS)
        to[i] = from[i];
}

cudaError_t kv_copy_launch(const struct kv_copy_kernel *k, cudaStream_t stream)
{
    const size_t page_bytes =
        head_elements(k->pages) * k->pages.heads * (k->pages.precision == PRECISION_EXACT ? 4 : 2);
    const dim3 grid(k->count, k->pages.layers);
    copy_pages<<<grid, KV_THREADS, 0, stream>>>(*k, page_bytes);
    return cudaGetLastError();
}
