/* The CUDA backend: opening, errors, memory, and its table. */
#include "worker/backend/cuda/device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/backend/cuda/module.h"

/* ---- errors ---- */

struct cuda_backend *cuda_of(struct backend *b)
{
    struct cuda_backend *cuda = (struct cuda_backend *)b;
    cudaSetDevice(cuda->device); /* of this thread; cheap when it is already */
    return cuda;
}

void cuda_fail(struct cuda_backend *cuda, enum error_code code, const char *format, ...)
{
    if (cuda->failed)
        return;
    char message[sizeof cuda->failure.message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments); /* NOLINT(clang-analyzer-valist.Uninitialized) */
    va_end(arguments);
    error_set(&cuda->failure, code, "%s", message);
    cuda->failed = true;
}

bool cuda_check(struct cuda_backend *cuda, cudaError_t status, const char *what)
{
    if (status == cudaSuccess)
        return true;
    cudaGetLastError(); /* the runtime remembers it as well */
    if (status == cudaErrorMemoryAllocation) {
        cuda_fail(cuda, ERROR_MEMORY, "cuda:%d: %s: out of memory", cuda->device, what);
    } else {
        cuda_fail(cuda, ERROR_UNAVAILABLE, "cuda:%d: %s: %s (%s)", cuda->device, what,
            cudaGetErrorString(status), cudaGetErrorName(status));
        cuda->lost = true;
    }
    return false;
}

bool cuda_error(struct cuda_backend *cuda, cudaError_t status, struct error *err, const char *what)
{
    bool failed = cuda->failed;
    struct error failure = cuda->failure;
    cuda->failed = false;
    cuda_check(cuda, status, what);
    if (err)
        *err = cuda->failure;
    if (!cuda->lost || failed) { /* outside of a step: only a lost device is remembered */
        cuda->failed = failed;
        cuda->failure = failure;
    }
    return false;
}

/* ---- memory ---- */

void *cuda_take(struct cuda_backend *cuda, size_t bytes, struct error *err, const char *what)
{
    void *memory = NULL;
    if (bytes > SIZE_MAX / 4) {
        error_set(err, ERROR_TOO_LARGE, "cuda:%d: %s: %zu bytes are more than there can be", cuda->device,
            what, bytes);
        return NULL;
    }
    cudaError_t status = cudaMallocAsync(&memory, bytes > 0 ? bytes : 1, cuda->stream);
    if (status == cudaSuccess)
        return memory;
    cuda_error(cuda, status, err, what);
    return NULL;
}

void cuda_give(struct cuda_backend *cuda, void *memory)
{
    if (memory)
        cudaFreeAsync(memory, cuda->stream);
}

static void cuda_memory(struct backend *b, struct backend_memory *out)
{
    const struct cuda_backend *cuda = cuda_of(b);
    size_t free_bytes = 0, total_bytes = 0;
    uint64_t reserved = 0, used = 0;
    cudaMemPool_t pool;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    if (cudaDeviceGetDefaultMemPool(&pool, cuda->device) == cudaSuccess) {
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrReservedMemCurrent, &reserved);
        cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &used);
    }
    *out = (struct backend_memory){
        .total_bytes = total_bytes,
        .free_bytes =
            free_bytes + (reserved > used ? reserved - used : 0), /* the pool's idle memory is ours */
        .weight_bytes = cuda->weight_bytes,
        .cache_bytes = cuda->cache_bytes + cuda->tensor_bytes,
    };
    for (size_t i = 0; i < cuda->scratch.count; i++)
        out->scratch_bytes += cuda->scratch.chunks[i].bytes;
}

static const char *cuda_describe(struct backend *b)
{
    return ((struct cuda_backend *)b)->description;
}

static bool cuda_sync(struct backend *b, struct error *err)
{
    struct cuda_backend *cuda = cuda_of(b);
    if (!cuda->failed)
        cuda_check(cuda, cudaStreamSynchronize(cuda->stream), "waiting");
    if (cuda->failed && err)
        *err = cuda->failure;
    return !cuda->failed;
}

static struct tensor cuda_scratch(struct backend *b, size_t rows, size_t width)
{
    struct tensor t = {.stride = round_up(width, 32), .rows = rows, .width = width};
    if (t.stride >= width && t.stride <= SIZE_MAX / sizeof(float))
        t.data = scratch_take(cuda_of(b), rows, t.stride * sizeof(float));
    else
        cuda_fail(cuda_of(b), ERROR_MEMORY, "a row of %zu values is too long", width);
    return t;
}

