#include "coordinator/report/writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/text.h"

static char *grow(struct writer *w, size_t more)
{
    if (w->read == w->size)
        w->read = w->size = 0;
    if (w->size + more > w->capacity) {
        size_t capacity = w->capacity ? w->capacity : 4096;
        while (capacity < w->size + more)
            capacity *= 2;
        w->bytes = alloc_resize(w->bytes, capacity, 1);
        w->capacity = capacity;
    }
    return w->bytes + w->size;
}

static void put(struct writer *w, const char *bytes, size_t size)
{
    memcpy(grow(w, size), bytes, size);
    w->size += size;
}

void writer_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static size_t plain_run(const unsigned char *p, size_t size)
{
    size_t n = 0;
    while (n < size && p[n] >= 0x20 && p[n] < 0x80 && p[n] != '"' && p[n] != '\\')
        n++;
    return n;
}

static void put_escaped(struct writer *w, unsigned char c)
{
    static const char short_forms[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *known = c ? strchr(short_forms, c) : NULL;
    char text[8];
    if (known)
        snprintf(text, sizeof(text), "\\%c", letters[known - short_forms]);
    else
        snprintf(text, sizeof(text), "\\u%04x", c);
    writer_text(w, text);
}

void writer_string(struct writer *w, const char *bytes, size_t size)
{
    writer_text(w, "\"");
    while (size > 0) {
        size_t n = plain_run((const unsigned char *)bytes, size);
        if (n > 0) {
            put(w, bytes, n);
        } else if ((unsigned char)*bytes < 0x80) {
            put_escaped(w, (unsigned char)*bytes);
            n = 1;
        } else {
            uint32_t code_point;
            char encoded[4];
            n = text_decode(bytes, size, &code_point);
            put(w, encoded, text_encode(code_point, encoded));
        }
        bytes += n;
        size -= n;
    }
    writer_text(w, "\"");
}

void writer_number(struct writer *w, double value)
{
    char text[40];
    if (!isfinite(value)) {
        writer_text(w, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    writer_text(w, text);
    if (!strpbrk(text, ".e")) /* a reader that tells integers from reals sees a real */
        writer_text(w, ".0");
}

size_t writer_take(struct writer *w, char *out, size_t max)
{
    size_t n = w->size - w->read < max ? w->size - w->read : max;
    if (n > 0)
        memcpy(out, w->bytes + w->read, n);
    w->read += n;
    return n;
}

void writer_free(struct writer *w)
{
    free(w->bytes);
    *w = (struct writer){0};
}
