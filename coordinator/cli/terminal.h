/* What a person sees: tables, progress bars, colour. Colour and bars only where stdout (bars: stderr) is a
 * terminal. */
#ifndef LUMIGRID_COORDINATOR_CLI_TERMINAL_H
#define LUMIGRID_COORDINATOR_CLI_TERMINAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TERMINAL_COLUMNS_MAX = 16 };

/* A table that is printed when it ends, so that columns are as wide as their widest cell. */
struct terminal_table {
    size_t columns;
    char **cells; /* rows of `columns`; the first row is the heading */
    size_t count;
    bool right[TERMINAL_COLUMNS_MAX]; /* numbers */
};

/* `headings` ends with NULL; one that begins with '>' is a column of numbers. */
void terminal_table_begin(struct terminal_table *table, const char *const *headings);
void terminal_table_cell(struct terminal_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void terminal_table_end(struct terminal_table *table);

/* A bar on stderr, drawn anew in its line at most ten times a second. Zero it but for label and bytes. */
struct terminal_bar {
    const char *label;
    bool bytes; /* counts are bytes */
    uint64_t drawn_ms, started_ms;
    bool visible;
};
void terminal_progress(struct terminal_bar *bar, uint64_t done, uint64_t total);
void terminal_progress_end(struct terminal_bar *bar);

bool terminal_is_tty(void); /* stdout */
const char *terminal_bold(void);
const char *terminal_dim(void);
const char *terminal_colour(const char *status); /* of a status word */
const char *terminal_reset(void);

/* Columns a UTF-8 text takes. */
size_t terminal_width(const char *text);

/* "2 h 3 min", "1.4 s", "830 ms". */
void terminal_duration(double seconds, char *out, size_t size);
void terminal_size(uint64_t bytes, char *out, size_t size); /* "12.3 MB" */

/* Prints JSON with indentation. */
void terminal_json(const json_t *json);

/* Text folded at `width` columns, each line after `indent`. */
void terminal_fold(const char *text, size_t width, const char *indent, size_t lines_max);

#endif
