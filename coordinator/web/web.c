#include "coordinator/web/web.h"

#include <string.h>

extern const unsigned char embedded_index_html[], embedded_docs_html[], embedded_app_js[], embedded_docs_js[],
    embedded_style_css[];
extern const size_t embedded_index_html_size, embedded_docs_html_size, embedded_app_js_size,
    embedded_docs_js_size, embedded_style_css_size;

static const struct web_file FILES[] = {
    {"/", "text/html; charset=utf-8", embedded_index_html, &embedded_index_html_size},
    {"/docs", "text/html; charset=utf-8", embedded_docs_html, &embedded_docs_html_size},
    {"/static/app.js", "text/javascript; charset=utf-8", embedded_app_js, &embedded_app_js_size},
    {"/static/docs.js", "text/javascript; charset=utf-8", embedded_docs_js, &embedded_docs_js_size},
    {"/static/style.css", "text/css; charset=utf-8", embedded_style_css, &embedded_style_css_size},
};

const struct web_file *web_find(const char *path)
{
    for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++)
        if (strcmp(FILES[i].path, path) == 0)
            return &FILES[i];
    return NULL;
}
