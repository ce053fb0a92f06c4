/* Kernels that are right, and twins of them with one mistake each: what the emulation must tell apart. */
#ifndef LUMIGRID_TESTS_CUDA_EMULATION_KERNELS_H
#define LUMIGRID_TESTS_CUDA_EMULATION_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

enum { EMULATION_THREADS = 96 };

/* out[i] is in[n - 1 - i], through shared memory, by each of two blocks for itself. */
enum reverse_mistake {
    REVERSE_RIGHT,
    REVERSE_NO_BARRIER,
    REVERSE_UNSET,         /* one element of shared memory is never written */
    REVERSE_DIVERGENT,     /* only half of the threads come to the barrier, the others end */
    REVERSE_TWO_BARRIERS,  /* halves come to different barriers */
    REVERSE_WRITE_BEYOND,  /* one element past `out` */
    REVERSE_READ_BEFORE,   /* one element before `in` */
    REVERSE_SHARED_BEYOND, /* one element past the shared array, by a pointer */
    REVERSE_NO_SECOND,     /* shared memory is written again while others may still read it */
    REVERSE_HOST_POINTER,  /* writes to memory of the host */
};
void reverse_launch(
    enum reverse_mistake mistake, float *out, const float *in, int threads, cudaStream_t stream);

/* Each warp's sum in five ways that agree: shuffles, dynamic shared memory with __syncwarp, reduce, votes,
 * atomics. */
enum sum_mistake { SUM_RIGHT, SUM_NO_SYNCWARP, SUM_DIVERGENT_SHUFFLE, SUM_WRONG_MASK, SUM_DEAD_LANE };
void sums_launch(enum sum_mistake mistake, int *out, const int *in, int warps, cudaStream_t stream);

/* The reversal through device memory, by two blocks on a half each. */
enum exchange_mistake {
    EXCHANGE_RIGHT,
    EXCHANGE_NO_BARRIER,
    EXCHANGE_OTHER_BLOCK, /* reads what the other block writes */
    EXCHANGE_SAME_PLACE,  /* both blocks write one element */
};
void exchange_launch(enum exchange_mistake mistake, int *out, int *through, cudaStream_t stream);

enum vector_mistake { VECTOR_RIGHT, VECTOR_MISALIGNED, VECTOR_LOCAL_INDEX };
void vector_launch(enum vector_mistake mistake, float *out, const float *in, int index, cudaStream_t stream);

/* out = in + 1, copied by cp.async. */
enum copy_mistake { COPY_RIGHT, COPY_NO_WAIT, COPY_NO_BARRIER };
void copy_async_launch(enum copy_mistake mistake, float *out, const float *in, cudaStream_t stream);

/* d [16, 8] = a [16, 16] b [8, 16]' + 1 by one m16n8k16, a and b by ldmatrix. */
void multiply_launch(
    float *d, const unsigned short *a, const unsigned short *b, bool bfloat, cudaStream_t stream);
/* d [16, 8] = a [16, 16] b [16, 8]: b transposed by ldmatrix. */
void multiply_transposed_launch(
    float *d, const unsigned short *a, const unsigned short *b, cudaStream_t stream);

/* out[i] = i by a grid and block in three dimensions. */
void number_launch(int *out, dim3 grid, dim3 block, size_t dynamic_bytes, cudaStream_t stream);
void bounded_launch(int *out, int threads, cudaStream_t stream); /* __launch_bounds__(64) */
void add_launch(int *values, int count, int amount, cudaStream_t stream);

#endif
