#include "worker/backend/module.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE_FILE "liblumigrid_cuda.so"

/* What cuda/module.h declares, looked up by name: nothing of CUDA is linked. */
static struct {
    pthread_mutex_t lock;
    void *library;
    int (*device_count)(struct error *err);
    bool (*open)(int device, struct backend **out, struct error *err);
} module = {.lock = PTHREAD_MUTEX_INITIALIZER};

bool cuda_device_number(const char *device, int *out)
{
    if (strncmp(device, "cuda", 4) != 0)
        return false;
    const char *digits = device + 4;
    size_t count = strlen(digits);
    *out = 0;
    if (count == 0)
        return true;
    if (*digits++ != ':' || count < 2 || count > 4)
        return false;
    for (; *digits; digits++) {
        if (*digits < '0' || *digits > '9')
            return false;
        *out = *out * 10 + (*digits - '0');
    }
    return true;
}

/* LUMIGRID_CUDA_MODULE names the file; otherwise it is beside the program (a build), or in lib/lumigrid next
 * to its folder (an installation). */
static bool module_path(size_t candidate, char *out, size_t size)
{
    static const char *const places[] = {"/" MODULE_FILE, "/../lib/lumigrid/" MODULE_FILE,
        "/worker/backend/cuda/" MODULE_FILE, "/../worker/backend/cuda/" MODULE_FILE};
    const char *named = getenv("LUMIGRID_CUDA_MODULE");
    if (named && *named) {
        snprintf(out, size, "%s", named);
        return candidate == 0;
    }
    char folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (length <= 0 || candidate >= sizeof places / sizeof *places)
        return false;
    folder[length] = '\0';
    *strrchr(folder, '/') = '\0';
    return snprintf(out, size, "%s%s", folder, places[candidate]) < (int)size;
}

static bool find_functions(void *library, const char *path, struct error *err)
{
    const char *version = dlsym(library, "lumigrid_cuda_version");
    if (!version || strcmp(version, LUMIGRID_VERSION) != 0)
        return error_set(err, ERROR_UNAVAILABLE,
            "%.200s is of version %.20s, and this program of " LUMIGRID_VERSION, path,
            version ? version : "(none)");
    *(void **)&module.device_count = dlsym(library, "lumigrid_cuda_device_count");
    *(void **)&module.open = dlsym(library, "lumigrid_cuda_open");
    return (module.device_count && module.open) ||
           error_set(err, ERROR_UNAVAILABLE, "%.200s is no CUDA module of lumigrid", path);
}

/* The module stays loaded: a backend's functions are in it. */
static bool load(struct error *err)
{
    char path[PATH_MAX + sizeof "/../worker/backend/cuda/" MODULE_FILE];
    if (module.library)
        return true;
    for (size_t i = 0; module_path(i, path, sizeof path); i++) {
        if (access(path, R_OK) != 0)
            continue;
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library)
            return error_set(err, ERROR_UNAVAILABLE, "the CUDA module cannot be loaded: %.300s", dlerror());
        if (!find_functions(library, path, err)) {
            dlclose(library);
            return false;
        }
        module.library = library;
        return true;
    }
    error_set(err, ERROR_UNSUPPORTED, "this installation has no CUDA module (" MODULE_FILE ")");
    return error_hint(err, "build with nvcc present (LUMIGRID_CUDA=ON insists), or use --device cpu");
}

static bool load_once(struct error *err)
{
    pthread_mutex_lock(&module.lock);
    bool loaded = load(err);
    pthread_mutex_unlock(&module.lock);
    return loaded;
}

int backend_cuda_count(struct error *err)
{
    return load_once(err) ? module.device_count(err) : 0;
}

bool cuda_module_open(int device, struct backend **out, struct error *err)
{
    return load_once(err) && module.open(device, out, err);
}
