/* Datasets as users upload them: CSV (RFC 4180, UTF-8, a byte order mark allowed) or JSON lines, parsed as
 * they arrive. Memory: one row. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_TABLE_H
#define LUMIGRID_COORDINATOR_API_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

enum table_format {
    TABLE_GUESS,
    TABLE_CSV,
    TABLE_JSONL
}; /* GUESS: JSONL when the first character is a brace */

struct table_text {
    const char *bytes; /* NULL: the table has no such column, or the value is null */
    size_t size;
};

struct table_row {
    struct table_text examples; /* never NULL */
    struct table_text ground_truth;
    struct table_text predictions;
};

struct table;

/* `row` is called for each row; what it is given is valid during the call. False ends the parsing with its
 * error. */
struct table *table_open(enum table_format format,
    bool (*row)(void *context, const struct table_row *row, struct error *err), void *context);
void table_close(struct table *table);

/* Errors name the row (the header is row 1). ERROR_DENIED: there is no `examples` column; ERROR_INVALID: it
 * is no table, not UTF-8, or a row does not fit the header; ERROR_TOO_LARGE: one text is over the limit. */
bool table_feed(struct table *table, const char *bytes, size_t size, struct error *err);

/* No more bytes. ERROR_INVALID also when there was no row. */
bool table_finish(struct table *table, struct error *err);

/* What it was: "csv" or "jsonl". */
const char *table_media(const struct table *table);

#endif
