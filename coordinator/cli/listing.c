#include "coordinator/cli/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/terminal.h"

enum { LIST_MAX = 100000, FOLD_COLUMNS = 90 };

static const json_t *find_field(const json_t *object, const char *field)
{
    while (object && *field) {
        size_t len = strcspn(field, ".");
        char *name = alloc_copy(field, len);
        object = json_object_get(object, name);
        free(name);
        field += len + (field[len] == '.');
    }
    return object;
}

static char *join_names(const json_t *names)
{
    char *out = alloc_string("");
    size_t index;
    json_t *name;
    json_array_foreach((json_t *)names, index, name)
    {
        char *longer = alloc_format("%s%s%s", out, index ? ", " : "", json_string_value(name));
        free(out);
        out = longer;
    }
    return out;
}

static char *format_number(const json_t *value)
{
    if (json_is_integer(value))
        return alloc_format("%lld", json_integer_value(value));
    return alloc_format("%.4g", json_number_value(value));
}

static char *format_value(const json_t *value, enum listing_kind kind)
{
    char text[64];
    if (!value || json_is_null(value))
        return alloc_string("-");
    switch (kind) {
    case LISTING_NUMBER: return format_number(value);
    case LISTING_SIZE:
        terminal_size((uint64_t)json_integer_value(value), text, sizeof(text));
        return alloc_string(text);
    case LISTING_PERCENT: return alloc_format("%.0f %%", 100 * json_number_value(value));
    case LISTING_PROGRESS:
        return alloc_format("%lld/%lld", json_integer_value(json_object_get(value, "done")),
            json_integer_value(json_object_get(value, "total")));
    case LISTING_NAMES: return join_names(value);
    case LISTING_COUNT: return alloc_format("%zu", json_array_size(value));
    case LISTING_TIME: return alloc_format("%.19s", json_is_string(value) ? json_string_value(value) : "");
    case LISTING_TEXT:
    case LISTING_STATUS: break;
    }
    if (json_is_boolean(value))
        return alloc_string(json_is_true(value) ? "yes" : "no");
    if (json_is_string(value))
        return alloc_string(json_string_value(value));
    char *dumped = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return dumped ? dumped : alloc_string("");
}

void listing_print(const json_t *items, const struct listing_column *columns, bool json)
{
    const char *headings[TERMINAL_COLUMNS_MAX + 1] = {0};
    char marked[TERMINAL_COLUMNS_MAX][64];
    struct terminal_table table;
    size_t index;
    json_t *item;
    if (json) {
        terminal_json(items);
        return;
    }
    for (size_t c = 0; columns[c].heading && c < TERMINAL_COLUMNS_MAX; c++) {
        enum listing_kind kind = columns[c].kind;
        bool right = kind == LISTING_NUMBER || kind == LISTING_SIZE || kind == LISTING_PERCENT ||
                     kind == LISTING_PROGRESS || kind == LISTING_COUNT;
        snprintf(marked[c], sizeof(marked[c]), "%s%s", right ? ">" : "", columns[c].heading);
        headings[c] = marked[c];
    }
    terminal_table_begin(&table, headings);
    json_array_foreach((json_t *)items, index, item)
    {
        for (size_t c = 0; headings[c]; c++) {
            char *text = format_value(find_field(item, columns[c].field), columns[c].kind);
            bool status = columns[c].kind == LISTING_STATUS;
            terminal_table_cell(
                &table, "%s%s%s", status ? terminal_colour(text) : "", text, status ? terminal_reset() : "");
            free(text);
        }
    }
    terminal_table_end(&table);
}

void listing_print_object(const json_t *object, const struct listing_column *columns, bool json)
{
    size_t width = 0;
    if (json) {
        terminal_json(object);
        return;
    }
    for (size_t c = 0; columns[c].heading; c++)
        width = strlen(columns[c].heading) > width ? strlen(columns[c].heading) : width;
    for (size_t c = 0; columns[c].heading; c++) {
        char *text = format_value(find_field(object, columns[c].field), columns[c].kind);
        printf("%s%-*s%s  %s\n", terminal_bold(), (int)width, columns[c].heading, terminal_reset(), text);
        free(text);
    }
}

int listing_run(const struct command_context *context, const char *path, const struct listing_column *columns)
{
    struct error err = {0};
    json_t *items = client_list(path, LIST_MAX, &err);
    if (!items)
        return command_fail(&err);
    listing_print(items, columns, context->json);
    json_decref(items);
    return EXIT_DONE;
}

int listing_run_object(
    const struct command_context *context, const char *path, const struct listing_column *columns)
{
    struct error err = {0};
    json_t *object = client_call("GET", path, NULL, &err);
    if (!object)
        return command_fail(&err);
    listing_print_object(object, columns, context->json);
    json_decref(object);
    return EXIT_DONE;
}

int listing_call(
    const struct command_context *context, const char *method, const char *path, const char *done)
{
    struct error err = {0};
    json_t *answer = client_call(method, path, NULL, &err);
    if (!answer)
        return command_fail(&err);
    if (context->json)
        terminal_json(answer);
    else
        printf("%s\n", done);
    json_decref(answer);
    return EXIT_DONE;
}

int listing_made(const struct command_context *context, json_t *made, const struct error *err)
{
    if (!made)
        return command_fail(err);
    if (context->json)
        terminal_json(made);
    else
        printf("%s\n", json_string_value(json_object_get(made, "id")));
    json_decref(made);
    return EXIT_DONE;
}

int listing_run_logs(const struct command_context *context, const char *path)
{
    struct error err = {0};
    json_t *answer = client_call("GET", path, NULL, &err);
    if (!answer)
        return command_fail(&err);
    const char *text = json_string_value(json_object_get(answer, "logs"));
    if (context->json)
        terminal_json(answer);
    else if (text)
        printf("%s%s", text, *text && text[strlen(text) - 1] != '\n' ? "\n" : "");
    json_decref(answer);
    return EXIT_DONE;
}
