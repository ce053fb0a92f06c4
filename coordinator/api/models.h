/* The list of suggested models. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_MODELS_H
#define LUMIGRID_COORDINATOR_API_MODELS_H

#include <stdbool.h>

#include "common/error.h"

struct api;

/* Reads it: the option's file, or the built-in one. Freed with api->models. */
bool models_open(struct api *api, struct error *err);

#endif
