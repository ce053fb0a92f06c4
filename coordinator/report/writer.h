/* A growing piece of JSON text that is read off at its front. Private to the report room. */
#ifndef LUMIGRID_COORDINATOR_REPORT_WRITER_H
#define LUMIGRID_COORDINATOR_REPORT_WRITER_H

#include <stddef.h>

struct writer {
    char *bytes;
    size_t read; /* bytes[read .. size) are still to be taken */
    size_t size, capacity;
};

void writer_text(struct writer *writer, const char *text);
/* Quoted and escaped; what is no UTF-8 becomes U+FFFD. */
void writer_string(struct writer *writer, const char *bytes, size_t size);
/* The shortest decimal that reads back as the same double; NaN and infinities: null. */
void writer_number(struct writer *writer, double value);

/* Moves up to `max` bytes out and returns how many. */
size_t writer_take(struct writer *writer, char *out, size_t max);
void writer_free(struct writer *writer);

#endif
