/* Layout (little-endian): "GGUF", u32 version, u64 tensors, u64 keys; then each key: string, u32 type, value;
 * then each tensor: string name, u32 rank, u64 dims[rank] (fastest first), u32 type, u64 offset; then padding
 * to the alignment, then the data that offsets count from. A string is a u64 length and its bytes. */
#include "worker/model/gguf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/model/weights.h"

enum {
    KEYS_MAX = 1 << 16,
    KEY_BYTES_MAX = 1 << 10,
    ALIGNMENT_DEFAULT = 32,
    ALIGNMENT_MAX = 1 << 16,
};

struct gguf_value {
    char *key;
    enum gguf_type type;
    enum gguf_type element;      /* of an array */
    size_t count;                /* of an array; 1 for the rest */
    const uint8_t *data;         /* scalars, in the file; not aligned */
    struct gguf_string *strings; /* of GGUF_STRING and arrays of them; owned */
};

struct gguf {
    char *name;
    struct file_map map;
    const uint8_t *bytes;
    size_t len;
    size_t cursor; /* while reading */
    uint32_t version;
    size_t alignment;
    struct gguf_value *values;
    struct gguf_value **values_by_key;
    size_t value_count;
    struct weights tensors; /* sorted by name */
};

static const size_t scalar_bytes[] = {
    [GGUF_UINT8] = 1,
    [GGUF_INT8] = 1,
    [GGUF_UINT16] = 2,
    [GGUF_INT16] = 2,
    [GGUF_UINT32] = 4,
    [GGUF_INT32] = 4,
    [GGUF_FLOAT32] = 4,
    [GGUF_BOOL] = 1,
    [GGUF_STRING] = 0,
    [GGUF_ARRAY] = 0,
    [GGUF_UINT64] = 8,
    [GGUF_INT64] = 8,
    [GGUF_FLOAT64] = 8,
};
enum { TYPE_COUNT = sizeof scalar_bytes / sizeof *scalar_bytes };

/* The file's tensor types that can be read; the rest are named in the error only. */
static const struct {
    const char *name;
    uint32_t id;
    int dtype; /* -1: known and not supported */
} tensor_types[] = {
    {"F32", 0, DTYPE_F32},
    {"F16", 1, DTYPE_F16},
    {"Q4_0", 2, DTYPE_Q4_0},
    {"Q4_1", 3, -1},
    {"Q5_0", 6, DTYPE_Q5_0},
    {"Q5_1", 7, -1},
    {"Q8_0", 8, DTYPE_Q8_0},
    {"Q2_K", 10, -1},
    {"Q3_K", 11, -1},
    {"Q4_K", 12, DTYPE_Q4_K},
    {"Q5_K", 13, DTYPE_Q5_K},
    {"Q6_K", 14, DTYPE_Q6_K},
    {"Q8_K", 15, -1},
    {"IQ2_XXS", 16, -1},
    {"IQ2_XS", 17, -1},
    {"IQ3_XXS", 18, -1},
    {"IQ4_NL", 20, -1},
    {"IQ3_S", 21, -1},
    {"IQ4_XS", 23, -1},
    {"I8", 24, DTYPE_I8},
    {"I32", 26, DTYPE_I32},
    {"I64", 27, DTYPE_I64},
    {"F64", 28, -1},
    {"BF16", 30, DTYPE_BF16},
};

static bool truncated(const struct gguf *file, const char *what, struct error *err)
{
    return error_set(
        err, ERROR_INVALID, "%s: the file ends inside %s (%zu bytes)", file->name, what, file->len);
}

/* The next `count` bytes; NULL when the file ends before. */
static const uint8_t *take(struct gguf *file, uint64_t count)
{
    if (count > file->len - file->cursor)
        return NULL;
    const uint8_t *at = file->bytes + file->cursor;
    file->cursor += (size_t)count;
    return at;
}

static bool take_u32(struct gguf *file, uint32_t *out, const char *what, struct error *err)
{
    const uint8_t *at = take(file, sizeof *out);
    if (at == NULL)
        return truncated(file, what, err);
    memcpy(out, at, sizeof *out);
    return true;
}

static bool take_u64(struct gguf *file, uint64_t *out, const char *what, struct error *err)
{
    const uint8_t *at = take(file, sizeof *out);
    if (at == NULL)
        return truncated(file, what, err);
    memcpy(out, at, sizeof *out);
    return true;
}

static bool take_string(struct gguf *file, struct gguf_string *out, const char *what, struct error *err)
{
    uint64_t len;
    if (!take_u64(file, &len, what, err))
        return false;
    const uint8_t *at = take(file, len);
    if (at == NULL)
        return truncated(file, what, err);
    out->data = (const char *)at;
    out->len = (size_t)len;
    return true;
}

