/* What experiment.c and comparison.c have in common. */
#ifndef LUMIGRID_COORDINATOR_CLI_EXPERIMENT_H
#define LUMIGRID_COORDINATOR_CLI_EXPERIMENT_H

#include <stdio.h>

#include "coordinator/cli/command.h"

extern const struct config_option BEST_WORST_OPTIONS[];

/* Downloads an experiment's result document. */
bool experiment_document(const char *id, FILE *to, struct error *err);

/* GET /experiments/compare as a table; the exit status. */
int comparison_print(const char *const *ids, size_t count);

int comparison_run(const struct command_context *context);
int best_worst_run(const struct command_context *context);

#endif
