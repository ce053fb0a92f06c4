/* Model references as users write them: hf://org/name[@revision][/file.gguf], file:///dir, gguf:///file.gguf,
 * oai://name, mistral://name, http(s)://server, sim://… Pure functions. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_MODEL_REFERENCE_H
#define LUMIGRID_COORDINATOR_API_MODEL_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/* Whether the form is right; what it names is found out by the worker that loads it. */
bool model_reference_check(const char *reference, struct error *err);

/* The part before "://", into `out`. */
void model_reference_scheme(const char *reference, char *out, size_t size);

#endif
