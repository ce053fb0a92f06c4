/* A fixed set of threads that share one loop at a time.
 *
 * threads_run is called by one thread only (the backend's), which takes part. Helpers watch for the next loop
 * for some microseconds after one ends, since a model's operations follow each other closely, and then sleep:
 * an idle backend uses no processor time. */
#ifndef LUMIGRID_WORKER_BACKEND_CPU_THREADS_H
#define LUMIGRID_WORKER_BACKEND_CPU_THREADS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct threads;

/* `count` threads in all, the caller included. */
bool threads_open(int count, struct threads **out, struct error *err);
void threads_close(struct threads *threads); /* NULL is fine */
int threads_count(const struct threads *threads);

/* Calls run(context, index, thread) for every index below `total`, in any order, thread in [0, count).
 * Returns when all are done; what they wrote is visible to the caller. */
void threads_run(struct threads *threads, size_t total,
    void (*run)(void *context, size_t index, size_t thread), void *context);

#endif
