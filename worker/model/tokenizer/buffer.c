#include "worker/model/tokenizer/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"

void *array_grow(void *data, size_t *capacity, size_t wanted, size_t size, struct error *err)
{
    if (wanted <= *capacity && data)
        return data;
    size_t next = *capacity < 16 ? 16 : *capacity;
    while (next < wanted) {
        if (next > SIZE_MAX / 2) {
            error_set(err, ERROR_MEMORY, "a text needs more memory than an address can name");
            return NULL;
        }
        next *= 2;
    }
    void *grown = next > SIZE_MAX / size ? NULL : realloc(data, next * size);
    if (!grown) {
        error_set(err, ERROR_MEMORY, "no memory for %zu elements of %zu bytes", next, size);
        return NULL;
    }
    *capacity = next;
    return grown;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}

bool buffer_reserve(struct buffer *buffer, size_t more, struct error *err)
{
    if (more > SIZE_MAX - buffer->len)
        return error_set(err, ERROR_MEMORY, "a text needs more memory than an address can name");
    char *data = array_grow(buffer->data, &buffer->capacity, buffer->len + more, 1, err);
    if (!data)
        return false;
    buffer->data = data;
    return true;
}

bool buffer_append(struct buffer *buffer, const char *data, size_t len, struct error *err)
{
    if (!buffer_reserve(buffer, len, err))
        return false;
    if (len)
        memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
    return true;
}

bool buffer_append_string(struct buffer *buffer, const char *text, struct error *err)
{
    return buffer_append(buffer, text, strlen(text), err);
}

bool buffer_append_code_point(struct buffer *buffer, uint32_t code_point, struct error *err)
{
    if (!buffer_reserve(buffer, 4, err))
        return false;
    buffer->len += text_encode(code_point, buffer->data + buffer->len);
    return true;
}

bool buffer_splice(
    struct buffer *buffer, size_t at, size_t removed, const char *data, size_t len, struct error *err)
{
    if (len > removed && !buffer_reserve(buffer, len - removed, err))
        return false;
    size_t rest = buffer->len - at - removed;
    if (rest)
        memmove(buffer->data + at + len, buffer->data + at + removed, rest);
    if (len)
        memcpy(buffer->data + at, data, len);
    buffer->len = at + len + rest;
    return true;
}

void buffer_swap(struct buffer *a, struct buffer *b)
{
    struct buffer kept = *a;
    *a = *b;
    *b = kept;
}

char *buffer_take(struct buffer *buffer, size_t *len, struct error *err)
{
    if (!buffer_reserve(buffer, 1, err))
        return NULL;
    char *data = buffer->data;
    data[buffer->len] = '\0';
    *len = buffer->len;
    *buffer = (struct buffer){0};
    return data;
}
