/* Paths, links and locks of the hub's cache on disk. */
#ifndef LUMIGRID_WORKER_MODEL_HUB_CACHE_H
#define LUMIGRID_WORKER_MODEL_HUB_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

enum { HUB_COMMIT_BYTES = 41, HUB_ETAG_BYTES = 129 }; /* with the zero */

struct hub_cache {
    char *root;
    char *folder; /* "<root>/models--org--name" */
    char *locks;  /* "<root>/.locks/models--org--name" */
};

/* `cache_dir` NULL: HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else
 * ~/.cache/huggingface/hub. Makes nothing yet. */
bool hub_cache_open(
    struct hub_cache *cache, const char *cache_dir, const char *repository, struct error *err);
void hub_cache_close(struct hub_cache *cache);

/* Whether `text` is a full commit hash: 40 lower-case hexadecimal digits. */
bool hub_is_commit(const char *text);

/* Whether an ETag may become a file's name. */
bool hub_is_etag(const char *text);

/* The commit that `revision` is known to stand at; false when the cache does not know. */
bool hub_cache_commit(const struct hub_cache *cache, const char *revision, char commit[HUB_COMMIT_BYTES]);
bool hub_cache_set_commit(
    const struct hub_cache *cache, const char *revision, const char *commit, struct error *err);

/* "snapshots/<commit>" or a file in it, "blobs/<etag><suffix>", the lock of a blob; malloc'd, NULL on error.
 */
char *hub_cache_snapshot_path(
    const struct hub_cache *cache, const char *commit, const char *file, struct error *err);
char *hub_cache_blob_path(
    const struct hub_cache *cache, const char *etag, const char *suffix, struct error *err);
char *hub_cache_lock_path(const struct hub_cache *cache, const char *etag, struct error *err);

/* Whether the snapshot has the file. */
bool hub_cache_has(const struct hub_cache *cache, const char *commit, const char *file);

/* Makes the snapshot's `file` a relative link to the blob. */
bool hub_cache_link(
    const struct hub_cache *cache, const char *commit, const char *file, const char *etag, struct error *err);

/* Makes the directories that `path` lies in. */
bool hub_cache_make_parents(const char *path, struct error *err);

#endif
