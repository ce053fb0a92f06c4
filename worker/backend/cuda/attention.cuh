/* What attention's kernels share: where keys are, who sees whom, and how parts are joined. */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_ATTENTION_CUH
#define LUMIGRID_WORKER_BACKEND_CUDA_ATTENTION_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/math.cuh"

enum { PAGE_TOKENS = 16 };

static __device__ __forceinline__ float as_float(float v)
{
    return v;
}

static __device__ __forceinline__ float as_float(__half v)
{
    return __half2float(v);
}

static __device__ __forceinline__ float as_float(__nv_bfloat16 v)
{
    return __bfloat162float(v);
}

/* Keys and values of one head of a sequence, in pages of T or as rows of float32. */
template <class T> struct key_view {
    const T *pages;
    const int32_t *ids;
    const float *k, *v;
    size_t page_elements, k_stride, v_stride;
    int head_dim, value_dim;

    __device__ key_view(const attention_kernel &a, const sequence &s, int head)
        : pages(nullptr), ids(a.page_ids + s.page), k(nullptr), v(nullptr), page_elements(0),
          k_stride(a.k_stride), v_stride(a.v_stride), head_dim(a.head_dim), value_dim(a.value_dim)
    {
        if (a.pages.data) {
            const size_t head_elements = static_cast<size_t>(PAGE_TOKENS) * (head_dim + value_dim);
            page_elements = head_elements * a.pages.heads;
            pages = static_cast<const T *>(a.pages.data) +
                    static_cast<size_t>(a.layer) * a.pages.count * page_elements + head * head_elements;
        } else {
            k = a.k + s.k_row * k_stride + head * head_dim;
            v = a.v + s.k_row * v_stride + head * value_dim;
        }
    }
    __device__ const T *page(int key) const
    {
        return pages + ids[key / PAGE_TOKENS] * page_elements;
    }
    __device__ float key(int j, int d) const
    {
        return pages ? as_float(page(j)[j % PAGE_TOKENS * head_dim + d]) : k[j * k_stride + d];
    }
    __device__ float value(int j, int d) const
    {
        return pages ? as_float(page(j)[PAGE_TOKENS * head_dim + j % PAGE_TOKENS * value_dim + d])
                     : v[j * v_stride + d];
    }
};

static __device__ __forceinline__ bool sees(const attention_kernel &a, int position, int key)
{
    return key < a.global_keys || ((a.window_left < 0 || key >= position - a.window_left) &&
                                      (a.window_right < 0 || key <= position + a.window_right));
}

/* Whether some query at positions first..last sees some key of begin..end - 1. */
static __device__ __forceinline__ bool any_sees(
    const attention_kernel &a, int first, int last, int begin, int end)
{
    return begin < a.global_keys || ((a.window_left < 0 || end > first - a.window_left) &&
                                        (a.window_right < 0 || begin <= last + a.window_right));
}

/* What is added to the score of a key. */
static __device__ __forceinline__ float score_bias(
    const attention_kernel &a, const sequence &s, int row, int head, int key)
{
    if (!a.buckets)
        return 0.0F;
    const int bucket = a.buckets[key - (s.q_position + row) + a.bucket_zero];
    if (a.bias)
        return a.bias[bucket * a.heads + head];
    float term = 0.0F;
    if (a.by_query)
        term = a.by_query[(static_cast<size_t>(s.q_row + row) * a.heads + head) * a.positions + bucket];
    if (a.by_key)
        term += a.by_key[(static_cast<size_t>(s.k_row + key) * a.heads + head) * a.positions + bucket];
    return a.scale * term;
}

/* Joins a split's maximum and sum to those of the splits before it. Weighted sums of values are to be
 * multiplied by `before` and `added`. False: the split saw nothing. */
static __device__ __forceinline__ bool join_sums(
    float maximum, float sum, float &total_maximum, float &total_sum, float &before, float &added)
{
    if (maximum == -INFINITY)
        return false;
    const float higher = fmaxf(total_maximum, maximum);
    before = expf(total_maximum - higher);
    added = expf(maximum - higher);
    total_sum = fmaf(total_sum, before, __fmul_rn(sum, added));
    total_maximum = higher;
    return true;
}

static __device__ __forceinline__ float join_values(float total, float before, float value, float added)
{
    return fmaf(total, before, __fmul_rn(value, added));
}

#endif
