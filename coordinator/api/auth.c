#include "coordinator/api/auth.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/api/server.h"
#include "coordinator/store/store.h"

enum { CACHE_SIZE = 256 };
static const uint64_t CACHE_NS = 5000000000ULL; /* how long a revocation elsewhere may go unnoticed */
static const char TOKEN_PREFIX[] = "lg_";
static const char *const ROLE_NAMES[] = {"nobody", "viewer", "user", "admin"};

struct known {
    unsigned char hash[AUTH_HASH_BYTES];
    enum route_role role;
    char name[64];
    uint64_t until_ns;
};

struct tokens {
    bool required;
    unsigned char admin_hash[AUTH_HASH_BYTES];
    struct known cache[CACHE_SIZE];
};

struct lookup {
    struct request *request;
    unsigned char hash[AUTH_HASH_BYTES];
    void (*go_on)(struct request *request);
};

const char *auth_role_name(int role)
{
    assert(role >= ROLE_NOBODY && role <= ROLE_ADMIN);
    return ROLE_NAMES[role];
}

static enum route_role role_by_name(const char *name)
{
    for (int i = ROLE_VIEWER; i <= ROLE_ADMIN; i++)
        if (strcmp(name, ROLE_NAMES[i]) == 0)
            return (enum route_role)i;
    return ROLE_NOBODY;
}

void auth_token_new(char out[AUTH_TOKEN_CHARS + 1])
{
    unsigned char bytes[32];
    randombytes_buf(bytes, sizeof(bytes));
    for (int i = 0; i < 3; i++)
        out[i] = TOKEN_PREFIX[i];
    sodium_bin2base64(
        out + 3, AUTH_TOKEN_CHARS + 1 - 3, bytes, sizeof(bytes), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(bytes, sizeof(bytes));
}

void auth_token_hash(const char *token, unsigned char out[AUTH_HASH_BYTES])
{
    crypto_generichash(out, AUTH_HASH_BYTES, (const unsigned char *)token, strlen(token), NULL, 0);
}

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

/* The admin's token from its file, made when there is none. */
static bool admin_token(const char *data_dir, char out[AUTH_TOKEN_CHARS + 1], struct error *err)
{
    char path[4096];
    if (snprintf(path, sizeof(path), "%s/admin.token", data_dir) >= (int)sizeof(path))
        return error_set(err, ERROR_INVALID, "the data folder's name is too long");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        auth_token_new(out);
        bool ok = dprintf(fd, "%s\n", out) == AUTH_TOKEN_CHARS + 1;
        ok = close(fd) == 0 && ok;
        return ok || error_set(err, ERROR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
    }
    fd = errno == EEXIST ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return error_set(err, ERROR_UNAVAILABLE, "cannot open %s: %s", path, strerror(errno));
    ssize_t got = read(fd, out, AUTH_TOKEN_CHARS);
    close(fd);
    if (got != AUTH_TOKEN_CHARS || strncmp(out, TOKEN_PREFIX, 3) != 0)
        return error_set(err, ERROR_INVALID, "%s holds no token; remove it to have a new one made", path);
    out[AUTH_TOKEN_CHARS] = '\0';
    return true;
}

bool auth_open(struct api *api, struct error *err)
{
    char token[AUTH_TOKEN_CHARS + 1];
    api->tokens = alloc_zero(1, sizeof(*api->tokens));
    api->tokens->required = api->options.auth == API_AUTH_ON ||
                            (api->options.auth == API_AUTH_AUTO && !is_loopback(api->options.address));
    if (!api->tokens->required)
        return true;
    if (!admin_token(api->options.data_dir, token, err))
        return false;
    auth_token_hash(token, api->tokens->admin_hash);
    sodium_memzero(token, sizeof(token));
    log_info("requests need a token", "admin_token_file", "admin.token", "data_dir", api->options.data_dir);
    return true;
}

void auth_close(struct api *api)
{
    free(api->tokens);
    api->tokens = NULL;
}

void auth_forget(struct api *api)
{
    for (size_t i = 0; i < CACHE_SIZE; i++)
        api->tokens->cache[i].until_ns = 0;
}

static struct known *cache_slot(struct tokens *tokens, const unsigned char hash[AUTH_HASH_BYTES])
{
    return &tokens->cache[hash[0] % CACHE_SIZE];
}

static void refuse(struct request *r, const char *why)
{
    request_add_header(r, "WWW-Authenticate", "Bearer realm=\"lumigrid\"");
    request_answer_detail(r, MHD_HTTP_UNAUTHORIZED, "%s", why);
}

static void decide(struct request *r, enum route_role role, const char *name, void (*go_on)(struct request *))
{
    r->role = role;
    snprintf(r->actor, sizeof(r->actor), "%s", name);
    if (role < r->route->role)
        request_answer_detail(r, MHD_HTTP_FORBIDDEN, "this needs the role \"%s\"; the token's role is \"%s\"",
            auth_role_name(r->route->role), auth_role_name(role));
    else
        go_on(r);
}

static void on_found(void *context, const struct store_token *token, const struct error *err)
{
    struct lookup *lookup = context;
    struct request *r = lookup->request;
    r->authorising = false;
    if (!r->connection) { /* the server stopped in between */
        request_answer_empty(r, MHD_HTTP_SERVICE_UNAVAILABLE);
    } else if (err && err->code != ERROR_NOT_FOUND) {
        request_answer_error(r, err);
    } else if (err || (token->expires_ms != 0 && token->expires_ms / 1000 < time(NULL))) {
        refuse(r, err ? "the token is not known" : "the token has expired");
    } else {
        struct known *known = cache_slot(r->api->tokens, lookup->hash);
        memcpy(known->hash, lookup->hash, sizeof(known->hash));
        known->role = role_by_name(token->role);
        snprintf(known->name, sizeof(known->name), "%s", token->name);
        known->until_ns = uv_hrtime() + CACHE_NS;
        decide(r, known->role, known->name, lookup->go_on);
        request_wake(r);
    }
    free(lookup);
}

void auth_check(struct request *r, void (*go_on)(struct request *request))
{
    struct tokens *tokens = r->api->tokens;
    if (!tokens->required || r->route->role == ROLE_NOBODY) {
        decide(r, tokens->required ? ROLE_NOBODY : ROLE_ADMIN, tokens->required ? "" : "local", go_on);
        return;
    }
    const char *header = request_header(r, "Authorization");
    if (!header || strncasecmp(header, "Bearer ", 7) != 0) {
        refuse(r, "a token is needed: send Authorization: Bearer …");
        return;
    }
    unsigned char hash[AUTH_HASH_BYTES];
    auth_token_hash(header + 7 + strspn(header + 7, " "), hash);
    if (sodium_memcmp(hash, tokens->admin_hash, sizeof(hash)) == 0) {
        decide(r, ROLE_ADMIN, "admin", go_on);
        return;
    }
    const struct known *known = cache_slot(tokens, hash);
    if (known->until_ns > uv_hrtime() && sodium_memcmp(hash, known->hash, sizeof(hash)) == 0) {
        decide(r, known->role, known->name, go_on);
        return;
    }
    struct lookup *lookup = alloc_zero(1, sizeof(*lookup));
    lookup->request = r;
    lookup->go_on = go_on;
    memcpy(lookup->hash, hash, sizeof(hash));
    r->authorising = true;
    store_token_find(r->api->store, hash, on_found, lookup);
}
