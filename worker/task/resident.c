#include "worker/task/resident.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

struct resident_set {
    struct backend *backend;
    const struct runner_options *options;
    void (*wake)(void *context);
    void *wake_context;
    struct resident *first;
    uint64_t uses;
};

/* Shared between the runner's thread and one loader thread; `lock` guards what both touch while it runs. */
struct loader {
    struct resident *resident;
    pthread_t thread;
    pthread_mutex_t lock;
    struct resident_progress progress;
    atomic_bool stop, finished;
    struct model *model;
    const char *digest;
    struct error error;
    bool ok;
};

static bool on_download(void *context, const char *file, uint64_t done_bytes, uint64_t total_bytes)
{
    struct loader *loader = context;
    pthread_mutex_lock(&loader->lock);
    snprintf(loader->progress.file, sizeof(loader->progress.file), "%s", file);
    loader->progress.done_bytes = done_bytes;
    loader->progress.total_bytes = total_bytes;
    loader->progress.downloading = true;
    pthread_mutex_unlock(&loader->lock);
    return !atomic_load(&loader->stop);
}

static void *load(void *argument)
{
    struct loader *loader = argument;
    struct resident *resident = loader->resident;
    const struct runner_options *options = resident->set->options;
    struct model_options how = {.cache_dir = options->models_dir,
        .allow_dirs = options->allow_dirs,
        .progress = on_download,
        .context = loader};
    loader->ok = model_open(resident->reference, &how, &loader->model, &loader->error);
    if (loader->ok) {
        loader->digest = model_digest(loader->model, &loader->error);
        loader->ok = loader->digest != NULL;
    }
    if (!loader->ok) {
        model_close(loader->model);
        loader->model = NULL;
    }
    /* After this store the runner's thread may join and free the loader: the set is taken before. */
    struct resident_set *set = resident->set;
    atomic_store(&loader->finished, true);
    set->wake(set->wake_context);
    return NULL;
}

struct resident_set *resident_set_open(struct backend *backend, const struct runner_options *options,
    void (*wake)(void *context), void *context, struct error *err)
{
    struct resident_set *set = calloc(1, sizeof(*set));
    if (!set) {
        error_set(err, ERROR_MEMORY, "no memory for the table of loaded models");
        return NULL;
    }
    set->backend = backend;
    set->options = options;
    set->wake = wake;
    set->wake_context = context;
    return set;
}

static void loader_free(struct loader *loader)
{
    pthread_join(loader->thread, NULL);
    pthread_mutex_destroy(&loader->lock);
    free(loader);
}

/* Takes the resident out of the list and frees it. */
static void forget(struct resident *resident)
{
    struct resident **link = &resident->set->first;
    while (*link != resident)
        link = &(*link)->next;
    *link = resident->next;
    if (resident->loader) {
        atomic_store(&resident->loader->stop, true);
        pthread_join(resident->loader->thread, NULL);
        model_close(resident->loader->model);
        pthread_mutex_destroy(&resident->loader->lock);
        free(resident->loader);
    }
    engine_close(resident->engine);
    model_close(resident->model);
    free(resident->reference);
    free(resident);
}

void resident_set_close(struct resident_set *set)
{
    if (!set)
        return;
    while (set->first)
        forget(set->first);
    free(set);
}

static bool start_loader(struct resident *resident, struct error *err)
{
    struct loader *loader = calloc(1, sizeof(*loader));
    if (!loader)
        return error_set(err, ERROR_MEMORY, "no memory to load %s", resident->reference);
    loader->resident = resident;
    pthread_mutex_init(&loader->lock, NULL);
    int status = pthread_create(&loader->thread, NULL, load, loader);
    if (status != 0) {
        pthread_mutex_destroy(&loader->lock);
        free(loader);
        return error_set(err, ERROR_MEMORY, "starting a loader thread: %s", strerror(status));
    }
    resident->loader = loader;
    return true;
}

