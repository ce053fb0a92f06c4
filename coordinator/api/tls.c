#include "coordinator/api/tls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/api/server.h"

enum { PEM_BYTES_MAX = 1 << 20 };

/* A whole file of text; the caller frees. */
static char *read_pem(const char *path, struct error *err)
{
    char *text = alloc_zero(PEM_BYTES_MAX + 1, 1);
    FILE *file = fopen(path, "re");
    size_t got = file ? fread(text, 1, PEM_BYTES_MAX, file) : 0;
    bool fine = file && !ferror(file) && strstr(text, "-----BEGIN ");
    int number = file ? 0 : errno;
    if (file)
        fclose(file);
    if (fine && got > 0)
        return text;
    free(text);
    error_set(err, ERROR_INVALID, "%s is no PEM file%s%s", path, number ? ": " : "",
        number ? strerror(number) : "");
    return NULL;
}

bool tls_load(struct api *api, struct error *err)
{
    if (!api->options.tls_cert_file)
        return true;
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        return error_set(err, ERROR_UNSUPPORTED, "this libmicrohttpd was built without TLS");
    api->tls_cert = read_pem(api->options.tls_cert_file, err);
    api->tls_key = api->tls_cert ? read_pem(api->options.tls_key_file, err) : NULL;
    return api->tls_key != NULL;
}
