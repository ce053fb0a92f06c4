/* What translated kernel code calls: where it runs, shared memory, barriers, the warp's collectives,
 * launches.
 *
 * Each device thread is a fiber. It runs until it waits for others (a barrier, a warp's collective) or ends.
 * The fibers of a block run one after another in one host thread, blocks of a grid too: results are
 * repeatable. */
#ifndef CUDA_EMULATION_KERNEL_H
#define CUDA_EMULATION_KERNEL_H

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

#include "cuda_runtime_api.h"

namespace cuda_emulation
{

/* Constant for a fiber, so the compiler may keep them. */
__attribute__((const)) uint3 thread_index();
__attribute__((const)) uint3 block_index();
__attribute__((const)) dim3 block_size();
__attribute__((const)) dim3 grid_size();
__attribute__((const)) void *dynamic_shared();

/* Shared variables have static storage, as in CUDA, so that lambdas need not capture them; a gap follows
 * each. */
enum : size_t { SHARED_GAP_BYTES = 64 };
template <class T> struct shared_slot {
    static_assert(std::is_trivially_destructible_v<T>, "shared memory holds plain data");
    struct with_gap {
        T value;
        char gap[SHARED_GAP_BYTES];
    };
    static with_gap storage;
};
template <class T> typename shared_slot<T>::with_gap shared_slot<T>::storage;
void use_shared(void *variable, size_t bytes);

void launch_bounds(unsigned threads);

enum class barrier_kind { plain, count, all, any };
int barrier(barrier_kind kind, int predicate, const char *file, int line);

/* Collectives of the lanes in `mask`: every one of them must come to the same one. */
enum class warp_kind {
    sync,
    shuffle_index,
    shuffle_up,
    shuffle_down,
    shuffle_xor,
    ballot,
    all,
    any,
    match_any,
    add,
    min_signed,
    max_signed,
    min_unsigned,
    max_unsigned,
    bit_and,
    bit_or,
    bit_xor,
};
uint64_t warp(
    warp_kind kind, unsigned mask, uint64_t value, int argument, int width, const char *file, int line);
unsigned active_mask();
void race_fence(); /* __threadfence: from here on the block may know what other blocks have written */

/* Tensor-core instructions of a full warp; fragments as PTX lays them out. */
enum class matrix_kind { f16, bf16, tf32, s8 };
float4 mma(
    matrix_kind kind, uint4 a, uint2 b, float4 c, const char *file, int line); /* m16n8, 32 bytes of k */
int4 mma_integer(uint4 a, uint2 b, int4 c, const char *file, int line);        /* m16n8k32, signed bytes */
uint4 load_matrix(const void *row, int count, bool transposed, const char *file, int line);

/* Copies to shared memory that are done by the time their group is waited for. Bytes beyond `valid` are
 * zeros. */
void copy_async(void *shared, const void *global, unsigned bytes, unsigned valid, const char *file, int line);
void copy_async_commit();
void copy_async_wait(unsigned groups_left);

struct launch_info {
    const char *name;
    const void *kernel;
    dim3 grid, block;
    size_t dynamic_bytes;
    void (*run)(const void *kernel, const void *arguments);
};
void launch_kernel(const launch_info &info, cudaStream_t stream, const void *arguments, size_t bytes);

template <class... P> struct launcher {
    launch_info info;
    cudaStream_t stream;

    template <class... A> void operator()(A &&...arguments) const
    {
        static_assert(
            (std::is_trivially_copyable_v<std::decay_t<P>> && ...), "parameters are copied bit by bit");
        const std::tuple<std::decay_t<P>...> values(static_cast<A &&>(arguments)...);
        launch_kernel(info, stream, &values, sizeof values);
    }
    static void run(const void *kernel, const void *arguments)
    {
        std::apply(reinterpret_cast<void (*)(P...)>(const_cast<void *>(kernel)),
            *static_cast<const std::tuple<std::decay_t<P>...> *>(arguments));
    }
};

template <class... P>
launcher<P...> launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t dynamic_bytes = 0,
    cudaStream_t stream = nullptr)
{
    return {{name, reinterpret_cast<const void *>(kernel), grid, block, dynamic_bytes, launcher<P...>::run},
        stream};
}

} // namespace cuda_emulation

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(P...), A &&...arguments)
{
    cuda_emulation::launch("cudaLaunchKernelEx", kernel, config->gridDim, config->blockDim,
        config->dynamicSmemBytes, config->stream)(static_cast<A &&>(arguments)...);
    return cudaPeekAtLastError();
}
template <class T> cudaError_t cudaFuncSetAttribute(T *kernel, cudaFuncAttribute attribute, int value)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), attribute, value);
}
template <class T> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *attributes, T *kernel)
{
    return cudaFuncGetAttributes(attributes, reinterpret_cast<const void *>(kernel));
}
template <class T>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, T *kernel, int threads, size_t bytes)
{
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks, reinterpret_cast<const void *>(kernel), threads, bytes);
}
template <class T> cudaError_t cudaMalloc(T **pointer, size_t bytes)
{
    return cudaMalloc(reinterpret_cast<void **>(pointer), bytes);
}
template <class T> cudaError_t cudaMallocAsync(T **pointer, size_t bytes, cudaStream_t stream)
{
    return cudaMallocAsync(reinterpret_cast<void **>(pointer), bytes, stream);
}
template <class T> cudaError_t cudaMallocHost(T **pointer, size_t bytes)
{
    return cudaMallocHost(reinterpret_cast<void **>(pointer), bytes);
}
template <class T> cudaError_t cudaHostAlloc(T **pointer, size_t bytes, unsigned flags)
{
    return cudaHostAlloc(reinterpret_cast<void **>(pointer), bytes, flags);
}

#endif
