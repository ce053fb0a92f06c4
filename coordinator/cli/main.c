/* lumigrid: the command line of admins and users. */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/terminal.h"

enum { HELP_COLUMNS = 34 };

static const struct command *const GROUPS[] = {LOCAL_COMMANDS, DATASET_COMMANDS, EXPERIMENT_COMMANDS,
    JOB_COMMANDS, WORKFLOW_COMMANDS, DEPLOYMENT_COMMANDS, WORKER_COMMANDS, ADMIN_COMMANDS};

static const struct config_option COMMON_OPTIONS[] = {
    {"server", "URL", "http://127.0.0.1:8000", "the coordinator's address", false, false},
    {"token", "TOKEN", NULL, "bearer token, when the coordinator asks for one", false, true},
    {"json", NULL, NULL, "print JSON instead of a table", false, false},
    {0},
};

const char *command_argument(const struct command_context *context, size_t index)
{
    return config_argument(context->config, context->first_argument + index);
}

int command_fail(const struct error *err)
{
    fprintf(stderr, "lumigrid: %s%s%s\n", err->message, err->hint[0] ? "; " : "", err->hint);
    switch (err->code) {
    case ERROR_INVALID: return EXIT_USAGE;
    case ERROR_NOT_FOUND: return EXIT_NOT_FOUND;
    case ERROR_DENIED: return EXIT_DENIED;
    case ERROR_UNAVAILABLE: return EXIT_UNREACHABLE;
    default: return EXIT_FAILED;
    }
}

/* How many of a command's words are the first words given; 0 when one differs. */
static size_t words_matched(const char *words, const char *const *given, size_t given_count)
{
    size_t matched = 0;
    while (*words) {
        size_t len = strcspn(words, " ");
        if (matched == given_count || strlen(given[matched]) != len ||
            strncmp(words, given[matched], len) != 0)
            return 0;
        matched++;
        words += len + (words[len] == ' ');
    }
    return matched;
}

static const struct command *find_command(const char *const *given, size_t count, size_t *words)
{
    const struct command *best = NULL;
    *words = 0;
    for (size_t g = 0; g < sizeof(GROUPS) / sizeof(GROUPS[0]); g++) {
        for (const struct command *command = GROUPS[g]; command->words; command++) {
            size_t matched = words_matched(command->words, given, count);
            if (matched > *words) {
                best = command;
                *words = matched;
            }
        }
    }
    return best;
}

/* The words on the command line: what is neither an option nor a common option's value. */
static size_t collect_words(int argc, char **argv, const char **words)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        if (strcmp(text, "--server") == 0 || strcmp(text, "--token") == 0 || strcmp(text, "--config") == 0)
            i++;
        else if (text[0] != '-')
            words[count++] = text;
    }
    return count;
}

/* The two short forms there are: logs -f, result -o FILE. */
static void expand_short_options(int argc, char **argv)
{
    static char follow[] = "--follow", output[] = "--output";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-f") == 0)
            argv[i] = follow;
        else if (strcmp(argv[i], "-o") == 0)
            argv[i] = output;
    }
}

static struct config_option *merge_options(const struct command *command)
{
    size_t own = 0, common = sizeof(COMMON_OPTIONS) / sizeof(COMMON_OPTIONS[0]);
    while (command && command->options && command->options[own].name)
        own++;
    struct config_option *table = alloc_zero(own + common, sizeof(*table));
    if (own > 0)
        memcpy(table, command->options, own * sizeof(*table));
    memcpy(table + own, COMMON_OPTIONS, common * sizeof(*table));
    return table;
}

/* Lists the commands whose words begin with `prefix` (all when it is empty). Returns how many there are. */
static size_t print_commands(const char *prefix, FILE *to)
{
    size_t printed = 0;
    for (size_t g = 0; g < sizeof(GROUPS) / sizeof(GROUPS[0]); g++) {
        for (const struct command *command = GROUPS[g]; command->words; command++) {
            size_t len = strlen(prefix);
            if (len > 0 && (strncmp(command->words, prefix, len) != 0 || command->words[len] != ' '))
                continue;
            char left[128];
            snprintf(left, sizeof(left), "%s %s", command->words, command->arguments);
            size_t width = terminal_width(left);
            fprintf(to, "  %s%*s %s\n", left, width < HELP_COLUMNS ? (int)(HELP_COLUMNS - width) : 0, "",
                command->help);
            printed++;
        }
    }
    return printed;
}

static void print_help(const char *group)
{
    printf("usage: lumigrid COMMAND [ARGUMENT]… [OPTION]…\n\ncommands:\n");
    print_commands(group, stdout);
    printf("\noptions of every command:\n");
    config_print_help(COMMON_OPTIONS, stdout);
    printf(
        "\nlumigrid COMMAND --help tells more. Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found,\n"
        "4 not allowed, 5 unreachable.\n");
}

static void print_command_help(const struct command *command, const struct config_option *table)
{
    printf("usage: lumigrid %s %s [OPTION]…\n\n%s\n\noptions:\n", command->words, command->arguments,
        command->help);
    config_print_help(table, stdout);
}

/* Without a command: help when asked for, for a whole group ("lumigrid dataset") too; else wrong usage. */
static int no_command(const char *const *words, size_t count, const struct config *config)
{
    if (config_wants_version(config)) {
        puts("lumigrid " LUMIGRID_VERSION);
        return EXIT_DONE;
    }
    if (config_wants_help(config)) {
        print_help(count > 0 ? words[0] : "");
        return EXIT_DONE;
    }
    if (count == 0) {
        print_help("");
        return EXIT_USAGE;
    }
    fprintf(stderr, "lumigrid: there is no command \"%s%s%s\"; lumigrid --help lists them\n", words[0],
        count > 1 ? " " : "", count > 1 ? words[1] : "");
    print_commands(words[0], stderr);
    return EXIT_USAGE;
}

static int run_command(const struct command *command, size_t words, const struct config *config)
{
    struct command_context context = {
        .config = config, .first_argument = words, .json = config_switch(config, "json")};
    size_t arguments = config_argument_count(config) - words;
    if (arguments < command->arguments_min || arguments > command->arguments_max) {
        fprintf(stderr, "lumigrid: usage: lumigrid %s %s; --help tells more\n", command->words,
            command->arguments);
        return EXIT_USAGE;
    }
    client_configure(config_text(config, "server"), config_text(config, "token"));
    return command->run(&context);
}

int main(int argc, char **argv)
{
    struct config *config = NULL;
    struct error err = {0};
    size_t words_used = 0;
    setlocale(LC_CTYPE, "C.UTF-8");
    signal(SIGPIPE, SIG_IGN);
    expand_short_options(argc, argv);
    const char **words = alloc_zero((size_t)argc + 1, sizeof(*words));
    size_t count = collect_words(argc, argv, words);
    const struct command *command = find_command(words, count, &words_used);
    struct config_option *table = merge_options(command);
    int status;
    if (!config_parse(table, "cli", argc, argv, &config, &err)) {
        status = command_fail(&err);
    } else if (!command) {
        status = no_command(words, count, config);
    } else if (config_wants_help(config)) {
        print_command_help(command, table);
        status = EXIT_DONE;
    } else {
        status = run_command(command, words_used, config);
    }
    client_close();
    config_free(config);
    free(table);
    free(words);
    if (fflush(stdout) != 0)
        return EXIT_FAILED;
    return status;
}
