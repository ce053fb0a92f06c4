/* The shapes of bodies and answers: JSON Schema (2020-12, the subset named in schema.c), from one file that
 * also becomes the components of /openapi.json. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_SCHEMA_H
#define LUMIGRID_COORDINATOR_API_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

#include "common/error.h"

struct schemas;

/* Parses the built-in file. NULL only for a defect of ours or when memory is out. */
struct schemas *schemas_open(struct error *err);
void schemas_close(struct schemas *schemas);

/* All of them, keyed by name. Borrowed. */
json_t *schemas_all(const struct schemas *schemas);

/* Checks `value` against a named schema, fills in the defaults of missing properties, and appends what is
 * wrong to `problems` (a list, loc starting with "body"). True when nothing is. */
bool schema_validate(const struct schemas *schemas, const char *name, json_t *value, json_t *problems);

#endif
