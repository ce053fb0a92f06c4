/* From a GGUF file's own names and metadata to the hub's: see the comment at the top of gguf_names.c. */
#ifndef LUMIGRID_WORKER_MODEL_GGUF_NAMES_H
#define LUMIGRID_WORKER_MODEL_GGUF_NAMES_H

#include <jansson.h>

#include "worker/model/gguf.h"
#include "worker/model/weights.h"

enum gguf_family { GGUF_FAMILY_LLAMA, GGUF_FAMILY_GEMMA, GGUF_FAMILY_PHI3, GGUF_FAMILY_GPT2 };

struct gguf_architecture {
    const char *name;       /* general.architecture */
    const char *model_type; /* config.json's */
    enum gguf_family family;
    bool qk_interleaved;
};

/* The file's architecture; NULL and ERROR_UNSUPPORTED (naming those that are) when it is none of ours. */
const struct gguf_architecture *gguf_architecture_of(const struct gguf *file, struct error *err);

/* Adds every tensor under the hub's name; views point into the GGUF's mapping. Tensors that only describe the
 * configuration (rope_freqs and such) are left to gguf_config. */
bool gguf_add_tensors(const struct gguf *file, const struct gguf_architecture *architecture,
    struct weights *weights, struct error *err);

/* The config.json that the file's metadata amounts to; a new object, NULL on error. */
json_t *gguf_config(const struct gguf *file, const struct gguf_architecture *architecture, struct error *err);

#endif
