#include <string.h>

#include "worker/backend/backend.h"
#include "worker/tools/tool.h"

const char *tool_required(const struct config *config, const char *name, bool *usage_error, struct error *err)
{
    const char *value = config_text(config, name);
    if (value && *value)
        return value;
    *usage_error = true;
    error_set(err, ERROR_INVALID, "--%s is missing", name);
    return NULL;
}

bool tool_count(const struct config *config, const char *name, size_t min, size_t max, size_t *out,
    bool *usage_error, struct error *err)
{
    int64_t value;
    if (config_integer(config, name, (int64_t)min, (int64_t)max, &value, err)) {
        *out = (size_t)value;
        return true;
    }
    *usage_error = true;
    return false;
}

static bool parse_dtype(const char *name, enum dtype *out)
{
    *out = DTYPE_F32; /* auto */
    return strcmp(name, "auto") == 0 || dtype_compute_parse(name, out);
}

bool subject_open_model(
    struct subject *subject, const struct config *config, bool *usage_error, struct error *err)
{
    const char *reference = tool_required(config, "model", usage_error, err);
    struct model_options options = {.cache_dir = config_text(config, "models")};
    return reference && model_open(reference, &options, &subject->model, err);
}

bool subject_open_engine(struct subject *subject, const struct config *config, size_t batch_max,
    bool *usage_error, struct error *err)
{
    struct engine_options options = {.batch_max = batch_max};
    struct backend_options backend = {0};
    size_t threads;
    if (!tool_count(config, "threads", 0, 1024, &threads, usage_error, err))
        return false;
    backend.threads = (int)threads;
    if (!parse_dtype(config_text(config, "dtype"), &options.compute_dtype)) {
        *usage_error = true;
        return error_set(err, ERROR_INVALID, "--dtype takes auto, f32, f16, bf16 or int8, not \"%.40s\"",
            config_text(config, "dtype"));
    }
    return (subject->backend ||
               backend_open(config_text(config, "device"), &backend, &subject->backend, err)) &&
           engine_open(subject->backend, subject->model, &options, &subject->engine, err);
}

void subject_close(struct subject *subject)
{
    engine_close(subject->engine);
    backend_close(subject->backend);
    model_close(subject->model);
    memset(subject, 0, sizeof *subject);
}
