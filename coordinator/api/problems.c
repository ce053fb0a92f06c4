#include "coordinator/api/problems.h"

#include <string.h>

enum { INPUT_BYTES_MAX = 512 };

static json_t *shown(json_t *input)
{
    if (!input)
        return json_null();
    size_t size = json_dumpb(input, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    if (size <= INPUT_BYTES_MAX)
        return json_incref(input);
    if (!json_is_string(input))
        return json_string("(too long to repeat)");
    const char *text = json_string_value(input);
    size_t len = INPUT_BYTES_MAX / 2;
    if (strlen(text) <= len)
        return json_incref(input);
    while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
        len--;
    return json_sprintf("%.*s…", (int)len, text);
}

void problems_add(json_t *problems, json_t *loc, const char *type, const char *msg, json_t *input)
{
    json_array_append_new(problems,
        json_pack("{s:s, s:o, s:s, s:o}", "type", type, "loc", loc, "msg", msg, "input", shown(input)));
}

void problems_add_json_error(json_t *problems, int position, const char *reason)
{
    json_array_append_new(
        problems, json_pack("{s:s, s:[s,i], s:s, s:{}, s:{s:s}}", "type", "json_invalid", "loc", "body",
                      position, "msg", "JSON decode error", "input", "ctx", "error", reason));
}
