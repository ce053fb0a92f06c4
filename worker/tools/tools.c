#include "worker/tools/tools.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "worker/metrics/score_tool.h"
#include "worker/tools/tool.h"

static const struct tool *const tools[] = {
    &tool_tokenize, &tool_logits, &tool_generate, &tool_bench, &tool_inspect};
enum { TOOL_COUNT = sizeof tools / sizeof *tools };

static int status_of(const struct error *err, bool usage_error)
{
    if (usage_error)
        return TOOL_USAGE;
    switch (err->code) {
    case ERROR_NOT_FOUND: return TOOL_NOT_FOUND;
    case ERROR_DENIED: return TOOL_DENIED;
    case ERROR_UNAVAILABLE: return TOOL_UNREACHABLE;
    default: return TOOL_FAILED;
    }
}

static int fail(const char *name, const struct error *err, bool usage_error)
{
    fprintf(stderr, "lumigrid-worker %s: %s%s%s%s\n", name, err->message, err->hint[0] ? "; " : "", err->hint,
        usage_error ? " (see --help)" : "");
    return status_of(err, usage_error);
}

static int run(const struct tool *tool, int argc, char **argv)
{
    struct config *config = NULL;
    struct error err = {0};
    bool usage_error = false;
    int status = TOOL_DONE;
    if (!config_parse(tool->options, "worker", argc, argv, &config, &err))
        return fail(tool->name, &err, true);
    if (config_wants_help(config)) {
        printf("usage: lumigrid-worker %s %s\n\noptions:\n", tool->name, tool->usage);
        config_print_help(tool->options, stdout);
    } else if (!tool->run(config, &usage_error, &err)) {
        status = fail(tool->name, &err, usage_error);
    }
    config_free(config);
    return status;
}

int tools_run(int argc, char **argv)
{
    log_open("worker", LOG_LEVEL_WARN, LOG_FORMAT_LOGFMT);
    if (argc > 1 && strcmp(argv[1], "score") == 0)
        return score_tool_run(argc - 1, argv + 1, &tool_encoder); /* the metrics' own */
    for (size_t i = 0; argc > 1 && i < TOOL_COUNT; i++)
        if (strcmp(tools[i]->name, argv[1]) == 0)
            return run(tools[i], argc - 1, argv + 1);
    fprintf(stderr, "lumigrid-worker: there is no tool \"%s\"; there are score", argc > 1 ? argv[1] : "");
    for (size_t i = 0; i < TOOL_COUNT; i++)
        fprintf(stderr, ", %s", tools[i]->name);
    fputc('\n', stderr);
    return TOOL_USAGE;
}
