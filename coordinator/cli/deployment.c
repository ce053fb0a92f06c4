/* lumigrid deployment … */
#include <stdio.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/listing.h"
#include "coordinator/cli/terminal.h"

static const struct config_option CREATE_OPTIONS[] = {
    {"model", "REF", NULL, "its model; the server's default otherwise", false, false}, {0}};

static const struct listing_column COLUMNS[] = {{"ID", "id", LISTING_TEXT}, {"NAME", "name", LISTING_TEXT},
    {"MODEL", "model", LISTING_TEXT}, {"STATUS", "status", LISTING_STATUS},
    {"CREATED", "created_at", LISTING_TIME}, {0}};

static int create(const struct command_context *context)
{
    struct error err = {0};
    const char *model = config_text(context->config, "model");
    json_t *body = model ? json_pack("{s:s}", "model", model) : json_object();
    json_t *made = client_call("POST", "/ground-truth/deployments", body, &err);
    json_decref(body);
    return listing_made(context, made, &err);
}

static int list(const struct command_context *context)
{
    return listing_run(context, "/ground-truth/deployments", COLUMNS);
}

static int query(const struct command_context *context)
{
    struct error err = {0};
    char *path = alloc_format("/ground-truth/deployments/%s", command_argument(context, 0));
    json_t *body = json_pack("{s:s}", "text", command_argument(context, 1));
    json_t *answer = body ? client_call("POST", path, body, &err) : NULL;
    if (!body)
        error_set(&err, ERROR_INVALID, "the text is not UTF-8");
    free(path);
    json_decref(body);
    if (!answer)
        return command_fail(&err);
    const char *text =
        json_string_value(json_object_get(json_object_get(answer, "deployment_response"), "result"));
    if (context->json)
        terminal_json(answer);
    else
        printf("%s\n", text ? text : "");
    json_decref(answer);
    return EXIT_DONE;
}

static int delete (const struct command_context *context)
{
    char *path = alloc_format("/ground-truth/deployments/%s", command_argument(context, 0));
    int status = listing_call(context, "DELETE", path, "deleted");
    free(path);
    return status;
}

const struct command DEPLOYMENT_COMMANDS[] = {
    {"deployment create", "", 0, 0, "name a model that answers single texts, and load it", CREATE_OPTIONS,
        create},
    {"deployment list", "", 0, 0, "all deployments", NULL, list},
    {"deployment query", "ID TEXT", 2, 2, "summarize a text", NULL, query},
    {"deployment delete", "ID", 1, 1, "forget it", NULL, delete},
    {0},
};
