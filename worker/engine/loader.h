/* Reads a model's configuration and tensors for an architecture.
 *
 * The first failure sticks: later calls return 0 or NULL, so that an architecture reads like its figure and
 * checks once at the end. Names are the hub's; a prefix that some checkpoints leave out is chosen once. */
#ifndef LUMIGRID_WORKER_ENGINE_LOADER_H
#define LUMIGRID_WORKER_ENGINE_LOADER_H

#include "worker/engine/blocks.h"
#include "worker/engine/network.h"

struct loader {
    struct network *network;
    const struct model *model;
    const json_t *config;
    enum dtype compute;
    const char *prefix; /* put before every tensor's name; "" at first */
    struct error *err;
    bool failed;
};

void loader_fail(struct loader *l, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Zeroed memory owned by the network. NULL (and the loader failed) when there is none. */
void *loader_alloc(struct loader *l, size_t count, size_t size);

/* config.json. Sizes are 1 to 2^24 and required unless `fallback` is given (> 0). */
size_t loader_size(struct loader *l, const char *name, size_t fallback);
double loader_real(struct loader *l, const char *name, double fallback);
bool loader_bool(struct loader *l, const char *name, bool fallback);
/* -1 for null, absent or negative. */
int64_t loader_integer(struct loader *l, const char *name, int64_t fallback);
/* What a GGUF converter changed in the weights: a flag of config's "gguf" object (see model/gguf_names.c). */
bool loader_converted(const struct loader *l, const char *flag);
enum activation loader_activation(struct loader *l, const char *name, const char *fallback);
enum activation loader_activation_named(struct loader *l, const char *name);

/* Sets the prefix to the first of `prefixes` (ended by NULL) under which `probe` exists. */
void loader_choose_prefix(struct loader *l, const char *probe, const char *const *prefixes);
bool loader_has(const struct loader *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One part of a joined weight: tensors <name>.weight [out, in] and, with `bias`, <name>.bias [out]. */
struct part {
    char name[160];
    size_t out;
    bool bias;
};
struct part part(size_t out, bool bias, const char *format, ...) __attribute__((format(printf, 3, 4)));
const struct weight *loader_linear(struct loader *l, size_t in, struct part p);
const struct weight *loader_joined(struct loader *l, size_t in, const struct part *parts, size_t count);
/* GPT-2's Conv1D: <name>.weight is [in, out]. */
const struct weight *loader_linear_transposed(struct loader *l, size_t in, struct part p);

/* The first of `names` (ended by NULL) that exists: tied weights are stored under any one of their names. */
const struct tensor_view *loader_first(struct loader *l, const char *const *names);
const struct tensor_view *loader_tensor(struct loader *l, size_t rows, size_t width, const char *name);

/* A table for embed; views are checked to be [rows, width]. */
const struct weight *loader_table(
    struct loader *l, const struct tensor_view *view, size_t rows, size_t width);
/* Rows [first, first + rows) of the table `name`. */
const struct weight *loader_table_from(
    struct loader *l, const char *name, size_t rows, size_t width, size_t first);
/* The same matrix as a linear weight: the head; `bias` may be NULL. */
const struct weight *loader_head(
    struct loader *l, const struct tensor_view *view, const struct tensor_view *bias, size_t out, size_t in);
/* A table of values computed here; `values` is owned by the network. */
const struct weight *loader_computed_table(struct loader *l, const float *values, size_t rows, size_t width);

const struct vector *loader_vector(struct loader *l, size_t width, float offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* <name>.weight and <name>.bias of a layer norm; `.weight` alone, plus `offset`, of an RMS norm. */
struct norm loader_layer_norm(struct loader *l, size_t width, double epsilon, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
struct norm loader_rms_norm(struct loader *l, size_t width, double epsilon, float offset, const char *format,
    ...) __attribute__((format(printf, 5, 6)));

#endif
