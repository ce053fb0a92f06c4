/* The Hugging Face hub: models that are in the cache, or are fetched into it. The cache's layout is that of
 * huggingface_hub, so Python tools and this share files and locks:
 *
 *   models--org--name/refs/<revision>               the commit that a branch or tag stood at
 *   models--org--name/blobs/<etag>                  contents; "<etag>.incomplete" while downloading
 *   models--org--name/snapshots/<commit>/<file>     links into blobs
 *   .locks/models--org--name/<etag>.lock            flock'd by whoever downloads that blob
 *
 * Environment: HF_HUB_CACHE, HF_HOME (the cache), HF_TOKEN or the file $HF_HOME/token, HF_ENDPOINT,
 * HF_HUB_OFFLINE. Blocking; call it on a thread that may wait. */
#ifndef LUMIGRID_WORKER_MODEL_HUB_H
#define LUMIGRID_WORKER_MODEL_HUB_H

#include "worker/model/model.h"
#include "worker/model/reference.h"

/* The local path of what `reference` (of kind REFERENCE_HUB) names: the snapshot's directory, or the .gguf
 * file in it. Fetches config, tokenizer and the preferred weights that are missing. Malloc'd; NULL on error.
 */
char *hub_fetch(const struct reference *reference, const struct model_options *options, struct error *err);

#endif
