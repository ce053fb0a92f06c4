#include "worker/metrics/sample_line.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "worker/metrics/text.h"

/* Reading JSON would cost several times as much as computing ROUGE, so plain lines (an object of strings, the
 * usual case) are read here, and everything else, wrong lines included, goes to jansson. */

struct cursor {
    const char *at, *end;
    char *out;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r' || *c->at == '\n'))
        c->at++;
}

static bool take(struct cursor *c, char what)
{
    skip_space(c);
    if (c->at == c->end || *c->at != what)
        return false;
    c->at++;
    return true;
}

static bool hex4(struct cursor *c, uint32_t *out)
{
    if (c->end - c->at < 4)
        return false;
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char d = *c->at++;
        uint32_t digit = d >= '0' && d <= '9'   ? (uint32_t)(d - '0')
                         : d >= 'a' && d <= 'f' ? (uint32_t)(d - 'a' + 10)
                         : d >= 'A' && d <= 'F' ? (uint32_t)(d - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return false;
        *out = *out << 4 | digit;
    }
    return true;
}

static void put_utf8(struct cursor *c, uint32_t cp)
{
    if (cp < 0x80) {
        *c->out++ = (char)cp;
        return;
    }
    int more = cp < 0x800 ? 1 : cp < 0x10000 ? 2 : 3;
    static const unsigned char lead[4] = {0, 0xC0, 0xE0, 0xF0};
    *c->out++ = (char)(lead[more] | cp >> (6 * more));
    while (more-- > 0)
        *c->out++ = (char)(0x80 | (cp >> (6 * more) & 0x3F));
}

