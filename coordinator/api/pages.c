#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/web/web.h"

void handle_page(struct request *request)
{
    const struct web_file *file = web_find(request->route->path);
    request_add_header(request, "Content-Security-Policy",
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'");
    request_add_header(request, "Cache-Control", "no-cache");
    request_answer_static(request, MHD_HTTP_OK, file->type, file->bytes, *file->size);
}

void handle_openapi(struct request *request)
{
    const char *text = request->api->openapi_text;
    request_answer_static(request, MHD_HTTP_OK, "application/json", text, strlen(text));
}
