#include "worker/model/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "worker/model/json_file.h"

/* The largest published headers are about 10 MB. */
static const struct json_limits header_limits = {.bytes_max = 32 << 20, .values_max = 2 << 20};

enum { HEADER_LENGTH_BYTES = 8 };

/* Every dtype of the format with a whole number of bytes; dtype -1: known and not readable. */
static const struct {
    const char *name;
    int bytes;
    int dtype;
} dtypes[] = {
    {"F32", 4, DTYPE_F32},
    {"F16", 2, DTYPE_F16},
    {"BF16", 2, DTYPE_BF16},
    {"I8", 1, DTYPE_I8},
    {"I32", 4, DTYPE_I32},
    {"I64", 8, DTYPE_I64},
    {"F64", 8, -1},
    {"BOOL", 1, -1},
    {"U8", 1, -1},
    {"I16", 2, -1},
    {"U16", 2, -1},
    {"U32", 4, -1},
    {"U64", 8, -1},
    {"F8_E4M3", 1, -1},
    {"F8_E5M2", 1, -1},
    {"F8_E8M0", 1, -1},
    {"C64", 8, -1},
};
enum { DTYPE_COUNT = sizeof dtypes / sizeof *dtypes, SHAPE_MAX = 16 };

struct entry {
    const char *name; /* in the header's JSON */
    size_t dtype;     /* index into dtypes */
    int rank;
    int64_t shape[SHAPE_MAX];
    uint64_t begin, end;
};

static bool read_dtype(const char *file, struct entry *entry, const json_t *object, struct error *err)
{
    const char *text = json_string_value(json_object_get(object, "dtype"));
    if (text == NULL)
        return error_set(err, ERROR_INVALID, "%s: tensor %s has no dtype", file, entry->name);
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(dtypes[i].name, text) == 0) {
            entry->dtype = i;
            return true;
        }
    }
    return error_set(err, ERROR_INVALID, "%s: tensor %s has unknown dtype %.16s", file, entry->name, text);
}

static bool read_shape(const char *file, struct entry *entry, const json_t *object, struct error *err)
{
    const json_t *shape = json_object_get(object, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > SHAPE_MAX)
        return error_set(err, ERROR_INVALID, "%s: tensor %s has no shape of up to %d dimensions", file,
            entry->name, SHAPE_MAX);
    entry->rank = (int)json_array_size(shape);
    for (int i = 0; i < entry->rank; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return error_set(
                err, ERROR_INVALID, "%s: tensor %s has a dimension that is no size", file, entry->name);
        entry->shape[i] = json_integer_value(dim);
    }
    return true;
}

static bool read_offsets(const char *file, struct entry *entry, const json_t *object, struct error *err)
{
    const json_t *pair = json_object_get(object, "data_offsets");
    const json_t *begin = json_array_get(pair, 0), *end = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return error_set(err, ERROR_INVALID, "%s: tensor %s has no valid data_offsets", file, entry->name);
    entry->begin = (uint64_t)json_integer_value(begin);
    entry->end = (uint64_t)json_integer_value(end);
    uint64_t elements;
    if (!shape_elements(entry->shape, entry->rank, &elements))
        return error_set(err, ERROR_INVALID, "%s: tensor %s is impossibly large", file, entry->name);
    uint64_t needed = elements * (uint64_t)dtypes[entry->dtype].bytes;
    if (entry->end - entry->begin != needed)
        return error_set(err, ERROR_INVALID, "%s: tensor %s has %llu bytes, its shape and dtype need %llu",
            file, entry->name, (unsigned long long)(entry->end - entry->begin), (unsigned long long)needed);
    return true;
}

static bool read_entry(const char *file, struct entry *entry, const json_t *object, struct error *err)
{
    if (!json_is_object(object))
        return error_set(err, ERROR_INVALID, "%s: tensor %.64s is not an object", file, entry->name);
    return read_dtype(file, entry, object, err) && read_shape(file, entry, object, err) &&
           read_offsets(file, entry, object, err);
}

