/* Downloads several blobs at once into the hub's cache. */
#ifndef LUMIGRID_WORKER_MODEL_HUB_DOWNLOAD_H
#define LUMIGRID_WORKER_MODEL_HUB_DOWNLOAD_H

#include "worker/model/hub_http.h"
#include "worker/model/model.h"

struct hub_download {
    const char *file; /* its name in the repository */
    char etag[HUB_ETAG_BYTES];
    uint64_t size_bytes;
};

/* Fetches every blob that is not there, a few in parallel: resumed from "<etag>.incomplete" when there is
 * one, under the blob's lock (another process's download is waited for and used), its length and, where the
 * ETag is a SHA-256, its content checked before it gets its name. Broken connections are retried from where
 * they broke. A cancelled or failed download leaves its .incomplete file for the next try. */
bool hub_download_all(struct hub_session *session, const struct hub_cache *cache, const char *commit,
    const struct hub_download *downloads, size_t count, const struct model_options *options,
    struct error *err);

#endif
