/* Who did what. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_AUDIT_H
#define LUMIGRID_COORDINATOR_API_AUDIT_H

#include <microhttpd.h>

struct request;

/* Keeps an answered request that changes something, or was refused to somebody, in the audit log. */
void audit_request(const struct request *request, struct MHD_Connection *connection);

#endif
