/* sim:// models for load and fault tests: no weights, predictable results.
 *
 *   sim://                      each sample's prediction is its text's first 20 words, at once
 *   sim://?seconds=0.05         each sample takes that long, one after another
 *   sim://?fail=7               every 7th sample (by index) ends with an error
 *   sim://?poison=12            the worker process dies when it meets the sample with index 12
 *   sim://?model_error=1        the task fails as if the model could not be loaded
 * Parameters join with '&'. */
#ifndef LUMIGRID_WORKER_TASK_SIMULATE_H
#define LUMIGRID_WORKER_TASK_SIMULATE_H

#include "worker/task/active.h"

bool simulate_matches(const char *model_reference);

/* Reads the parameters; fails the task when one is wrong. */
void simulate_open(struct active *active);
void simulate_close(struct active *active);

/* Ends every sample that is due at now_ns. Returns when the next one is due; UINT64_MAX when the task is
 * done. */
uint64_t simulate_step(struct active *active, uint64_t now_ns);

#endif
