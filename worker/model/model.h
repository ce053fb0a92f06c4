/* From a model reference to mapped weights, configuration and tokenizer.
 *
 * A model is immutable once open and may be read by any thread. Weights are mapped, never copied, where the
 * file's layout allows; a view points into the mapping and lives as long as the model. */
#ifndef LUMIGRID_WORKER_MODEL_MODEL_H
#define LUMIGRID_WORKER_MODEL_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/model/tokenizer/tokenizer.h"

/* GGUF block formats keep their packed bytes; rows are whole blocks. */
enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I8,
    DTYPE_I32,
    DTYPE_I64,
    DTYPE_Q4_0,
    DTYPE_Q5_0,
    DTYPE_Q8_0,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
};
const char *dtype_name(enum dtype dtype); /* "f32", "q4_k", …; never NULL */
/* What weights can be computed in: "f32", "f16", "bf16", "int8". False, and `out` untouched: none of these.
 */
bool dtype_compute_parse(const char *name, enum dtype *out);
size_t dtype_bytes(enum dtype dtype, size_t elements); /* elements must fill whole blocks */

enum { TENSOR_RANK_MAX = 4 };

struct tensor_view {
    const char *name; /* the hub's name, also for tensors that come from a GGUF file */
    enum dtype dtype;
    int rank;
    int64_t shape[TENSOR_RANK_MAX]; /* row-major, as torch prints it: a Linear's weight is [out, in] */
    const void *data;               /* into the mapping; aligned to the dtype's element */
    size_t bytes;
};

struct model_options {
    const char *cache_dir;  /* models live here; NULL: HF_HOME's hub folder or ~/.cache/huggingface/hub */
    const char *allow_dirs; /* colon-separated directories file:// and gguf:// may name; NULL: any */
    /* Download progress; NULL: none. Called on the thread that opens. Return false to cancel. */
    bool (*progress)(void *context, const char *file, uint64_t done_bytes, uint64_t total_bytes);
    void *context;
};

struct model;

/* Opens `reference` (hf://org/name[@rev], file:///dir, gguf:///file.gguf, hf://org/name/file.gguf),
 * downloading what is not in the cache. Every size, offset and dtype is checked before anything points at it.
 * A directory without tokenizer files opens: then model_tokenizer is NULL. A missing generation_config.json
 * is derived from config.json as transformers does. */
bool model_open(
    const char *reference, const struct model_options *options, struct model **out, struct error *err);
void model_close(struct model *model); /* NULL is fine */

const char *model_reference(const struct model *model);
const char *model_type(
    const struct model *model); /* config.json's model_type, or the GGUF architecture mapped to it */
const json_t *model_config(const struct model *model);              /* an object; synthesised for GGUF */
const json_t *model_generation_config(const struct model *model);   /* an object */
const struct tokenizer *model_tokenizer(const struct model *model); /* NULL: none */

size_t model_tensor_count(const struct model *model);
const struct tensor_view *model_tensor_at(const struct model *model, size_t index);
const struct tensor_view *model_tensor(const struct model *model, const char *name); /* NULL: none */

/* Why the checkpoint's tensor `name` is not among the model's ("float64", "more than 4 dimensions"); NULL
 * when the checkpoint does not have it at all. For the message about a missing tensor. */
const char *model_tensor_unreadable(const struct model *model, const char *name);

/* Reads every weight once: ERROR_INVALID naming the tensor and the first element that is NaN or infinite (in
 * block formats: the block whose scale is). Not part of model_open, which touches no weights: call it at
 * load, or for `inspect`. */
bool model_check_finite(const struct model *model, struct error *err);

/* The directory (or the .gguf file) that `reference` names, downloaded when it is not in the cache; nothing
 * of it is opened. Malloc'd; NULL on error. For tools that want one part only, such as the tokenizer. */
char *model_locate(const char *reference, const struct model_options *options, struct error *err);

/* SHA-256 over names, shapes, dtypes and bytes of all tensors and config.json, hex. Computed on first call
 * (it reads every byte) and kept in $XDG_CACHE_HOME/lumigrid (~/.cache/lumigrid) when that is writable, keyed
 * by the files' device, inode, size and time. Any thread may ask; the string lives as long as the model. NULL
 * on error. */
const char *model_digest(struct model *model, struct error *err);

#endif
