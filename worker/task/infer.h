/* From a sample's text to a generation request, and from its output to a result. Runner's thread. */
#ifndef LUMIGRID_WORKER_TASK_INFER_H
#define LUMIGRID_WORKER_TASK_INFER_H

#include "worker/task/active.h"

/* Submits every sample of a task whose model is ready. A sample that cannot be submitted ends with an error;
 * when the settings themselves are wrong the task fails. */
void infer_begin(struct active *active);

/* Cancels what the engine still holds of it. */
void infer_cancel(struct active *active);

/* For TASK_KIND_SCORE: every sample brings its prediction. */
void infer_score_only(struct active *active);

#endif
