#include "coordinator/cli/terminal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "common/alloc.h"

enum { BAR_INTERVAL_MS = 100, BAR_COLUMNS = 30 };

bool terminal_is_tty(void)
{
    static int known = -1;
    if (known < 0)
        known = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    return known;
}

const char *terminal_bold(void)
{
    return terminal_is_tty() ? "\033[1m" : "";
}

const char *terminal_dim(void)
{
    return terminal_is_tty() ? "\033[2m" : "";
}

const char *terminal_reset(void)
{
    return terminal_is_tty() ? "\033[0m" : "";
}

const char *terminal_colour(const char *status)
{
    if (!terminal_is_tty())
        return "";
    if (strcmp(status, "succeeded") == 0 || strcmp(status, "online") == 0 || strcmp(status, "running") == 0)
        return "\033[32m";
    if (strcmp(status, "failed") == 0 || strcmp(status, "lost") == 0 || strcmp(status, "stopped") == 0)
        return "\033[31m";
    return "\033[33m";
}

size_t terminal_width(const char *text)
{
    size_t columns = 0;
    mbstate_t state = {0};
    while (*text) {
        wchar_t character;
        size_t len = mbrtowc(&character, text, MB_CUR_MAX, &state);
        if (len == (size_t)-1 || len == (size_t)-2) {
            memset(&state, 0, sizeof(state));
            len = 1;
            columns++;
        } else {
            int width = wcwidth(character);
            columns += width > 0 ? (size_t)width : 0;
        }
        text += len ? len : 1;
    }
    return columns;
}

void terminal_table_begin(struct terminal_table *table, const char *const *headings)
{
    memset(table, 0, sizeof(*table));
    while (headings[table->columns] && table->columns < TERMINAL_COLUMNS_MAX)
        table->columns++;
    for (size_t i = 0; i < table->columns; i++) {
        table->right[i] = headings[i][0] == '>';
        terminal_table_cell(table, "%s", headings[i] + table->right[i]);
    }
}

void terminal_table_cell(struct terminal_table *table, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    table->cells = alloc_resize(table->cells, table->count + 1, sizeof(*table->cells));
    table->cells[table->count++] = len < 0 ? alloc_string("") : text;
}

static void print_cell(const char *text, size_t width, bool right, bool last)
{
    size_t used = terminal_width(text);
    size_t blank = width > used ? width - used : 0;
    if (right)
        printf("%*s%s", (int)blank, "", text);
    else
        printf("%s%*s", text, last ? 0 : (int)blank, "");
    fputs(last ? "\n" : "  ", stdout);
}

void terminal_table_end(struct terminal_table *table)
{
    size_t widths[TERMINAL_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->count; i++) {
        size_t width = terminal_width(table->cells[i]);
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->columns;
        bool last = column + 1 == table->columns;
        bool heading = i < table->columns;
        if (heading)
            fputs(terminal_bold(), stdout);
        print_cell(table->cells[i], widths[column], table->right[column], last);
        if (heading)
            fputs(terminal_reset(), stdout);
        free(table->cells[i]);
    }
    free(table->cells);
    memset(table, 0, sizeof(*table));
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void terminal_progress(struct terminal_bar *bar, uint64_t done, uint64_t total)
{
    uint64_t now = now_ms();
    char numbers[96], left[32] = "";
    if (!isatty(STDERR_FILENO) || (bar->visible && done < total && now - bar->drawn_ms < BAR_INTERVAL_MS))
        return;
    if (!bar->started_ms)
        bar->started_ms = now;
    bar->drawn_ms = now;
    bar->visible = true;
    size_t filled = total ? (size_t)(done * BAR_COLUMNS / total) : 0;
    if (bar->bytes) {
        char a[24], b[24];
        terminal_size(done, a, sizeof(a));
        terminal_size(total, b, sizeof(b));
        snprintf(numbers, sizeof(numbers), "%s of %s", a, b);
    } else {
        snprintf(
            numbers, sizeof(numbers), "%llu of %llu", (unsigned long long)done, (unsigned long long)total);
    }
    if (done > 0 && done < total && now - bar->started_ms > 1000) {
        char text[24];
        terminal_duration((double)(now - bar->started_ms) / 1000 * (double)(total - done) / (double)done,
            text, sizeof(text));
        snprintf(left, sizeof(left), ", %s left", text);
    }
    fprintf(stderr, "\r\033[K%s [", bar->label);
    for (size_t i = 0; i < BAR_COLUMNS; i++)
        fputs(i < filled ? "█" : "·", stderr);
    fprintf(stderr, "] %s%s", numbers, left);
}

void terminal_progress_end(struct terminal_bar *bar)
{
    if (bar->visible)
        fputs("\r\033[K", stderr);
    bar->visible = false;
}

void terminal_duration(double seconds, char *out, size_t size)
{
    if (seconds < 1)
        snprintf(out, size, "%.0f ms", seconds * 1000);
    else if (seconds < 60)
        snprintf(out, size, "%.1f s", seconds);
    else if (seconds < 3600)
        snprintf(out, size, "%d min %d s", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(out, size, "%d h %d min", (int)(seconds / 3600), (int)seconds / 60 % 60);
}

void terminal_size(uint64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(out, size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void terminal_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    putchar('\n');
}

void terminal_fold(const char *text, size_t width, const char *indent, size_t lines_max)
{
    size_t column = 0, lines = 0;
    while (*text && lines < lines_max) {
        while (*text == ' ' || *text == '\n' || *text == '\t' || *text == '\r')
            text++;
        size_t len = strcspn(text, " \n\t\r");
        char *word = alloc_copy(text, len);
        size_t columns = terminal_width(word);
        if (column > 0 && column + 1 + columns > width) {
            putchar('\n');
            column = 0;
            lines++;
        }
        if (lines < lines_max && len > 0) {
            printf("%s%s", column ? " " : indent, word);
            column += columns + (column > 0);
        }
        free(word);
        text += len;
    }
    fputs(*text ? " …\n" : column ? "\n" : "", stdout);
}
