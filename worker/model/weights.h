/* The tensors of a model while it is being read, whatever files they come from: owns mappings, names and the
 * few copies that a file's layout makes necessary. Filled by one thread; immutable after weights_finish. */
#ifndef LUMIGRID_WORKER_MODEL_WEIGHTS_H
#define LUMIGRID_WORKER_MODEL_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/model/file_map.h"
#include "worker/model/gguf.h"
#include "worker/model/model.h"

enum {
    WEIGHTS_NAME_BYTES_MAX = 512,
    WEIGHTS_TENSORS_MAX = 1 << 20,
    WEIGHTS_FILES_MAX = 4096,
};

/* A tensor that the file has and tensor_view cannot express (a bool buffer, float64, rank 5). */
struct weights_unreadable {
    char *name;
    char reason[64];
};

struct weights {
    struct tensor_view *tensors; /* sorted by name after weights_finish */
    size_t tensor_count, tensor_capacity;
    struct weights_unreadable *unreadable;
    size_t unreadable_count, unreadable_capacity;
    struct file_map *files;
    size_t file_count, file_capacity;
    void **copies;
    size_t copy_count, copy_capacity;
    struct gguf *gguf; /* owned; NULL unless the tensors come from one */
};

/* Maps a file that lives as long as the weights. The pointer in *out moves with the next call: use its bytes,
 * path and len before. */
bool weights_map_file(struct weights *weights, const char *path, struct file_map *out, struct error *err);

/* Elements of a shape into *out; false on a negative dimension or when the product passes 2^48. */
bool shape_elements(const int64_t *shape, int rank, uint64_t *out);

/* Whether `name` is a usable tensor name: 1 to WEIGHTS_NAME_BYTES_MAX printable ASCII characters, so that it
 * may stand in a message. */
bool weights_check_name(const char *file, const char *name, struct error *err);

/* Adds a contiguous tensor at `data`, already known to lie inside a mapping; `bytes` must be what shape and
 * dtype need. Misaligned data is copied. `name` is copied; `file` is for messages. */
bool weights_add(struct weights *weights, const char *file, const char *name, enum dtype dtype, int rank,
    const int64_t *shape, const void *data, size_t bytes, struct error *err);

/* Notes that `name` is there and cannot be used, and why. */
bool weights_add_unreadable(
    struct weights *weights, const char *file, const char *name, const char *reason, struct error *err);

/* Memory that lives as long as the weights; NULL and an error when there is none. */
void *weights_allocate(struct weights *weights, size_t bytes, struct error *err);

/* Sorts; a name that occurs twice is an error. */
bool weights_finish(struct weights *weights, struct error *err);

const struct tensor_view *weights_find(const struct weights *weights, const char *name); /* after finish */
/* Why `name`, which the file has, is not among the tensors; NULL when it is not known at all. */
const char *weights_unreadable_reason(const struct weights *weights, const char *name);
/* model_check_finite's work. */
bool weights_check_finite(const struct weights *weights, struct error *err);
void weights_free(struct weights *weights); /* a zeroed struct is fine */

/* Elements in a block of the dtype: 1 for plain ones. */
size_t dtype_block_elements(enum dtype dtype);

#endif
