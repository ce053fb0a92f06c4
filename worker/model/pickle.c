/* A pickle is a program for a stack machine; this runs the part of it (protocols 2 to 5) that torch.save
 * writes. Opcodes: CPython's Lib/pickletools.py. */
#include "worker/model/pickle.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/model/pickle_globals.h"

enum opcode {
    OP_MARK = '(',
    OP_STOP = '.',
    OP_POP = '0',
    OP_POP_MARK = '1',
    OP_BINFLOAT = 'G',
    OP_BININT = 'J',
    OP_BININT1 = 'K',
    OP_BININT2 = 'M',
    OP_NONE = 'N',
    OP_BINPERSID = 'Q',
    OP_REDUCE = 'R',
    OP_BINSTRING = 'T',
    OP_SHORT_BINSTRING = 'U',
    OP_BINUNICODE = 'X',
    OP_APPEND = 'a',
    OP_BUILD = 'b',
    OP_GLOBAL = 'c',
    OP_DICT = 'd',
    OP_APPENDS = 'e',
    OP_BINGET = 'h',
    OP_LONG_BINGET = 'j',
    OP_LIST = 'l',
    OP_BINPUT = 'q',
    OP_LONG_BINPUT = 'r',
    OP_SETITEM = 's',
    OP_TUPLE = 't',
    OP_SETITEMS = 'u',
    OP_EMPTY_DICT = '}',
    OP_EMPTY_LIST = ']',
    OP_EMPTY_TUPLE = ')',
    OP_BINBYTES = 'B',
    OP_SHORT_BINBYTES = 'C',
    OP_PROTO = 0x80,
    OP_NEWOBJ = 0x81,
    OP_TUPLE1 = 0x85,
    OP_TUPLE2 = 0x86,
    OP_TUPLE3 = 0x87,
    OP_NEWTRUE = 0x88,
    OP_NEWFALSE = 0x89,
    OP_LONG1 = 0x8a,
    OP_LONG4 = 0x8b,
    OP_SHORT_BINUNICODE = 0x8c,
    OP_BINUNICODE8 = 0x8d,
    OP_BINBYTES8 = 0x8e,
    OP_EMPTY_SET = 0x8f,
    OP_ADDITEMS = 0x90,
    OP_FROZENSET = 0x91,
    OP_STACK_GLOBAL = 0x93,
    OP_MEMOIZE = 0x94,
    OP_FRAME = 0x95,
};

enum { CHUNK_VALUES = 1024, PROTOCOL_MAX = 5, STACK_FIRST = 64 };

struct chunk {
    struct chunk *next;
    size_t used;
    struct pickle_value values[CHUNK_VALUES];
};

struct pickle {
    const char *name;
    const uint8_t *bytes;
    size_t len, cursor;
    struct error *err;
    struct chunk *chunks;
    size_t value_count;
    struct pickle_value **stack;
    size_t depth, stack_capacity;
    size_t *marks; /* stack depths */
    size_t mark_count, mark_capacity;
    struct pickle_value **memo;
    size_t memo_count, memo_capacity;
    const struct pickle_value *root;
};

static bool refuse(struct pickle *p, const char *what)
{
    return error_set(p->err, ERROR_INVALID, "%s: damaged pickle at byte %zu: %s", p->name, p->cursor, what);
}

static bool reserve(struct pickle *p, void **array, size_t *capacity, size_t wanted, size_t element_bytes)
{
    if (wanted <= *capacity)
        return true;
    size_t larger = *capacity < 8 ? 8 : *capacity * 2;
    if (larger < wanted)
        larger = wanted;
    void *grown = reallocarray(*array, larger, element_bytes);
    if (grown == NULL)
        return error_set(p->err, ERROR_MEMORY, "%s: no memory to read the pickle", p->name);
    memset((char *)grown + *capacity * element_bytes, 0, (larger - *capacity) * element_bytes);
    *array = grown;
    *capacity = larger;
    return true;
}

