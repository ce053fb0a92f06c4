/* The API as the command line sees it: JSON over HTTP with libcurl. One thread. Paths begin after /api/v1.
 *
 * Errors: ERROR_UNAVAILABLE (no answer), ERROR_NOT_FOUND (404), ERROR_DENIED (401, 403), ERROR_INVALID (400,
 * 422; the server's own words, every bad field), ERROR_TOO_LARGE (413), ERROR_INTERNAL (the rest). */
#ifndef LUMIGRID_COORDINATOR_CLI_CLIENT_H
#define LUMIGRID_COORDINATOR_CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "common/error.h"

void client_configure(const char *server, const char *token); /* borrowed */
void client_close(void);
const char *client_server(void);

/* Sends `body` (NULL: none) and returns the answer's JSON, owned by the caller: an empty object for 204. NULL
 * on error. */
json_t *client_call(const char *method, const char *path, const json_t *body, struct error *err);

/* GET /path, for a whole listing: follows skip and limit. Returns an array, owned by the caller. */
json_t *client_list(const char *path, size_t limit, struct error *err);

/* Uploads a file as multipart with progress on a terminal. */
json_t *client_upload(const char *path, const char *file, const char *format, struct error *err);

/* GETs a whole URL (a download URL) into a stream. */
bool client_download(const char *url, FILE *to, struct error *err);

/* Whether GET path answers 200 within timeout_ms; for waiting until a server is up. Absolute path
 * ("/readyz"). */
bool client_ready(const char *path, long timeout_ms);

#endif
