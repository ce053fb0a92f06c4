/* Encrypted message sockets on a libuv loop: ZeroMQ ROUTER (coordinator) and DEALER (worker) with CURVE, and
 * ZAP admission by public key.
 *
 * A message is one frame of bytes. Everything here belongs to the loop's thread. Delivery is in order per
 * peer and lossy across reconnects; what must not be lost is acknowledged by the protocol above
 * (proto/lumigrid.proto). */
#ifndef LUMIGRID_COMMON_NET_H
#define LUMIGRID_COMMON_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/error.h"

enum {
    NET_KEY_CHARS = 40,                      /* a CURVE key in Z85 */
    NET_PEER_BYTES_MAX = 16,                 /* a ROUTER's name for a connection */
    NET_MESSAGE_BYTES_MAX = 64 * 1024 * 1024 /* larger frames cut the connection before they are read */
};

struct net_keypair {
    char public_key[NET_KEY_CHARS + 1];
    char secret_key[NET_KEY_CHARS + 1];
};

bool net_keypair_generate(struct net_keypair *out, struct error *err);

/* A key file: "public <z85>" and, in a secret file (mode 0600), "secret <z85>". Loading a secret file that
 * others can read is refused. net_keypair_load_or_create writes a new pair when `path` does not exist. */
bool net_keypair_load(const char *path, struct net_keypair *out, struct error *err);
bool net_keypair_save(const char *path, const struct net_keypair *pair, struct error *err);
bool net_keypair_load_or_create(const char *path, struct net_keypair *out, struct error *err);
bool net_public_key_load(const char *path, char out[NET_KEY_CHARS + 1], struct error *err);
bool net_public_key_save(const char *path, const char *public_key, struct error *err);
bool net_public_key_valid(const char *z85); /* 40 Z85 characters */

struct net_peer {
    uint8_t bytes[NET_PEER_BYTES_MAX];
    uint8_t len;
};

struct net_router;

struct net_router_options {
    const char *endpoint; /* "tcp://127.0.0.1:7711"; port * or 0: any free one, see net_router_endpoint */
    const struct net_keypair *keys;
    /* Whether a peer with this public key may connect; asked at each handshake. `address` is its IP. */
    bool (*admit)(void *context, const char *public_key, const char *address);
    /* A message; `public_key` is the sender's proven key. `data` lives until it returns. May send and close.
     */
    void (*on_message)(
        void *context, const struct net_peer *peer, const char *public_key, const uint8_t *data, size_t len);
    void *context;
};

/* Binds. ERROR_CONFLICT when the port is in use. Options are copied; keys too. */
bool net_router_open(
    uv_loop_t *loop, const struct net_router_options *options, struct net_router **out, struct error *err);
const char *net_router_endpoint(const struct net_router *router); /* the bound one, with its port */

/* Queues one message. ERROR_UNAVAILABLE: the peer is gone or does not read. */
bool net_router_send(struct net_router *router, const struct net_peer *peer, const uint8_t *data, size_t len,
    struct error *err);

/* Lets queued messages leave for at most linger_ms, then closes. NULL is fine. Its libuv handles end on the
 * next turn of the loop: run the loop once more before closing it. */
void net_router_close(struct net_router *router, int linger_ms);

struct net_dealer;

struct net_dealer_options {
    const char *endpoint;
    const char *server_public_key; /* Z85; a server with another key is never talked to */
    const struct net_keypair *keys;
    void (*on_message)(void *context, const uint8_t *data, size_t len);
    /* Why no connection comes about, in words for a log ("the server refused this worker's key"). NULL: not
     * told. */
    void (*on_trouble)(void *context, const char *reason);
    void *context;
};

/* Starts connecting; ZeroMQ keeps trying. */
bool net_dealer_open(
    uv_loop_t *loop, const struct net_dealer_options *options, struct net_dealer **out, struct error *err);
bool net_dealer_send(struct net_dealer *dealer, const uint8_t *data, size_t len, struct error *err);
void net_dealer_close(struct net_dealer *dealer, int linger_ms); /* as net_router_close */

#endif