/* A key or tensor name: short printable ASCII, so that it may stand in a message. Malloc'd. */
static char *take_name(struct gguf *file, size_t len_max, const char *what, struct error *err)
{
    struct gguf_string text;
    if (!take_string(file, &text, what, err))
        return NULL;
    bool printable = text.len > 0 && text.len <= len_max;
    for (size_t i = 0; printable && i < text.len; i++)
        printable = text.data[i] >= 0x20 && text.data[i] < 0x7f;
    if (!printable) {
        error_set(
            err, ERROR_INVALID, "%s: %s is not 1 to %zu printable characters", file->name, what, len_max);
        return NULL;
    }
    char *name = strndup(text.data, text.len);
    if (name == NULL)
        error_set(err, ERROR_MEMORY, "%s: no memory for %s", file->name, what);
    return name;
}

static bool read_strings(struct gguf *file, struct gguf_value *value, struct error *err)
{
    /* Every string takes at least its length's 8 bytes, which bounds the allocation by the file's size. */
    if (value->count > (file->len - file->cursor) / sizeof(uint64_t))
        return truncated(file, value->key, err);
    value->strings = calloc(value->count > 0 ? value->count : 1, sizeof *value->strings);
    if (value->strings == NULL)
        return error_set(err, ERROR_MEMORY, "%s: no memory for %s", file->name, value->key);
    for (size_t i = 0; i < value->count; i++) {
        if (!take_string(file, &value->strings[i], value->key, err))
            return false;
    }
    return true;
}

static bool read_scalars(struct gguf *file, struct gguf_value *value, enum gguf_type type, struct error *err)
{
    uint64_t bytes;
    if (__builtin_mul_overflow((uint64_t)value->count, (uint64_t)scalar_bytes[type], &bytes))
        return truncated(file, value->key, err);
    value->data = take(file, bytes);
    if (value->data == NULL)
        return truncated(file, value->key, err);
    for (size_t i = 0; type == GGUF_BOOL && i < value->count; i++) {
        if (value->data[i] > 1)
            return error_set(err, ERROR_INVALID, "%s: %s holds a bool of value %d", file->name, value->key,
                value->data[i]);
    }
    return true;
}

static bool read_value(struct gguf *file, struct gguf_value *value, struct error *err)
{
    value->key = take_name(file, KEY_BYTES_MAX, "a metadata key", err);
    uint32_t type;
    if (value->key == NULL || !take_u32(file, &type, value->key, err))
        return false;
    if (type >= TYPE_COUNT)
        return error_set(err, ERROR_INVALID, "%s: %s has unknown type %u", file->name, value->key, type);
    value->type = (enum gguf_type)type;
    value->count = 1;
    enum gguf_type element = value->type;
    if (value->type == GGUF_ARRAY) {
        uint64_t count;
        if (!take_u32(file, &type, value->key, err) || !take_u64(file, &count, value->key, err))
            return false;
        if (type >= TYPE_COUNT || type == GGUF_ARRAY)
            return error_set(
                err, ERROR_INVALID, "%s: %s is an array of unusable type %u", file->name, value->key, type);
        element = value->element = (enum gguf_type)type;
        value->count = (size_t)count;
    }
    return element == GGUF_STRING ? read_strings(file, value, err) : read_scalars(file, value, element, err);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp((*(struct gguf_value *const *)a)->key, (*(struct gguf_value *const *)b)->key);
}

static bool read_metadata(struct gguf *file, uint64_t count, struct error *err)
{
    if (count > KEYS_MAX)
        return error_set(err, ERROR_TOO_LARGE, "%s: %llu metadata keys, the limit is %d", file->name,
            (unsigned long long)count, KEYS_MAX);
    file->values = calloc((size_t)count + 1, sizeof *file->values);
    file->values_by_key = calloc((size_t)count + 1, sizeof(struct gguf_value *));
    if (file->values == NULL || file->values_by_key == NULL)
        return error_set(err, ERROR_MEMORY, "%s: no memory for metadata", file->name);
    for (uint64_t i = 0; i < count; i++) {
        struct gguf_value *value = &file->values[file->value_count];
        file->values_by_key[file->value_count++] = value;
        if (!read_value(file, value, err))
            return false;
    }
    qsort(file->values_by_key, file->value_count, sizeof(struct gguf_value *), compare_keys);
    for (size_t i = 1; i < file->value_count; i++) {
        if (strcmp(file->values_by_key[i - 1]->key, file->values_by_key[i]->key) == 0)
            return error_set(err, ERROR_INVALID, "%s: metadata key %s occurs more than once", file->name,
                file->values_by_key[i]->key);
    }
    return true;
}

