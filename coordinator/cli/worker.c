/* lumigrid worker … */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/listing.h"
#include "coordinator/cli/terminal.h"

static const struct config_option DRAIN_OPTIONS[] = {
    {"reason", "TEXT", "drained by an admin", "why, for those who look", false, false}, {0}};

static const struct listing_column COLUMNS[] = {{"ID", "id", LISTING_TEXT}, {"HOST", "host", LISTING_TEXT},
    {"STATE", "state", LISTING_STATUS}, {"TASKS", "tasks", LISTING_NUMBER},
    {"SLOTS", "slots", LISTING_NUMBER}, {"SAMPLES/S", "samples_per_s", LISTING_NUMBER},
    {"MEMORY", "resident_bytes", LISTING_SIZE}, {"MODELS", "resident_models", LISTING_NAMES}, {0}};

static const struct listing_column DETAILS[] = {{"id", "id", LISTING_TEXT}, {"host", "host", LISTING_TEXT},
    {"pid", "pid", LISTING_NUMBER}, {"version", "version", LISTING_TEXT}, {"state", "state", LISTING_STATUS},
    {"reason", "reason", LISTING_TEXT}, {"tasks", "tasks", LISTING_NUMBER},
    {"slots", "slots", LISTING_NUMBER}, {"samples/s", "samples_per_s", LISTING_NUMBER},
    {"memory", "resident_bytes", LISTING_SIZE}, {"devices", "devices", LISTING_TEXT},
    {"models", "resident_models", LISTING_NAMES}, {"metrics", "metrics", LISTING_NAMES},
    {"schemes", "schemes", LISTING_NAMES}, {"joined", "joined_at", LISTING_TIME},
    {"last seen", "seen_at", LISTING_TIME}, {0}};

static int list(const struct command_context *context)
{
    return listing_run(context, "/cluster/workers", COLUMNS);
}

static int show(const struct command_context *context)
{
    char *path = alloc_format("/cluster/workers/%s", command_argument(context, 0));
    int status = listing_run_object(context, path, DETAILS);
    free(path);
    return status;
}

static int act(
    const struct command_context *context, const char *action, const char *done, const json_t *body)
{
    struct error err = {0};
    char *path = alloc_format("/cluster/workers/%s/%s", command_argument(context, 0), action);
    json_t *answer = client_call("POST", path, body, &err);
    int status = answer ? EXIT_DONE : command_fail(&err);
    free(path);
    if (answer && context->json)
        terminal_json(answer);
    else if (answer)
        puts(done);
    json_decref(answer);
    return status;
}

static int drain(const struct command_context *context)
{
    json_t *body = json_pack("{s:s}", "reason", config_text(context->config, "reason"));
    int status = act(context, "drain", "draining: it finishes what it has and takes nothing new", body);
    json_decref(body);
    return status;
}

static int resume(const struct command_context *context)
{
    return act(context, "resume", "resumed", NULL);
}

static int evict(const struct command_context *context)
{
    return act(context, "evict", "evicted: its tasks go to others", NULL);
}

const struct command WORKER_COMMANDS[] = {
    {"worker list", "", 0, 0, "the workers", NULL, list},
    {"worker show", "ID", 1, 1, "one worker: devices, models, metrics", NULL, show},
    {"worker drain", "ID", 1, 1, "let it finish and give it nothing new", DRAIN_OPTIONS, drain},
    {"worker resume", "ID", 1, 1, "give a drained worker tasks again", NULL, resume},
    {"worker evict", "ID", 1, 1, "take its tasks away at once and cut the connection", NULL, evict},
    {0},
};
