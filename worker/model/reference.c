#include "worker/model/reference.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES_MAX = 96 }; /* the hub's own limit for org and name */

static bool refuse(const char *text, const char *why, struct error *err)
{
    error_set(err, ERROR_INVALID, "model reference \"%.200s\": %s", text, why);
    return error_hint(
        err, "use hf://org/name[@revision], hf://org/name/file.gguf, file:///directory or gguf:///file.gguf");
}

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* An org's or model's name, as the hub allows it: no leading '.' or '-', no "..", no "--" (which separates
 * the parts of the cache's folder names). */
static bool is_name(const char *text, size_t len)
{
    if (len == 0 || len > NAME_BYTES_MAX || text[0] == '.' || text[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        bool doubled = i > 0 && text[i] == text[i - 1] && (text[i] == '.' || text[i] == '-');
        if (!is_name_character(text[i]) || doubled)
            return false;
    }
    return true;
}

/* A path of parts that are neither empty nor begin with a dot. */
static bool is_relative_path(const char *text, size_t len)
{
    bool at_start = true;
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (at_start && (text[i] == '/' || text[i] == '.'))
            return false;
        if (text[i] != '/' && !is_name_character(text[i]) && text[i] != '+' && text[i] != ' ')
            return false;
        at_start = text[i] == '/';
    }
    return !at_start;
}

static bool keep(char *out, size_t size, const char *text, size_t len)
{
    if (len >= size)
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t len = strlen(text), suffix_len = strlen(suffix);
    return len > suffix_len && strcmp(text + len - suffix_len, suffix) == 0;
}

/* "org/name", "name", then "@revision", then "/file.gguf". A revision may hold slashes ("refs/pr/1"), so the
 * file is what follows the last '/' only when it ends in .gguf. */
static bool parse_hub(const char *text, const char *rest, struct reference *out, struct error *err)
{
    size_t first = strcspn(rest, "/@");
    size_t len = first;
    if (rest[first] == '/') {
        len += 1 + strcspn(rest + first + 1, "/@");
        if (!is_name(rest + first + 1, len - first - 1))
            return refuse(text, "that is not a model's name", err);
    }
    if (!is_name(rest, first) || !keep(out->repository, sizeof out->repository, rest, len))
        return refuse(text, "that is not a model's name", err);
    const char *tail = rest + len;
    if (*tail == '@') {
        size_t revision_len = strlen(tail + 1);
        if (has_suffix(tail, ".gguf"))
            revision_len = strcspn(tail + 1, "/");
        if (!is_relative_path(tail + 1, revision_len) ||
            !keep(out->revision, sizeof out->revision, tail + 1, revision_len))
            return refuse(text, "that is not a revision", err);
        tail += 1 + revision_len;
    } else {
        keep(out->revision, sizeof out->revision, "main", 4);
    }
    if (*tail == '\0')
        return true;
    if (!has_suffix(tail, ".gguf"))
        return refuse(text, "only a .gguf file may follow the model's name", err);
    if (!is_relative_path(tail + 1, strlen(tail + 1)) ||
        !keep(out->file, sizeof out->file, tail + 1, strlen(tail + 1)))
        return refuse(text, "that is not a file's name", err);
    return true;
}

/* An absolute path without ".." parts. */
static bool parse_path(const char *text, const char *path, struct reference *out, struct error *err)
{
    if (*path != '/')
        return refuse(text, "the path must be absolute (three slashes)", err);
    size_t len = strlen(path);
    for (const char *part = path; part != NULL; part = strchr(part + 1, '/')) {
        if (strncmp(part, "/..", 3) == 0 && (part[3] == '/' || part[3] == '\0'))
            return refuse(text, "the path must not contain \"..\"", err);
    }
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (!keep(out->path, sizeof out->path, path, len))
        return refuse(text, "the path is too long", err);
    return true;
}

bool reference_parse(const char *text, struct reference *out, struct error *err)
{
    memset(out, 0, sizeof *out);
    size_t len = strnlen(text, REFERENCE_TEXT_MAX + 1);
    if (len == 0 || len > REFERENCE_TEXT_MAX)
        return error_set(err, ERROR_INVALID, "a model reference has 1 to %d characters", REFERENCE_TEXT_MAX);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return error_set(err, ERROR_INVALID, "a model reference holds no control characters");
    }
    if (strncmp(text, "hf://", 5) == 0) {
        out->kind = REFERENCE_HUB;
        return parse_hub(text, text + 5, out, err);
    }
    if (strncmp(text, "file://", 7) == 0) {
        out->kind = REFERENCE_DIRECTORY;
        return parse_path(text, text + 7, out, err);
    }
    if (strncmp(text, "gguf://", 7) == 0) {
        out->kind = REFERENCE_GGUF;
        return parse_path(text, text + 7, out, err);
    }
    return refuse(text, "it does not begin with hf://, file:// or gguf://", err);
}

/* Whether the resolved `path` is the resolved directory dir[0..len) or lies in it. */
static bool lies_in(const char *path, const char *dir, size_t len)
{
    char *copy = strndup(dir, len);
    char *resolved = copy == NULL ? NULL : realpath(copy, NULL);
    bool inside = false;
    if (resolved != NULL) {
        size_t resolved_len = strcmp(resolved, "/") == 0 ? 0 : strlen(resolved);
        inside = strncmp(path, resolved, resolved_len) == 0 &&
                 (path[resolved_len] == '/' || path[resolved_len] == '\0');
    }
    free(resolved);
    free(copy);
    return inside;
}

bool reference_path_allowed(const char *path, const char *allow_dirs, struct error *err)
{
    if (allow_dirs == NULL)
        return true;
    char *resolved = realpath(path, NULL);
    if (resolved == NULL)
        return error_set(err, errno == ENOENT || errno == ENOTDIR ? ERROR_NOT_FOUND : ERROR_DENIED,
            "cannot open %s: %s", path, strerror(errno));
    bool allowed = false;
    for (const char *dir = allow_dirs; !allowed && *dir != '\0';) {
        size_t len = strcspn(dir, ":");
        allowed = len > 0 && lies_in(resolved, dir, len);
        dir += len + (dir[len] == ':');
    }
    free(resolved);
    if (allowed)
        return true;
    error_set(err, ERROR_DENIED, "%s lies outside the directories that models may be read from", path);
    return error_hint(err, "allowed: %s", *allow_dirs == '\0' ? "none" : allow_dirs);
}