static struct pickle_value *new_value(struct pickle *p, enum pickle_kind kind)
{
    if (++p->value_count > PICKLE_VALUES_MAX) {
        error_set(
            p->err, ERROR_TOO_LARGE, "%s: the pickle holds more than %d values", p->name, PICKLE_VALUES_MAX);
        return NULL;
    }
    if (p->chunks == NULL || p->chunks->used == CHUNK_VALUES) {
        struct chunk *chunk = malloc(sizeof *chunk);
        if (chunk == NULL) {
            error_set(p->err, ERROR_MEMORY, "%s: no memory to read the pickle", p->name);
            return NULL;
        }
        chunk->next = p->chunks;
        chunk->used = 0;
        p->chunks = chunk;
    }
    struct pickle_value *value = &p->chunks->values[p->chunks->used++];
    memset(value, 0, sizeof *value);
    value->kind = kind;
    return value;
}

static bool push(struct pickle *p, struct pickle_value *value)
{
    if (value == NULL || !reserve(p, (void **)&p->stack, &p->stack_capacity, p->depth + 1, sizeof(void *)))
        return false;
    p->stack[p->depth++] = value;
    return true;
}

static bool push_new(struct pickle *p, enum pickle_kind kind)
{
    return push(p, new_value(p, kind));
}

static bool push_int(struct pickle *p, enum pickle_kind kind, int64_t integer)
{
    struct pickle_value *value = new_value(p, kind);
    if (value == NULL)
        return false;
    value->integer = integer;
    return push(p, value);
}

/* How far pops may go: values below the last mark belong to whoever set it. */
static size_t stack_floor(const struct pickle *p)
{
    return p->mark_count > 0 ? p->marks[p->mark_count - 1] : 0;
}

static struct pickle_value *pop(struct pickle *p)
{
    if (p->depth <= stack_floor(p)) {
        refuse(p, "the stack is empty");
        return NULL;
    }
    return p->stack[--p->depth];
}

static struct pickle_value *top(struct pickle *p)
{
    if (p->depth <= stack_floor(p)) {
        refuse(p, "the stack is empty");
        return NULL;
    }
    return p->stack[p->depth - 1];
}

/* Removes the last mark; *first is where the values above it begin. */
static bool pop_mark(struct pickle *p, size_t *first)
{
    if (p->mark_count == 0)
        return refuse(p, "there is no mark");
    *first = p->marks[--p->mark_count];
    return true;
}

static const uint8_t *take(struct pickle *p, uint64_t count)
{
    if (count > p->len - p->cursor) {
        refuse(p, "it ends inside a value");
        return NULL;
    }
    const uint8_t *at = p->bytes + p->cursor;
    p->cursor += (size_t)count;
    return at;
}

static bool take_number(struct pickle *p, int bytes, uint64_t *out)
{
    const uint8_t *at = take(p, (uint64_t)bytes);
    if (at == NULL)
        return false;
    *out = 0;
    for (int i = 0; i < bytes; i++)
        *out |= (uint64_t)at[i] << (8 * i);
    return true;
}

static bool append(
    struct pickle *p, struct pickle_value *list, struct pickle_value *const *items, size_t count)
{
    if (!reserve(
            p, (void **)&list->list.items, &list->list.capacity, list->list.count + count, sizeof(void *)))
        return false;
    if (count > 0)
        memcpy((void *)(list->list.items + list->list.count), (const void *)items, count * sizeof(void *));
    list->list.count += count;
    return true;
}

/* Replaces the topmost `count` values by a tuple, list or dict of them. */
static bool collect(struct pickle *p, enum pickle_kind kind, size_t count)
{
    if (p->depth - stack_floor(p) < count)
        return refuse(p, "the stack is empty");
    struct pickle_value *value = new_value(p, kind);
    if (value == NULL || !append(p, value, p->stack + p->depth - count, count))
        return false;
    p->depth -= count;
    return push(p, value);
}

static bool collect_from_mark(struct pickle *p, enum pickle_kind kind)
{
    size_t first;
    if (!pop_mark(p, &first))
        return false;
    size_t count = p->depth - first;
    if (kind == PICKLE_DICT && count % 2 != 0)
        return refuse(p, "a key without a value");
    return collect(p, kind, count);
}

/* Moves the values from `first` on into the container below them; what an opaque one is given is dropped. */
static bool extend(struct pickle *p, enum pickle_kind kind, size_t first)
{
    size_t count = p->depth - first;
    if (kind == PICKLE_DICT && count % 2 != 0)
        return refuse(p, "a key without a value");
    if (first <= stack_floor(p))
        return refuse(p, "the stack is empty");
    struct pickle_value *container = p->stack[first - 1];
    p->depth = first;
    if (container->kind == PICKLE_OPAQUE)
        return true;
    if (container->kind != kind)
        return refuse(p, "items for what is no container");
    return append(p, container, p->stack + first, count);
}

