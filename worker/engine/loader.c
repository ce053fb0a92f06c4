#include "worker/engine/loader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_LIMIT = 1 << 24, NAME_MAX_BYTES = 256 };

static void print_args(char *out, size_t size, const char *format, va_list args)
{
    vsnprintf(out, size, format, args);
}

void loader_fail(struct loader *l, enum error_code code, const char *format, ...)
{
    char text[400];
    va_list args;
    if (l->failed)
        return;
    va_start(args, format);
    print_args(text, sizeof text, format, args);
    va_end(args);
    l->failed = true;
    error_set(l->err, code, "%s: %s", model_reference(l->model), text);
}

/* An error that a backend call left in l->err. */
static void fail_with_error(struct loader *l, const char *name)
{
    l->failed = true;
    error_context(l->err, "%s: tensor %s: ", model_reference(l->model), name);
}

static bool own(struct loader *l, int kind, void *pointer)
{
    struct owned *item = malloc(sizeof *item);
    if (!item) {
        loader_fail(l, ERROR_MEMORY, "out of memory");
        return false;
    }
    item->kind = kind;
    item->pointer = pointer;
    item->next = l->network->owned;
    l->network->owned = item;
    return true;
}

void *loader_alloc(struct loader *l, size_t count, size_t size)
{
    void *memory = l->failed ? NULL : calloc(count ? count : 1, size);
    if (!memory) {
        loader_fail(l, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    if (own(l, OWNED_MEMORY, memory))
        return memory;
    free(memory);
    return NULL;
}

/* ---- config.json ---- */

size_t loader_size(struct loader *l, const char *name, size_t fallback)
{
    const json_t *value = json_object_get(l->config, name);
    if (!value || json_is_null(value)) {
        if (fallback == 0)
            loader_fail(l, ERROR_INVALID, "config.json has no %s", name);
        return fallback;
    }
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= 1 && number <= SIZE_LIMIT) || number != floor(number)) {
        loader_fail(
            l, ERROR_INVALID, "config.json: %s must be a whole number from 1 to %d", name, SIZE_LIMIT);
        return 0;
    }
    return (size_t)number;
}

double loader_real(struct loader *l, const char *name, double fallback)
{
    const json_t *value = json_object_get(l->config, name);
    if (!value || json_is_null(value))
        return fallback;
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        loader_fail(l, ERROR_INVALID, "config.json: %s must be a number", name);
    return json_number_value(value);
}

bool loader_bool(struct loader *l, const char *name, bool fallback)
{
    const json_t *value = json_object_get(l->config, name);
    if (!value || json_is_null(value))
        return fallback;
    if (!json_is_boolean(value))
        loader_fail(l, ERROR_INVALID, "config.json: %s must be true or false", name);
    return json_is_true(value);
}

int64_t loader_integer(struct loader *l, const char *name, int64_t fallback)
{
    const json_t *value = json_object_get(l->config, name);
    if (!value)
        return fallback;
    if (json_is_null(value))
        return -1;
    double number = json_number_value(value);
    if (!json_is_number(value) || number != floor(number) || fabs(number) > INT32_MAX) {
        loader_fail(l, ERROR_INVALID, "config.json: %s must be a whole number", name);
        return -1;
    }
    return number < 0 ? -1 : (int64_t)number;
}

bool loader_converted(const struct loader *l, const char *flag)
{
    return json_is_true(json_object_get(json_object_get(l->config, "gguf"), flag));
}

