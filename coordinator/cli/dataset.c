/* lumigrid dataset … */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/listing.h"
#include "coordinator/cli/terminal.h"

static const struct config_option UPLOAD_OPTIONS[] = {
    {"format", "experiment|job", "experiment", "what it is for", false, false}, {0}};
static const struct config_option DOWNLOAD_OPTIONS[] = {
    {"output", "FILE", NULL, "where to write it; -o FILE; stdout otherwise", false, false}, {0}};

static const struct listing_column COLUMNS[] = {{"ID", "id", LISTING_TEXT},
    {"FILE", "filename", LISTING_TEXT}, {"SIZE", "size", LISTING_SIZE},
    {"GROUND TRUTH", "ground_truth", LISTING_TEXT}, {"CREATED", "created_at", LISTING_TIME}, {0}};

static int upload(const struct command_context *context)
{
    struct error err = {0};
    json_t *dataset = client_upload(
        "/datasets/", command_argument(context, 0), config_text(context->config, "format"), &err);
    if (!dataset)
        return command_fail(&err);
    if (context->json)
        terminal_json(dataset);
    else
        puts(json_string_value(json_object_get(dataset, "id")));
    json_decref(dataset);
    return EXIT_DONE;
}

static int list(const struct command_context *context)
{
    return listing_run(context, "/datasets/", COLUMNS);
}

static int show(const struct command_context *context)
{
    char *path = alloc_format("/datasets/%s", command_argument(context, 0));
    int status = listing_run_object(context, path, COLUMNS);
    free(path);
    return status;
}

static int download(const struct command_context *context)
{
    struct error err = {0};
    const char *output = config_text(context->config, "output");
    char *path = alloc_format("/datasets/%s/download", command_argument(context, 0));
    json_t *answer = client_call("GET", path, NULL, &err);
    free(path);
    FILE *to = !answer ? NULL : output ? fopen(output, "we") : stdout;
    if (answer && !to)
        error_set(&err, ERROR_DENIED, "%s cannot be written", output);
    bool ok = to && client_download(json_string_value(json_object_get(answer, "download_url")), to, &err);
    if (to && output)
        fclose(to);
    json_decref(answer);
    return ok ? EXIT_DONE : command_fail(&err);
}

static int delete (const struct command_context *context)
{
    char *path = alloc_format("/datasets/%s", command_argument(context, 0));
    int status = listing_call(context, "DELETE", path, "deleted");
    free(path);
    return status;
}

const struct command DATASET_COMMANDS[] = {
    {"dataset upload", "FILE", 1, 1, "upload a CSV or JSONL file and print its id", UPLOAD_OPTIONS, upload},
    {"dataset list", "", 0, 0, "the datasets, newest first", NULL, list},
    {"dataset show", "ID", 1, 1, "one dataset", NULL, show},
    {"dataset download", "ID", 1, 1, "the uploaded bytes", DOWNLOAD_OPTIONS, download},
    {"dataset delete", "ID", 1, 1, "delete it", NULL, delete},
    {0},
};
