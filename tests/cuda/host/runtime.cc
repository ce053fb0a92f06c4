/* The runtime's calls about devices, memory, copies and launches. */
#include <atomic>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include "memory.h"
#include "stream.h"

using namespace cuda_emulation;

namespace cuda_emulation
{

std::recursive_mutex mutex;

namespace
{

struct cuda_emulation_device device = {1, 8, 0, (size_t)2 << 30, 4, 163 * 1024};
struct cuda_emulation_counts counts;
long calls_to_failure = -1;
cudaError_t failure, lasting;
thread_local cudaError_t last_error;
thread_local int current_device;
std::map<const void *, size_t> dynamic_limits;
size_t pool_threshold;

/* After these a device takes nothing any more until it is reset. */
bool lasts(cudaError_t error)
{
    switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure: return true;
    default: return false;
    }
}

} // namespace

cudaError_t fail(cudaError_t error)
{
    last_error = error;
    if (lasts(error))
        lasting = error;
    return error;
}

cudaError_t start_call()
{
    if (calls_to_failure >= 0 && calls_to_failure-- == 0)
        return fail(failure);
    return lasting;
}

void forget_error()
{
    lasting = last_error = cudaSuccess;
}

void count_synchronisation()
{
    counts.synchronisations++;
}
void count_graph_launch()
{
    counts.graph_launches++;
}

size_t dynamic_limit(const void *kernel)
{
    auto found = dynamic_limits.find(kernel);
    return found == dynamic_limits.end() ? (size_t)SHARED_STATIC_LIMIT : found->second;
}

size_t shared_optin_bytes()
{
    return device.shared_optin_bytes;
}

void launch_kernel(const launch_info &info, cudaStream_t stream, const void *arguments, size_t bytes)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (start_call())
        return;
    counts.launches++;
    const dim3 g = info.grid, b = info.block;
    const unsigned long threads = (unsigned long)b.x * b.y * b.z;
    const char *wrong = nullptr;
    if (!g.x || !g.y || !g.z || g.x > 0x7fffffff || g.y > 65535 || g.z > 65535)
        wrong = "a grid that is empty or too large";
    else if (!threads || threads > 1024 || b.x > 1024 || b.y > 1024 || b.z > 64)
        wrong = "a block that is empty or over 1024 threads";
    else if (info.dynamic_bytes > dynamic_limit(info.kernel))
        wrong = "more dynamic shared memory than the kernel was allowed (cudaFuncSetAttribute)";
    if (wrong) {
        report(nullptr,
            "bad launch: %s: grid (%u,%u,%u), block (%u,%u,%u), %zu bytes of shared memory: kernel %s", wrong,
            g.x, g.y, g.z, b.x, b.y, b.z, info.dynamic_bytes, info.name);
        fail(cudaErrorInvalidConfiguration);
        return;
    }
    const std::string values(static_cast<const char *>(arguments), bytes);
    enqueue(stream, [info, values] {
        return run_grid({info, values.data(), values.size()}) ? cudaSuccess : cudaErrorLaunchFailure;
    });
}

namespace
{

/* One side of a copy, checked. */
cudaError_t touch(const void *p, size_t bytes, access kind)
{
    const char *fault = is_device(p) ? device_fault(p, bytes, kind) : nullptr;
    if (fault && strcmp(fault, "uninitialised") != 0) {
        char place[128];
        device_describe(p, place, sizeof place);
        report(nullptr, "%s: copy %s %zu bytes of device memory, %s", fault,
            kind == access::read ? "reads" : "writes", bytes, place);
        return cudaErrorIllegalAddress;
    }
    return cudaSuccess;
}

/* Copies keep whether bytes are initialised: copying what nothing wrote is fine, using it is not. */
cudaError_t copy_now(void *to, const void *from, size_t bytes)
{
    if (cudaError_t error = touch(from, bytes, access::read))
        return error;
    if (cudaError_t error = touch(to, bytes, access::write))
        return error;
    memmove(to, from, bytes);
    if (is_device(to) && is_device(from))
        memmove(device_state + (static_cast<char *>(to) - device_base),
            device_state + (static_cast<const char *>(from) - device_base), bytes);
    return cudaSuccess;
}

cudaError_t copy_rows(
    void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t rows)
{
    for (size_t i = 0; i < rows; i++)
        if (cudaError_t error = copy_now(static_cast<char *>(to) + i * to_pitch,
                static_cast<const char *>(from) + i * from_pitch, width))
            return error;
    return cudaSuccess;
}

/* Whether the ends of a copy are where its kind says. */
bool kind_fits(const void *to, const void *from, enum cudaMemcpyKind kind)
{
    const bool device_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool device_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    return kind == cudaMemcpyDefault || (is_device(to) == device_to && is_device(from) == device_from);
}

cudaError_t copy(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t rows,
    enum cudaMemcpyKind kind, cudaStream_t stream, bool wait)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (cudaError_t broken = start_call())
        return broken;
    counts.copies++;
    if (width == 0 || rows == 0)
        return cudaSuccess;
    if (!kind_fits(to, from, kind) || to_pitch < width || from_pitch < width)
        return fail(cudaErrorInvalidValue);
    cudaError_t error;
    if (!is_capturing(stream) && !is_device(from) && !is_pinned(from)) {
        /* Pageable memory is read before the call returns. */
        std::string bytes;
        for (size_t i = 0; i < rows; i++)
            bytes.append(static_cast<const char *>(from) + i * from_pitch, width);
        error = enqueue(stream, [to, to_pitch, width, rows, bytes] {
            return copy_rows(to, to_pitch, bytes.data(), width, width, rows);
        });
    } else {
        error = enqueue(stream, [to, to_pitch, from, from_pitch, width, rows] {
            return copy_rows(to, to_pitch, from, from_pitch, width, rows);
        });
        wait = wait || (!is_capturing(stream) && !is_device(to) && !is_pinned(to));
    }
    return error || !wait ? error : drain(stream);
}