/* What the file says of one tensor. */
struct tensor_info {
    char *name;
    int rank;
    int64_t shape[TENSOR_RANK_MAX];
    enum dtype dtype;
    uint64_t offset, bytes;
};

static bool map_type(
    const struct gguf *file, const char *name, uint32_t id, enum dtype *out, struct error *err)
{
    for (size_t i = 0; i < sizeof tensor_types / sizeof *tensor_types; i++) {
        if (tensor_types[i].id != id)
            continue;
        if (tensor_types[i].dtype < 0) {
            error_set(err, ERROR_UNSUPPORTED, "%s: tensor %s has type %s, which is not supported", file->name,
                name, tensor_types[i].name);
            return error_hint(
                err, "quantize the model to Q4_0, Q5_0, Q8_0, Q4_K, Q5_K, Q6_K, F16, BF16 or F32");
        }
        *out = (enum dtype)tensor_types[i].dtype;
        return true;
    }
    return error_set(err, ERROR_INVALID, "%s: tensor %s has unknown type %u", file->name, name, id);
}

static bool read_tensor_info(struct gguf *file, struct tensor_info *info, struct error *err)
{
    uint32_t rank, type;
    info->name = take_name(file, WEIGHTS_NAME_BYTES_MAX, "a tensor's name", err);
    if (info->name == NULL || !take_u32(file, &rank, info->name, err))
        return false;
    if (rank < 1 || rank > TENSOR_RANK_MAX)
        return error_set(err, ERROR_INVALID, "%s: tensor %s has rank %u, 1 to %d is possible", file->name,
            info->name, rank, TENSOR_RANK_MAX);
    info->rank = (int)rank;
    for (uint32_t i = 0; i < rank; i++) {
        uint64_t dim;
        if (!take_u64(file, &dim, info->name, err))
            return false;
        if (dim == 0 || dim > INT64_MAX)
            return error_set(err, ERROR_INVALID, "%s: tensor %s has a dimension of %llu", file->name,
                info->name, (unsigned long long)dim);
        info->shape[rank - 1 - i] = (int64_t)dim;
    }
    if (!take_u32(file, &type, info->name, err) || !take_u64(file, &info->offset, info->name, err) ||
        !map_type(file, info->name, type, &info->dtype, err))
        return false;
    uint64_t elements;
    if (!shape_elements(info->shape, info->rank, &elements))
        return error_set(err, ERROR_INVALID, "%s: tensor %s is impossibly large", file->name, info->name);
    size_t block = dtype_block_elements(info->dtype);
    if ((uint64_t)info->shape[rank - 1] % block != 0)
        return error_set(err, ERROR_INVALID,
            "%s: tensor %s has rows of %lld elements, not whole blocks of %zu", file->name, info->name,
            (long long)info->shape[rank - 1], block);
    info->bytes = dtype_bytes(info->dtype, (size_t)elements);
    return true;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct tensor_info *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Checks every range against the data section and its neighbours, then adds the views. */
static bool place_tensors(struct gguf *file, struct tensor_info *infos, size_t count, struct error *err)
{
    size_t start = (file->cursor + file->alignment - 1) / file->alignment * file->alignment;
    uint64_t room = start < file->len ? file->len - start : 0;
    qsort(infos, count, sizeof *infos, compare_offsets);
    for (size_t i = 0; i < count; i++) {
        const struct tensor_info *info = &infos[i];
        if (info->offset % file->alignment != 0)
            return error_set(err, ERROR_INVALID, "%s: tensor %s starts at %llu, not a multiple of %zu",
                file->name, info->name, (unsigned long long)info->offset, file->alignment);
        if (info->offset > room || info->bytes > room - info->offset)
            return error_set(err, ERROR_INVALID,
                "%s: tensor %s needs %llu bytes at %llu, the file has %llu bytes of data", file->name,
                info->name, (unsigned long long)info->bytes, (unsigned long long)info->offset,
                (unsigned long long)room);
        if (i > 0 && infos[i - 1].offset + infos[i - 1].bytes > info->offset)
            return error_set(err, ERROR_INVALID, "%s: tensors %s and %s overlap", file->name,
                infos[i - 1].name, info->name);
        if (!weights_add(&file->tensors, file->name, info->name, info->dtype, info->rank, info->shape,
                file->bytes + start + info->offset, (size_t)info->bytes, err))
            return false;
    }
    return weights_finish(&file->tensors, err) || error_context(err, "%s: ", file->name);
}

static bool read_tensors(struct gguf *file, uint64_t count, struct error *err)
{
    /* A tensor's entry takes at least 32 bytes, which bounds the allocation by the file's size. */
    if (count > WEIGHTS_TENSORS_MAX || count > (file->len - file->cursor) / 32)
        return error_set(err, ERROR_INVALID, "%s: %llu tensors do not fit the file", file->name,
            (unsigned long long)count);
    struct tensor_info *infos = calloc((size_t)count + 1, sizeof *infos);
    if (infos == NULL)
        return error_set(
            err, ERROR_MEMORY, "%s: no memory for %llu tensors", file->name, (unsigned long long)count);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = read_tensor_info(file, &infos[i], err);
    ok = ok && place_tensors(file, infos, (size_t)count, err);
    for (size_t i = 0; i < count; i++)
        free(infos[i].name);
    free(infos);
    return ok;
}

static bool read_alignment(struct gguf *file, struct error *err)
{
    int64_t alignment = ALIGNMENT_DEFAULT;
    gguf_get_int(file, "general.alignment", &alignment);
    if (alignment < 1 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
        return error_set(err, ERROR_INVALID, "%s: general.alignment is %lld, not a power of two up to %d",
            file->name, (long long)alignment, ALIGNMENT_MAX);
    file->alignment = (size_t)alignment;
    return true;
}

static bool read_file(struct gguf *file, struct error *err)
{
    const uint8_t *magic = take(file, 4);
    uint64_t tensors, keys;
    if (magic == NULL || memcmp(magic, "GGUF", 4) != 0)
        return error_set(err, ERROR_INVALID, "%s is not a GGUF file", file->name);
    if (!take_u32(file, &file->version, "the header", err))
        return false;
    if (file->version != 2 && file->version != 3)
        return error_set(err, ERROR_UNSUPPORTED, "%s: GGUF version %u%s, versions 2 and 3 are supported",
            file->name, file->version, file->version > 0xffff ? " (a big-endian file?)" : "");
    return take_u64(file, &tensors, "the header", err) && take_u64(file, &keys, "the header", err) &&
           read_metadata(file, keys, err) && read_alignment(file, err) && read_tensors(file, tensors, err);
}

static bool open_bytes(struct gguf *file, const char *name, struct gguf **out, struct error *err)
{
    file->name = strdup(name);
    if (file->name == NULL) {
        error_set(err, ERROR_MEMORY, "no memory to open %s", name);
    } else if (read_file(file, err)) {
        *out = file;
        return true;
    }
    gguf_close(file);
    return false;
}

bool gguf_open_memory(const char *name, const void *bytes, size_t len, struct gguf **out, struct error *err)
{
    struct gguf *file = calloc(1, sizeof *file);
    if (file == NULL)
        return error_set(err, ERROR_MEMORY, "no memory to open %s", name);
    file->bytes = bytes;
    file->len = len;
    return open_bytes(file, name, out, err);
}

bool gguf_open(const char *path, struct gguf **out, struct error *err)
{
    struct gguf *file = calloc(1, sizeof *file);
    if (file == NULL)
        return error_set(err, ERROR_MEMORY, "no memory to open %s", path);
    if (!file_map_open(path, &file->map, err)) {
        free(file);
        return false;
    }
    file->bytes = file->map.bytes;
    file->len = file->map.len;
    return open_bytes(file, path, out, err);
}

void gguf_close(struct gguf *file)
{
    if (file == NULL)
        return;
    for (size_t i = 0; i < file->value_count; i++) {
        free(file->values[i].key);
        free(file->values[i].strings);
    }
    free(file->values);
    free((void *)file->values_by_key);
    weights_free(&file->tensors);
    file_map_close(&file->map);
    free(file->name);
    free(file);
}

uint32_t gguf_version(const struct gguf *file)
{
    return file->version;
}

const struct file_map *gguf_file_map(const struct gguf *file)
{
    return file->map.path == NULL ? NULL : &file->map;
}

size_t gguf_key_count(const struct gguf *file)
{
    return file->value_count;
}

const char *gguf_key_at(const struct gguf *file, size_t index)
{
    assert(index < file->value_count);
    return file->values[index].key;
}

static const struct gguf_value *find(const struct gguf *file, const char *key)
{
    size_t low = 0, high = file->value_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(file->values_by_key[middle]->key, key);
        if (order == 0)
            return file->values_by_key[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool gguf_has(const struct gguf *file, const char *key)
{
    return find(file, key) != NULL;
}

bool gguf_type_of(const struct gguf *file, const char *key, enum gguf_type *out)
{
    const struct gguf_value *value = find(file, key);
    if (value == NULL)
        return false;
    *out = value->type;
    return true;
}

#define LOAD(ctype)                                                                                          \
    ctype number;                                                                                            \
    memcpy(&number, at, sizeof number)

static bool load_int(enum gguf_type type, const uint8_t *at, int64_t *out)
{
    switch (type) {
    case GGUF_UINT8: *out = *at; return true;
    case GGUF_INT8: *out = *at - (*at > INT8_MAX ? 256 : 0); return true;
    case GGUF_UINT16: {
        LOAD(uint16_t);
        *out = number;
        return true;
    }
    case GGUF_INT16: {
        LOAD(int16_t);
        *out = number;
        return true;
    }
    case GGUF_UINT32: {
        LOAD(uint32_t);
        *out = number;
        return true;
    }
    case GGUF_INT32: {
        LOAD(int32_t);
        *out = number;
        return true;
    }
    case GGUF_INT64: {
        LOAD(int64_t);
        *out = number;
        return true;
    }
    case GGUF_UINT64: {
        LOAD(uint64_t);
        if (number > INT64_MAX)
            return false;
        *out = (int64_t)number;
        return true;
    }
    default: return false;
    }
}

static bool load_float(enum gguf_type type, const uint8_t *at, double *out)
{
    if (type == GGUF_FLOAT32) {
        LOAD(float);
        *out = (double)number;
        return true;
    }
    if (type == GGUF_FLOAT64) {
        LOAD(double);
        *out = number;
        return true;
    }
    int64_t integer;
    if (!load_int(type, at, &integer))
        return false;
    *out = (double)integer;
    return true;
}

bool gguf_get_bool(const struct gguf *file, const char *key, bool *out)
{
    const struct gguf_value *value = find(file, key);
    if (value == NULL || value->type != GGUF_BOOL)
        return false;
    *out = *value->data != 0;
    return true;
}

bool gguf_get_int(const struct gguf *file, const char *key, int64_t *out)
{
    const struct gguf_value *value = find(file, key);
    return value != NULL && load_int(value->type, value->data, out);
}

bool gguf_get_float(const struct gguf *file, const char *key, double *out)
{
    const struct gguf_value *value = find(file, key);
    return value != NULL && load_float(value->type, value->data, out);
}

bool gguf_get_string(const struct gguf *file, const char *key, struct gguf_string *out)
{
    const struct gguf_value *value = find(file, key);
    if (value == NULL || value->type != GGUF_STRING)
        return false;
    *out = value->strings[0];
    return true;
}

bool gguf_get_array(const struct gguf *file, const char *key, enum gguf_type *element, size_t *count)
{
    const struct gguf_value *value = find(file, key);
    if (value == NULL || value->type != GGUF_ARRAY)
        return false;
    *element = value->element;
    *count = value->count;
    return true;
}

/* The array `key` when it has an element `index` and holds strings, or numbers, as asked. */
static const struct gguf_value *find_element(
    const struct gguf *file, const char *key, size_t index, bool is_string)
{
    const struct gguf_value *value = find(file, key);
    if (value == NULL || value->type != GGUF_ARRAY || index >= value->count ||
        (value->element == GGUF_STRING) != is_string)
        return NULL;
    return value;
}

bool gguf_array_string(const struct gguf *file, const char *key, size_t index, struct gguf_string *out)
{
    const struct gguf_value *value = find_element(file, key, index, true);
    if (value == NULL)
        return false;
    *out = value->strings[index];
    return true;
}

bool gguf_array_int(const struct gguf *file, const char *key, size_t index, int64_t *out)
{
    const struct gguf_value *value = find_element(file, key, index, false);
    return value != NULL && load_int(value->element, value->data + index * scalar_bytes[value->element], out);
}

bool gguf_array_float(const struct gguf *file, const char *key, size_t index, double *out)
{
    const struct gguf_value *value = find_element(file, key, index, false);
    return value != NULL &&
           load_float(value->element, value->data + index * scalar_bytes[value->element], out);
}

size_t gguf_tensor_count(const struct gguf *file)
{
    return file->tensors.tensor_count;
}

const struct tensor_view *gguf_tensor_at(const struct gguf *file, size_t index)
{
    assert(index < file->tensors.tensor_count);
    return &file->tensors.tensors[index];
}

const struct tensor_view *gguf_tensor(const struct gguf *file, const char *name)
{
    return weights_find(&file->tensors, name);
}
