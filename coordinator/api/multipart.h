/* multipart/form-data (RFC 7578), parsed as it arrives, in constant memory. Private to the api room. */
#ifndef LUMIGRID_COORDINATOR_API_MULTIPART_H
#define LUMIGRID_COORDINATOR_API_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

enum { MULTIPART_NAME_BYTES_MAX = 128, MULTIPART_FILENAME_BYTES_MAX = 512 };

/* Called during feed, in order: begin, data (any number, any size), end. Returning false (with err set) ends
 * the parsing with that error. */
struct multipart_handler {
    void *context;
    /* `filename` is NULL for a plain field; otherwise the last component of what was sent, UTF-8 or not. */
    bool (*begin)(void *context, const char *name, const char *filename, struct error *err);
    bool (*data)(void *context, const char *bytes, size_t size, struct error *err);
    bool (*end)(void *context, struct error *err);
};

struct multipart;

/* From the request's Content-Type. NULL with ERROR_INVALID when that is no multipart/form-data with a
 * boundary. */
struct multipart *multipart_open(
    const char *content_type, const struct multipart_handler *handler, struct error *err);
void multipart_close(struct multipart *multipart);

/* Takes all bytes. After a failure nothing may follow but close. */
bool multipart_feed(struct multipart *multipart, const char *bytes, size_t size, struct error *err);

/* The body is over: false when it ended inside a part. */
bool multipart_finish(struct multipart *multipart, struct error *err);

#endif
