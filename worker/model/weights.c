#include "worker/model/weights.h"

#include <stdlib.h>
#include <string.h>

/* Makes room for one more element in a growing array. */
static bool grow(void **array, size_t count, size_t *capacity, size_t element_bytes, struct error *err)
{
    if (count < *capacity)
        return true;
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *grown = reallocarray(*array, wanted, element_bytes);
    if (grown == NULL)
        return error_set(err, ERROR_MEMORY, "no memory for %zu tensors", wanted);
    *array = grown;
    *capacity = wanted;
    return true;
}

bool weights_map_file(struct weights *weights, const char *path, struct file_map *out, struct error *err)
{
    if (weights->file_count >= WEIGHTS_FILES_MAX)
        return error_set(err, ERROR_TOO_LARGE, "more than %d weight files", WEIGHTS_FILES_MAX);
    if (!grow((void **)&weights->files, weights->file_count, &weights->file_capacity, sizeof *weights->files,
            err) ||
        !file_map_open(path, &weights->files[weights->file_count], err))
        return false;
    *out = weights->files[weights->file_count++];
    return true;
}

bool shape_elements(const int64_t *shape, int rank, uint64_t *out)
{
    uint64_t elements = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0 || shape[i] > (INT64_C(1) << 48))
            return false;
        if (shape[i] == 0) {
            empty = true;
            continue;
        }
        if (__builtin_mul_overflow(elements, (uint64_t)shape[i], &elements) || elements > (UINT64_C(1) << 48))
            return false;
    }
    *out = empty ? 0 : elements;
    return true;
}

static size_t dtype_alignment(enum dtype dtype)
{
    /* Block formats hold half-precision scales. */
    return dtype_block_elements(dtype) > 1 ? 2 : dtype_bytes(dtype, 1);
}

bool weights_check_name(const char *file, const char *name, struct error *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > WEIGHTS_NAME_BYTES_MAX)
        return error_set(err, ERROR_INVALID, "%s: a tensor's name must have 1 to %d bytes, this has %zu",
            file, WEIGHTS_NAME_BYTES_MAX, len);
    for (size_t i = 0; i < len; i++) {
        if (name[i] < 0x20 || name[i] >= 0x7f)
            return error_set(err, ERROR_INVALID, "%s: a tensor's name holds unprintable characters", file);
    }
    return true;
}

static bool check_room(const struct weights *weights, const char *file, struct error *err)
{
    if (weights->tensor_count + weights->unreadable_count >= WEIGHTS_TENSORS_MAX)
        return error_set(err, ERROR_TOO_LARGE, "%s: more than %d tensors", file, WEIGHTS_TENSORS_MAX);
    return true;
}

bool weights_add(struct weights *weights, const char *file, const char *name, enum dtype dtype, int rank,
    const int64_t *shape, const void *data, size_t bytes, struct error *err)
{
    if (!weights_check_name(file, name, err) || !check_room(weights, file, err) ||
        !grow((void **)&weights->tensors, weights->tensor_count, &weights->tensor_capacity,
            sizeof *weights->tensors, err))
        return false;
    if ((uintptr_t)data % dtype_alignment(dtype) != 0) {
        void *aligned = weights_allocate(weights, bytes, err);
        if (aligned == NULL)
            return error_context(err, "%s: tensor %s: ", file, name);
        memcpy(aligned, data, bytes);
        data = aligned;
    }
    struct tensor_view view = {.dtype = dtype, .rank = rank, .data = data, .bytes = bytes};
    memcpy(view.shape, shape, (size_t)rank * sizeof *shape);
    view.name = strdup(name);
    if (view.name == NULL)
        return error_set(err, ERROR_MEMORY, "%s: no memory for tensor %s", file, name);
    weights->tensors[weights->tensor_count++] = view;
    return true;
}

bool weights_add_unreadable(
    struct weights *weights, const char *file, const char *name, const char *reason, struct error *err)
{
    if (!weights_check_name(file, name, err) || !check_room(weights, file, err) ||
        !grow((void **)&weights->unreadable, weights->unreadable_count, &weights->unreadable_capacity,
            sizeof *weights->unreadable, err))
        return false;
    struct weights_unreadable *entry = &weights->unreadable[weights->unreadable_count];
    memset(entry, 0, sizeof *entry);
    strncpy(entry->reason, reason, sizeof entry->reason - 1);
    entry->name = strdup(name);
    if (entry->name == NULL)
        return error_set(err, ERROR_MEMORY, "%s: no memory for tensor %s", file, name);
    weights->unreadable_count++;
    return true;
}

void *weights_allocate(struct weights *weights, size_t bytes, struct error *err)
{
    if (!grow((void **)&weights->copies, weights->copy_count, &weights->copy_capacity,
            sizeof *weights->copies, err))
        return NULL;
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (memory == NULL) {
        error_set(err, ERROR_MEMORY, "no memory for a copy of %zu bytes", bytes);
        return NULL;
    }
    weights->copies[weights->copy_count++] = memory;
    return memory;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct tensor_view *)a)->name, ((const struct tensor_view *)b)->name);
}

static int compare_unreadable(const void *a, const void *b)
{
    return strcmp(((const struct weights_unreadable *)a)->name, ((const struct weights_unreadable *)b)->name);
}

bool weights_finish(struct weights *weights, struct error *err)
{
    if (weights->unreadable_count > 0)
        qsort(
            weights->unreadable, weights->unreadable_count, sizeof *weights->unreadable, compare_unreadable);
    if (weights->tensor_count > 0)
        qsort(weights->tensors, weights->tensor_count, sizeof *weights->tensors, compare_names);
    for (size_t i = 1; i < weights->tensor_count; i++) {
        if (strcmp(weights->tensors[i - 1].name, weights->tensors[i].name) == 0)
            return error_set(err, ERROR_INVALID, "tensor %s occurs more than once", weights->tensors[i].name);
    }
    return true;
}

const struct tensor_view *weights_find(const struct weights *weights, const char *name)
{
    if (weights->tensor_count == 0)
        return NULL;
    struct tensor_view key = {.name = name};
    return bsearch(&key, weights->tensors, weights->tensor_count, sizeof key, compare_names);
}

const char *weights_unreadable_reason(const struct weights *weights, const char *name)
{
    if (weights->unreadable_count == 0)
        return NULL;
    struct weights_unreadable key = {.name = (char *)name};
    const struct weights_unreadable *found =
        bsearch(&key, weights->unreadable, weights->unreadable_count, sizeof key, compare_unreadable);
    return found == NULL ? NULL : found->reason;
}

void weights_free(struct weights *weights)
{
    for (size_t i = 0; i < weights->tensor_count; i++)
        free((char *)weights->tensors[i].name);
    for (size_t i = 0; i < weights->unreadable_count; i++)
        free(weights->unreadable[i].name);
    for (size_t i = 0; i < weights->copy_count; i++)
        free(weights->copies[i]);
    for (size_t i = 0; i < weights->file_count; i++)
        file_map_close(&weights->files[i]);
    free(weights->tensors);
    free(weights->unreadable);
    free(weights->copies);
    free(weights->files);
    gguf_close(weights->gguf);
    memset(weights, 0, sizeof *weights);
}