cudaError_t set(void *to, size_t pitch, int value, size_t width, size_t rows, cudaStream_t stream)
{
    std::lock_guard<std::recursive_mutex> lock(mutex);
    if (cudaError_t broken = start_call())
        return broken;
    if (!is_device(to) && !is_pinned(to))
        return fail(cudaErrorInvalidValue);
    return enqueue(stream, [to, pitch, value, width, rows]() -> cudaError_t {
        for (size_t i = 0; i < rows; i++) {
            if (cudaError_t error = touch(static_cast<char *>(to) + i * pitch, width, access::write))
                return error;
            memset(static_cast<char *>(to) + i * pitch, value, width);
        }
        return cudaSuccess;
    });
}

} // namespace
} // namespace cuda_emulation

#define LOCK std::lock_guard<std::recursive_mutex> lock(cuda_emulation::mutex)
#define CALL                                                                                                 \
    LOCK;                                                                                                    \
    if (cudaError_t broken = start_call())                                                                   \
        return broken;

extern "C" {

void cuda_emulation_set_device(struct cuda_emulation_device wanted)
{
    LOCK;
    device = wanted;
}
struct cuda_emulation_device cuda_emulation_get_device(void)
{
    return device;
}
void cuda_emulation_fail_after(long calls, int error)
{
    LOCK;
    calls_to_failure = calls;
    failure = (cudaError_t)error;
}
void cuda_emulation_mark(void *p, size_t bytes, bool taken, void *stream)
{
    LOCK;
    enqueue(static_cast<cudaStream_t>(stream), [p, bytes, taken] {
        memset(device_state + (static_cast<char *>(p) - device_base), taken ? STATE_RAW : STATE_NONE, bytes);
        return cudaSuccess;
    });
}
struct cuda_emulation_counts cuda_emulation_get_counts(void)
{
    return counts;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = device.count ? CUDART_VERSION : 0;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *count)
{
    LOCK;
    *count = device.count;
    return device.count ? cudaSuccess : fail(cudaErrorNoDevice);
}
cudaError_t cudaSetDevice(int wanted)
{
    LOCK;
    if (wanted < 0 || wanted >= device.count)
        return fail(cudaErrorInvalidDevice);
    current_device = wanted;
    return lasting;
}
cudaError_t cudaGetDevice(int *out)
{
    *out = current_device;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int which)
{
    LOCK;
    if (which < 0 || which >= device.count)
        return fail(cudaErrorInvalidDevice);
    *p = cudaDeviceProp{};
    snprintf(p->name, sizeof p->name, "emulated device");
    p->uuid[15] = (unsigned char)which;
    p->totalGlobalMem = device.memory_bytes;
    p->sharedMemPerBlock = SHARED_STATIC_LIMIT;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = 1024;
    p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 0x7fffffff;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->major = device.major;
    p->minor = device.minor;
    p->multiProcessorCount = device.multiprocessors;
    p->ECCEnabled = 1;
    p->pciBusID = which + 1;
    p->memoryBusWidth = 5120;
    p->l2CacheSize = 40 << 20;
    p->maxThreadsPerMultiProcessor = 2048;
    p->sharedMemPerBlockOptin = device.shared_optin_bytes;
    p->sharedMemPerMultiprocessor = device.shared_optin_bytes + 1024;
    p->maxBlocksPerMultiProcessor = 32;
    p->memoryPoolsSupported = 1;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int which)
{
    struct cudaDeviceProp p;
    if (cudaError_t error = cudaGetDeviceProperties(&p, which))
        return error;
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = p.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = (int)p.sharedMemPerBlock; break;
    case cudaDevAttrWarpSize: *value = p.warpSize; break;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor: *value = p.regsPerBlock; break;
    case cudaDevAttrClockRate: *value = 1410000; break;
    case cudaDevAttrMultiProcessorCount: *value = p.multiProcessorCount; break;
    case cudaDevAttrIntegrated: *value = 0; break;
    case cudaDevAttrPciBusId: *value = p.pciBusID; break;
    case cudaDevAttrPciDeviceId: *value = p.pciDeviceID; break;
    case cudaDevAttrPciDomainId: *value = p.pciDomainID; break;
    case cudaDevAttrMemoryClockRate: *value = 1215000; break;
    case cudaDevAttrGlobalMemoryBusWidth: *value = p.memoryBusWidth; break;
    case cudaDevAttrL2CacheSize: *value = p.l2CacheSize; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = p.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = p.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = p.minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = (int)p.sharedMemPerMultiprocessor; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = (int)p.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxBlocksPerMultiprocessor: *value = p.maxBlocksPerMultiProcessor; break;
    case cudaDevAttrMemoryPoolsSupported: *value = 1; break;
    default: return fail(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char *id, int length, int which)
{
    snprintf(id, (size_t)length, "0000:%02x:00.0", which + 1);
    return cudaSuccess;
}
cudaError_t cudaSetDeviceFlags(unsigned int)
{
    return cudaSuccess;
}
cudaError_t cudaInitDevice(int which, unsigned int, unsigned int)
{
    return which < 0 || which >= device.count ? fail(cudaErrorInvalidDevice) : cudaSuccess;
}
cudaError_t cudaDeviceSynchronize(void)
{
    CALL counts.synchronisations++;
    return drain_all();
}
cudaError_t cudaDeviceReset(void)
{
    LOCK;
    forget_error();
    return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int *can, int which, int peer)
{
    *can = which != peer;
    return cudaSuccess;
}
cudaError_t cudaDeviceEnablePeerAccess(int, unsigned int)
{
    CALL return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = lasting ? lasting : last_error;
    last_error = cudaSuccess;
    return error;
}
cudaError_t cudaPeekAtLastError(void)
{
    return lasting ? lasting : last_error;
}
const char *cudaGetErrorName(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorECCUncorrectable: return "cudaErrorECCUncorrectable";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    default: return "cudaErrorOther";
    }
}
const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorECCUncorrectable: return "uncorrectable ECC error encountered";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorLaunchFailure: return "unspecified launch failure";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    default: return cudaGetErrorName(error);
    }
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    CALL *total_bytes = device.memory_bytes;
    *free_bytes = device.memory_bytes - device_used(current_device);
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **pointer, size_t bytes)
{
    CALL counts.allocations++;
    *pointer = nullptr;
    if (cudaError_t error = refuse_in_capture())
        return error;
    if (bytes == 0)
        return cudaSuccess;
    *pointer = device_allocate(current_device, bytes);
    return *pointer ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void *pointer)
{
    LOCK;
    if (pointer == nullptr)
        return cudaSuccess;
    cudaError_t error = drain_all();
    return device_free(pointer) ? error : fail(cudaErrorInvalidValue);
}
cudaError_t cudaMallocAsync(void **pointer, size_t bytes, cudaStream_t stream)
{
    CALL counts.allocations++;
    *pointer = nullptr;
    if (is_capturing(stream))
        return fail(cudaErrorStreamCaptureUnsupported);
    if (bytes == 0)
        return cudaSuccess;
    *pointer = device_allocate(current_device, bytes);
    if (*pointer == nullptr && !drain(stream)) /* what was freed in the stream is there again */
        *pointer = device_allocate(current_device, bytes);
    return *pointer ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
cudaError_t cudaMallocFromPoolAsync(void **pointer, size_t bytes, cudaMemPool_t, cudaStream_t stream)
{
    return cudaMallocAsync(pointer, bytes, stream);
}
/* Giving back is no call that can be made to fail: it takes no memory. */
cudaError_t cudaFreeAsync(void *pointer, cudaStream_t stream)
{
    LOCK;
    if (pointer == nullptr)
        return cudaSuccess;
    if (is_capturing(stream))
        return fail(cudaErrorStreamCaptureUnsupported);
    return enqueue(stream, [pointer] { return device_free(pointer) ? cudaSuccess : cudaErrorInvalidValue; });
}
cudaError_t cudaMallocHost(void **pointer, size_t bytes)
{
    CALL *pointer = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (*pointer == nullptr)
        return fail(cudaErrorMemoryAllocation);
    pinned_add(*pointer, bytes);
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned int)
{
    return cudaMallocHost(pointer, bytes);
}
cudaError_t cudaFreeHost(void *pointer)
{
    LOCK;
    if (pointer == nullptr)
        return cudaSuccess;
    drain_all();
    if (!pinned_remove(pointer))
        return fail(cudaErrorInvalidValue);
    free(pointer);
    return cudaSuccess;
}
cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned int)
{
    CALL pinned_add(pointer, bytes);
    return cudaSuccess;
}
cudaError_t cudaHostUnregister(void *pointer)
{
    LOCK;
    drain_all();
    return pinned_remove(pointer) ? cudaSuccess : fail(cudaErrorInvalidValue);
}
cudaError_t cudaHostGetDevicePointer(void **device_pointer, void *host, unsigned int)
{
    CALL *device_pointer = host;
    return is_pinned(host) ? cudaSuccess : fail(cudaErrorInvalidValue);
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *pointer)
{
    CALL *a = cudaPointerAttributes{};
    a->type = is_device(pointer)   ? cudaMemoryTypeDevice
              : is_pinned(pointer) ? cudaMemoryTypeHost
                                   : cudaMemoryTypeUnregistered;
    a->device = is_device(pointer) ? device_of(pointer) : current_device;
    a->devicePointer = is_device(pointer) ? const_cast<void *>(pointer) : nullptr;
    a->hostPointer = is_device(pointer) ? nullptr : const_cast<void *>(pointer);
    return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int)
{
    CALL *pool = reinterpret_cast<cudaMemPool_t>(&pool_threshold);
    return cudaSuccess;
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t *pool, const struct cudaMemPoolProps *)
{
    return cudaDeviceGetDefaultMemPool(pool, 0);
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t)
{
    return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, enum cudaMemPoolAttr, void *)
{
    CALL return cudaSuccess;
}
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, enum cudaMemPoolAttr, void *value)
{
    CALL *static_cast<size_t *>(value) = device_used(current_device);
    return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t)
{
    CALL return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    return copy(to, bytes, from, bytes, bytes, 1, kind, nullptr, true);
}
cudaError_t cudaMemcpyAsync(
    void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    return copy(to, bytes, from, bytes, bytes, 1, kind, stream, false);
}
cudaError_t cudaMemcpyPeerAsync(void *to, int, const void *from, int, size_t bytes, cudaStream_t stream)
{
    return copy(to, bytes, from, bytes, bytes, 1, cudaMemcpyDeviceToDevice, stream, false);
}
cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width_bytes,
    size_t rows, enum cudaMemcpyKind kind)
{
    return copy(to, to_pitch, from, from_pitch, width_bytes, rows, kind, nullptr, true);
}
cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
    size_t width_bytes, size_t rows, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    return copy(to, to_pitch, from, from_pitch, width_bytes, rows, kind, stream, false);
}
cudaError_t cudaMemset(void *to, int value, size_t bytes)
{
    return set(to, bytes, value, bytes, 1, nullptr);
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    return set(to, bytes, value, bytes, 1, stream);
}
cudaError_t cudaMemset2DAsync(
    void *to, size_t pitch, int value, size_t width_bytes, size_t rows, cudaStream_t stream)
{
    return set(to, pitch, value, width_bytes, rows, stream);
}

cudaError_t cudaFuncSetAttribute(const void *kernel, enum cudaFuncAttribute attribute, int value)
{
    CALL if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || (size_t)value > device.shared_optin_bytes)
        return fail(cudaErrorInvalidValue);
    dynamic_limits[kernel] = std::max((size_t)value, (size_t)SHARED_STATIC_LIMIT);
    return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *kernel)
{
    CALL *a = cudaFuncAttributes{};
    a->maxThreadsPerBlock = 1024;
    a->numRegs = 32;
    a->ptxVersion = a->binaryVersion = device.major * 10 + device.minor;
    a->maxDynamicSharedSizeBytes = (int)dynamic_limit(kernel);
    return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(
    int *blocks, const void *, int threads, size_t bytes)
{
    CALL if (threads < 1 || threads > 1024) return fail(cudaErrorInvalidValue);
    const size_t by_memory = bytes ? (device.shared_optin_bytes + 1024) / (bytes + 1024) : 32;
    *blocks = (int)std::min({(size_t)2048 / (size_t)threads, by_memory, (size_t)32});
    return cudaSuccess;
}

} /* extern "C" */