static int compare_begins(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end); /* empty tensors first */
}

/* The entries must tile the data: no holes, no overlaps, nothing left over. */
static bool check_tiling(
    const char *file, struct entry *entries, size_t count, uint64_t data_len, struct error *err)
{
    uint64_t at = 0;
    qsort(entries, count, sizeof *entries, compare_begins);
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = &entries[i];
        if (entry->end > data_len)
            return error_set(err, ERROR_INVALID,
                "%s: tensor %s ends at byte %llu, the file has %llu bytes of data", file, entry->name,
                (unsigned long long)entry->end, (unsigned long long)data_len);
        if (entry->begin < at)
            return error_set(
                err, ERROR_INVALID, "%s: tensors %s and %s overlap", file, entries[i - 1].name, entry->name);
        if (entry->begin > at)
            return error_set(err, ERROR_INVALID, "%s: there is a hole of %llu bytes before tensor %s", file,
                (unsigned long long)(entry->begin - at), entry->name);
        at = entry->end;
    }
    if (at != data_len)
        return error_set(err, ERROR_INVALID, "%s: %llu bytes after the last tensor belong to none", file,
            (unsigned long long)(data_len - at));
    return true;
}

static bool add_entry(struct weights *weights, const char *file, const struct entry *entry,
    const uint8_t *data, struct error *err)
{
    int dtype = dtypes[entry->dtype].dtype;
    if (dtype < 0)
        return weights_add_unreadable(weights, file, entry->name, dtypes[entry->dtype].name, err);
    if (entry->rank > TENSOR_RANK_MAX)
        return weights_add_unreadable(weights, file, entry->name, "more than 4 dimensions", err);
    return weights_add(weights, file, entry->name, (enum dtype)dtype, entry->rank, entry->shape,
        data + entry->begin, (size_t)(entry->end - entry->begin), err);
}

/* The header's entries, malloc'd; their names point into `header`. NULL on error. */
static struct entry *read_entries(const char *file, json_t *header, size_t *count, struct error *err)
{
    struct entry *entries = calloc(json_object_size(header) + 1, sizeof *entries);
    if (entries == NULL) {
        error_set(err, ERROR_MEMORY, "%s: no memory for %zu tensors", file, json_object_size(header));
        return NULL;
    }
    const char *name;
    json_t *object;
    *count = 0;
    json_object_foreach(header, name, object)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct entry *entry = &entries[(*count)++];
        entry->name = name;
        if (!weights_check_name(file, name, err) || !read_entry(file, entry, object, err)) {
            free(entries);
            return NULL;
        }
    }
    return entries;
}

bool safetensors_read(
    struct weights *weights, const char *name, const uint8_t *bytes, size_t len, struct error *err)
{
    uint64_t header_len = 0;
    for (size_t i = 0; len >= HEADER_LENGTH_BYTES && i < HEADER_LENGTH_BYTES; i++)
        header_len |= (uint64_t)bytes[i] << (8 * i);
    if (len < HEADER_LENGTH_BYTES || header_len > len - HEADER_LENGTH_BYTES) {
        error_set(err, ERROR_INVALID,
            "%s is not a complete safetensors file: %zu bytes, its header says %llu", name, len,
            (unsigned long long)header_len);
        return error_hint(err, "it may be cut off: download it again");
    }
    const char *text = (const char *)bytes + HEADER_LENGTH_BYTES;
    json_t *header = json_object_parse(name, text, (size_t)header_len, &header_limits, err);
    if (header == NULL)
        return false;
    size_t count;
    struct entry *entries = read_entries(name, header, &count, err);
    const uint8_t *data = bytes + HEADER_LENGTH_BYTES + header_len;
    bool ok =
        entries != NULL && check_tiling(name, entries, count, len - HEADER_LENGTH_BYTES - header_len, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = add_entry(weights, name, &entries[i], data, err);
    free(entries);
    json_decref(header);
    return ok;
}
