#include "worker/model/json_file.h"

#include <string.h>

#include "worker/model/file_map.h"

/* Nesting and number of values, by a scan that knows strings only. What it counts in malformed text does not
 * matter: the parser refuses that. */
static bool check_size(
    const char *name, const char *text, size_t len, const struct json_limits *limits, struct error *err)
{
    size_t depth = 0, values = 1;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        in_string = c == '"';
        values += c == ',' || c == '[' || c == '{';
        if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX)
                return error_set(
                    err, ERROR_INVALID, "%s: JSON is nested deeper than %d levels", name, JSON_DEPTH_MAX);
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    if (values > limits->values_max)
        return error_set(err, ERROR_TOO_LARGE, "%s: JSON holds about %zu values, the limit is %zu", name,
            values, limits->values_max);
    return true;
}

json_t *json_object_parse(
    const char *name, const char *text, size_t len, const struct json_limits *limits, struct error *err)
{
    if (len > limits->bytes_max) {
        error_set(
            err, ERROR_TOO_LARGE, "%s: JSON of %zu bytes, the limit is %zu", name, len, limits->bytes_max);
        return NULL;
    }
    if (!check_size(name, text, len, limits, err))
        return NULL;
    json_error_t parse;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &parse);
    if (value == NULL) {
        for (char *c = parse.text; *c != '\0'; c++) { /* the parser quotes the file */
            if (*c < 0x20 || *c >= 0x7f)
                *c = '?';
        }
        error_set(err, ERROR_INVALID, "%s: invalid JSON at line %d: %s", name, parse.line, parse.text);
        return NULL;
    }
    if (!json_is_object(value)) {
        json_decref(value);
        error_set(err, ERROR_INVALID, "%s: JSON is not an object", name);
        return NULL;
    }
    return value;
}

json_t *json_object_read(const char *path, const struct json_limits *limits, struct error *err)
{
    struct file_map map;
    if (!file_map_open(path, &map, err))
        return NULL;
    const char *text = (const char *)map.bytes;
    size_t len = map.len;
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    json_t *value = json_object_parse(path, text, len, limits, err);
    file_map_close(&map);
    return value;
}
