#include "coordinator/api/multipart.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/alloc.h"

enum { BOUNDARY_BYTES_MAX = 70, HEADER_BYTES_MAX = 8192, PARTS_MAX = 64 };

enum state {
    STATE_PREAMBLE, /* before the first boundary; skipped */
    STATE_BOUNDARY, /* after a boundary: "--" ends, a line end begins a part */
    STATE_HEADERS,
    STATE_DATA,
    STATE_END, /* the rest is skipped */
};

struct multipart {
    struct multipart_handler handler;
    enum state state;
    char delimiter[BOUNDARY_BYTES_MAX + 5]; /* CR LF - - boundary */
    size_t delimiter_size;
    unsigned char fallback[BOUNDARY_BYTES_MAX + 5]; /* Knuth-Morris-Pratt: where to go on after a mismatch */
    size_t matched;                                 /* bytes of the delimiter seen */
    char tail[2];                                   /* of STATE_BOUNDARY */
    size_t tail_size;
    char headers[HEADER_BYTES_MAX + 1];
    size_t headers_size;
    unsigned parts;
};

static bool boundary_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("'()+_,-./:=? ", c) != NULL);
}

/* The value of `name=` in a header's parameters, unquoted, into `out`. A backslash escapes inside quotes. */
static bool parameter(const char *header, const char *name, char *out, size_t out_size)
{
    size_t name_len = strlen(name);
    for (const char *p = strchr(header, ';'); p; p = strchr(p, ';')) {
        p++;
        p += strspn(p, " \t");
        bool found = strncasecmp(p, name, name_len) == 0 && p[name_len] == '=';
        p += strcspn(p, "=;");
        if (*p != '=')
            continue;
        p++;
        size_t used = 0;
        bool quoted = *p == '"';
        for (p += quoted; *p && (quoted ? *p != '"' : *p != ';'); p++) {
            if (quoted && *p == '\\' && (p[1] == '"' || p[1] == '\\'))
                p++;
            if (found && used + 1 < out_size)
                out[used++] = *p;
        }
        if (!found)
            continue;
        while (!quoted && used > 0 && (out[used - 1] == ' ' || out[used - 1] == '\t'))
            used--;
        out[used] = '\0';
        return true;
    }
    return false;
}

static void prepare_fallback(struct multipart *m)
{
    size_t k = 0;
    m->fallback[0] = 0;
    for (size_t i = 1; i < m->delimiter_size; i++) {
        while (k > 0 && m->delimiter[i] != m->delimiter[k])
            k = m->fallback[k - 1];
        if (m->delimiter[i] == m->delimiter[k])
            k++;
        m->fallback[i] = (unsigned char)k;
    }
}

struct multipart *multipart_open(
    const char *content_type, const struct multipart_handler *handler, struct error *err)
{
    char boundary[BOUNDARY_BYTES_MAX + 2];
    if (!content_type || strncasecmp(content_type, "multipart/form-data", 19) != 0) {
        error_set(err, ERROR_INVALID, "the body must be multipart/form-data");
        return NULL;
    }
    if (!parameter(content_type, "boundary", boundary, sizeof(boundary)) || boundary[0] == '\0' ||
        strlen(boundary) > BOUNDARY_BYTES_MAX) {
        error_set(err, ERROR_INVALID, "multipart/form-data needs a boundary of 1 to %d characters",
            BOUNDARY_BYTES_MAX);
        return NULL;
    }
    for (const char *p = boundary; *p; p++) {
        if (!boundary_char(*p)) {
            error_set(err, ERROR_INVALID, "the multipart boundary has a character that is not allowed");
            return NULL;
        }
    }
    struct multipart *m = alloc_zero(1, sizeof(*m));
    m->handler = *handler;
    memcpy(m->delimiter, "\r\n--", 4);
    m->delimiter_size = 4 + strlen(boundary);
    memcpy(m->delimiter + 4, boundary, m->delimiter_size - 4);
    prepare_fallback(m);
    m->matched = 2; /* the first boundary may stand at the very beginning, as if after a line end */
    return m;
}

void multipart_close(struct multipart *multipart)
{
    free(multipart);
}

