#include "common/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* vsnprintf that never leaves half a UTF-8 sequence at the end of a cut line. */
static void format_line(char *out, size_t size, const char *format, va_list args)
{
    int needed = vsnprintf(out, size, format, args);
    if (needed < 0) {
        out[0] = '\0';
        return;
    }
    if ((size_t)needed < size)
        return;
    size_t end = size - 1;
    while (end > 0 && ((unsigned char)out[end - 1] & 0xC0) == 0x80)
        end--;
    if (end > 0 && (unsigned char)out[end - 1] >= 0xC0)
        end--;
    out[end] = '\0';
}

bool(error_set)(struct error *err, enum error_code code, const char *format, ...)
{
    if (!err)
        return false;
    err->code = code;
    err->hint[0] = '\0';
    va_list args;
    va_start(args, format);
    format_line(err->message, sizeof(err->message), format, args);
    va_end(args);
    return false;
}

bool(error_hint)(struct error *err, const char *format, ...)
{
    if (!err)
        return false;
    va_list args;
    va_start(args, format);
    format_line(err->hint, sizeof(err->hint), format, args);
    va_end(args);
    return false;
}

bool(error_context)(struct error *err, const char *format, ...)
{
    if (!err)
        return false;
    char before[sizeof(err->message)];
    char whole[sizeof(err->message)];
    va_list args;
    va_start(args, format);
    format_line(before, sizeof(before), format, args);
    va_end(args);
    size_t used = strlen(before);
    memcpy(whole, before, used);
    size_t rest = strlen(err->message);
    if (rest > sizeof(whole) - 1 - used)
        rest = sizeof(whole) - 1 - used;
    memcpy(whole + used, err->message, rest);
    whole[used + rest] = '\0';
    memcpy(err->message, whole, used + rest + 1);
    return false;
}

const char *error_code_name(enum error_code code)
{
    switch (code) {
    case ERROR_NONE: return "none";
    case ERROR_INVALID: return "invalid";
    case ERROR_NOT_FOUND: return "not_found";
    case ERROR_DENIED: return "denied";
    case ERROR_TOO_LARGE: return "too_large";
    case ERROR_MEMORY: return "memory";
    case ERROR_UNAVAILABLE: return "unavailable";
    case ERROR_CONFLICT: return "conflict";
    case ERROR_UNSUPPORTED: return "unsupported";
    case ERROR_CANCELLED: return "cancelled";
    case ERROR_INTERNAL: return "internal";
    }
    return "internal";
}
