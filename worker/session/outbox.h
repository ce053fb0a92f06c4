/* What runners have to say, on its way from their threads to the loop's: results gathered per attempt, ends
 * and progress, in the order in which they happened. */
#ifndef LUMIGRID_WORKER_SESSION_OUTBOX_H
#define LUMIGRID_WORKER_SESSION_OUTBOX_H

#include <pthread.h>
#include <uv.h>

#include "worker/task/task.h"

enum outbox_kind { OUTBOX_RESULTS, OUTBOX_END, OUTBOX_PROGRESS };

struct outbox_item {
    struct outbox_item *next;
    enum outbox_kind kind;
    char *job_id;
    uint64_t task_id, attempt;
    /* OUTBOX_RESULTS */
    Lumigrid__Result **results; /* each unpacked-style: freed by lumigrid__result__free_unpacked */
    size_t result_count, result_capacity, result_bytes;
    Lumigrid__Provenance *provenance;
    /* OUTBOX_END */
    bool failed;
    struct error error;
    double seconds;
    /* OUTBOX_PROGRESS */
    char stage[16], detail[256];
    uint64_t done, total;
};

struct outbox {
    pthread_mutex_t lock;
    struct outbox_item *first, **last;
    struct outbox_item
        *newest; /* takes more results of the same attempt, when it is results and not too large */
    uv_async_t async;
};

void outbox_open(struct outbox *outbox, uv_loop_t *loop, uv_async_cb on_items, void *data);
struct outbox_item *outbox_take(struct outbox *outbox); /* everything so far, oldest first */
void outbox_item_free(struct outbox_item *item);
void outbox_close(struct outbox *outbox); /* the async handle ends on the loop's next turn */

/* The runner's callbacks; context is the outbox. Any thread. */
void outbox_on_result(void *context, const Lumigrid__Assign *task, const struct task_provenance *provenance,
    const struct task_result *result);
void outbox_on_end(void *context, const Lumigrid__Assign *task, const struct error *error, double seconds);
void outbox_on_progress(void *context, const Lumigrid__Assign *task, const char *stage, const char *detail,
    uint64_t done, uint64_t total);

#endif
