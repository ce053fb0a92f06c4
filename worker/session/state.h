/* The session's state, and the messages it sends. Only worker/session/ includes this. */
#ifndef LUMIGRID_WORKER_SESSION_STATE_H
#define LUMIGRID_WORKER_SESSION_STATE_H

#include "worker/session/outbox.h"
#include "worker/session/session.h"

enum { PROTOCOL_MIN = 1, PROTOCOL_MAX = 1 };

/* A message that must arrive: kept until what it belongs to is committed. */
struct unacknowledged {
    struct unacknowledged *next;
    uint64_t sequence; /* of these results, or of the last results before this end */
    bool is_end;
    uint8_t *data;
    size_t len;
};

/* An attempt that this worker holds: running, or ended and not yet acknowledged. */
struct held {
    struct held *next;
    char *job_id;
    uint64_t task_id, attempt;
    bool ended;
    uint64_t last_sequence;
};

struct device {
    struct session *session;
    struct runner_options options;
    struct runner *runner;
    double busy_seconds_before;
};

/* Models that others host take no room on a device: the coordinator sees a device of their own, whose tasks
 * the first device's runner runs, so that metrics have an engine where they need one. */
#define HOSTED_DEVICE "hosted"

enum session_state { SESSION_CONNECTING, SESSION_ACTIVE };

struct session {
    uv_loop_t *loop;
    struct session_options options;
    char id[37];
    char host[256];
    struct device devices[SESSION_DEVICES_MAX];
    struct hosted *hosted; /* NULL: hosted models are not taken */
    struct outbox outbox;
    uv_timer_t timer; /* heartbeats when active, patience when not */
    struct net_dealer *dealer;
    size_t endpoint; /* index of the one in use */
    enum session_state state;
    char coordinator_id[64];
    uint32_t heartbeat_ms;
    uint64_t heard_ms; /* uv_now of the last message */
    bool gap;          /* a kept message did not leave: no later one may pass it before the next connection */
    uint64_t sequence; /* of the last Results made */
    struct unacknowledged *first, **last;
    struct held *held;
    bool draining;
    uint64_t drain_deadline_ms;
    void (*drained)(void *context, bool clean);
    void *drained_context;
};

/* Each sends one message now, or drops it when there is no connection: the next Hello or heartbeat says it
 * anew. */
void say_hello(struct session *session);
void say_heartbeat(struct session *session);
void say_drain(struct session *session, const char *reason);
void say_goodbye(struct session *session, const char *reason);
void say_progress(struct session *session, const struct outbox_item *item);

/* These are kept until the results before them are acknowledged, and sent again on each new connection. */
void say_results(struct session *session, struct outbox_item *item);
void say_done(struct session *session, const struct outbox_item *item);
void say_failed(struct session *session, const char *job_id, uint64_t task_id, uint64_t attempt,
    const struct error *error);
void say_kept_again(struct session *session);

#endif