static void cuda_scratch_reset(struct backend *b)
{
    scratch_reset(cuda_of(b));
}

static size_t cuda_scratch_mark(struct backend *b)
{
    return scratch_mark(cuda_of(b));
}

static void cuda_scratch_release(struct backend *b, size_t mark)
{
    scratch_release(cuda_of(b), mark);
}

static bool cuda_tensor_create(
    struct backend *b, size_t rows, size_t width, struct tensor *out, struct error *err)
{
    struct cuda_backend *cuda = cuda_of(b);
    struct tensor t = {.stride = width, .rows = rows, .width = width};
    size_t bytes;
    if (__builtin_mul_overflow(rows, width, &bytes) || __builtin_mul_overflow(bytes, sizeof(float), &bytes))
        return error_set(err, ERROR_TOO_LARGE, "a tensor of %zu x %zu is too large", rows, width);
    t.data = cuda_take(cuda, bytes, err, "allocating a tensor");
    if (!t.data)
        return false;
    cudaError_t status = cudaMemsetAsync(t.data, 0, bytes > 0 ? bytes : 1, cuda->stream);
    if (status != cudaSuccess) {
        cuda_give(cuda, t.data);
        return cuda_error(cuda, status, err, "clearing a tensor");
    }
    cuda->tensor_bytes += bytes;
    *out = t;
    return true;
}

static void cuda_tensor_free(struct backend *b, struct tensor *tensor)
{
    struct cuda_backend *cuda = cuda_of(b);
    if (tensor->data)
        cuda->tensor_bytes -= tensor->rows * tensor->stride * sizeof(float);
    cuda_give(cuda, tensor->data);
    *tensor = (struct tensor){0};
}

/* The runtime reads host memory that is not pinned before the call returns. */
static void cuda_upload(struct backend *b, struct tensor to, const float *from)
{
    struct cuda_backend *cuda = cuda_of(b);
    if (cuda->failed || to.rows == 0 || to.width == 0)
        return;
    size_t width_bytes = to.width * sizeof(float);
    cuda_check(cuda,
        cudaMemcpy2DAsync(tensor_at(to), to.stride * sizeof(float), from, width_bytes, width_bytes, to.rows,
            cudaMemcpyHostToDevice, cuda->stream),
        "upload");
}

static bool cuda_download(struct backend *b, struct tensor from, float *to, struct error *err)
{
    struct cuda_backend *cuda = cuda_of(b);
    size_t width_bytes = from.width * sizeof(float);
    if (!cuda->failed && from.rows > 0 && from.width > 0)
        cuda_check(cuda,
            cudaMemcpy2DAsync(to, width_bytes, tensor_at(from), from.stride * sizeof(float), width_bytes,
                from.rows, cudaMemcpyDeviceToHost, cuda->stream),
            "download");
    return cuda_sync(b, err);
}

/* ---- the table ---- */

static void cuda_close(struct backend *b)
{
    struct cuda_backend *cuda = cuda_of(b);
    cudaMemPool_t pool;
    if (cuda->stream) {
        cudaStreamSynchronize(cuda->stream);
        scratch_close(cuda);
        cudaStreamSynchronize(cuda->stream);
        if (cudaDeviceGetDefaultMemPool(&pool, cuda->device) == cudaSuccess)
            cudaMemPoolTrimTo(pool, 0);
        cudaStreamDestroy(cuda->stream);
    }
    free(cuda);
}

static const struct backend_ops cuda_ops = {
    .name = "cuda",
    .close = cuda_close,
    .memory = cuda_memory,
    .describe = cuda_describe,
    .sync = cuda_sync,
    .scratch = cuda_scratch,
    .scratch_reset = cuda_scratch_reset,
    .scratch_mark = cuda_scratch_mark,
    .scratch_release = cuda_scratch_release,
    .tensor_create = cuda_tensor_create,
    .tensor_free = cuda_tensor_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .weight_load = cuda_weight_load,
    .weight_free = cuda_weight_free,
    .weight_shape = cuda_weight_shape,
    .vector_load = cuda_vector_load,
    .vector_free = cuda_vector_free,
    .kv_cache_create = cuda_kv_cache_create,
    .kv_cache_free = cuda_kv_cache_free,
    .kv_append = cuda_kv_append,
    .kv_copy = cuda_kv_copy,
    .embed = cuda_embed,
    .linear = cuda_linear,
    .norm = cuda_norm,
    .rope = cuda_rope,
    .attention = cuda_attention,
    .gather = cuda_gather,
    .scatter = cuda_scatter,
    .add = cuda_add,
    .scale = cuda_scale,
    .select = cuda_select,
};

