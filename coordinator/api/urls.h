/* Download URLs: signed, so that a plain GET without headers works, until they expire. Private to the api
 * room. */
#ifndef LUMIGRID_COORDINATOR_API_URLS_H
#define LUMIGRID_COORDINATOR_API_URLS_H

#include <jansson.h>
#include <stdbool.h>

struct request;

/* The URL of `path` ("/api/v1/datasets/…/content") as a new string value. */
json_t *url_signed(const struct request *request, const char *path);
/* The same without a signature, for routes that ask who calls. */
json_t *url_plain(const struct request *request, const char *path);

/* Whether the request's own path carries a good signature (query parameters `expires` and `signature`);
 * answers 403 and returns false otherwise. */
bool url_check(struct request *request);

/* Content-Disposition for a download: an ASCII form for old clients, and the exact name (RFC 6266). */
void url_add_disposition(struct request *request, const char *filename);

#endif
