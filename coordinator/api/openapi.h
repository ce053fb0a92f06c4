/* /openapi.json, made from the table of routes and the schemas. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_OPENAPI_H
#define LUMIGRID_COORDINATOR_API_OPENAPI_H

#include "common/error.h"
#include "coordinator/api/schema.h"

/* OpenAPI 3.1 as text; the caller frees. NULL only without memory. */
char *openapi_text(const struct schemas *schemas, struct error *err);

#endif
