#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/api/table.h"

/* What came out, as one text: <examples|ground_truth|predictions>, - for absent. */
struct seen {
    char *text;
    size_t used, capacity;
};

static void note(struct seen *seen, const char *bytes, size_t size)
{
    if (seen->used + size + 1 > seen->capacity) {
        seen->capacity = (seen->used + size + 1) * 2;
        seen->text = realloc(seen->text, seen->capacity);
    }
    memcpy(seen->text + seen->used, bytes, size);
    seen->used += size;
    seen->text[seen->used] = '\0';
}

static void note_cell(struct seen *seen, const struct table_text *cell, const char *after)
{
    if (cell->bytes)
        note(seen, cell->bytes, cell->size);
    else
        note(seen, "-", 1);
    note(seen, after, 1);
}

static bool on_row(void *context, const struct table_row *row, struct error *err)
{
    (void)err;
    note(context, "<", 1);
    note_cell(context, &row->examples, "|");
    note_cell(context, &row->ground_truth, "|");
    note_cell(context, &row->predictions, ">");
    return true;
}

static bool parse(enum table_format format, const char *bytes, size_t size, size_t step, struct seen *seen,
    struct error *err)
{
    struct table *t = table_open(format, on_row, seen);
    bool ok = true;
    seen->used = 0;
    note(seen, "", 0);
    for (size_t at = 0; ok && at < size; at += step)
        ok = table_feed(t, bytes + at, size - at < step ? size - at : step, err);
    ok = ok && table_finish(t, err);
    table_close(t);
    return ok;
}

static void assert_rows(enum table_format format, const char *text, const char *expected)
{
    struct seen seen = {0};
    for (size_t step = 1; step <= strlen(text) + 1; step++) {
        struct error err = {0};
        if (!parse(format, text, strlen(text), step, &seen, &err))
            fail_msg("step %zu: %s", step, err.message);
        assert_string_equal(seen.text, expected);
    }
    free(seen.text);
}

static void assert_refused(
    enum table_format format, const char *text, size_t size, enum error_code code, const char *part)
{
    struct seen seen = {0};
    for (size_t step = 1; step <= size + 1; step += size > 1000 ? 997 : 1) {
        struct error err = {0};
        if (parse(format, text, size, step, &seen, &err))
            fail_msg("taken: %s", text);
        if (err.code != code || !strstr(err.message, part))
            fail_msg("%s: %s", error_code_name(err.code), err.message);
    }
    free(seen.text);
}

#define REFUSED(format, text, code, part) assert_refused(format, text, sizeof(text) - 1, code, part)

static void rows_are_the_same_however_the_file_is_cut(void **state)
{
    (void)state;
    assert_rows(TABLE_GUESS, "examples,ground_truth\na,b\nc,d\n", "<a|b|-><c|d|->");
    assert_rows(TABLE_CSV, "id,examples,other\r\n1,\"two\nlines, \"\"quoted\"\"\",x\r\n2, spaced ,y",
        "<two\nlines, \"quoted\"|-|->< spaced |-|->");
}

static void a_byte_order_mark_is_skipped(void **state)
{
    (void)state;
    assert_rows(TABLE_GUESS,
        "\xEF\xBB\xBF"
        "examples\nx\n",
        "<x|-|->");
    assert_rows(TABLE_GUESS, "\xEF\xBB\xBF{\"examples\": \"x\"}\n", "<x|-|->");
}

static void columns_may_stand_anywhere_and_cells_may_be_empty(void **state)
{
    (void)state;
    assert_rows(TABLE_CSV, "predictions,ground_truth,examples\np,,e\n\"\",g,\n", "<e||p><|g|>");
}

static void blank_lines_are_skipped(void **state)
{
    (void)state;
    assert_rows(TABLE_CSV, "examples\n\na\n\n\nb\n\n", "<a|-|-><b|-|->");
    assert_rows(TABLE_JSONL, "\n{\"examples\":\"a\"}\n \t\n{\"examples\":\"b\"}", "<a|-|-><b|-|->");
}

static void json_lines_take_the_same_columns(void **state)
{
    (void)state;
    assert_rows(TABLE_GUESS,
        "{\"examples\":\"a\\nb\",\"ground_truth\":\"c\",\"x\":1}\r\n{\"ground_truth\":null,\"examples\":"
        "\"\\u00e9\",\"predictions\":\"p\"}\n",
        "<a\nb|c|-><\xC3\xA9|-|p>");
}

static void a_file_without_the_column_is_not_allowed(void **state)
{
    (void)state;
    REFUSED(TABLE_CSV, "text,ground_truth\na,b\n", ERROR_DENIED, "examples");
    REFUSED(TABLE_JSONL, "{\"text\":\"a\"}\n", ERROR_DENIED, "examples");
}

