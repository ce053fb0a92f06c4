#include "worker/model/torch_bin.h"

#include <stdio.h>
#include <string.h>

#include "worker/model/pickle.h"
#include "worker/model/zip_stored.h"

static const struct {
    const char *name;
    int bytes;
    int dtype; /* -1: known and not readable */
} dtypes[] = {
    [PICKLE_F32] = {"float32", 4, DTYPE_F32},
    [PICKLE_F16] = {"float16", 2, DTYPE_F16},
    [PICKLE_BF16] = {"bfloat16", 2, DTYPE_BF16},
    [PICKLE_F64] = {"float64", 8, -1},
    [PICKLE_I8] = {"int8", 1, DTYPE_I8},
    [PICKLE_U8] = {"uint8", 1, -1},
    [PICKLE_I16] = {"int16", 2, -1},
    [PICKLE_I32] = {"int32", 4, DTYPE_I32},
    [PICKLE_I64] = {"int64", 8, DTYPE_I64},
    [PICKLE_BOOLEAN] = {"bool", 1, -1},
    [PICKLE_C64] = {"complex64", 8, -1},
};

enum { ENTRY_NAME_BYTES_MAX = 512, STORAGE_KEY_BYTES_MAX = 64 };

struct archive {
    const char *name;
    struct zip_stored zip;
    const char *folder; /* every entry of the archive lies in one folder; with its slash */
    size_t folder_len;
    uint64_t copy_budget_bytes; /* copies may not multiply a small file into a large memory */
};

static const struct zip_entry *find_entry(const struct archive *archive, const char *path, size_t path_len)
{
    char name[ENTRY_NAME_BYTES_MAX];
    if (archive->folder_len + path_len > sizeof name)
        return NULL;
    memcpy(name, archive->folder, archive->folder_len);
    memcpy(name + archive->folder_len, path, path_len);
    return zip_stored_find(&archive->zip, name, archive->folder_len + path_len);
}

/* The archive's one "<folder>/data.pkl". */
static const struct zip_entry *find_pickle(struct archive *archive, struct error *err)
{
    static const char tail[] = "/data.pkl";
    const struct zip_entry *found = NULL;
    for (size_t i = 0; i < archive->zip.count; i++) {
        const struct zip_entry *entry = &archive->zip.entries[i];
        size_t tail_len = sizeof tail - 1;
        if (entry->name_len <= tail_len ||
            memcmp(entry->name + entry->name_len - tail_len, tail, tail_len) != 0 ||
            memchr(entry->name, '/', entry->name_len - tail_len) != NULL)
            continue;
        if (found != NULL) {
            error_set(err, ERROR_INVALID, "%s: the archive holds more than one data.pkl", archive->name);
            return NULL;
        }
        found = entry;
        archive->folder = entry->name;
        archive->folder_len = entry->name_len - tail_len + 1;
    }
    if (found == NULL)
        error_set(err, ERROR_INVALID, "%s: the archive holds no data.pkl; it was not written by torch.save",
            archive->name);
    return found;
}

static bool check_byte_order(const struct archive *archive, struct error *err)
{
    static const char path[] = "byteorder";
    const struct zip_entry *entry = find_entry(archive, path, sizeof path - 1);
    if (entry != NULL && (entry->len != strlen("little") || memcmp(entry->data, "little", entry->len) != 0))
        return error_set(err, ERROR_UNSUPPORTED, "%s: the weights are not little-endian", archive->name);
    return true;
}

