#include "coordinator/api/table.h"

#include <csv.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/text.h"

enum {
    TEXT_BYTES_MAX = 16 * 1024 * 1024, /* one cell; the store's own limit */
    COLUMNS_MAX = 1024,
    CSV_BLOCK_BYTES = 64 * 1024,
};

enum column { COLUMN_EXAMPLES, COLUMN_GROUND_TRUTH, COLUMN_PREDICTIONS, COLUMN_COUNT };
static const char *const COLUMN_NAMES[COLUMN_COUNT] = {"examples", "ground_truth", "predictions"};

struct cell {
    char *bytes;
    size_t size, capacity;
    bool present;
};

struct table {
    enum table_format format;
    bool (*row)(void *context, const struct table_row *row, struct error *err);
    void *context;
    struct error *err; /* of the feed that is running */
    bool failed;
    bool started; /* the byte order mark, if any, is behind us */
    unsigned char mark[3];
    size_t mark_size;
    uint64_t row_number; /* the one being read; 1 is the first line */
    uint64_t rows;
    struct cell cells[COLUMN_COUNT];

    struct csv_parser csv;
    size_t column;       /* of the next field */
    size_t column_count; /* of the header; 0: not read yet */
    int column_of[COLUMN_COUNT];

    struct cell line; /* JSONL: an incomplete one */
};

static void fail(struct table *t, enum error_code code, const char *what)
{
    if (!t->failed)
        error_set(t->err, code, "row %llu: %s", (unsigned long long)t->row_number, what);
    t->failed = true;
}

/* libcsv has no limit of its own: an unclosed quote would gather the rest of the file. */
static void *bounded_realloc(void *old, size_t size)
{
    return size > (size_t)TEXT_BYTES_MAX + CSV_BLOCK_BYTES ? NULL : realloc(old, size);
}

/* libcsv strips what it takes for space around a field; RFC 4180 says that spaces are part of it. */
static int nothing_is_space(unsigned char c)
{
    (void)c;
    return 0;
}

/* Zero bytes are refused with the rest: texts end there for too many programs. */
static bool is_text(const char *bytes, size_t size)
{
    return text_valid(bytes, size) && (size == 0 || !memchr(bytes, 0, size));
}

static bool cell_append(struct cell *cell, const char *bytes, size_t size)
{
    if (cell->size + size > cell->capacity) {
        size_t capacity = cell->capacity ? cell->capacity : 1024;
        while (capacity < cell->size + size)
            capacity *= 2;
        char *grown = realloc(cell->bytes, capacity);
        if (!grown)
            return false;
        cell->bytes = grown;
        cell->capacity = capacity;
    }
    if (size > 0)
        memcpy(cell->bytes + cell->size, bytes, size);
    cell->size += size;
    return true;
}

static void cell_set(struct table *t, enum column column, const char *bytes, size_t size)
{
    struct cell *cell = &t->cells[column];
    cell->size = 0;
    cell->present = true;
    if (size > TEXT_BYTES_MAX)
        fail(t, ERROR_TOO_LARGE, "a text is larger than 16 MiB");
    else if (!cell_append(cell, bytes, size))
        fail(t, ERROR_MEMORY, "not enough memory for its text");
}

static struct table_text cell_text(const struct cell *cell)
{
    if (!cell->present)
        return (struct table_text){NULL, 0};
    return (struct table_text){cell->size ? cell->bytes : "", cell->size};
}

static void give_row(struct table *t)
{
    struct table_row row = {cell_text(&t->cells[COLUMN_EXAMPLES]), cell_text(&t->cells[COLUMN_GROUND_TRUTH]),
        cell_text(&t->cells[COLUMN_PREDICTIONS])};
    t->rows++;
    if (!t->row(t->context, &row, t->err))
        t->failed = true;
    for (int i = 0; i < COLUMN_COUNT; i++)
        t->cells[i].present = false;
}

static void on_field(void *bytes, size_t size, void *context)
{
    struct table *t = context;
    if (t->failed)
        return;
    size_t column = t->column++;
    if (!is_text(bytes, size)) {
        fail(t, ERROR_INVALID, "the file is not UTF-8 text");
    } else if (t->column_count == 0) {
        for (int i = 0; i < COLUMN_COUNT; i++) {
            if (size != strlen(COLUMN_NAMES[i]) || memcmp(bytes, COLUMN_NAMES[i], size) != 0)
                continue;
            if (t->column_of[i] >= 0)
                fail(t, ERROR_INVALID, "a column appears twice");
            t->column_of[i] = (int)column;
        }
        if (t->column > COLUMNS_MAX)
            fail(t, ERROR_INVALID, "more than 1024 columns");
    } else {
        for (int i = 0; i < COLUMN_COUNT; i++)
            if (t->column_of[i] == (int)column)
                cell_set(t, (enum column)i, bytes, size);
    }
}

static void on_row_end(int terminator, void *context)
{
    struct table *t = context;
    (void)terminator;
    if (t->failed)
        return;
    if (t->column_count == 0) {
        t->column_count = t->column;
        if (t->column_of[COLUMN_EXAMPLES] < 0) {
            error_set(t->err, ERROR_DENIED, "the dataset has no column \"examples\"");
            t->failed = true;
        }
    } else if (t->column != t->column_count) {
        fail(t, ERROR_INVALID,
            t->column > t->column_count ? "more fields than the header has columns"
                                        : "fewer fields than the header has columns");
    } else {
        give_row(t);
    }
    t->column = 0;
    t->row_number++;
}

static void jsonl_take(struct table *t, enum column column, const json_t *object)
{
    const json_t *value = json_object_get(object, COLUMN_NAMES[column]);
    if (json_is_string(value))
        cell_set(t, column, json_string_value(value), json_string_length(value));
    else if (value && !json_is_null(value))
        fail(t, ERROR_INVALID, "examples, ground_truth and predictions must be strings");
}