/* After "\u": one code unit, or two that make a pair. */
static bool unicode_escape(struct cursor *c)
{
    uint32_t high;
    uint32_t low;
    if (!hex4(c, &high))
        return false;
    if (high < 0xD800 || high >= 0xE000) {
        put_utf8(c, high);
        return true;
    }
    if (high >= 0xDC00 || c->end - c->at < 2 || c->at[0] != '\\' || c->at[1] != 'u')
        return false;
    c->at += 2;
    if (!hex4(c, &low) || low < 0xDC00 || low >= 0xE000)
        return false;
    put_utf8(c, 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
    return true;
}

static bool escape(struct cursor *c)
{
    if (c->at == c->end)
        return false;
    char what = *c->at++;
    switch (what) {
    case '"':
    case '\\':
    case '/': *c->out++ = what; return true;
    case 'b': *c->out++ = '\b'; return true;
    case 'f': *c->out++ = '\f'; return true;
    case 'n': *c->out++ = '\n'; return true;
    case 'r': *c->out++ = '\r'; return true;
    case 't': *c->out++ = '\t'; return true;
    case 'u': return unicode_escape(c);
    default: return false;
    }
}

/* After the opening quote: writes the value to c->out, which has room for all of the line. */
static bool string(struct cursor *c, const char **value, size_t *len)
{
    char *start = c->out;
    while (c->at < c->end) {
        const char *from = c->at;
        while (c->at < c->end && *c->at != '"' && *c->at != '\\' && (unsigned char)*c->at >= 0x20)
            c->at++;
        memcpy(c->out, from, (size_t)(c->at - from));
        c->out += c->at - from;
        if (c->at == c->end || (unsigned char)*c->at < 0x20)
            return false;
        if (*c->at++ == '"') {
            *value = start;
            *len = (size_t)(c->out - start);
            return metric_text_is_valid(start, *len);
        }
        if (!escape(c))
            return false;
    }
    return false;
}

static bool is_key(const char *key, size_t len, const char *name)
{
    return len == strlen(name) && memcmp(key, name, len) == 0;
}

/* A member's value, which must be a string. The id is kept as it is written. */
static bool member(struct cursor *c, struct sample_line *line, const char *key, size_t key_len)
{
    struct metric_sample *s = &line->sample;
    const char *value;
    size_t len;
    if (!take(c, '"'))
        return false;
    const char *written = c->at - 1;
    if (!string(c, &value, &len))
        return false;
    if (is_key(key, key_len, "prediction")) {
        s->prediction = value;
        s->prediction_len = len;
    } else if (is_key(key, key_len, "reference")) {
        s->reference = value;
        s->reference_len = len;
    } else if (is_key(key, key_len, "source")) {
        s->source = value;
        s->source_len = len;
    } else if (is_key(key, key_len, "id")) {
        line->id = c->out;
        line->id_len = (size_t)(c->at - written);
        memcpy(line->id, written, line->id_len);
        c->out += line->id_len;
    }
    return true;
}

static bool read_plain(struct sample_line *line, const char *text, size_t len)
{
    struct cursor c = {text, text + len, line->memory};
    const char *key;
    size_t key_len;
    if (!take(&c, '{'))
        return false;
    do {
        if (!take(&c, '"') || !string(&c, &key, &key_len) || !take(&c, ':') ||
            !member(&c, line, key, key_len))
            return false;
    } while (take(&c, ','));
    if (!take(&c, '}'))
        return false;
    skip_space(&c);
    return c.at == c.end && line->id && line->sample.prediction;
}

/* Copies a member that must be text if it is there; *out stays NULL if it is not, or is null. */
static bool text_member(
    const json_t *object, const char *name, char **at, const char **out, size_t *len, struct error *err)
{
    const json_t *value = json_object_get(object, name);
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return error_set(err, ERROR_INVALID, "\"%s\" is not a string", name);
    *len = json_string_length(value);
    memcpy(*at, json_string_value(value), *len);
    *out = *at;
    *at += *len;
    return true;
}

static bool read_object(struct sample_line *line, const json_t *object, struct error *err)
{
    struct metric_sample *s = &line->sample;
    char *at = line->memory;
    if (!json_is_object(object))
        return error_set(err, ERROR_INVALID, "the line is not a JSON object");
    const json_t *id = json_object_get(object, "id");
    if (!json_is_string(id) && !json_is_integer(id))
        return error_set(err, ERROR_INVALID, "\"id\" is missing, or neither a string nor an integer");
    line->id = at;
    size_t room = line->capacity - (size_t)(at - line->memory);
    line->id_len = json_dumpb(id, at, room, JSON_COMPACT | JSON_ENCODE_ANY);
    if (line->id_len == 0 || line->id_len > room)
        return error_set(err, ERROR_INVALID, "\"id\" is too long");
    at += line->id_len;
    return text_member(object, "prediction", &at, &s->prediction, &s->prediction_len, err) &&
           text_member(object, "reference", &at, &s->reference, &s->reference_len, err) &&
           text_member(object, "source", &at, &s->source, &s->source_len, err) &&
           (s->prediction || error_set(err, ERROR_INVALID, "\"prediction\" is missing"));
}

static bool reserve(struct sample_line *line, size_t len, struct error *err)
{
    /* Values are never longer than they are written, but for the id: jansson may write it with longer
     * escapes. */
    size_t needed = len * 6 + 64;
    if (needed <= line->capacity)
        return true;
    free(line->memory);
    line->capacity = 0;
    line->memory = malloc(needed);
    if (!line->memory)
        return error_set(err, ERROR_MEMORY, "not enough memory for a line of %zu bytes", len);
    line->capacity = needed;
    return true;
}

bool sample_line_read(struct sample_line *line, const char *text, size_t len, struct error *err)
{
    if (!reserve(line, len, err))
        return false;
    line->sample = (struct metric_sample){0};
    line->id = NULL;
    if (read_plain(line, text, len))
        return true;
    line->sample = (struct metric_sample){0};
    line->id = NULL;
    json_error_t problem;
    json_t *object = json_loadb(text, len, JSON_ALLOW_NUL, &problem);
    if (!object)
        return error_set(err, ERROR_INVALID, "%s (column %d)", problem.text, problem.column);
    bool ok = read_object(line, object, err);
    json_decref(object);
    return ok;
}

void sample_line_free(struct sample_line *line)
{
    free(line->memory);
    *line = (struct sample_line){0};
}
