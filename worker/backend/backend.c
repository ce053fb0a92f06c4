#include "worker/backend/backend.h"

#include <string.h>

#include "worker/backend/cpu/open.h"
#include "worker/backend/module.h"

enum { THREADS_MAX = 1024 };

bool backend_open(
    const char *device, const struct backend_options *options, struct backend **out, struct error *err)
{
    *out = NULL;
    if (options && (options->threads < 0 || options->threads > THREADS_MAX))
        return error_set(err, ERROR_INVALID, "threads must be 0 to %d", (int)THREADS_MAX);
    if (strcmp(device, "auto") == 0)
        device = backend_cuda_count(NULL) > 0 ? "cuda:0" : "cpu";
    if (strcmp(device, "cpu") == 0)
        return cpu_open(options, out, err);
    int number;
    if (cuda_device_number(device, &number))
        return cuda_module_open(number, out, err);
    error_set(err, ERROR_UNSUPPORTED, "there is no device \"%.64s\"", device);
    return error_hint(err, "devices are auto, cpu, cuda:0, cuda:1, ...");
}

void backend_close(struct backend *backend)
{
    if (backend)
        backend->ops->close(backend);
}