struct resident *resident_acquire(
    struct resident_set *set, const char *reference, enum dtype dtype, struct error *err)
{
    struct resident *resident;
    for (resident = set->first; resident; resident = resident->next)
        if (resident->state != RESIDENT_FAILED && resident->dtype == dtype &&
            strcmp(resident->reference, reference) == 0)
            break;
    if (!resident) {
        resident = calloc(1, sizeof(*resident));
        char *name = strdup(reference);
        if (!resident || !name) {
            free(resident);
            free(name);
            error_set(err, ERROR_MEMORY, "no memory to load %s", reference);
            return NULL;
        }
        resident->set = set;
        resident->reference = name;
        resident->dtype = dtype;
        resident->next = set->first;
        set->first = resident;
        if (!start_loader(resident, err)) {
            forget(resident);
            return NULL;
        }
    }
    resident->users++;
    resident->last_used = ++set->uses;
    return resident;
}

void resident_release(struct resident *resident)
{
    if (--resident->users == 0 && resident->state == RESIDENT_FAILED)
        forget(resident);
}

static struct resident *least_recently_used_idle(struct resident_set *set)
{
    struct resident *oldest = NULL;
    for (struct resident *r = set->first; r; r = r->next)
        if (r->state == RESIDENT_READY && r->users == 0 && (!oldest || r->last_used < oldest->last_used))
            oldest = r;
    return oldest;
}

static uint64_t memory_left(const struct resident_set *set)
{
    struct backend_memory memory;
    uint64_t held = 0;
    set->backend->ops->memory(set->backend, &memory);
    for (const struct resident *r = set->first; r; r = r->next)
        if (r->engine)
            held += engine_resident_bytes(r->engine);
    uint64_t limit = set->options->memory_bytes_max;
    uint64_t allowed = limit > held ? limit - held : 0;
    return allowed < memory.free_bytes ? allowed : memory.free_bytes;
}

/* Half of what is left, so that a second model finds room beside this one; all of it, and then the room of
 * idle models one after another, when half is too little. */
static bool open_engine(struct resident *resident, struct error *err)
{
    struct resident_set *set = resident->set;
    bool whole = false;
    for (;;) {
        uint64_t left = memory_left(set);
        struct engine_options options = {
            .compute_dtype = resident->dtype, .memory_bytes_max = whole ? left : left / 2};
        if (engine_open(set->backend, resident->model, &options, &resident->engine, err))
            return true;
        if (err->code != ERROR_MEMORY)
            return false;
        struct resident *idle = whole ? least_recently_used_idle(set) : NULL;
        if (whole && !idle)
            return false;
        if (idle) {
            log_info("model leaves to make room", "model", idle->reference, "for", resident->reference);
            forget(idle);
        }
        whole = true;
    }
}

static void take_over(struct resident *resident)
{
    struct loader *loader = resident->loader;
    bool ok = loader->ok;
    resident->loader = NULL;
    resident->model = loader->model;
    resident->error = loader->error;
    const char *digest = loader->digest;
    loader_free(loader);
    if (ok && !model_tokenizer(resident->model))
        ok = error_set(&resident->error, ERROR_INVALID, "%s has no tokenizer files", resident->reference);
    if (ok && !open_engine(resident, &resident->error))
        ok = false;
    if (!ok) {
        log_error_value(LOG_LEVEL_ERROR, "model not loaded", &resident->error);
        resident->state = RESIDENT_FAILED;
        return;
    }
    resident->state = RESIDENT_READY;
    resident->provenance = (struct task_provenance){.model_digest = digest,
        .tokenizer_digest = tokenizer_digest(model_tokenizer(resident->model)),
        .dtype = dtype_name(resident->dtype),
        .backend = resident->set->backend->ops->name};
    log_info("model loaded", "model", resident->reference, "digest", digest, "bytes",
        LOG_INT(engine_resident_bytes(resident->engine)));
}

static struct resident *find_finished(const struct resident_set *set)
{
    struct resident *resident = set->first;
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): forget() took the freed one out of the list */
    while (resident && !(resident->loader && atomic_load(&resident->loader->finished)))
        resident = resident->next;
    return resident;
}

void resident_set_poll(struct resident_set *set)
{
    struct resident *resident;
    while ((resident = find_finished(set))) { /* from the front each time: making room takes others out */
        take_over(resident);
        if (resident->state == RESIDENT_FAILED && resident->users == 0)
            forget(resident);
    }
}

struct resident *resident_first(struct resident_set *set)
{
    return set->first;
}

bool resident_progress(struct resident *resident, struct resident_progress *out)
{
    struct loader *loader = resident->loader;
    if (!loader)
        return false;
    pthread_mutex_lock(&loader->lock);
    *out = loader->progress;
    pthread_mutex_unlock(&loader->lock);
    return true;
}
