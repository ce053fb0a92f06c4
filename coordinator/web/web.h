/* The pages, built into the binary. */
#ifndef LUMIGRID_COORDINATOR_WEB_WEB_H
#define LUMIGRID_COORDINATOR_WEB_WEB_H

#include <stddef.h>

struct web_file {
    const char *path; /* "/static/app.js" */
    const char *type;
    const unsigned char *bytes;
    const size_t *size;
};

/* The file of that path; NULL: none. "/" is the dashboard, "/docs" the API's documentation. */
const struct web_file *web_find(const char *path);

#endif
