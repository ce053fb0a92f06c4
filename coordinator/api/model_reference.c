#include "coordinator/api/model_reference.h"

#include <stdio.h>
#include <string.h>

static const char SCHEMES[] = "hf, file, gguf, oai, mistral, http, https, sim";
static const char NAME_CHARS[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

void model_reference_scheme(const char *reference, char *out, size_t size)
{
    const char *end = strstr(reference, "://");
    snprintf(out, size, "%.*s", end ? (int)(end - reference) : 0, reference);
}

/* One path component of a hub name: not empty, not "." or "..", nothing but plain characters. */
static bool component(const char **p)
{
    size_t len = strspn(*p, NAME_CHARS);
    bool dots = len > 0 && strspn(*p, ".") >= len;
    *p += len;
    return len > 0 && !dots;
}

/* org/name[@revision][/file] */
static bool hub_name(const char *p)
{
    if (!component(&p))
        return false;
    if (*p == '/') {
        p++;
        if (!component(&p))
            return false;
    }
    if (*p == '@') {
        p++;
        if (!component(&p))
            return false;
    }
    while (*p == '/') {
        p++;
        if (!component(&p))
            return false;
    }
    return *p == '\0';
}

static bool has_dot_dot(const char *path)
{
    for (const char *p = path; (p = strstr(p, "..")); p += 2)
        if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
            return true;
    return false;
}

bool model_reference_check(const char *reference, struct error *err)
{
    char scheme[16];
    const char *rest = strstr(reference, "://");
    for (const unsigned char *p = (const unsigned char *)reference; *p; p++)
        if (*p <= ' ' || *p == 0x7F)
            return error_set(err, ERROR_INVALID, "a model reference has no spaces or control characters");
    if (!rest || rest == reference)
        return error_set(err, ERROR_INVALID,
            "a model reference begins with its scheme (one of %s), as in hf://facebook/bart-large-cnn",
            SCHEMES);
    model_reference_scheme(reference, scheme, sizeof(scheme));
    rest += 3;
    if (strcmp(scheme, "hf") == 0)
        return hub_name(rest) || error_set(err, ERROR_INVALID, "a hub reference is hf://org/name[@revision]");
    if (strcmp(scheme, "file") == 0 || strcmp(scheme, "gguf") == 0)
        return (rest[0] == '/' && !has_dot_dot(rest)) ||
               error_set(err, ERROR_INVALID, "%s:// takes an absolute path without \"..\"", scheme);
    if (strcmp(scheme, "oai") == 0 || strcmp(scheme, "mistral") == 0)
        return rest[0] || error_set(err, ERROR_INVALID, "%s:// needs the model's name", scheme);
    if (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)
        return rest[0] || error_set(err, ERROR_INVALID, "%s:// needs a server", scheme);
    if (strcmp(scheme, "sim") == 0)
        return true;
    return error_set(
        err, ERROR_INVALID, "the scheme \"%s\" is not supported: use one of %s", scheme, SCHEMES);
}
