#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 4096, NUMBER_SLOTS = 16 };

static struct {
    const char *program;
    enum log_level level;
    enum log_format format;
    void (*tap)(enum log_level, const char *, void *);
    void *tap_context;
} state = {"lumigrid", LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, NULL, NULL};

static const char *const LEVEL_NAMES[] = {"debug", "info", "warn", "error"};

void log_open(const char *program, enum log_level level, enum log_format format)
{
    state.program = program;
    state.level = level;
    state.format = format;
}

bool log_parse_level(const char *text, enum log_level *out)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(text, LEVEL_NAMES[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_parse_format(const char *text, enum log_format *out)
{
    if (strcmp(text, "logfmt") == 0)
        *out = LOG_FORMAT_LOGFMT;
    else if (strcmp(text, "json") == 0)
        *out = LOG_FORMAT_JSON;
    else
        return false;
    return true;
}

bool log_configure(const char *program, const char *level, const char *format, struct error *err)
{
    enum log_level parsed_level;
    enum log_format parsed_format;
    if (!log_parse_level(level, &parsed_level))
        return error_set(
            err, ERROR_INVALID, "--log-level takes debug, info, warn or error, not \"%.40s\"", level);
    if (!log_parse_format(format, &parsed_format))
        return error_set(err, ERROR_INVALID, "--log-format takes logfmt or json, not \"%.40s\"", format);
    log_open(program, parsed_level, parsed_format);
    return true;
}

void log_set_tap(void (*tap)(enum log_level, const char *, void *), void *context)
{
    state.tap = tap;
    state.tap_context = context;
}

struct line {
    char text[LINE_BYTES_MAX];
    size_t used;
};

static void line_append(struct line *line, const char *text, size_t len)
{
    size_t room = sizeof(line->text) - 2 - line->used; /* the newline and the zero always fit */
    if (len > room)
        len = room;
    memcpy(line->text + line->used, text, len);
    line->used += len;
}

static void line_append_string(struct line *line, const char *text)
{
    line_append(line, text, strlen(text));
}

static bool needs_quotes(const char *value)
{
    if (*value == '\0')
        return true;
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p <= ' ' || *p == '"' || *p == '=' || *p == '\\' || *p == 0x7F)
            return true;
    return false;
}

/* A JSON string is also a valid quoted logfmt value. Control characters cannot forge a line. */
static void line_append_quoted(struct line *line, const char *value)
{
    line_append(line, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        char escape[8];
        if (*p == '"' || *p == '\\') {
            escape[0] = '\\';
            escape[1] = (char)*p;
            line_append(line, escape, 2);
        } else if (*p == '\n') {
            line_append(line, "\\n", 2);
        } else if (*p < ' ' || *p == 0x7F) {
            snprintf(escape, sizeof(escape), "\\u%04x", *p);
            line_append(line, escape, 6);
        } else {
            line_append(line, (const char *)p, 1);
        }
    }
    line_append(line, "\"", 1);
}

static void line_append_pair(struct line *line, const char *key, const char *value)
{
    bool json = state.format == LOG_FORMAT_JSON;
    if (line->used > 0)
        line_append(line, json ? "," : " ", 1);
    if (json) {
        line_append_quoted(line, key);
        line_append(line, ":", 1);
        line_append_quoted(line, value);
        return;
    }
    line_append_string(line, key);
    line_append(line, "=", 1);
    if (needs_quotes(value))
        line_append_quoted(line, value);
    else
        line_append_string(line, value);
}

bool log_enabled(enum log_level level)
{
    return level >= state.level;
}

void log_write(enum log_level level, const char *message, ...)
{
    if (level < state.level)
        return;
    struct line line = {.used = 0};
    struct timespec now;
    struct tm utc;
    char stamp[48];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + used, sizeof(stamp) - used, ".%06ldZ", now.tv_nsec / 1000);

    line_append_pair(&line, "time", stamp);
    line_append_pair(&line, "level", LEVEL_NAMES[level]);
    line_append_pair(&line, "program", state.program);
    line_append_pair(&line, "msg", message);
    va_list args;
    va_start(args, message);
    for (const char *key = va_arg(args, const char *); key; key = va_arg(args, const char *)) {
        const char *value = va_arg(args, const char *);
        line_append_pair(&line, key, value ? value : "");
    }
    va_end(args);
    if (state.format == LOG_FORMAT_JSON) {
        memmove(line.text + 1, line.text, line.used);
        line.text[0] = '{';
        line.used++;
        line.text[line.used < sizeof(line.text) - 2 ? line.used++ : line.used - 1] = '}';
    }
    line.text[line.used] = '\0';
    if (state.tap)
        state.tap(level, line.text, state.tap_context);
    line.text[line.used++] = '\n';
    /* A full pipe or a closed stderr must not stop the program. */
    ssize_t written = write(STDERR_FILENO, line.text, line.used);
    (void)written;
}

void log_error_value(enum log_level level, const char *message, const struct error *err)
{
    log_write(level, message, "error", err->message, "code", error_code_name(err->code), "hint", err->hint,
        (char *)0);
}

static char *number_slot(void)
{
    static _Thread_local char slots[NUMBER_SLOTS][32];
    static _Thread_local unsigned next;
    return slots[next++ % NUMBER_SLOTS];
}

const char *log_int(int64_t value)
{
    char *slot = number_slot();
    snprintf(slot, 32, "%lld", (long long)value);
    return slot;
}

const char *log_float(double value)
{
    char *slot = number_slot();
    snprintf(slot, 32, "%.6g", value);
    return slot;
}
