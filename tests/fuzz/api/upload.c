#include <string.h>

#include "coordinator/api/multipart.h"
#include "tests/fuzz/fuzz.h"

static bool on_begin(void *context, const char *name, const char *filename, struct error *err)
{
    (void)context;
    if (strchr(filename ? filename : "", '/'))
        __builtin_trap(); /* a name that leads somewhere */
    return strlen(name) < MULTIPART_NAME_BYTES_MAX || error_set(err, ERROR_INTERNAL, "a name over its limit");
}

static bool on_data(void *context, const char *bytes, size_t size, struct error *err)
{
    (void)err;
    size_t *sum = context;
    for (size_t i = 0; i < size; i++)
        *sum += (unsigned char)bytes[i];
    return true;
}

static bool on_end(void *context, struct error *err)
{
    (void)context;
    (void)err;
    return true;
}

/* The first line is the Content-Type, the rest the body, fed in pieces of its first byte's size. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char type[256];
    size_t sum = 0, line = 0;
    struct error err;
    struct multipart_handler handler = {&sum, on_begin, on_data, on_end};
    while (line < size && line + 1 < sizeof(type) && data[line] != '\n')
        line++;
    if (line > 0)
        memcpy(type, data, line);
    type[line] = '\0';
    struct multipart *m = multipart_open(type, &handler, &err);
    if (!m)
        return 0;
    size_t step = line + 1 < size ? data[line + 1] % 64 + 1u : 1;
    bool ok = true;
    for (size_t at = line + 1; ok && at < size; at += step)
        ok = multipart_feed(m, (const char *)data + at, size - at < step ? size - at : step, &err);
    if (ok)
        multipart_finish(m, &err);
    multipart_close(m);
    return 0;
}
