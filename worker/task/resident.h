/* Models loaded on one device, by reference and dtype: opened on a loader thread (download, mapping, digest),
 * given to an engine on the runner's thread, kept while memory allows, the least recently used idle one
 * leaving first. */
#ifndef LUMIGRID_WORKER_TASK_RESIDENT_H
#define LUMIGRID_WORKER_TASK_RESIDENT_H

#include "worker/backend/backend.h"
#include "worker/engine/engine.h"
#include "worker/task/task.h"

struct resident_set;

enum resident_state { RESIDENT_LOADING, RESIDENT_READY, RESIDENT_FAILED };

struct resident {
    struct resident *next;
    struct resident_set *set;
    char *reference;
    enum dtype dtype;
    enum resident_state state; /* changed on the runner's thread only */
    struct error error;        /* with RESIDENT_FAILED */
    struct model *model;
    struct engine *engine;
    struct task_provenance provenance; /* its strings live as long as this */
    size_t users;                      /* tasks that hold it */
    size_t live;                       /* what engine_step said last, or 1 after a submit */
    uint64_t last_used;                /* a counter, not a time */
    struct loader *loader;             /* while loading */
};

struct resident_progress {
    char file[256];
    uint64_t done_bytes, total_bytes;
    bool downloading;
};

/* `wake` is called on a loader thread when a model has been opened. Everything is borrowed. */
struct resident_set *resident_set_open(struct backend *backend, const struct runner_options *options,
    void (*wake)(void *context), void *context, struct error *err);
void resident_set_close(struct resident_set *set); /* waits for loaders, which are told to stop */

/* The model, loading or loaded; one more user. NULL without memory. */
struct resident *resident_acquire(
    struct resident_set *set, const char *reference, enum dtype dtype, struct error *err);
void resident_release(struct resident *resident); /* a failed one without users is forgotten */

/* Takes opened models over from their loaders and gives them an engine; call when woken. */
void resident_set_poll(struct resident_set *set);
struct resident *resident_first(struct resident_set *set);
bool resident_progress(struct resident *resident, struct resident_progress *out); /* false: not loading */

#endif