enum activation loader_activation_named(struct loader *l, const char *name)
{
    static const struct {
        const char *name;
        enum activation activation;
    } names[] = {
        {"relu", ACTIVATION_RELU},
        {"gelu", ACTIVATION_GELU},
        {"gelu_python", ACTIVATION_GELU},
        {"gelu_new", ACTIVATION_GELU_TANH},
        {"gelu_fast", ACTIVATION_GELU_TANH},
        {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
        {"silu", ACTIVATION_SILU},
        {"swish", ACTIVATION_SILU},
        {"tanh", ACTIVATION_TANH},
        {"quick_gelu", ACTIVATION_QUICK_GELU},
        {"linear", ACTIVATION_NONE},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].activation;
    loader_fail(l, ERROR_UNSUPPORTED, "the activation \"%s\" is not implemented", name);
    return ACTIVATION_NONE;
}

enum activation loader_activation(struct loader *l, const char *name, const char *fallback)
{
    const json_t *value = json_object_get(l->config, name);
    return loader_activation_named(l, json_is_string(value) ? json_string_value(value) : fallback);
}

/* ---- tensors ---- */

static const struct tensor_view *find(const struct loader *l, const char *name)
{
    char full[NAME_MAX_BYTES];
    snprintf(full, sizeof full, "%s%s", l->prefix, name);
    return model_tensor(l->model, full);
}

void loader_choose_prefix(struct loader *l, const char *probe, const char *const *prefixes)
{
    for (; *prefixes; prefixes++) {
        l->prefix = *prefixes;
        if (find(l, probe))
            return;
    }
    l->prefix = "";
}

bool loader_has(const struct loader *l, const char *format, ...)
{
    char name[NAME_MAX_BYTES];
    va_list args;
    va_start(args, format);
    print_args(name, sizeof name, format, args);
    va_end(args);
    return find(l, name) != NULL;
}

/* Shape of a matrix or, with width 0, of a vector; leading ones do not count ([1, n] bias rows). */
static bool check_shape(struct loader *l, const struct tensor_view *view, size_t rows, size_t width)
{
    int first = 0, rank = width ? 2 : 1;
    while (view->rank - first > rank && view->shape[first] == 1)
        first++;
    bool fits = view->rank - first == rank && (size_t)view->shape[first] == rows &&
                (!width || (size_t)view->shape[first + 1] == width);
    if (fits)
        return true;
    char shape[96] = "";
    for (int i = 0; i < view->rank; i++) {
        size_t used = strlen(shape);
        snprintf(shape + used, sizeof shape - used, "%s%lld", i ? ", " : "", (long long)view->shape[i]);
    }
    if (width)
        loader_fail(
            l, ERROR_INVALID, "tensor %s is [%s], expected [%zu, %zu]", view->name, shape, rows, width);
    else
        loader_fail(l, ERROR_INVALID, "tensor %s is [%s], expected [%zu]", view->name, shape, rows);
    return false;
}

const struct tensor_view *loader_tensor(struct loader *l, size_t rows, size_t width, const char *name)
{
    if (l->failed)
        return NULL;
    const struct tensor_view *view = find(l, name);
    if (!view) {
        loader_fail(l, ERROR_INVALID, "tensor %s%s is missing", l->prefix, name);
        return NULL;
    }
    return check_shape(l, view, rows, width) ? view : NULL;
}

const struct tensor_view *loader_first(struct loader *l, const char *const *names)
{
    for (const char *const *name = names; *name && !l->failed; name++) {
        const struct tensor_view *view = model_tensor(l->model, *name);
        if (view)
            return view;
    }
    loader_fail(l, ERROR_INVALID, "tensor %s is missing", names[0]);
    return NULL;
}

struct part part(size_t out, bool bias, const char *format, ...)
{
    struct part p = {.out = out, .bias = bias};
    va_list args;
    va_start(args, format);
    print_args(p.name, sizeof p.name, format, args);
    va_end(args);
    return p;
}

static const struct weight *load_weight(struct loader *l, const struct weight_args *args)
{
    struct weight *weight;
    struct backend *b = l->network->backend;
    if (!b->ops->weight_load(b, args, &weight, l->err)) {
        fail_with_error(l, args->parts[0]->name);
        return NULL;
    }
    if (own(l, OWNED_WEIGHT, weight))
        return weight;
    b->ops->weight_free(b, weight);
    return NULL;
}

static const struct weight *load_parts(
    struct loader *l, size_t in, const struct part *parts, size_t count, bool transposed)
{
    char name[NAME_MAX_BYTES];
    struct weight_args args = {.part_count = count, .compute = l->compute, .transposed = transposed};
    for (size_t i = 0; i < count && !l->failed; i++) {
        snprintf(name, sizeof name, "%s.weight", parts[i].name);
        args.parts[i] =
            transposed ? loader_tensor(l, in, parts[i].out, name) : loader_tensor(l, parts[i].out, in, name);
        snprintf(name, sizeof name, "%s.bias", parts[i].name);
        if (parts[i].bias)
            args.biases[i] = loader_tensor(l, parts[i].out, 0, name);
    }
    return l->failed ? NULL : load_weight(l, &args);
}

const struct weight *loader_linear(struct loader *l, size_t in, struct part p)
{
    return load_parts(l, in, &p, 1, false);
}

const struct weight *loader_linear_transposed(struct loader *l, size_t in, struct part p)
{
    return load_parts(l, in, &p, 1, true);
}

const struct weight *loader_joined(struct loader *l, size_t in, const struct part *parts, size_t count)
{
    return load_parts(l, in, parts, count, false);
}

const struct weight *loader_table(struct loader *l, const struct tensor_view *view, size_t rows, size_t width)
{
    if (l->failed || !view || !check_shape(l, view, rows, width))
        return NULL;
    return load_weight(
        l, &(struct weight_args){.parts = {view}, .part_count = 1, .compute = l->compute, .lookup = true});
}

const struct weight *loader_table_from(
    struct loader *l, const char *name, size_t rows, size_t width, size_t first)
{
    const struct tensor_view *view = loader_tensor(l, first + rows, width, name);
    if (!view)
        return NULL;
    struct tensor_view rest = *view;
    rest.data = (const char *)view->data + dtype_bytes(view->dtype, first * width);
    rest.bytes -= dtype_bytes(view->dtype, first * width);
    rest.shape[0] -= (int64_t)first;
    return loader_table(l, &rest, rows, width);
}

const struct weight *loader_head(
    struct loader *l, const struct tensor_view *view, const struct tensor_view *bias, size_t out, size_t in)
{
    if (l->failed || !view || !check_shape(l, view, out, in))
        return NULL;
    struct tensor_view flat;
    struct weight_args args = {.parts = {view}, .part_count = 1, .compute = l->compute};
    if (bias) {
        if (!check_shape(l, bias, out, 0))
            return NULL;
        flat = *bias; /* stored as [1, out] */
        flat.rank = 1;
        flat.shape[0] = (int64_t)out;
        args.biases[0] = &flat;
    }
    return load_weight(l, &args);
}

const struct weight *loader_computed_table(struct loader *l, const float *values, size_t rows, size_t width)
{
    if (l->failed)
        return NULL;
    struct tensor_view view = {.name = "positions",
        .dtype = DTYPE_F32,
        .rank = 2,
        .shape = {(int64_t)rows, (int64_t)width},
        .data = values,
        .bytes = rows * width * sizeof *values};
    return load_weight(
        l, &(struct weight_args){.parts = {&view}, .part_count = 1, .compute = DTYPE_F32, .lookup = true});
}

static const struct vector *load_vector(struct loader *l, size_t width, float offset, const char *name)
{
    const struct tensor_view *view = loader_tensor(l, width, 0, name);
    struct vector *vector;
    struct backend *b = l->network->backend;
    if (!view)
        return NULL;
    if (!b->ops->vector_load(b, view, offset, &vector, l->err)) {
        fail_with_error(l, name);
        return NULL;
    }
    if (own(l, OWNED_VECTOR, vector))
        return vector;
    b->ops->vector_free(b, vector);
    return NULL;
}

const struct vector *loader_vector(struct loader *l, size_t width, float offset, const char *format, ...)
{
    char name[NAME_MAX_BYTES];
    va_list args;
    va_start(args, format);
    print_args(name, sizeof name, format, args);
    va_end(args);
    return load_vector(l, width, offset, name);
}

struct norm loader_layer_norm(struct loader *l, size_t width, double epsilon, const char *format, ...)
{
    char base[NAME_MAX_BYTES - 16], name[NAME_MAX_BYTES];
    va_list args;
    va_start(args, format);
    print_args(base, sizeof base, format, args);
    va_end(args);
    struct norm n = {.kind = NORM_LAYER, .epsilon = (float)epsilon};
    snprintf(name, sizeof name, "%s.weight", base);
    n.weight = load_vector(l, width, 0, name);
    snprintf(name, sizeof name, "%s.bias", base);
    n.bias = load_vector(l, width, 0, name);
    return n;
}

struct norm loader_rms_norm(
    struct loader *l, size_t width, double epsilon, float offset, const char *format, ...)
{
    char base[NAME_MAX_BYTES - 16], name[NAME_MAX_BYTES];
    va_list args;
    va_start(args, format);
    print_args(base, sizeof base, format, args);
    va_end(args);
    snprintf(name, sizeof name, "%s.weight", base);
    return (struct norm){
        .kind = NORM_RMS, .epsilon = (float)epsilon, .weight = load_vector(l, width, offset, name)};
}