static bool extend_from_mark(struct pickle *p, enum pickle_kind kind)
{
    size_t first;
    return pop_mark(p, &first) && extend(p, kind, first);
}

static bool push_text(struct pickle *p, int length_bytes)
{
    uint64_t len;
    if (!take_number(p, length_bytes, &len))
        return false;
    const uint8_t *at = take(p, len);
    struct pickle_value *value = at == NULL ? NULL : new_value(p, PICKLE_STRING);
    if (value == NULL)
        return false;
    value->text.data = (const char *)at;
    value->text.len = (size_t)len;
    return push(p, value);
}

static bool push_long(struct pickle *p, int length_bytes)
{
    uint64_t len;
    if (!take_number(p, length_bytes, &len))
        return false;
    const uint8_t *at = take(p, len);
    if (at == NULL)
        return false;
    if (len > 8)
        return push_new(p, PICKLE_OPAQUE);
    uint64_t bits = len > 0 && (at[len - 1] & 0x80) != 0 ? UINT64_MAX : 0;
    for (uint64_t i = 0; i < len; i++)
        bits = (bits & ~(UINT64_C(0xff) << (8 * i))) | (uint64_t)at[i] << (8 * i);
    return push_int(p, PICKLE_INT, (int64_t)bits);
}

static bool push_float(struct pickle *p)
{
    const uint8_t *at = take(p, 8); /* big-endian, unlike everything else */
    struct pickle_value *value = at == NULL ? NULL : new_value(p, PICKLE_FLOAT);
    if (value == NULL)
        return false;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | at[i];
    memcpy(&value->real, &bits, sizeof value->real);
    return push(p, value);
}

/* A name from the file, fit for a message. */
static void printable(char *out, size_t size, const char *text, size_t len)
{
    size_t used = 0;
    for (size_t i = 0; i < len && used + 1 < size; i++)
        out[used++] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
    out[used] = '\0';
}

static bool push_global(
    struct pickle *p, const char *module, size_t module_len, const char *name, size_t name_len)
{
    int index = pickle_global_find(module, module_len, name, name_len);
    if (index >= 0)
        return push_int(p, PICKLE_GLOBAL, index);
    char shown_module[64], shown_name[64];
    printable(shown_module, sizeof shown_module, module, module_len);
    printable(shown_name, sizeof shown_name, name, name_len);
    error_set(p->err, ERROR_DENIED, "%s: the pickle names %s.%s, which no weights need: refused", p->name,
        shown_module, shown_name);
    return error_hint(p->err, "use the model's safetensors file, or convert the checkpoint to safetensors");
}

/* GLOBAL: two lines, the module and the name. */
static bool read_global(struct pickle *p)
{
    const char *parts[2];
    size_t lens[2];
    for (int i = 0; i < 2; i++) {
        const uint8_t *at = p->bytes + p->cursor;
        const uint8_t *end = memchr(at, '\n', p->len - p->cursor);
        if (end == NULL)
            return refuse(p, "it ends inside a global");
        parts[i] = (const char *)at;
        lens[i] = (size_t)(end - at);
        p->cursor += lens[i] + 1;
    }
    return push_global(p, parts[0], lens[0], parts[1], lens[1]);
}

static bool stack_global(struct pickle *p)
{
    const struct pickle_value *name = pop(p), *module = name == NULL ? NULL : pop(p);
    if (module == NULL)
        return false;
    if (name->kind != PICKLE_STRING || module->kind != PICKLE_STRING)
        return refuse(p, "a global without a name");
    return push_global(p, module->text.data, module->text.len, name->text.data, name->text.len);
}

