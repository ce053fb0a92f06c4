/* Finding and loading the CUDA module; see cuda/module.h. */
#ifndef LUMIGRID_WORKER_BACKEND_MODULE_H
#define LUMIGRID_WORKER_BACKEND_MODULE_H

#include "worker/backend/backend.h"

/* "cuda" or "cuda:N", N of up to three digits. */
bool cuda_device_number(const char *device, int *out);
bool cuda_module_open(int device, struct backend **out, struct error *err);

#endif
