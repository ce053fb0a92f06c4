/* The CPU backend's door, for backend_open. */
#ifndef LUMIGRID_WORKER_BACKEND_CPU_OPEN_H
#define LUMIGRID_WORKER_BACKEND_CPU_OPEN_H

#include "worker/backend/backend.h"

bool cpu_open(const struct backend_options *options, struct backend **out, struct error *err);

#endif
