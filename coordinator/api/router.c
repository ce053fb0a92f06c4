#include <stdio.h>
#include <string.h>

#include "coordinator/api/route.h"

struct segment {
    const char *start;
    size_t len;
};

/* Splits at slashes; empty segments at the end (a trailing slash) do not count. Returns how many, or a number
 * over the limit when there are more. The rest of `out` is empty. */
static size_t split(const char *path, struct segment out[ROUTE_SEGMENTS_MAX])
{
    size_t count = 0;
    const char *p = path;
    for (size_t i = 0; i < ROUTE_SEGMENTS_MAX; i++)
        out[i] = (struct segment){"", 0};
    if (*p == '/')
        p++;
    while (*p) {
        size_t len = strcspn(p, "/");
        if (count == ROUTE_SEGMENTS_MAX)
            return ROUTE_SEGMENTS_MAX + 1;
        out[count++] = (struct segment){p, len};
        p += len;
        if (*p == '/')
            p++;
    }
    return count;
}

/* How well a template fits a path: -1 not at all, else one more for each literal segment. Every request is
 * held against every template, so this walks both at once and stops at the first byte that differs. */
static int fit(const char *template, const char *path)
{
    int literals = 0;
    const char *t = template;
    while (*t == '/') {
        t++;
        if (*path == '/')
            path++;
        if (*t == '{') {
            if (*path == '\0' || *path == '/')
                return -1;
            t += strcspn(t, "/");
            path += strcspn(path, "/");
            continue;
        }
        for (; *t && *t != '/'; t++, path++)
            if (*t != *path)
                return -1;
        if (*path && *path != '/')
            return -1;
        literals++;
    }
    return *path == '\0' || (path[0] == '/' && path[1] == '\0') ? literals : -1;
}

static bool copy_parameters(const char *template, const struct segment *segments, struct route_match *out)
{
    out->parameter_count = 0;
    const char *p = template + 1;
    for (size_t i = 0; *p; i++) {
        if (*p == '{') {
            if (out->parameter_count == ROUTE_PARAMETERS_MAX || segments[i].len >= ROUTE_PARAMETER_BYTES_MAX)
                return false;
            char *to = out->parameters[out->parameter_count++];
            memcpy(to, segments[i].start, segments[i].len);
            to[segments[i].len] = '\0';
        }
        p += strcspn(p, "/");
        if (*p == '/')
            p++;
    }
    return true;
}

static bool method_matches(const char *route_method, const char *method)
{
    return strcmp(route_method, method) == 0 ||
           (strcmp(route_method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void allow_add(struct route_match *out, const char *method)
{
    if (strstr(out->allow, method))
        return;
    size_t used = strlen(out->allow);
    snprintf(out->allow + used, sizeof(out->allow) - used, "%s%s", used ? ", " : "", method);
    if (strcmp(method, "GET") == 0)
        allow_add(out, "HEAD");
}

void route_find(
    const struct route *routes, size_t count, const char *method, const char *path, struct route_match *out)
{
    struct segment segments[ROUTE_SEGMENTS_MAX];
    *out = (struct route_match){0};
    size_t segment_count = split(path, segments);
    if (segment_count > ROUTE_SEGMENTS_MAX || path[0] != '/')
        return;

    int best = -1;
    for (size_t i = 0; i < count; i++) {
        int score = fit(routes[i].path, path);
        if (score < 0 || score < best)
            continue;
        if (score > best) /* what a template with fewer literals has does not count */
            out->route = NULL;
        best = score;
        out->path_known = true;
        if (!out->route && method_matches(routes[i].method, method))
            out->route = &routes[i];
    }
    for (size_t i = 0; i < count && out->path_known && !out->route; i++)
        if (fit(routes[i].path, path) == best)
            allow_add(out, routes[i].method);
    if (out->route && !copy_parameters(out->route->path, segments, out)) {
        out->route = NULL;
        out->path_known = false;
    }
    if (out->allow[0])
        allow_add(out, "OPTIONS");
}

bool route_parameter_name(const struct route *route, size_t n, char *out, size_t out_size)
{
    const char *p = route->path;
    for (size_t i = 0; (p = strchr(p, '{')); i++, p++) {
        if (i < n)
            continue;
        size_t len = strcspn(p + 1, "}");
        if (len >= out_size)
            return false;
        memcpy(out, p + 1, len);
        out[len] = '\0';
        return true;
    }
    return false;
}
