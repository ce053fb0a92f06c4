/* Values of a template: Python's, as far as templates see them. Everything lives in an arena that is freed as
 * a whole, so values are copied and shared freely. Not shared between threads. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_VALUE_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/model/tokenizer/buffer.h"

struct arena {
    struct arena_chunk *chunks;
    size_t used, limit; /* bytes */
    struct error *err;
};
/* NULL, with err set, when memory or the limit is reached. Zeroed. */
void *arena_take(struct arena *arena, size_t size);
void arena_free(struct arena *arena);

enum value_type {
    VALUE_UNDEFINED,
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_DICT,
    VALUE_NAMESPACE, /* a dict whose attributes may be set */
    VALUE_LOOP,
    VALUE_CALLABLE,
};

struct value_string {
    const char *data; /* zero-terminated, well-formed */
    size_t len;
};
struct value_list {
    struct value *items;
    size_t count, capacity;
};
struct value_dict {
    struct value *keys, *values; /* in order of insertion */
    size_t count, capacity;
};
struct value_loop;
struct value_callable;

struct value {
    enum value_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct value_string *string;
        struct value_list *list; /* LIST, TUPLE */
        struct value_dict *dict; /* DICT, NAMESPACE */
        struct value_loop *loop;
        struct value_callable *callable;
        const char *name; /* UNDEFINED: what was looked up; NULL: unknown */
    };
};

static inline struct value value_none(void)
{
    return (struct value){.type = VALUE_NONE};
}
static inline struct value value_bool(bool boolean)
{
    return (struct value){.type = VALUE_BOOL, .boolean = boolean};
}
static inline struct value value_int(int64_t integer)
{
    return (struct value){.type = VALUE_INT, .integer = integer};
}
static inline struct value value_float(double number)
{
    return (struct value){.type = VALUE_FLOAT, .number = number};
}
static inline struct value value_undefined(const char *name)
{
    return (struct value){.type = VALUE_UNDEFINED, .name = name};
}

/* These copy into the arena; false: out of memory. */
bool value_string(struct arena *arena, const char *data, size_t len, struct value *out);
bool value_text(struct arena *arena, const char *text, struct value *out);
bool value_list(struct arena *arena, enum value_type type, struct value *out);
bool value_push(struct arena *arena, struct value_list *list, struct value item);
bool value_dict(struct arena *arena, enum value_type type, struct value *out);
bool value_set(struct arena *arena, struct value_dict *dict, struct value key, struct value item);
bool value_set_named(struct arena *arena, struct value_dict *dict, const char *key, struct value item);
const struct value *value_get(const struct value_dict *dict, struct value key); /* NULL: none */
const struct value *value_get_named(const struct value_dict *dict, const char *key, size_t len);

bool value_truth(struct value v);
bool value_equal(struct value a, struct value b, int depth);
/* Orders numbers, strings and lists; false with err set when the two cannot be ordered. */
bool value_compare(struct value a, struct value b, int depth, int *order, struct error *err);
bool value_is_number(struct value v); /* int, float or bool */
double value_as_double(struct value v);

/* Appends what Python's str() or repr() gives. */
bool value_print(struct value v, struct buffer *out, struct error *err);
bool value_repr(struct value v, struct buffer *out, int depth, struct error *err);
/* Appends json.dumps(ensure_ascii=False); indent < 0: one line. */
bool value_json(struct value v, int64_t indent, bool sort_keys, struct buffer *out, struct error *err);
const char *value_type_name(struct value v);

#endif
