/* The door of the emulation, for tests: what it reported, and what device it plays.
 *
 * A report is one line, "cuda emulation: WHAT: kernel NAME, block (x,y,z), thread (x,y,z), at FILE:LINE". By
 * default it goes to stderr and ends the process, so that a test fails; a test of the emulation itself
 * records it. */
#ifndef CUDA_EMULATION_EMULATION_H
#define CUDA_EMULATION_EMULATION_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* From now on reports are kept instead of ending the process. */
void cuda_emulation_record(bool record);
/* The first report since the last call, or NULL; the device works again afterwards. Lives until the next
 * call. */
const char *cuda_emulation_take_report(void);

struct cuda_emulation_device {
    int count;           /* devices */
    int major, minor;    /* compute capability */
    size_t memory_bytes; /* of each */
    int multiprocessors;
    size_t shared_optin_bytes; /* a block's shared memory at most */
};
struct cuda_emulation_device cuda_emulation_get_device(void);
void cuda_emulation_set_device(struct cuda_emulation_device device);

/* The call that comes after `calls` more calls to the runtime fails with `error` (a cudaError_t), and when it
 * is one that a device does not survive, so do all that follow until cudaDeviceReset. Calls < 0: never. */
void cuda_emulation_fail_after(long calls, int error);

/* Tells the emulation what a program's own allocator does inside its memory, in the order of the stream:
 * `bytes` at `p` are handed out, uninitialised, or (taken false) are nobody's from here on. */
void cuda_emulation_mark(void *p, size_t bytes, bool taken, void *stream);

struct cuda_emulation_counts {
    unsigned long launches, graph_launches, allocations, synchronisations, copies;
};
struct cuda_emulation_counts cuda_emulation_get_counts(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
