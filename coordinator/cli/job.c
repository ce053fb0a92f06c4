/* lumigrid job … */
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/cli/listing.h"

static const struct listing_column COLUMNS[] = {{"ID", "id", LISTING_TEXT}, {"NAME", "name", LISTING_TEXT},
    {"TYPE", "job_type", LISTING_TEXT}, {"STATUS", "status", LISTING_STATUS},
    {"CREATED", "created_at", LISTING_TIME}, {0}};

static const struct listing_column DETAILS[] = {{"id", "id", LISTING_TEXT}, {"name", "name", LISTING_TEXT},
    {"type", "job_type", LISTING_TEXT}, {"status", "status", LISTING_STATUS},
    {"message", "message", LISTING_TEXT}, {"waiting", "progress.waiting", LISTING_TEXT},
    {"samples", "progress", LISTING_PROGRESS}, {"failed samples", "progress.failed", LISTING_NUMBER},
    {"samples/s", "progress.samples_per_s", LISTING_NUMBER}, {"created", "created_at", LISTING_TIME},
    {"updated", "updated_at", LISTING_TIME}, {0}};

static char *job_path(const struct command_context *context, const char *suffix)
{
    return alloc_format("/jobs/%s%s", command_argument(context, 0), suffix);
}

static int list(const struct command_context *context)
{
    return listing_run(context, "/jobs/", COLUMNS);
}

static int show(const struct command_context *context)
{
    char *path = job_path(context, "");
    int status = listing_run_object(context, path, DETAILS);
    free(path);
    return status;
}

static int logs(const struct command_context *context)
{
    char *path = job_path(context, "/logs");
    int status = listing_run_logs(context, path);
    free(path);
    return status;
}

static int cancel(const struct command_context *context)
{
    char *path = job_path(context, "/cancel");
    int status = listing_call(context, "POST", path, "cancelled");
    free(path);
    return status;
}

const struct command JOB_COMMANDS[] = {
    {"job list", "", 0, 0, "all jobs, newest first", NULL, list},
    {"job show", "ID", 1, 1, "one job, and why it waits when it does", NULL, show},
    {"job logs", "ID", 1, 1, "what happened in it", NULL, logs},
    {"job cancel", "ID", 1, 1, "stop it; results so far stay", NULL, cancel},
    {0},
};
