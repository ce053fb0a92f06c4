/* Data files built into the binary. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_EMBEDDED_H
#define LUMIGRID_COORDINATOR_API_EMBEDDED_H

#include <stddef.h>

extern const unsigned char embedded_schemas_json[], embedded_models_json[];
extern const size_t embedded_schemas_json_size, embedded_models_json_size;

#endif
