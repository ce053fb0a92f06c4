#include "worker/model/hub_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/model/file_map.h"

enum { LINK_DEPTH_MAX = 64 };

/* asprintf with an error. */
static char *format(struct error *err, const char *pattern, ...) __attribute__((format(printf, 2, 3)));
static char *format(struct error *err, const char *pattern, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, pattern);
    if (vasprintf(&text, pattern, args) < 0) {
        text = NULL;
        error_set(err, ERROR_MEMORY, "no memory for a path");
    }
    va_end(args);
    return text;
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

static char *default_root(struct error *err)
{
    const char *value;
    if ((value = environment("HF_HUB_CACHE")) != NULL)
        return format(err, "%s", value);
    if ((value = environment("HF_HOME")) != NULL)
        return format(err, "%s/hub", value);
    if ((value = environment("XDG_CACHE_HOME")) != NULL)
        return format(err, "%s/huggingface/hub", value);
    if ((value = environment("HOME")) != NULL)
        return format(err, "%s/.cache/huggingface/hub", value);
    error_set(err, ERROR_INVALID, "there is no place for downloaded models: HOME is not set");
    error_hint(err, "set HF_HOME to a directory");
    return NULL;
}

/* "org/name" → "models--org--name" */
static char *folder_name(const char *repository, struct error *err)
{
    const char *slash = strchr(repository, '/');
    if (slash == NULL)
        return format(err, "models--%s", repository);
    return format(err, "models--%.*s--%s", (int)(slash - repository), repository, slash + 1);
}

bool hub_cache_open(struct hub_cache *cache, const char *cache_dir, const char *repository, struct error *err)
{
    memset(cache, 0, sizeof *cache);
    char *name = folder_name(repository, err);
    cache->root = cache_dir != NULL ? format(err, "%s", cache_dir) : default_root(err);
    if (name != NULL && cache->root != NULL) {
        cache->folder = format(err, "%s/%s", cache->root, name);
        cache->locks = format(err, "%s/.locks/%s", cache->root, name);
    }
    free(name);
    if (cache->folder != NULL && cache->locks != NULL)
        return true;
    hub_cache_close(cache);
    return false;
}

void hub_cache_close(struct hub_cache *cache)
{
    free(cache->root);
    free(cache->folder);
    free(cache->locks);
    memset(cache, 0, sizeof *cache);
}

bool hub_is_commit(const char *text)
{
    return strlen(text) == HUB_COMMIT_BYTES - 1 && strspn(text, "0123456789abcdef") == HUB_COMMIT_BYTES - 1;
}

bool hub_is_etag(const char *text)
{
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    size_t len = strlen(text);
    return len > 0 && len < HUB_ETAG_BYTES && strspn(text, allowed) == len;
}

bool hub_cache_commit(const struct hub_cache *cache, const char *revision, char commit[HUB_COMMIT_BYTES])
{
    if (hub_is_commit(revision)) {
        memcpy(commit, revision, HUB_COMMIT_BYTES);
        return true;
    }
    char *path = format(NULL, "%s/refs/%s", cache->folder, revision);
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    bool ok = false;
    if (file != NULL) {
        ok = fread(commit, 1, HUB_COMMIT_BYTES - 1, file) == HUB_COMMIT_BYTES - 1;
        commit[HUB_COMMIT_BYTES - 1] = '\0';
        ok = ok && hub_is_commit(commit);
        fclose(file);
    }
    free(path);
    return ok;
}

bool hub_cache_make_parents(const char *path, struct error *err)
{
    char *copy = format(err, "%s", path);
    bool ok = copy != NULL;
    for (char *slash = ok ? strchr(copy + 1, '/') : NULL; ok && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            ok = error_set(err, errno == EACCES || errno == EROFS ? ERROR_DENIED : ERROR_UNAVAILABLE,
                "cannot make directory %s: %s", copy, strerror(errno));
            error_hint(err, "set HF_HOME to a directory that can be written");
        }
        *slash = '/';
    }
    free(copy);
    return ok;
}

bool hub_cache_set_commit(
    const struct hub_cache *cache, const char *revision, const char *commit, struct error *err)
{
    if (hub_is_commit(revision))
        return true;
    char *path = format(err, "%s/refs/%s", cache->folder, revision);
    char *partial = path == NULL ? NULL : format(err, "%s.%ld.incomplete", path, (long)getpid());
    bool ok = partial != NULL && hub_cache_make_parents(path, err);
    if (ok) {
        FILE *file = fopen(partial, "we");
        ok = file != NULL && fputs(commit, file) >= 0;
        ok = file != NULL && fclose(file) == 0 && ok && rename(partial, path) == 0;
        if (!ok)
            error_set(err, ERROR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
    }
    free(partial);
    free(path);
    return ok;
}

char *hub_cache_snapshot_path(
    const struct hub_cache *cache, const char *commit, const char *file, struct error *err)
{
    if (file == NULL)
        return format(err, "%s/snapshots/%s", cache->folder, commit);
    return format(err, "%s/snapshots/%s/%s", cache->folder, commit, file);
}

char *hub_cache_blob_path(
    const struct hub_cache *cache, const char *etag, const char *suffix, struct error *err)
{
    return format(err, "%s/blobs/%s%s", cache->folder, etag, suffix);
}

char *hub_cache_lock_path(const struct hub_cache *cache, const char *etag, struct error *err)
{
    return format(err, "%s/%s.lock", cache->locks, etag);
}

bool hub_cache_has(const struct hub_cache *cache, const char *commit, const char *file)
{
    char *path = hub_cache_snapshot_path(cache, commit, file, NULL);
    bool has = path != NULL && path_is_file(path);
    free(path);
    return has;
}

bool hub_cache_link(
    const struct hub_cache *cache, const char *commit, const char *file, const char *etag, struct error *err)
{
    char *path = hub_cache_snapshot_path(cache, commit, file, err);
    /* One level up for each folder of the file's name, and for snapshots/<commit>. */
    char up[3 * LINK_DEPTH_MAX + 1];
    size_t levels = 2;
    for (const char *slash = strchr(file, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
        levels++;
    if (levels > LINK_DEPTH_MAX) {
        free(path);
        return error_set(err, ERROR_INVALID, "%s lies in too many folders", file);
    }
    for (size_t i = 0; i < levels; i++)
        memcpy(up + 3 * i, "../", 4);
    char *target = path == NULL ? NULL : format(err, "%sblobs/%s", up, etag);
    char *partial = target == NULL ? NULL : format(err, "%s.%ld.link", path, (long)getpid());
    bool ok = partial != NULL && hub_cache_make_parents(path, err);
    if (ok && !path_is_file(path)) {
        unlink(partial);
        /* Renaming replaces a dangling link too. */
        ok = symlink(target, partial) == 0 && rename(partial, path) == 0;
        if (!ok)
            error_set(err, ERROR_UNAVAILABLE, "cannot link %s: %s", path, strerror(errno));
    }
    free(partial);
    free(target);
    free(path);
    return ok;
}
