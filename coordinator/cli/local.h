/* The processes of a cluster on this machine: where their files are, starting, finding and stopping them.
 *
 *   DIR/cluster.json         port and number of workers of the last `up`
 *   DIR/postgres             Postgres' data
 *   DIR/run/NAME.pid         "pid start-time" of a running process
 *   DIR/logs/NAME.log        what it writes
 *   DIR/keys                 CURVE keys: coordinator.key, coordinator.pub, worker.key, workers/NAME.pub
 * (admitted) */
#ifndef LUMIGRID_COORDINATOR_CLI_LOCAL_H
#define LUMIGRID_COORDINATOR_CLI_LOCAL_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

struct local {
    char data[PATH_MAX - 64]; /* absolute; room is left for the names above */
    char socket[96];   /* directory of Postgres' socket; short, since a socket's path may have 107 bytes */
    int port, workers; /* from cluster.json; 0: never started */
};

/* `given` is --data, or NULL for the default: /var/lib/lumigrid for root, ~/.local/share/lumigrid for others.
 */
bool local_open(const char *given, struct local *out, struct error *err);
bool local_save(const struct local *local, struct error *err);

/* "DIR/<sub>/<name><suffix>", malloc'd. */
char *local_path(const struct local *local, const char *sub, const char *name, const char *suffix);
bool local_make_directories(const struct local *local, struct error *err);

/* One of our programs, beside this one or in the build tree; malloc'd. */
char *local_program(const char *name, struct error *err);

/* Starts argv[0] in its own session with its output in the log, as `user` when that is not NULL. */
bool local_spawn(
    const struct local *local, const char *name, char *const argv[], const char *user, struct error *err);
pid_t local_pid(const struct local *local, const char *name); /* 0: not running */

/* Sends the signal and waits until the process has gone; SIGKILL after timeout_ms. False: it was not running.
 */
bool local_stop(const struct local *local, const char *name, int signal, int timeout_ms);

/* The last error-like line of a log, for messages; malloc'd, may be empty. */
char *local_last_words(const struct local *local, const char *name);

/* Runs a program to its end, output in the log. */
bool local_run(
    const struct local *local, const char *log, char *const argv[], const char *user, struct error *err);

/* ---- Postgres ---- */

/* Makes the data folder when there is none, starts the server and waits until it accepts; creates the
 * database. */
bool local_postgres_start(const struct local *local, struct error *err);
void local_postgres_stop(const struct local *local);
char *local_postgres_conninfo(const struct local *local); /* malloc'd */

#endif
