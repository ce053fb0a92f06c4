/* One table of commands is the single source for parsing, help and completion. A command is an API client: it
 * prints to stdout what was asked for, to stderr one line when it fails, and returns an exit status of enum
 * exit_status. */
#ifndef LUMIGRID_COORDINATOR_CLI_COMMAND_H
#define LUMIGRID_COORDINATOR_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "common/config.h"

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_DENIED = 4,
    EXIT_UNREACHABLE = 5,
};

struct command_context {
    const struct config *config;
    size_t first_argument; /* of config_argument, after the command's own words */
    bool json;
};

struct command {
    const char *words;     /* "dataset upload" */
    const char *arguments; /* "FILE"; for the usage line */
    size_t arguments_min, arguments_max;
    const char *help;                    /* what it does, one line */
    const struct config_option *options; /* its own, besides the common ones; NULL: none */
    int (*run)(const struct command_context *context);
};

/* Tables of the command files, each ended by {0}. */
extern const struct command LOCAL_COMMANDS[];
extern const struct command DATASET_COMMANDS[];
extern const struct command EXPERIMENT_COMMANDS[];
extern const struct command JOB_COMMANDS[];
extern const struct command WORKFLOW_COMMANDS[];
extern const struct command DEPLOYMENT_COMMANDS[];
extern const struct command WORKER_COMMANDS[];
extern const struct command ADMIN_COMMANDS[];

/* The command's nth argument; NULL beyond the end. */
const char *command_argument(const struct command_context *context, size_t index);

/* Prints "lumigrid: message; hint" and returns the exit status that belongs to the error's code. */
int command_fail(const struct error *err);

#endif
