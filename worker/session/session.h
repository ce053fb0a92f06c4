/* The worker's side of the protocol (proto/lumigrid.proto): connects to a coordinator, offers its devices,
 * runs what is assigned, streams results and keeps each until the coordinator has committed it.
 *
 * Everything here runs on the loop's thread; runners call in from their own through a locked outbox. */
#ifndef LUMIGRID_WORKER_SESSION_SESSION_H
#define LUMIGRID_WORKER_SESSION_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/error.h"
#include "common/net.h"
#include "worker/hosted/hosted.h"
#include "worker/task/task.h"

enum { SESSION_ENDPOINTS_MAX = 8, SESSION_DEVICES_MAX = 16 };

struct session_options {
    const char *endpoints[SESSION_ENDPOINTS_MAX]; /* tried in turn; borrowed */
    size_t endpoint_count;
    const char *server_public_key; /* borrowed */
    struct net_keypair keys;
    struct runner_options devices[SESSION_DEVICES_MAX];
    size_t device_count;
    const struct hosted_options *hosted; /* borrowed until session_open returns; its strings for longer */
    uint32_t hosted_slots;               /* tasks of hosted models at once; 0: none are taken */
    uint32_t slots; /* tasks a device holds at once; 2: one runs while the next waits with its text */
};

struct session;

/* Opens the devices and starts to connect; goes on trying for ever. */
bool session_open(
    uv_loop_t *loop, const struct session_options *options, struct session **out, struct error *err);

/* Finishes what runs, waits until its results are committed (at most timeout_ms), says goodbye, then calls
 * `done` with whether everything was handed over. A second call stops at once. */
void session_drain(
    struct session *session, uint32_t timeout_ms, void (*done)(void *context, bool clean), void *context);

/* After `done`: closes devices and frees. */
void session_close(struct session *session);

#endif
