#include "worker/model/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "worker/model/json_file.h"
#include "worker/model/safetensors.h"
#include "worker/model/torch_bin.h"

static const struct json_limits index_limits = {.bytes_max = 64 << 20, .values_max = 2 << 20};

typedef bool (*read_function)(
    struct weights *weights, const char *name, const uint8_t *bytes, size_t len, struct error *err);

/* In the order of preference. */
static const struct {
    const char *file;
    read_function read;
    bool is_index;
} kinds[] = {
    {"model.safetensors", safetensors_read, false},
    {"model.safetensors.index.json", safetensors_read, true},
    {"pytorch_model.bin", torch_bin_read, false},
    {"pytorch_model.bin.index.json", torch_bin_read, true},
    {"model.ckpt", torch_bin_read, false},
};

static bool read_one(
    const char *dir, const char *file, read_function read, struct weights *weights, struct error *err)
{
    char *path = path_join(dir, file, err);
    struct file_map map;
    bool ok = path != NULL && weights_map_file(weights, path, &map, err) &&
              read(weights, map.path, map.bytes, map.len, err);
    free(path);
    return ok;
}

/* The index as an object; its "weight_map" has tensor names for keys and plain file names for values. */
static json_t *read_index(const char *path, struct error *err)
{
    json_t *index = json_object_read(path, &index_limits, err);
    json_t *map = json_object_get(index, "weight_map"), *file;
    const char *tensor;
    if (index == NULL)
        return NULL;
    if (!json_is_object(map) || json_object_size(map) == 0) {
        error_set(err, ERROR_INVALID, "%s has no weight_map", path);
        goto fail;
    }
    json_object_foreach(map, tensor, file)
    {
        if (!weights_check_name(path, tensor, err))
            goto fail;
        if (!json_is_string(file) || !path_is_plain_name(json_string_value(file))) {
            error_set(
                err, ERROR_INVALID, "%s: the shard of tensor %s is not a plain file name", path, tensor);
            goto fail;
        }
    }
    return index;
fail:
    json_decref(index);
    return NULL;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **distinct_shards(const json_t *map, struct error *err)
{
    size_t count = 0, kept = 0;
    const char *tensor;
    json_t *file;
    char **shards = calloc(json_object_size(map) + 1, sizeof *shards);
    if (shards == NULL)
        goto no_memory;
    json_object_foreach((json_t *)map, tensor, file)
    {
        shards[count] = strdup(json_string_value(file));
        if (shards[count++] == NULL)
            goto no_memory;
    }
    qsort((void *)shards, count, sizeof *shards, compare_strings);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && strcmp(shards[kept - 1], shards[i]) == 0)
            free(shards[i]);
        else
            shards[kept++] = shards[i];
    }
    shards[kept] = NULL;
    return shards;
no_memory:
    checkpoint_shards_free(shards);
    error_set(err, ERROR_MEMORY, "no memory for the list of shards");
    return NULL;
}

char **checkpoint_shards(const char *index_path, struct error *err)
{
    json_t *index = read_index(index_path, err);
    char **shards = index == NULL ? NULL : distinct_shards(json_object_get(index, "weight_map"), err);
    json_decref(index);
    return shards;
}

void checkpoint_shards_free(char **shards)
{
    for (size_t i = 0; shards != NULL && shards[i] != NULL; i++)
        free(shards[i]);
    free((void *)shards);
}

/* Every tensor that the index lists must have come from some shard. */
static bool check_index(const char *path, const struct weights *weights, struct error *err)
{
    json_t *index = read_index(path, err), *file;
    const char *tensor;
    bool ok = index != NULL;
    json_object_foreach(json_object_get(index, "weight_map"), tensor, file)
    {
        bool found =
            weights_find(weights, tensor) != NULL || weights_unreadable_reason(weights, tensor) != NULL;
        if (ok && !found)
            ok = error_set(err, ERROR_INVALID, "%s lists tensor %s in %s, which does not have it", path,
                tensor, json_string_value(file));
    }
    json_decref(index);
    return ok;
}

static bool read_sharded(
    const char *dir, const char *index, read_function read, struct weights *weights, struct error *err)
{
    char *path = path_join(dir, index, err);
    char **shards = path == NULL ? NULL : checkpoint_shards(path, err);
    bool ok = shards != NULL;
    for (size_t i = 0; ok && shards[i] != NULL; i++)
        ok = read_one(dir, shards[i], read, weights, err);
    ok = ok && weights_finish(weights, err) && check_index(path, weights, err);
    checkpoint_shards_free(shards);
    free(path);
    return ok;
}

bool checkpoint_read(const char *dir, struct weights *weights, struct error *err)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char *path = path_join(dir, kinds[i].file, err);
        if (path == NULL)
            return false;
        bool exists = path_is_file(path);
        free(path);
        if (!exists)
            continue;
        if (kinds[i].is_index)
            return read_sharded(dir, kinds[i].file, kinds[i].read, weights, err);
        return read_one(dir, kinds[i].file, kinds[i].read, weights, err) && weights_finish(weights, err);
    }
    error_set(err, ERROR_NOT_FOUND, "%s has no weights", dir);
    return error_hint(
        err, "a model directory has model.safetensors, pytorch_model.bin or an index of shards");
}