/* ('storage', class, key, device, elements): the only persistent reference that torch writes. */
static bool push_storage(struct pickle *p)
{
    const struct pickle_value *id = pop(p);
    if (id == NULL)
        return false;
    if (id->kind != PICKLE_TUPLE || id->list.count != 5)
        return refuse(p, "a persistent reference that is no storage");
    struct pickle_value *const *item = id->list.items;
    bool ok = item[0]->kind == PICKLE_STRING && item[0]->text.len == strlen("storage") &&
              memcmp(item[0]->text.data, "storage", item[0]->text.len) == 0 &&
              item[1]->kind == PICKLE_GLOBAL &&
              pickle_global_at(item[1]->global)->kind == PICKLE_GLOBAL_STORAGE &&
              item[2]->kind == PICKLE_STRING && item[4]->kind == PICKLE_INT && item[4]->integer >= 0;
    if (!ok)
        return refuse(p, "a persistent reference that is no storage");
    struct pickle_value *value = new_value(p, PICKLE_STORAGE);
    if (value == NULL)
        return false;
    value->storage.key = item[2]->text.data;
    value->storage.key_len = item[2]->text.len;
    value->storage.dtype = pickle_global_at(item[1]->global)->dtype;
    value->storage.elements = item[4]->integer;
    return push(p, value);
}

static bool read_sizes(const struct pickle_value *tuple, int64_t *out)
{
    for (size_t i = 0; i < tuple->list.count; i++) {
        const struct pickle_value *item = tuple->list.items[i];
        if (item->kind != PICKLE_INT || item->integer < 0)
            return false;
        out[i] = item->integer;
    }
    return true;
}

static bool rebuild_tensor(struct pickle *p, const struct pickle_value *args)
{
    struct pickle_value *const *item = args->list.items;
    if (args->list.count < 4 || item[0]->kind != PICKLE_STORAGE || item[1]->kind != PICKLE_INT ||
        item[1]->integer < 0 || item[2]->kind != PICKLE_TUPLE || item[3]->kind != PICKLE_TUPLE ||
        item[2]->list.count != item[3]->list.count)
        return refuse(p, "a tensor with invalid arguments");
    if (item[2]->list.count > PICKLE_RANK_MAX)
        return refuse(p, "a tensor with too many dimensions");
    struct pickle_value *value = new_value(p, PICKLE_TENSOR);
    if (value == NULL)
        return false;
    value->tensor.storage = item[0];
    value->tensor.offset = item[1]->integer;
    value->tensor.rank = (int)item[2]->list.count;
    if (!read_sizes(item[2], value->tensor.shape) || !read_sizes(item[3], value->tensor.stride))
        return refuse(p, "a tensor with invalid sizes or strides");
    return push(p, value);
}

/* What calling `global` with `args` would give; nothing is called. */
static bool apply(struct pickle *p, const struct pickle_value *function, struct pickle_value *args)
{
    if (function->kind != PICKLE_GLOBAL || args->kind != PICKLE_TUPLE)
        return refuse(p, "a call of what is no function");
    switch (pickle_global_at(function->global)->kind) {
    case PICKLE_GLOBAL_REBUILD_TENSOR: return rebuild_tensor(p, args);
    case PICKLE_GLOBAL_REBUILD_PARAMETER:
        if (args->list.count < 1 || args->list.items[0]->kind != PICKLE_TENSOR)
            return refuse(p, "a parameter that is no tensor");
        return push(p, args->list.items[0]);
    case PICKLE_GLOBAL_DICT:
        if (args->list.count != 0)
            return refuse(p, "a dict made from arguments");
        return push_new(p, PICKLE_DICT);
    case PICKLE_GLOBAL_TUPLE:
        if (args->list.count != 1 || args->list.items[0]->kind != PICKLE_TUPLE)
            return refuse(p, "a size that is no tuple");
        return push(p, args->list.items[0]);
    case PICKLE_GLOBAL_OPAQUE: return push_new(p, PICKLE_OPAQUE);
    case PICKLE_GLOBAL_STORAGE:
    case PICKLE_GLOBAL_REFUSED: break;
    }
    return refuse(p, "a call of what is no function");
}

static bool reduce(struct pickle *p)
{
    struct pickle_value *args = pop(p);
    const struct pickle_value *function = args == NULL ? NULL : pop(p);
    return function != NULL && apply(p, function, args);
}

/* Attributes set on an object: dropped (torch writes a state dict's _metadata so). */
static bool build(struct pickle *p)
{
    if (pop(p) == NULL)
        return false;
    const struct pickle_value *object = top(p);
    if (object == NULL)
        return false;
    if (object->kind != PICKLE_DICT && object->kind != PICKLE_OPAQUE && object->kind != PICKLE_TENSOR)
        return refuse(p, "attributes for what has none");
    return true;
}

