#include "worker/model/tokenizer/jinja/value.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 15, DEPTH_MAX = 64 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    max_align_t data[];
};

void *arena_take(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        size = SIZE_MAX / 2;
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t wanted = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        if (wanted > arena->limit - arena->used) {
            error_set(arena->err, ERROR_TOO_LARGE, "the chat template uses more than %zu bytes of memory",
                arena->limit);
            return NULL;
        }
        chunk = malloc(sizeof(*chunk) + wanted);
        if (!chunk) {
            error_set(arena->err, ERROR_MEMORY, "no memory for a chat template");
            return NULL;
        }
        *chunk = (struct arena_chunk){.next = arena->chunks, .size = wanted};
        arena->chunks = chunk;
        arena->used += wanted;
    }
    void *taken = (char *)chunk->data + chunk->used;
    chunk->used += size;
    return memset(taken, 0, size);
}

void arena_free(struct arena *arena)
{
    for (struct arena_chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    arena->chunks = NULL;
    arena->used = 0;
}

bool value_string(struct arena *arena, const char *data, size_t len, struct value *out)
{
    struct value_string *string = arena_take(arena, sizeof(*string));
    char *copy = string ? arena_take(arena, len + 1) : NULL;
    if (!copy)
        return false;
    if (len)
        memcpy(copy, data, len);
    *string = (struct value_string){copy, len};
    *out = (struct value){.type = VALUE_STRING, .string = string};
    return true;
}

bool value_text(struct arena *arena, const char *text, struct value *out)
{
    return value_string(arena, text, strlen(text), out);
}

bool value_list(struct arena *arena, enum value_type type, struct value *out)
{
    struct value_list *list = arena_take(arena, sizeof(*list));
    *out = (struct value){.type = type, .list = list};
    return list != NULL;
}

bool value_push(struct arena *arena, struct value_list *list, struct value item)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        struct value *items = arena_take(arena, capacity * sizeof(*items));
        if (!items)
            return false;
        if (list->count)
            memcpy(items, list->items, list->count * sizeof(*items));
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
    return true;
}

bool value_dict(struct arena *arena, enum value_type type, struct value *out)
{
    struct value_dict *dict = arena_take(arena, sizeof(*dict));
    *out = (struct value){.type = type, .dict = dict};
    return dict != NULL;
}

const struct value *value_get(const struct value_dict *dict, struct value key)
{
    for (size_t i = 0; i < dict->count; i++) {
        if (value_equal(dict->keys[i], key, 0))
            return &dict->values[i];
    }
    return NULL;
}

const struct value *value_get_named(const struct value_dict *dict, const char *key, size_t len)
{
    struct value_string string = {key, len};
    return value_get(dict, (struct value){.type = VALUE_STRING, .string = &string});
}

bool value_set(struct arena *arena, struct value_dict *dict, struct value key, struct value item)
{
    struct value *present = (struct value *)value_get(dict, key);
    if (present) {
        *present = item;
        return true;
    }
    if (dict->count == dict->capacity) {
        size_t capacity = dict->capacity ? dict->capacity * 2 : 4;
        struct value *keys = arena_take(arena, capacity * sizeof(*keys));
        struct value *values = keys ? arena_take(arena, capacity * sizeof(*values)) : NULL;
        if (!values)
            return false;
        if (dict->count) {
            assert(dict->keys && dict->values);
            memcpy(keys, dict->keys, dict->count * sizeof(*keys));
            memcpy(values, dict->values, dict->count * sizeof(*values));
        }
        dict->keys = keys;
        dict->values = values;
        dict->capacity = capacity;
    }
    assert(dict->keys && dict->values);
    dict->keys[dict->count] = key;
    dict->values[dict->count++] = item;
    return true;
}

bool value_set_named(struct arena *arena, struct value_dict *dict, const char *key, struct value item)
{
    struct value name;
    return value_text(arena, key, &name) && value_set(arena, dict, name, item);
}