/* Only the last component: a name never leads anywhere. */
static const char *base_name(const char *path)
{
    const char *base = path;
    for (const char *p = path; *p; p++)
        if (*p == '/' || *p == '\\')
            base = p + 1;
    return base;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 5987: UTF-8''percent-encoded. False when it is of another charset. */
static bool decode_extended(char *text)
{
    if (strncasecmp(text, "utf-8'", 6) != 0)
        return false;
    const char *p = strchr(text + 6, '\'');
    if (!p)
        return false;
    char *to = text;
    for (p++; *p; p++) {
        int high = *p == '%' ? hex_value(p[1]) : -1, low = high >= 0 ? hex_value(p[2]) : -1;
        if (low >= 0 && (high || low)) {
            *to++ = (char)(high * 16 + low);
            p += 2;
        } else {
            *to++ = *p;
        }
    }
    *to = '\0';
    return true;
}

static bool part_begin(struct multipart *m, struct error *err)
{
    char name[MULTIPART_NAME_BYTES_MAX] = "", filename[MULTIPART_FILENAME_BYTES_MAX];
    bool has_filename = false, disposition = false;
    if (++m->parts > PARTS_MAX)
        return error_set(err, ERROR_INVALID, "the multipart body has more than %d parts", PARTS_MAX);
    m->headers[m->headers_size] = '\0';
    if (strlen(m->headers) != m->headers_size)
        return error_set(err, ERROR_INVALID, "a multipart header contains a zero byte");
    for (char *line = m->headers, *next; *line; line = next) {
        char *end = strstr(line, "\r\n");
        next = end ? end + 2 : line + strlen(line);
        if (end)
            *end = '\0';
        if (strncasecmp(line, "Content-Disposition:", 20) != 0)
            continue;
        disposition = parameter(line, "name", name, sizeof(name));
        has_filename = parameter(line, "filename*", filename, sizeof(filename)) && decode_extended(filename);
        if (!has_filename)
            has_filename = parameter(line, "filename", filename, sizeof(filename));
    }
    if (!disposition)
        return error_set(err, ERROR_INVALID, "a part of the multipart body has no name");
    return m->handler.begin(m->handler.context, name, has_filename ? base_name(filename) : NULL, err);
}

/* Each step takes some bytes and says how many; it never takes zero of a non-empty input. */
static bool step_boundary(struct multipart *m, char c, struct error *err)
{
    if (m->tail_size == 0 && (c == ' ' || c == '\t'))
        return true;
    m->tail[m->tail_size++] = c;
    if (m->tail_size < 2)
        return true;
    m->tail_size = 0;
    if (m->tail[0] == '-' && m->tail[1] == '-') {
        m->state = STATE_END;
        return true;
    }
    if (m->tail[0] != '\r' || m->tail[1] != '\n')
        return error_set(err, ERROR_INVALID, "the multipart body is malformed after a boundary");
    m->state = STATE_HEADERS;
    m->headers_size = 0;
    return true;
}

static bool step_headers(struct multipart *m, char c, struct error *err)
{
    if (m->headers_size == HEADER_BYTES_MAX)
        return error_set(
            err, ERROR_INVALID, "the headers of a multipart part are larger than %d bytes", HEADER_BYTES_MAX);
    m->headers[m->headers_size++] = c;
    size_t n = m->headers_size;
    bool empty = n == 2 && memcmp(m->headers, "\r\n", 2) == 0;
    if (!empty && (n < 4 || memcmp(m->headers + n - 4, "\r\n\r\n", 4) != 0))
        return true;
    m->state = STATE_DATA;
    m->matched = 0;
    return part_begin(m, err);
}

static bool emit(struct multipart *m, const char *bytes, size_t size, struct error *err)
{
    if (size == 0 || m->state == STATE_PREAMBLE)
        return true;
    return m->handler.data(m->handler.context, bytes, size, err);
}

/* Content up to the next possible delimiter, or one byte of a delimiter. */
static bool step_data(struct multipart *m, const char *bytes, size_t size, size_t *taken, struct error *err)
{
    if (m->matched == 0) {
        const char *next = memchr(bytes, '\r', size);
        *taken = next ? (size_t)(next - bytes) : size;
        if (*taken > 0)
            return emit(m, bytes, *taken, err);
    }
    *taken = 1;
    char c = *bytes;
    while (m->matched > 0 && m->delimiter[m->matched] != c) {
        size_t shorter = m->fallback[m->matched - 1];
        if (!emit(m, m->delimiter, m->matched - shorter, err))
            return false;
        m->matched = shorter;
    }
    if (m->delimiter[m->matched] != c)
        return emit(m, &c, 1, err);
    if (++m->matched < m->delimiter_size)
        return true;
    bool had_part = m->state == STATE_DATA;
    m->state = STATE_BOUNDARY;
    m->tail_size = 0;
    return !had_part || m->handler.end(m->handler.context, err);
}

bool multipart_feed(struct multipart *m, const char *bytes, size_t size, struct error *err)
{
    for (size_t at = 0, taken; at < size; at += taken) {
        taken = 1;
        bool ok = true;
        switch (m->state) {
        case STATE_PREAMBLE:
        case STATE_DATA: ok = step_data(m, bytes + at, size - at, &taken, err); break;
        case STATE_BOUNDARY: ok = step_boundary(m, bytes[at], err); break;
        case STATE_HEADERS: ok = step_headers(m, bytes[at], err); break;
        case STATE_END: return true;
        }
        if (!ok)
            return false;
    }
    return true;
}

bool multipart_finish(struct multipart *m, struct error *err)
{
    if (m->state == STATE_END)
        return true;
    return error_set(err, ERROR_INVALID, "the multipart body ends before its last boundary");
}
