/* The emulation's inside: what its sources share. See emulation.h for its door. */
#ifndef CUDA_EMULATION_INSIDE_H
#define CUDA_EMULATION_INSIDE_H

#include <mutex>

#include "emulation.h"
#include "kernel.h"

namespace cuda_emulation
{

/* ---- reports ---- */

/* One line: what, and where in which kernel. `code` is an address in kernel code, or NULL. When reports are
 * recorded it comes back, and the caller makes the call or the block fail; otherwise the process ends. */
__attribute__((format(printf, 2, 3))) void report(const void *code, const char *format, ...);
/* The same from a device thread: its block ends. */
[[noreturn]] __attribute__((format(printf, 2, 3))) void report_thread(
    const void *code, const char *format, ...);

/* Around a grid: faults that the processor finds are reported too. */
void catch_signals();
void release_signals();

/* ---- device memory ---- */

enum class access { read, write, atomic };
enum : uint8_t {
    STATE_NONE = 0,
    STATE_RAW = 1,
    STATE_SET = 2
}; /* of a byte: not allocated, uninitialised, written */

extern char *device_base; /* one reserved range that all devices' allocations come from */
extern uint8_t *device_state;
enum : size_t { DEVICE_RANGE_BYTES = (size_t)1 << 36 };

inline bool is_device(const void *p)
{
    return (size_t)(static_cast<const char *>(p) - device_base) < DEVICE_RANGE_BYTES;
}
bool is_pinned(const void *p); /* host memory that the device may reach */
/* What a range of device memory lacks for the access, as words for a report; NULL when it is fine. A write
 * marks the bytes as written. */
const char *device_fault(const void *p, size_t bytes, access kind);
/* "4 bytes past the end of an allocation of 128 bytes": where an address lies. */
void device_describe(const void *p, char *out, size_t bytes);

/* ---- running blocks ---- */

struct grid_launch {
    launch_info info;
    const void *arguments;
    size_t argument_bytes;
};
/* Runs all blocks. False when one was stopped by a report. */
bool run_grid(const grid_launch &launch);
/* ": kernel k, block (1,0,0), thread (3,0,0)"; empty outside of kernels. */
void where(char *out, size_t bytes);
[[noreturn]] void abandon_block();
/* Whether a pointer is the running thread's own: its stack, or the parameters of its kernel. */
bool is_own(const void *p);
/* An access by the running device thread, checked; also used by instructions that the emulation does itself.
 */
void check_access(const void *p, size_t bytes, access kind, const void *code);

/* ---- shared memory: state of each byte in the running block ---- */

void shared_start_launch(size_t dynamic_bytes);
bool is_shared(const void *p);
void shared_access(const void *p, size_t bytes, access kind, const void *code);
void shared_pending(void *p, size_t bytes, bool pending, const void *code);
enum : size_t { SHARED_STATIC_LIMIT = 48 * 1024, SHARED_LIMIT = 227 * 1024 };

/* Copies that a block's threads started are forgotten when it ends. */
void copies_start_block(unsigned threads);

/* The running thread's place in its block; NULL in host code. */
struct place {
    unsigned number, warp, lane;
};
extern const place *running_place;
inline place running()
{
    return *running_place;
}
inline bool in_kernel()
{
    return running_place != nullptr;
}

/* ---- runtime ---- */

extern std::recursive_mutex mutex;   /* held in every call; kernels run under it */
cudaError_t fail(cudaError_t error); /* remembers it for cudaGetLastError */
void forget_error();                 /* also the one that stays until a device is reset */
/* At the start of every call: the error that lasts, or one that a test asked for. */
cudaError_t start_call();
void count_synchronisation();
void count_graph_launch();
size_t dynamic_limit(const void *kernel);
size_t shared_optin_bytes();

} // namespace cuda_emulation

#endif