bool value_truth(struct value v)
{
    switch (v.type) {
    case VALUE_UNDEFINED:
    case VALUE_NONE: return false;
    case VALUE_BOOL: return v.boolean;
    case VALUE_INT: return v.integer != 0;
    case VALUE_FLOAT: return v.number != 0;
    case VALUE_STRING: return v.string->len != 0;
    case VALUE_LIST:
    case VALUE_TUPLE: return v.list->count != 0;
    case VALUE_DICT: return v.dict->count != 0;
    case VALUE_NAMESPACE:
    case VALUE_LOOP:
    case VALUE_CALLABLE: break;
    }
    return true;
}

bool value_is_number(struct value v)
{
    return v.type == VALUE_INT || v.type == VALUE_FLOAT || v.type == VALUE_BOOL;
}

double value_as_double(struct value v)
{
    if (v.type == VALUE_FLOAT)
        return v.number;
    return v.type == VALUE_BOOL ? (double)v.boolean : (double)v.integer;
}

static bool equal_dicts(const struct value_dict *a, const struct value_dict *b, int depth)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct value *other = value_get(b, a->keys[i]);
        if (!other || !value_equal(a->values[i], *other, depth + 1))
            return false;
    }
    return true;
}

bool value_equal(struct value a, struct value b, int depth)
{
    if (value_is_number(a) && value_is_number(b)) {
        if (a.type == VALUE_INT && b.type == VALUE_INT)
            return a.integer == b.integer;
        return value_as_double(a) == value_as_double(b);
    }
    if (a.type != b.type || depth > DEPTH_MAX)
        return false;
    switch (a.type) {
    case VALUE_UNDEFINED:
    case VALUE_NONE: return true;
    case VALUE_STRING:
        return a.string->len == b.string->len && memcmp(a.string->data, b.string->data, a.string->len) == 0;
    case VALUE_LIST:
    case VALUE_TUPLE:
        if (a.list->count != b.list->count)
            return false;
        for (size_t i = 0; i < a.list->count; i++) {
            if (!value_equal(a.list->items[i], b.list->items[i], depth + 1))
                return false;
        }
        return true;
    case VALUE_DICT: return equal_dicts(a.dict, b.dict, depth);
    case VALUE_NAMESPACE: return a.dict == b.dict;
    case VALUE_LOOP: return a.loop == b.loop;
    default: return a.callable == b.callable;
    }
}

bool value_compare(struct value a, struct value b, int depth, int *order, struct error *err)
{
    if (value_is_number(a) && value_is_number(b)) {
        double x = value_as_double(a), y = value_as_double(b);
        *order = x < y ? -1 : x > y;
        if (a.type == VALUE_INT && b.type == VALUE_INT)
            *order = a.integer < b.integer ? -1 : a.integer > b.integer;
        return true;
    }
    if (a.type == VALUE_STRING && b.type == VALUE_STRING) {
        size_t shorter = a.string->len < b.string->len ? a.string->len : b.string->len;
        int bytes = memcmp(a.string->data, b.string->data, shorter);
        *order = bytes ? bytes : a.string->len < b.string->len ? -1 : a.string->len > b.string->len;
        return true;
    }
    bool lists = a.type == b.type && (a.type == VALUE_LIST || a.type == VALUE_TUPLE) && depth < DEPTH_MAX;
    if (!lists)
        return error_set(err, ERROR_INVALID, "the chat template orders %s and %s, which have no order",
            value_type_name(a), value_type_name(b));
    for (size_t i = 0; i < a.list->count && i < b.list->count; i++) {
        if (!value_compare(a.list->items[i], b.list->items[i], depth + 1, order, err))
            return false;
        if (*order)
            return true;
    }
    *order = a.list->count < b.list->count ? -1 : a.list->count > b.list->count;
    return true;
}

const char *value_type_name(struct value v)
{
    static const char *const names[] = {[VALUE_UNDEFINED] = "undefined",
        [VALUE_NONE] = "none",
        [VALUE_BOOL] = "a boolean",
        [VALUE_INT] = "an integer",
        [VALUE_FLOAT] = "a float",
        [VALUE_STRING] = "a string",
        [VALUE_LIST] = "a list",
        [VALUE_TUPLE] = "a tuple",
        [VALUE_DICT] = "a dict",
        [VALUE_NAMESPACE] = "a namespace",
        [VALUE_LOOP] = "a loop",
        [VALUE_CALLABLE] = "a function"};
    return names[v.type];
}