static void jsonl_line(struct table *t, const char *bytes, size_t size)
{
    while (size > 0 && strchr(" \t\r", bytes[size - 1]) && bytes[size - 1] != '\0')
        size--;
    if (size > 0) {
        json_error_t where;
        json_t *object = json_loadb(bytes, size, 0, &where);
        if (!json_is_object(object))
            fail(t, ERROR_INVALID, object ? "the line is no JSON object" : where.text);
        for (int i = 0; i < COLUMN_COUNT && !t->failed; i++)
            jsonl_take(t, (enum column)i, object);
        json_decref(object);
        if (!t->failed && !t->cells[COLUMN_EXAMPLES].present)
            fail(t, t->rows == 0 ? ERROR_DENIED : ERROR_INVALID, "the object has no \"examples\"");
        if (!t->failed)
            give_row(t);
    }
    t->row_number++;
}

static void jsonl_feed(struct table *t, const char *bytes, size_t size)
{
    while (size > 0 && !t->failed) {
        const char *end = memchr(bytes, '\n', size);
        size_t len = end ? (size_t)(end - bytes) : size;
        if (t->line.size + len > 2 * (size_t)TEXT_BYTES_MAX) {
            fail(t, ERROR_TOO_LARGE, "the line is larger than 32 MiB");
        } else if (end && t->line.size == 0) {
            jsonl_line(t, bytes, len);
        } else if (!cell_append(&t->line, bytes, len)) {
            fail(t, ERROR_MEMORY, "not enough memory for the line");
        } else if (end) {
            jsonl_line(t, t->line.bytes, t->line.size);
            t->line.size = 0;
        }
        bytes += len + (end != NULL);
        size -= len + (end != NULL);
    }
}

static void csv_failed(struct table *t)
{
    if (csv_error(&t->csv) == CSV_EPARSE)
        fail(t, ERROR_INVALID, "a quote is never closed");
    else
        fail(t, ERROR_TOO_LARGE, "a field is larger than 16 MiB (is a quote never closed?)");
}

static void feed(struct table *t, const char *bytes, size_t size)
{
    if (t->failed || size == 0)
        return;
    if (t->format == TABLE_GUESS)
        t->format = bytes[0] == '{' ? TABLE_JSONL : TABLE_CSV;
    if (t->format == TABLE_JSONL)
        jsonl_feed(t, bytes, size);
    else if (csv_parse(&t->csv, bytes, size, on_field, on_row_end, t) != size)
        csv_failed(t);
}

/* The first bytes wait until it is known whether they are a byte order mark. */
static void start(struct table *t, const char **bytes, size_t *size, bool last)
{
    while (*size > 0 && t->mark_size < 3) {
        t->mark[t->mark_size++] = (unsigned char)*(*bytes)++;
        (*size)--;
    }
    if (t->mark_size >= 2 &&
        ((t->mark[0] == 0xFF && t->mark[1] == 0xFE) || (t->mark[0] == 0xFE && t->mark[1] == 0xFF)))
        fail(t, ERROR_INVALID, "the file is UTF-16; save it as UTF-8");
    if (t->mark_size < 3 && !last)
        return;
    t->started = true;
    if (t->mark_size < 3 || memcmp(t->mark, "\xEF\xBB\xBF", 3) != 0)
        feed(t, (const char *)t->mark, t->mark_size);
}

struct table *table_open(enum table_format format,
    bool (*row)(void *context, const struct table_row *row, struct error *err), void *context)
{
    struct table *t = alloc_zero(1, sizeof(*t));
    csv_init(&t->csv, 0);
    csv_set_realloc_func(&t->csv, bounded_realloc);
    csv_set_space_func(&t->csv, nothing_is_space);
    csv_set_blk_size(&t->csv, CSV_BLOCK_BYTES);
    t->format = format;
    t->row = row;
    t->context = context;
    t->row_number = 1;
    for (int i = 0; i < COLUMN_COUNT; i++)
        t->column_of[i] = -1;
    return t;
}

void table_close(struct table *t)
{
    if (!t)
        return;
    csv_free(&t->csv);
    for (int i = 0; i < COLUMN_COUNT; i++)
        free(t->cells[i].bytes);
    free(t->line.bytes);
    free(t);
}

bool table_feed(struct table *t, const char *bytes, size_t size, struct error *err)
{
    t->err = err;
    if (!t->started)
        start(t, &bytes, &size, false);
    if (t->started)
        feed(t, bytes, size);
    return !t->failed;
}

bool table_finish(struct table *t, struct error *err)
{
    t->err = err;
    size_t none = 0;
    const char *nothing = "";
    if (!t->started)
        start(t, &nothing, &none, true);
    csv_set_opts(
        &t->csv, CSV_STRICT | CSV_STRICT_FINI); /* only now: before, it would refuse quotes inside fields */
    if (t->format == TABLE_JSONL && t->line.size > 0 && !t->failed)
        jsonl_line(t, t->line.bytes, t->line.size);
    else if (t->format == TABLE_CSV && !t->failed && csv_fini(&t->csv, on_field, on_row_end, t) != 0)
        csv_failed(t);
    if (!t->failed && t->row_number == 1)
        t->failed =
            !error_set(err, ERROR_INVALID, "the file is empty: a CSV with a column \"examples\" is needed");
    else if (!t->failed && t->rows == 0)
        t->failed = !error_set(err, ERROR_INVALID, "the dataset has a header and no rows");
    return !t->failed;
}

const char *table_media(const struct table *t)
{
    return t->format == TABLE_JSONL ? "jsonl" : "csv";
}
