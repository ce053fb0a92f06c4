/* Choosing tokens: a block a row. Scores are edited, put through log-softmax and left in place, and the best
 * of them go out, so that a few numbers a row cross to the host.
 *
 * Each thread keeps the best of its own columns; the block takes the best of those, and the thread that had
 * it looks for its next one: one pass over the row, and top times 1 / THREADS of it. A row of 128k scores
 * stays in L2. */
#include <climits>

#include "worker/backend/cuda/kernels.h"
#include "worker/backend/cuda/math.cuh"

enum { SELECT_THREADS = 512, SELECT_WARPS = SELECT_THREADS / WARP };

struct choice {
    float score;
    int id; /* INT_MAX: none */
};

static __device__ __forceinline__ bool better(choice x, choice y)
{
    return x.score > y.score || (x.score == y.score && x.id < y.id);
}

static __device__ __forceinline__ float comparable(float score)
{
    return score == score ? score : -INFINITY; /* NaN counts as minus infinity */
}

/* Edits of one id are one thread's, in their order. */
static __device__ void edit_row(const select_kernel &k, float *scores)
{
    const int row = static_cast<int>(blockIdx.x), only = k.only[row];
    if (only >= 0) {
        for (int i = static_cast<int>(threadIdx.x); i < k.vocabulary; i += SELECT_THREADS)
            scores[i] = -INFINITY;
        __syncthreads();
        if (threadIdx.x == 0)
            scores[k.edits[only].id] = 0.0F;
        __syncthreads();
    }
    for (int e = only >= 0 ? only + 1 : k.first_edit[row]; e < k.first_edit[row + 1]; e++) {
        const device_edit edit = k.edits[e];
        if (edit.id % SELECT_THREADS != static_cast<int>(threadIdx.x))
            continue;
        const float score = scores[edit.id];
        switch (edit.kind) {
        case EDIT_BAN: scores[edit.id] = -INFINITY; break;
        case EDIT_ADD: scores[edit.id] = score + edit.value; break;
        default: scores[edit.id] = score > 0.0F ? score / edit.value : score * edit.value; break;
        }
    }
    __syncthreads();
}

static __device__ void log_softmax(const select_kernel &k, float *scores, float *warps)
{
    float maximum = -INFINITY, sum = 0.0F;
    for (int i = static_cast<int>(threadIdx.x); i < k.vocabulary; i += SELECT_THREADS)
        maximum = fmaxf(maximum, scores[i]);
    maximum = block_max(maximum, warps);
    if (maximum == -INFINITY)
        return; /* everything is banned */
    for (int i = static_cast<int>(threadIdx.x); i < k.vocabulary; i += SELECT_THREADS)
        sum += expf(comparable(scores[i]) - maximum);
    sum = logf(block_sum(sum, warps)) + maximum;
    for (int i = static_cast<int>(threadIdx.x); i < k.vocabulary; i += SELECT_THREADS)
        scores[i] -= sum;
    __syncthreads();
}

/* The best of this thread's columns that comes after `last`. */
static __device__ choice next_best(const select_kernel &k, const float *scores, choice last)
{
    choice best = {-INFINITY, INT_MAX};
    for (int i = static_cast<int>(threadIdx.x); i < k.vocabulary; i += SELECT_THREADS) {
        const choice c = {comparable(scores[i]), i};
        if (better(last, c) && better(c, best))
            best = c;
    }
    return best;
}

static __device__ __forceinline__ choice warp_best(choice c)
{
#pragma unroll
    for (int step = WARP / 2; step > 0; step /= 2) {
        const choice other = {
            __shfl_xor_sync(ALL_LANES, c.score, step), __shfl_xor_sync(ALL_LANES, c.id, step)};
        c = better(other, c) ? other : c;
    }
    return c;
}

static __device__ void write_top(const select_kernel &k, const float *scores, choice *warps)
{
    const int warp = static_cast<int>(threadIdx.x) / WARP, lane = static_cast<int>(threadIdx.x) % WARP;
    choice mine = next_best(k, scores, {INFINITY, -1});
    for (int t = 0; t < k.top; t++) {
        const choice of_warp = warp_best(mine);
        if (lane == 0)
            warps[warp] = of_warp;
        __syncthreads();
        const choice best = warp_best(warps[lane % SELECT_WARPS]);
        __syncthreads();
        if (threadIdx.x == 0) {
            k.ids[static_cast<size_t>(blockIdx.x) * k.top + t] = best.id;
            k.scores[static_cast<size_t>(blockIdx.x) * k.top + t] = best.score;
        }
        if (mine.id == best.id)
            mine = next_best(k, scores, best);
    }
}

static __global__ void __launch_bounds__(SELECT_THREADS) choose(const select_kernel k)
{
    __shared__ float warps[SELECT_WARPS];
    __shared__ choice choices[SELECT_WARPS];
    float *scores = k.logits + blockIdx.x * k.stride;
    if (k.soft_cap > 0.0F) {
        for (int i = static_cast<int>(threadIdx.x); i < k.vocabulary; i += SELECT_THREADS)
            scores[i] = capped(scores[i], k.soft_cap);
        __syncthreads();
    }
    if (!k.edits_after)
        edit_row(k, scores);
    if (!k.raw)
        log_softmax(k, scores, warps);
    if (k.edits_after)
        edit_row(k, scores);
    write_top(k, scores, choices);
}

cudaError_t select_launch(const struct select_kernel *k, cudaStream_t stream)
{
    choose<<<k->rows, SELECT_THREADS, 0, stream>>>(*k);
    return cudaGetLastError();
}
