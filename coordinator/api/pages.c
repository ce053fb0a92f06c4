#include <stdio.h>
#include <string.h>

#include "coordinator/api/handlers.h"
#include "coordinator/api/server.h"
#include "coordinator/web/web.h"

static void answer_file(struct request *request, const struct web_file *file)
{
    const char *accepted = request_header(request, "Accept-Encoding"),
               *known = request_header(request, "If-None-Match");
    request_add_header(request, "Content-Security-Policy",
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'");
    request_add_header(request, "Cache-Control", "no-cache");
    request_add_header(request, "ETag", "%s", file->tag);
    if (known && strstr(known, file->tag)) {
        request_answer_empty(request, MHD_HTTP_NOT_MODIFIED);
    } else if (accepted && strstr(accepted, "gzip")) {
        request_add_header(request, "Content-Encoding", "gzip");
        request_answer_static(request, MHD_HTTP_OK, file->type, file->gzip, file->gzip_size);
    } else {
        request_answer_static(request, MHD_HTTP_OK, file->type, file->bytes, file->size);
    }
}

void handle_page(struct request *request)
{
    answer_file(request, web_find(request->route->path));
}

void handle_static(struct request *request)
{
    char path[128];
    snprintf(path, sizeof path, "/static/%s", request_parameter(request, 0));
    const struct web_file *file = web_find(path);
    if (file)
        answer_file(request, file);
    else
        request_answer_detail(request, MHD_HTTP_NOT_FOUND, "there is no such file");
}

void handle_openapi(struct request *request)
{
    const char *text = request->api->openapi_text;
    request_answer_static(request, MHD_HTTP_OK, "application/json", text, strlen(text));
}