/* ---- opening ---- */

enum { CAPABILITY_MAJOR_MIN = 8 };

static bool check_device(const struct cudaDeviceProp *properties, int device, struct error *err)
{
    if (properties->major < CAPABILITY_MAJOR_MIN) {
        error_set(err, ERROR_UNSUPPORTED,
            "cuda:%d: %s has compute capability %d.%d; 8.0 (Ampere) is the least", device, properties->name,
            properties->major, properties->minor);
        return error_hint(err, "use --device cpu on this machine");
    }
    if (!properties->memoryPoolsSupported)
        return error_set(err, ERROR_UNSUPPORTED, "cuda:%d: %s and its driver have no memory pools", device,
            properties->name);
    return true;
}

static bool start(struct cuda_backend *cuda, struct error *err)
{
    uint64_t keep = UINT64_MAX; /* memory that was freed stays in the pool */
    cudaMemPool_t pool;
    struct cudaDeviceProp properties;
    cudaError_t status = cudaGetDeviceProperties(&properties, cuda->device);
    if (status == cudaSuccess && !check_device(&properties, cuda->device, err))
        return false;
    if (status == cudaSuccess)
        status = cudaSetDevice(cuda->device);
    if (status == cudaSuccess)
        status = cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking);
    if (status == cudaSuccess)
        status = cudaDeviceGetDefaultMemPool(&pool, cuda->device);
    if (status == cudaSuccess)
        status = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep);
    if (status == cudaSuccess)
        status = attention_prepare();
    if (status == cudaSuccess)
        status = product_prepare();
    if (status != cudaSuccess)
        return cuda_error(cuda, status, err, "opening");
    cuda->multiprocessors = properties.multiProcessorCount;
    int driver = 0;
    cudaDriverGetVersion(&driver);
    snprintf(cuda->description, sizeof cuda->description, "%.200s, sm_%d%d, %zu MiB, CUDA driver %d.%d",
        properties.name, properties.major, properties.minor, properties.totalGlobalMem >> 20, driver / 1000,
        driver % 1000 / 10);
    return true;
}

int lumigrid_cuda_device_count(struct error *err)
{
    int count = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess && count > 0)
        return count;
    cudaGetLastError();
    if (status == cudaErrorInsufficientDriver)
        error_set(err, ERROR_UNAVAILABLE, "the NVIDIA driver is missing or older than CUDA %d.%d needs",
            CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    else if (status == cudaSuccess || status == cudaErrorNoDevice)
        error_set(err, ERROR_NOT_FOUND, "no NVIDIA GPU is visible");
    else
        error_set(
            err, ERROR_UNAVAILABLE, "the NVIDIA driver does not answer: %s", cudaGetErrorString(status));
    error_hint(err, "nvidia-smi shows what the driver sees; CUDA_VISIBLE_DEVICES may hide devices");
    return 0;
}

bool lumigrid_cuda_open(int device, struct backend **out, struct error *err)
{
    int count = lumigrid_cuda_device_count(err);
    if (count == 0)
        return false;
    if (device < 0 || device >= count) {
        error_set(err, ERROR_NOT_FOUND, "there is no device cuda:%d", device);
        return error_hint(err, "devices are cuda:0 to cuda:%d here", count - 1);
    }
    struct cuda_backend *cuda = calloc(1, sizeof *cuda);
    if (!cuda)
        return error_set(err, ERROR_MEMORY, "no memory for a backend");
    cuda->base.ops = &cuda_ops;
    cuda->device = device;
    cuda->staging.pinned = true;
    if (!start(cuda, err)) {
        cuda_close(&cuda->base);
        return false;
    }
    *out = &cuda->base;
    return true;
}

const char lumigrid_cuda_version[] = LUMIGRID_VERSION;
