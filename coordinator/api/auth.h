/* Bearer tokens with roles. Private to the api room.
 *
 * A token is 32 random bytes; only its hash is stored. When tokens are required, data_dir/admin.token holds
 * one with the role admin, made at the first start, with which the others are made. */
#ifndef LUMIGRID_COORDINATOR_API_AUTH_H
#define LUMIGRID_COORDINATOR_API_AUTH_H

#include <stdbool.h>

#include "common/error.h"

struct api;
struct request;

enum { AUTH_TOKEN_CHARS = 46, AUTH_HASH_BYTES = 32 }; /* "lg_" and base64url of 32 bytes */

/* Decides whether tokens are required and reads or makes the admin's. */
bool auth_open(struct api *api, struct error *err);
void auth_close(struct api *api);

/* Who calls, and may they? Calls `go_on` at once or after a look into the store; or answers 401, 403 or 503,
 * and then does not. */
void auth_check(struct request *request, void (*go_on)(struct request *request));

void auth_token_new(char out[AUTH_TOKEN_CHARS + 1]);
void auth_token_hash(const char *token, unsigned char out[AUTH_HASH_BYTES]);

/* A token was revoked: forget what is remembered. */
void auth_forget(struct api *api);

/* "admin", "user", "viewer". */
const char *auth_role_name(int role);

#endif
