#include "common/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

static void *checked(void *block)
{
    if (!block) {
        log_error("out of memory", "hint", "give this process more memory; it can simply be started again");
        abort();
    }
    return block;
}

void *alloc_zero(size_t count, size_t size)
{
    return checked(count && size ? calloc(count, size) : calloc(1, 1));
}

void *alloc_resize(void *block, size_t count, size_t size)
{
    return checked(count && size ? reallocarray(block, count, size) : realloc(block, 1));
}

void *alloc_copy(const void *bytes, size_t size)
{
    char *copy = checked(malloc(size + 1));
    if (size)
        memcpy(copy, bytes, size);
    copy[size] = 0;
    return copy;
}

char *alloc_string(const char *text)
{
    return text ? checked(strdup(text)) : NULL;
}

char *alloc_format(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    return checked(length < 0 ? NULL : text);
}