static void what_is_no_table_is_named_with_its_row(void **state)
{
    (void)state;
    REFUSED(TABLE_CSV, "", ERROR_INVALID, "empty");
    REFUSED(TABLE_CSV, "examples\n", ERROR_INVALID, "no rows");
    REFUSED(TABLE_CSV, "examples\na\nb,c\n", ERROR_INVALID, "row 3: more fields");
    REFUSED(TABLE_CSV, "examples,ground_truth\na,b\nc\n", ERROR_INVALID, "row 3: fewer fields");
    REFUSED(TABLE_CSV, "examples\na\n\"never closed\nb\n", ERROR_INVALID, "row 3: a quote is never closed");
    REFUSED(TABLE_CSV, "examples,examples\na,b\n", ERROR_INVALID, "row 1: a column appears twice");
    REFUSED(TABLE_CSV, "examples\nok\nbad \xFF byte\n", ERROR_INVALID, "row 3: the file is not UTF-8");
    REFUSED(TABLE_CSV, "examples\nsurrogate \xED\xA0\x80\n", ERROR_INVALID, "row 2: the file is not UTF-8");
    REFUSED(TABLE_CSV, "examples\nzero \0 byte\n", ERROR_INVALID, "row 2");
    REFUSED(TABLE_GUESS,
        "\xFF\xFE"
        "e\0x\0",
        ERROR_INVALID, "UTF-16");
    REFUSED(TABLE_CSV, "\x89PNG\r\n\x1A\n", ERROR_INVALID, "row 1: the file is not UTF-8");
    REFUSED(TABLE_JSONL, "{\"examples\":\"a\"}\n{\"examples\":\n", ERROR_INVALID, "row 2");
    REFUSED(TABLE_JSONL, "{\"examples\":\"a\"}\n[1]\n", ERROR_INVALID, "row 2: the line is no JSON object");
    REFUSED(TABLE_JSONL, "{\"examples\":\"a\"}\n{\"ground_truth\":\"a\"}\n", ERROR_INVALID, "row 2");
    REFUSED(TABLE_JSONL, "{\"examples\":7}\n", ERROR_INVALID, "must be strings");
}

static void a_row_of_one_megabyte_is_fine(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE + 64);
    struct seen seen = {0};
    struct error err;
    size_t n = (size_t)sprintf(text, "examples\n\"");
    memset(text + n, 'x', SIZE);
    n += SIZE;
    n += (size_t)sprintf(text + n, "\"\n");
    assert_true(parse(TABLE_CSV, text, n, 65536, &seen, &err));
    assert_int_equal(seen.used, SIZE + 6);
    free(seen.text);
    free(text);
}

static void a_quote_that_swallows_the_file_ends_at_a_limit(void **state)
{
    (void)state;
    struct error err = {0};
    struct seen seen = {0};
    char block[65536];
    memset(block, 'x', sizeof(block));
    struct table *t = table_open(TABLE_CSV, on_row, &seen);
    bool ok = table_feed(t, "examples\n\"", 10, &err);
    for (int i = 0; ok && i < 1024; i++)
        ok = table_feed(t, block, sizeof(block), &err);
    assert_false(ok);
    assert_int_equal(err.code, ERROR_TOO_LARGE);
    table_close(t);
    free(seen.text);
}

static bool refuse_second(void *context, const struct table_row *row, struct error *err)
{
    (void)row;
    int *rows = context;
    return ++*rows < 2 || error_set(err, ERROR_UNAVAILABLE, "no more");
}

static void an_error_of_the_receiver_ends_the_parsing(void **state)
{
    (void)state;
    int rows = 0;
    struct error err = {0};
    struct table *t = table_open(TABLE_CSV, refuse_second, &rows);
    assert_false(table_feed(t, "examples\na\nb\nc\nd\n", 17, &err));
    assert_int_equal(rows, 2);
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    table_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_the_same_however_the_file_is_cut),
        cmocka_unit_test(a_byte_order_mark_is_skipped),
        cmocka_unit_test(columns_may_stand_anywhere_and_cells_may_be_empty),
        cmocka_unit_test(blank_lines_are_skipped),
        cmocka_unit_test(json_lines_take_the_same_columns),
        cmocka_unit_test(a_file_without_the_column_is_not_allowed),
        cmocka_unit_test(what_is_no_table_is_named_with_its_row),
        cmocka_unit_test(a_row_of_one_megabyte_is_fine),
        cmocka_unit_test(a_quote_that_swallows_the_file_ends_at_a_limit),
        cmocka_unit_test(an_error_of_the_receiver_ends_the_parsing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
