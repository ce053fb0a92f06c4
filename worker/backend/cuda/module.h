/* The door of the CUDA module (liblumigrid_cuda.so), which backend.c loads at run time: the worker itself
 * links nothing of CUDA, so that one package serves machines with and without a GPU and its driver. */
#ifndef LUMIGRID_WORKER_BACKEND_CUDA_MODULE_H
#define LUMIGRID_WORKER_BACKEND_CUDA_MODULE_H

#include "worker/backend/backend.h"

#define CUDA_MODULE_EXPORT __attribute__((visibility("default")))

/* Devices that the driver shows to this process, MIG slices included. 0, and why, when there are none. */
CUDA_MODULE_EXPORT int lumigrid_cuda_device_count(struct error *err);
CUDA_MODULE_EXPORT bool lumigrid_cuda_open(int device, struct backend **out, struct error *err);
/* LUMIGRID_VERSION of the build: the table of functions is no stable interface. */
CUDA_MODULE_EXPORT extern const char lumigrid_cuda_version[];

#endif
