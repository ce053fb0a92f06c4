/* Structured log lines on stderr: logfmt or JSON, one line an event.
 *
 *   log_info("task assigned", "job", job, "worker", worker, "samples", LOG_INT(count));
 *
 * Keys and values come in pairs and end by themselves (the macro adds the NULL). Values are strings; LOG_INT
 * and LOG_FLOAT format numbers into thread-local storage that lives until the call returns. Any thread may
 * log: a line is written with one write(2). */
#ifndef LUMIGRID_COMMON_LOG_H
#define LUMIGRID_COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* Call once before threads start. `program` is borrowed for the process's life and put into every line. */
void log_open(const char *program, enum log_level level, enum log_format format);

/* The same from the texts of --log-level and --log-format. */
bool log_configure(const char *program, const char *level, const char *format, struct error *err);

/* Parses "debug|info|warn|error" and "logfmt|json"; false when it is none of them. */
bool log_parse_level(const char *text, enum log_level *out);
bool log_parse_format(const char *text, enum log_format *out);

/* Every line written is also handed to this function (NULL: none), for log lines that travel to a job's page.
 * Called on the logging thread; must not log. Set before threads start. */
void log_set_tap(void (*tap)(enum log_level level, const char *line, void *context), void *context);

/* Whether a line of this level is written at all: for callers that would format much for nothing. */
bool log_enabled(enum log_level level);

void log_write(enum log_level level, const char *message, ...) __attribute__((sentinel));

/* Logs an error value: its message, code and hint, after `message`. */
void log_error_value(enum log_level level, const char *message, const struct error *err);

const char *log_int(int64_t value);
const char *log_float(double value);
#define LOG_INT(value) log_int((int64_t)(value))
#define LOG_FLOAT(value) log_float(value)

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__, (char *)0)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__, (char *)0)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__, (char *)0)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__, (char *)0)

#endif
