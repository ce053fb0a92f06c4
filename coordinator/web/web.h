/* The pages, built into the binary. */
#ifndef LUMIGRID_COORDINATOR_WEB_WEB_H
#define LUMIGRID_COORDINATOR_WEB_WEB_H

#include <stddef.h>

struct web_file {
    const char *path; /* "/static/app.js" */
    const char *type;
    const char *tag; /* quoted, as ETag has it; changes with the content */
    const unsigned char *bytes;
    size_t size;
    const unsigned char *gzip; /* the same, compressed */
    size_t gzip_size;
};

extern const struct web_file WEB_FILES[];
extern const size_t WEB_FILE_COUNT;

/* The file of that path; NULL: none. "/" is the dashboard, "/docs" the API's documentation. */
const struct web_file *web_find(const char *path);

#endif
