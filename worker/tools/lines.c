#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker/tools/tool.h"

enum { LINE_BYTES_MAX = 256 << 20, IDS_MAX = 1 << 24 };

bool lines_open(struct lines *l, const char *path, struct error *err)
{
    memset(l, 0, sizeof *l);
    bool standard = strcmp(path, "-") == 0;
    l->name = standard ? "standard input" : path;
    l->file = standard ? stdin : fopen(path, "re");
    if (l->file)
        return true;
    return error_set(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_DENIED, "%s: %s", path, strerror(errno));
}

void lines_close(struct lines *l)
{
    if (l->file && l->file != stdin)
        fclose(l->file);
    free(l->line);
    memset(l, 0, sizeof *l);
}

bool lines_error(const struct lines *l, struct error *err)
{
    return error_context(err, "%s:%zu: ", l->name, l->number);
}

char *lines_next(struct lines *l, struct error *err)
{
    ssize_t len;
    while ((len = getline(&l->line, &l->capacity, l->file)) >= 0) {
        l->number++;
        if (len > LINE_BYTES_MAX) {
            error_set(err, ERROR_TOO_LARGE, "a line of %zd bytes; at most %d are read", len, LINE_BYTES_MAX);
            lines_error(l, err);
            return NULL;
        }
        while (len > 0 && strchr("\r\n \t", l->line[len - 1]))
            l->line[--len] = '\0';
        if (len > 0)
            return l->line;
    }
    if (ferror(l->file))
        error_set(err, ERROR_UNAVAILABLE, "%s: %s", l->name, strerror(errno));
    return NULL;
}

json_t *lines_next_object(struct lines *l, struct error *err)
{
    json_error_t why;
    const char *line = lines_next(l, err);
    if (!line)
        return NULL;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (json_is_object(object))
        return object;
    error_set(err, ERROR_INVALID, "not a JSON object%s%s", object ? "" : ": ", object ? "" : why.text);
    lines_error(l, err);
    json_decref(object);
    return NULL;
}

const char *object_text(const json_t *object, const char *name, size_t *len, struct error *err)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) {
        error_set(err, ERROR_INVALID, "\"%s\" %s", name, value ? "is not a text" : "is missing");
        return NULL;
    }
    *len = json_string_length(value);
    return json_string_value(value);
}

bool object_ids(
    const json_t *object, const char *name, bool optional, struct token_ids *out, struct error *err)
{
    const json_t *list = json_object_get(object, name), *item;
    size_t i;
    out->count = 0;
    if (!list && optional)
        return true;
    if (!json_is_array(list) || json_array_size(list) > IDS_MAX)
        return error_set(
            err, ERROR_INVALID, "\"%s\" %s", name, list ? "is not a list of token ids" : "is missing");
    json_array_foreach(list, i, item)
    {
        if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) > INT32_MAX)
            return error_set(err, ERROR_INVALID, "\"%s\" is not a list of token ids", name);
        if (!token_ids_push(out, (int32_t)json_integer_value(item), err))
            return false;
    }
    return true;
}

bool object_has_id(const json_t *object, struct error *err)
{
    return json_object_get(object, "id") || error_set(err, ERROR_INVALID, "\"id\" is missing");
}

FILE *output_open(const char *path, struct error *err)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    if (!file)
        error_set(err, ERROR_DENIED, "%s: %s", path, strerror(errno));
    return file;
}

bool output_line(FILE *file, const json_t *object, struct error *err)
{
    enum { FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(17) };
    if (object && json_dumpf(object, file, FLAGS) == 0 && fputc('\n', file) != EOF)
        return true;
    return error_set(err, ERROR_UNAVAILABLE, "writing: %s", strerror(errno));
}

bool output_close(FILE *file, const char *path, struct error *err)
{
    if (!file)
        return true;
    bool fine = !ferror(file) && fflush(file) == 0;
    if (file != stdout)
        fine = fclose(file) == 0 && fine;
    return fine || error_set(err, ERROR_UNAVAILABLE, "writing %s: %s", path, strerror(errno));
}
