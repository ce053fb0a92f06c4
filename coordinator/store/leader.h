/* The one active coordinator of a database: a session that holds an advisory lock for as long as it lives,
 * shows every sixth of a lease that it does, and brings the tables up to date before anything else is sent.
 */
#ifndef LUMIGRID_COORDINATOR_STORE_LEADER_H
#define LUMIGRID_COORDINATOR_STORE_LEADER_H

#include <stdbool.h>
#include <uv.h>

#include "common/error.h"
#include "coordinator/store/connection.h"

enum leader_state {
    LEADER_CONNECTING, /* no session; keeps trying */
    LEADER_WAITING,    /* another coordinator holds the lock */
    LEADER_MIGRATING,
    LEADER_ACTIVE,
    LEADER_REFUSED, /* for good */
};

struct leader;

struct leader_options {
    uv_loop_t *loop;
    const struct conninfo *info;
    uint32_t lease_ms; /* a standby ends the session of an active one that is silent for this long */
    bool no_standby;   /* refused instead of waiting */
    void (*on_state)(void *context, enum leader_state state, const struct error *reason);
    void *context;
};

struct leader *leader_open(const struct leader_options *options);
void leader_close(struct leader *leader);    /* memory goes with the loop's next turn */
int leader_pid(const struct leader *leader); /* of its session in Postgres; 0: none */

#endif
