/* Device and pinned memory, for the runtime's calls. */
#ifndef CUDA_EMULATION_MEMORY_H
#define CUDA_EMULATION_MEMORY_H

#include "race.h"

namespace cuda_emulation
{

extern byte_state *device_races; /* of each byte of device memory */

enum { EMULATED_DEVICES_MAX = 8 };

void *device_allocate(int device, size_t bytes); /* NULL: no such amount is left */
bool device_free(void *p);                       /* false: not the start of an allocation */
size_t device_used(int device);
int device_of(const void *p);
void pinned_add(const void *p, size_t bytes);
bool pinned_remove(const void *p);

} // namespace cuda_emulation

#endif