static bool memo_put(struct pickle *p, uint64_t index)
{
    struct pickle_value *value = top(p);
    if (value == NULL)
        return false;
    if (index >= PICKLE_VALUES_MAX)
        return refuse(p, "a memo index that is too large");
    if (!reserve(p, (void **)&p->memo, &p->memo_capacity, (size_t)index + 1, sizeof(void *)))
        return false;
    p->memo_count += p->memo[index] == NULL;
    p->memo[index] = value;
    return true;
}

static bool memo_get(struct pickle *p, uint64_t index)
{
    if (index >= p->memo_capacity || p->memo[index] == NULL)
        return refuse(p, "a memo index that was never set");
    return push(p, p->memo[index]);
}

static bool push_mark(struct pickle *p)
{
    if (!reserve(p, (void **)&p->marks, &p->mark_capacity, p->mark_count + 1, sizeof *p->marks))
        return false;
    p->marks[p->mark_count++] = p->depth;
    return true;
}

static bool pop_to_mark(struct pickle *p)
{
    size_t first;
    if (!pop_mark(p, &first))
        return false;
    p->depth = first;
    return true;
}

static bool frozenset(struct pickle *p)
{
    return pop_to_mark(p) && push_new(p, PICKLE_OPAQUE);
}

static bool unknown(struct pickle *p, uint8_t opcode)
{
    char what[64];
    snprintf(what, sizeof what, "opcode 0x%02x, which torch does not write", opcode);
    return refuse(p, what);
}

/* Opcodes with a number behind them. */
static bool run_numbered(struct pickle *p, uint8_t opcode)
{
    static const uint8_t width[256] = {[OP_PROTO] = 1,
        [OP_FRAME] = 8,
        [OP_BININT] = 4,
        [OP_BININT1] = 1,
        [OP_BININT2] = 2,
        [OP_BINGET] = 1,
        [OP_LONG_BINGET] = 4,
        [OP_BINPUT] = 1,
        [OP_LONG_BINPUT] = 4};
    uint64_t number;
    if (width[opcode] == 0)
        return unknown(p, opcode);
    if (!take_number(p, width[opcode], &number))
        return false;
    switch (opcode) {
    case OP_PROTO: return number <= PROTOCOL_MAX || refuse(p, "an unknown protocol");
    case OP_FRAME: return number <= p->len - p->cursor || refuse(p, "a frame longer than the pickle");
    case OP_BININT: return push_int(p, PICKLE_INT, (int32_t)(uint32_t)number);
    case OP_BININT1:
    case OP_BININT2: return push_int(p, PICKLE_INT, (int64_t)number);
    case OP_BINGET:
    case OP_LONG_BINGET: return memo_get(p, number);
    default: return memo_put(p, number);
    }
}

static bool run_container(struct pickle *p, uint8_t opcode)
{
    switch (opcode) {
    case OP_MARK: return push_mark(p);
    case OP_POP: return pop(p) != NULL;
    case OP_POP_MARK: return pop_to_mark(p);
    case OP_EMPTY_DICT: return push_new(p, PICKLE_DICT);
    case OP_EMPTY_LIST: return push_new(p, PICKLE_LIST);
    case OP_EMPTY_TUPLE: return push_new(p, PICKLE_TUPLE);
    case OP_EMPTY_SET: return push_new(p, PICKLE_OPAQUE);
    case OP_TUPLE: return collect_from_mark(p, PICKLE_TUPLE);
    case OP_LIST: return collect_from_mark(p, PICKLE_LIST);
    case OP_DICT: return collect_from_mark(p, PICKLE_DICT);
    case OP_TUPLE1: return collect(p, PICKLE_TUPLE, 1);
    case OP_TUPLE2: return collect(p, PICKLE_TUPLE, 2);
    case OP_TUPLE3: return collect(p, PICKLE_TUPLE, 3);
    case OP_APPEND:
        return p->depth < 1 ? refuse(p, "the stack is empty") : extend(p, PICKLE_LIST, p->depth - 1);
    case OP_SETITEM:
        return p->depth < 2 ? refuse(p, "the stack is empty") : extend(p, PICKLE_DICT, p->depth - 2);
    case OP_APPENDS: return extend_from_mark(p, PICKLE_LIST);
    case OP_SETITEMS: return extend_from_mark(p, PICKLE_DICT);
    case OP_ADDITEMS: return extend_from_mark(p, PICKLE_OPAQUE);
    case OP_FROZENSET: return frozenset(p);
    default: return run_numbered(p, opcode);
    }
}

