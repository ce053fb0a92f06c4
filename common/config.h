/* Options from one table: flag, then LUMIGRID_* environment (where not empty), then INI file, then default.
 *
 * An option named "task-size" is --task-size VALUE, LUMIGRID_TASK_SIZE, and task-size = VALUE in the file
 * (--config FILE or LUMIGRID_CONFIG), at its top or in the section of the program that reads it. Flags may
 * stand anywhere; "--" ends them; --name=VALUE is understood too. */
#ifndef LUMIGRID_COMMON_CONFIG_H
#define LUMIGRID_COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"

struct config_option {
    const char *name;          /* long, without dashes; NULL ends a table */
    const char *argument;      /* "ADDR:PORT" for the help; NULL: a switch */
    const char *default_value; /* NULL: none */
    const char *help;          /* what it does, one line */
    bool repeatable;           /* may be given several times (comma-separated in environment and file) */
    bool secret;               /* never printed */
};

struct config;

/* Reads argv[1..argc). The table is borrowed for the config's life. `section` is the program's name in the
 * file.
 * --help, --version and --config FILE are always understood. ERROR_INVALID names the option and what it
 * takes. */
bool config_parse(const struct config_option *table, const char *section, int argc, char **argv,
    struct config **out, struct error *err);
void config_free(struct config *config); /* NULL is fine */

bool config_wants_help(const struct config *config);
bool config_wants_version(const struct config *config);

/* Values; asking for a name that is not in the table is a defect. Strings live as long as the config. */
const char *config_text(const struct config *config, const char *name); /* NULL: not set and no default */
bool config_switch(const struct config *config, const char *name);
bool config_given(const struct config *config, const char *name); /* set anywhere but by its default */
bool config_integer(
    const struct config *config, const char *name, int64_t min, int64_t max, int64_t *out, struct error *err);
bool config_number(
    const struct config *config, const char *name, double min, double max, double *out, struct error *err);
bool config_bytes(
    const struct config *config, const char *name, uint64_t *out, struct error *err); /* "4GiB", "50MB" */
size_t config_count(const struct config *config, const char *name); /* of a repeatable option */
const char *config_text_at(const struct config *config, const char *name, size_t index);

/* What is left of argv when options are taken out. */
size_t config_argument_count(const struct config *config);
const char *config_argument(const struct config *config, size_t index); /* NULL beyond the end */

/* "  --http ADDR:PORT   where …  [127.0.0.1:8000]" for each option. */
void config_print_help(const struct config_option *table, FILE *to);

/* Every option with its value and where that comes from: flag, environment, file:line, default. */
void config_print(const struct config *config, FILE *to);

#endif
