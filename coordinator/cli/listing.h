/* Listings: an array of JSON objects as a table of chosen fields, or as it is with --json. */
#ifndef LUMIGRID_COORDINATOR_CLI_LISTING_H
#define LUMIGRID_COORDINATOR_CLI_LISTING_H

#include <jansson.h>

#include "coordinator/cli/command.h"

enum listing_kind {
    LISTING_TEXT,
    LISTING_STATUS, /* coloured text */
    LISTING_NUMBER,
    LISTING_SIZE,     /* bytes */
    LISTING_TIME,     /* ISO 8601, to the second */
    LISTING_PERCENT,  /* 0..1 */
    LISTING_PROGRESS, /* an object {done, total} */
    LISTING_NAMES,    /* an array of texts */
    LISTING_COUNT,    /* how many items an array has */
};

struct listing_column {
    const char *heading;
    const char *field; /* "progress" or "means.rouge1" */
    enum listing_kind kind;
};

/* Prints rows of `items`; `columns` ends with {0}. */
void listing_print(const json_t *items, const struct listing_column *columns, bool json);

/* Prints one object: a line per column, or JSON. */
void listing_print_object(const json_t *object, const struct listing_column *columns, bool json);

/* GETs all items of a path and prints them; the exit status. */
int listing_run(
    const struct command_context *context, const char *path, const struct listing_column *columns);

/* GETs one object and prints it; the exit status. */
int listing_run_object(
    const struct command_context *context, const char *path, const struct listing_column *columns);

/* Calls without a body and prints `done` with the id, or the answer with --json; the exit status. */
int listing_call(
    const struct command_context *context, const char *method, const char *path, const char *done);

/* Prints the id of what a call made, or all of it with --json, and frees it; NULL: fails with `err`. The exit
 * status. */
int listing_made(const struct command_context *context, json_t *made, const struct error *err);

/* GETs a log and prints its text; the exit status. */
int listing_run_logs(const struct command_context *context, const char *path);

#endif
