#include "coordinator/web/web.h"

#include <string.h>

const struct web_file *web_find(const char *path)
{
    for (size_t i = 0; i < WEB_FILE_COUNT; i++)
        if (strcmp(WEB_FILES[i].path, path) == 0)
            return &WEB_FILES[i];
    return NULL;
}
