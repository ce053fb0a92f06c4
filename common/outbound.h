/* Which servers may be called for a user: an allow-list of hosts, and a look at the address that is in fact
 * connected to. Pure functions; any thread. */
#ifndef LUMIGRID_COMMON_OUTBOUND_H
#define LUMIGRID_COMMON_OUTBOUND_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/error.h"

/* What is allowed unless an administrator says otherwise: this machine, where a llamafile may listen. */
#define OUTBOUND_HOSTS_DEFAULT "localhost,127.0.0.1,[::1]"

/* Whether a URL that a user gave may be called: http(s), no user part, and its host (with its port, when the
 * list says one) in the comma-separated allow-list. "*" allows any host, but not by a private address.
 * `named` (may be NULL): whether the list names the host itself, so that it may have a private address. */
bool outbound_url_allowed(const char *url, const char *allowed, bool *named, struct error *err);

/* Whether an address is on the public internet: not loopback, private, link-local, shared, multicast,
 * reserved, or an IPv4 one of these wrapped in IPv6. */
bool outbound_address_public(const struct sockaddr *address);

#endif