static bool run(struct pickle *p, uint8_t opcode)
{
    switch (opcode) {
    case OP_NONE: return push_new(p, PICKLE_NONE);
    case OP_NEWTRUE: return push_int(p, PICKLE_BOOL, 1);
    case OP_NEWFALSE: return push_int(p, PICKLE_BOOL, 0);
    case OP_BINFLOAT: return push_float(p);
    case OP_LONG1: return push_long(p, 1);
    case OP_LONG4: return push_long(p, 4);
    case OP_SHORT_BINSTRING:
    case OP_SHORT_BINBYTES:
    case OP_SHORT_BINUNICODE: return push_text(p, 1);
    case OP_BINSTRING:
    case OP_BINBYTES:
    case OP_BINUNICODE: return push_text(p, 4);
    case OP_BINUNICODE8:
    case OP_BINBYTES8: return push_text(p, 8);
    case OP_GLOBAL: return read_global(p);
    case OP_STACK_GLOBAL: return stack_global(p);
    case OP_BINPERSID: return push_storage(p);
    case OP_REDUCE:
    case OP_NEWOBJ: return reduce(p);
    case OP_BUILD: return build(p);
    case OP_MEMOIZE: return memo_put(p, p->memo_count);
    default: return run_container(p, opcode);
    }
}

static bool run_all(struct pickle *p)
{
    for (;;) {
        const uint8_t *opcode = take(p, 1);
        if (opcode == NULL)
            return false;
        if (*opcode == OP_STOP)
            break;
        if (!run(p, *opcode))
            return false;
    }
    p->root = pop(p);
    return p->root != NULL;
}

bool pickle_read(const char *name, const uint8_t *bytes, size_t len, struct pickle **out, struct error *err)
{
    if (len > PICKLE_BYTES_MAX)
        return error_set(
            err, ERROR_TOO_LARGE, "%s: a pickle of %zu bytes, the limit is %d", name, len, PICKLE_BYTES_MAX);
    struct pickle *p = calloc(1, sizeof *p);
    if (p == NULL)
        return error_set(err, ERROR_MEMORY, "%s: no memory to read the pickle", name);
    p->name = name;
    p->bytes = bytes;
    p->len = len;
    p->err = err;
    /* The stack exists from the start, so that even nothing of it has an address. */
    if (!reserve(p, (void **)&p->stack, &p->stack_capacity, STACK_FIRST, sizeof(void *)) || !run_all(p)) {
        pickle_free(p);
        return false;
    }
    p->err = NULL;
    *out = p;
    return true;
}

void pickle_free(struct pickle *pickle)
{
    if (pickle == NULL)
        return;
    for (struct chunk *chunk = pickle->chunks, *next; chunk != NULL; chunk = next) {
        for (size_t i = 0; i < chunk->used; i++) {
            struct pickle_value *value = &chunk->values[i];
            if (value->kind == PICKLE_TUPLE || value->kind == PICKLE_LIST || value->kind == PICKLE_DICT)
                free((void *)value->list.items);
        }
        next = chunk->next;
        free(chunk);
    }
    free((void *)pickle->stack);
    free(pickle->marks);
    free((void *)pickle->memo);
    free(pickle);
}

const struct pickle_value *pickle_root(const struct pickle *pickle)
{
    return pickle->root;
}

const struct pickle_value *pickle_dict_get(const struct pickle_value *dict, const char *key)
{
    size_t len = strlen(key);
    if (dict->kind != PICKLE_DICT)
        return NULL;
    for (size_t i = 0; i + 1 < dict->list.count; i += 2) {
        const struct pickle_value *name = dict->list.items[i];
        if (name->kind == PICKLE_STRING && name->text.len == len && memcmp(name->text.data, key, len) == 0)
            return dict->list.items[i + 1];
    }
    return NULL;
}
