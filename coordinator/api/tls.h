/* The certificate of HTTPS. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_TLS_H
#define LUMIGRID_COORDINATOR_API_TLS_H

#include <stdbool.h>

#include "common/error.h"

struct api;

/* Reads the certificate and its key when the options name them: api->tls_cert and api->tls_key stay NULL for
 * plain HTTP. */
bool tls_load(struct api *api, struct error *err);

#endif