/* The bytes of a tensor's storage. */
static bool find_storage(const struct archive *archive, const char *name, const struct pickle_value *storage,
    const uint8_t **out, struct error *err)
{
    static const char folder[] = {'d', 'a', 't', 'a', '/'};
    char path[sizeof folder + STORAGE_KEY_BYTES_MAX];
    if (storage->storage.key_len == 0 || storage->storage.key_len > STORAGE_KEY_BYTES_MAX)
        return error_set(err, ERROR_INVALID, "%s: tensor %s names an invalid storage", archive->name, name);
    memcpy(path, folder, sizeof folder);
    memcpy(path + sizeof folder, storage->storage.key, storage->storage.key_len);
    const struct zip_entry *entry = find_entry(archive, path, sizeof folder + storage->storage.key_len);
    if (entry == NULL)
        return error_set(
            err, ERROR_INVALID, "%s: the storage of tensor %s is not in the archive", archive->name, name);
    uint64_t needed;
    if (__builtin_mul_overflow(
            (uint64_t)storage->storage.elements, (uint64_t)dtypes[storage->storage.dtype].bytes, &needed) ||
        needed > entry->len)
        return error_set(err, ERROR_INVALID,
            "%s: the storage of tensor %s has %zu bytes, %lld elements of %s need more", archive->name, name,
            entry->len, (long long)storage->storage.elements, dtypes[storage->storage.dtype].name);
    *out = entry->data;
    return true;
}

/* Whether the tensor's last element lies in its storage, and how many elements there are. */
static bool check_extent(const struct archive *archive, const char *name, const struct pickle_value *tensor,
    uint64_t *elements, struct error *err)
{
    if (!shape_elements(tensor->tensor.shape, tensor->tensor.rank, elements))
        return error_set(err, ERROR_INVALID, "%s: tensor %s is impossibly large", archive->name, name);
    int64_t last = tensor->tensor.offset, size = tensor->tensor.storage->storage.elements;
    bool fits = true;
    for (int i = 0; fits && *elements > 0 && i < tensor->tensor.rank; i++) {
        int64_t step;
        fits = !__builtin_mul_overflow(tensor->tensor.shape[i] - 1, tensor->tensor.stride[i], &step) &&
               !__builtin_add_overflow(last, step, &last);
    }
    if (!fits || (*elements > 0 ? last >= size : last > size))
        return error_set(err, ERROR_INVALID, "%s: tensor %s reaches past its storage of %lld elements",
            archive->name, name, (long long)size);
    return true;
}

static bool is_contiguous(const struct pickle_value *tensor)
{
    int64_t expected = 1;
    for (int i = tensor->tensor.rank - 1; i >= 0; i--) {
        if (tensor->tensor.shape[i] != 1 && tensor->tensor.stride[i] != expected)
            return false;
        expected *= tensor->tensor.shape[i];
    }
    return true;
}

/* Copies a strided tensor in row-major order. Every index was checked by check_extent. */
static void gather(const struct pickle_value *tensor, const uint8_t *storage, size_t element_bytes,
    uint64_t elements, uint8_t *out)
{
    int64_t index[PICKLE_RANK_MAX] = {0};
    int64_t at = tensor->tensor.offset;
    for (uint64_t i = 0; i < elements; i++) {
        memcpy(out + i * element_bytes, storage + (uint64_t)at * element_bytes, element_bytes);
        for (int d = tensor->tensor.rank - 1; d >= 0; d--) {
            if (tensor->tensor.shape[d] == 1)
                continue; /* its stride means nothing and may be anything */
            at += tensor->tensor.stride[d];
            if (++index[d] < tensor->tensor.shape[d])
                break;
            at -= tensor->tensor.stride[d] * tensor->tensor.shape[d];
            index[d] = 0;
        }
    }
}

static const void *gather_copy(struct archive *archive, struct weights *weights, const char *name,
    const struct pickle_value *tensor, const uint8_t *storage, uint64_t elements, struct error *err)
{
    size_t element_bytes = (size_t)dtypes[tensor->tensor.storage->storage.dtype].bytes;
    uint64_t bytes = elements * element_bytes;
    if (bytes > archive->copy_budget_bytes) {
        error_set(err, ERROR_TOO_LARGE, "%s: tensor %s is an expanded view, larger than what is stored",
            archive->name, name);
        return NULL;
    }
    archive->copy_budget_bytes -= bytes;
    uint8_t *copy = weights_allocate(weights, (size_t)bytes, err);
    if (copy != NULL)
        gather(tensor, storage, element_bytes, elements, copy);
    return copy;
}

