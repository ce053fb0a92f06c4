/* A task whose model others host: its samples go out to the hosted client, and their ends come back to the
 * runner's thread, where they are scored. */
#ifndef LUMIGRID_WORKER_TASK_HOSTED_TASK_H
#define LUMIGRID_WORKER_TASK_HOSTED_TASK_H

#include "worker/hosted/hosted.h"
#include "worker/task/active.h"

/* Whether the task's reference, or a base_url in its settings, says that another server runs the model. */
bool hosted_task_matches(const struct active *active);

/* Asks for every sample; `wake` is called on the client's thread when one has ended. Fails the task when it
 * cannot be asked for at all. Runner's thread, as all of these. */
void hosted_task_begin(
    struct active *active, struct hosted *client, void (*wake)(void *context), void *context);

/* Ends the samples that have come back. */
void hosted_task_step(struct active *active);

/* Drops what is still under way. */
void hosted_task_close(struct active *active);

#endif