static bool add_tensor(struct archive *archive, struct weights *weights, const char *name,
    const struct pickle_value *tensor, struct error *err)
{
    const struct pickle_value *storage = tensor->tensor.storage;
    const uint8_t *bytes = NULL;
    uint64_t elements = 0;
    if (!find_storage(archive, name, storage, &bytes, err) ||
        !check_extent(archive, name, tensor, &elements, err))
        return false;
    int dtype = dtypes[storage->storage.dtype].dtype;
    if (dtype < 0)
        return weights_add_unreadable(weights, archive->name, name, dtypes[storage->storage.dtype].name, err);
    if (tensor->tensor.rank > TENSOR_RANK_MAX)
        return weights_add_unreadable(weights, archive->name, name, "more than 4 dimensions", err);
    size_t element_bytes = (size_t)dtypes[storage->storage.dtype].bytes;
    const void *data = bytes + (uint64_t)tensor->tensor.offset * element_bytes;
    if (elements == 0)
        data = bytes;
    else if (!is_contiguous(tensor))
        data = gather_copy(archive, weights, name, tensor, bytes, elements, err);
    return data != NULL && weights_add(weights, archive->name, name, (enum dtype)dtype, tensor->tensor.rank,
                               tensor->tensor.shape, data, (size_t)elements * element_bytes, err);
}

static bool add_state_dict(
    struct archive *archive, struct weights *weights, const struct pickle_value *root, struct error *err)
{
    const struct pickle_value *nested = pickle_dict_get(root, "state_dict");
    const struct pickle_value *dict = nested != NULL && nested->kind == PICKLE_DICT ? nested : root;
    size_t tensors = 0;
    if (dict->kind != PICKLE_DICT)
        return error_set(err, ERROR_INVALID, "%s holds no state dict", archive->name);
    for (size_t i = 0; i + 1 < dict->list.count; i += 2) {
        const struct pickle_value *key = dict->list.items[i], *value = dict->list.items[i + 1];
        if (value->kind != PICKLE_TENSOR || key->kind != PICKLE_STRING)
            continue;
        char name[WEIGHTS_NAME_BYTES_MAX + 1];
        if (key->text.len >= sizeof name || memchr(key->text.data, '\0', key->text.len) != NULL)
            return error_set(err, ERROR_INVALID, "%s: a tensor's name is unusable", archive->name);
        memcpy(name, key->text.data, key->text.len);
        name[key->text.len] = '\0';
        if (!weights_check_name(archive->name, name, err) || !add_tensor(archive, weights, name, value, err))
            return false;
        tensors++;
    }
    return tensors > 0 || error_set(err, ERROR_INVALID, "%s holds no tensors", archive->name);
}

/* Says what a file that is no zip archive is. */
static bool refuse_format(const char *name, const uint8_t *bytes, size_t len, struct error *err)
{
    if (len >= 2 && bytes[0] == 0x80 && bytes[1] <= 5) {
        error_set(
            err, ERROR_UNSUPPORTED, "%s is in the format of torch before 1.6, which is not supported", name);
        return error_hint(err, "load it with torch and save it again, or convert it to safetensors");
    }
    if (len >= 32 && memcmp(bytes, "version https://git-lfs", 23) == 0) {
        error_set(err, ERROR_INVALID, "%s is a Git LFS pointer, not the weights", name);
        return error_hint(err, "run `git lfs pull` in the model's directory");
    }
    return error_set(err, ERROR_INVALID, "%s is not a torch checkpoint", name);
}

bool torch_bin_read(
    struct weights *weights, const char *name, const uint8_t *bytes, size_t len, struct error *err)
{
    if (!zip_stored_detect(bytes, len))
        return refuse_format(name, bytes, len, err);
    struct archive archive = {.name = name, .copy_budget_bytes = len};
    struct pickle *pickle = NULL;
    bool ok = false;
    if (!zip_stored_open(name, bytes, len, &archive.zip, err))
        return false;
    const struct zip_entry *entry = find_pickle(&archive, err);
    if (entry != NULL && check_byte_order(&archive, err) &&
        pickle_read(name, entry->data, entry->len, &pickle, err))
        ok = add_state_dict(&archive, weights, pickle_root(pickle), err);
    pickle_free(pickle);
    zip_stored_close(&archive.zip);
    return ok;
}
