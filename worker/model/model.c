#include "worker/model/model.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "worker/model/checkpoint.h"
#include "worker/model/digest.h"
#include "worker/model/generation_config.h"
#include "worker/model/gguf_names.h"
#include "worker/model/hub.h"
#include "worker/model/json_file.h"
#include "worker/model/reference.h"

static const struct json_limits config_limits = {.bytes_max = 8 << 20, .values_max = 500000};

struct model {
    char *reference;
    json_t *config, *generation_config;
    struct tokenizer *tokenizer;
    struct weights weights;
    pthread_mutex_t digest_lock;
    char digest[DIGEST_HEX_BYTES]; /* empty: not computed yet */
};

/* config.json, which must say what kind of model this is. */
static bool read_config(const char *dir, struct model *model, struct error *err)
{
    char *path = path_join(dir, "config.json", err);
    if (path == NULL)
        return false;
    model->config = json_object_read(path, &config_limits, err);
    if (model->config == NULL && err != NULL && err->code == ERROR_NOT_FOUND)
        error_hint(err, "a model directory has config.json, weights and tokenizer files");
    bool ok = model->config != NULL;
    if (ok && model_type(model) == NULL)
        ok = error_set(err, ERROR_INVALID, "%s has no model_type", path);
    free(path);
    return ok;
}

static bool read_generation_config(const char *dir, struct model *model, struct error *err)
{
    char *path = path_join(dir, "generation_config.json", err);
    if (path == NULL)
        return false;
    model->generation_config = path_is_file(path) ? json_object_read(path, &config_limits, err)
                                                  : generation_config_derive(model->config, err);
    free(path);
    return model->generation_config != NULL;
}

/* Whether a tokenizer was opened, or there is none. */
static bool accept_tokenizer(struct model *model, bool opened, const struct error *failure, struct error *err)
{
    if (opened)
        return true;
    model->tokenizer = NULL;
    if (failure->code == ERROR_NOT_FOUND)
        return true;
    if (err != NULL)
        *err = *failure;
    return false;
}

static bool open_directory(const char *dir, struct model *model, struct error *err)
{
    struct error failure = {0};
    return read_config(dir, model, err) && read_generation_config(dir, model, err) &&
           checkpoint_read(dir, &model->weights, err) &&
           accept_tokenizer(model, tokenizer_open(dir, &model->tokenizer, &failure), &failure, err);
}

static bool open_gguf(const char *path, struct model *model, struct error *err)
{
    struct error failure = {0};
    struct gguf *file;
    if (!gguf_open(path, &file, err))
        return false;
    model->weights.gguf = file;
    const struct gguf_architecture *architecture = gguf_architecture_of(file, err);
    if (architecture == NULL || !gguf_add_tensors(file, architecture, &model->weights, err))
        return error_context(err, "%s: ", path);
    model->config = gguf_config(file, architecture, err);
    if (model->config == NULL)
        return error_context(err, "%s: ", path);
    model->generation_config = generation_config_derive(model->config, err);
    return model->generation_config != NULL &&
           accept_tokenizer(model, tokenizer_open_gguf(file, &model->tokenizer, &failure), &failure, err);
}

/* The local path of a parsed reference; malloc'd. */
static char *locate(const struct reference *reference, const struct model_options *options, struct error *err)
{
    static const struct model_options none = {0};
    if (options == NULL)
        options = &none;
    if (reference->kind == REFERENCE_HUB)
        return hub_fetch(reference, options, err);
    if (!reference_path_allowed(reference->path, options->allow_dirs, err))
        return NULL;
    char *path = strdup(reference->path);
    if (path == NULL)
        error_set(err, ERROR_MEMORY, "no memory for a path");
    return path;
}

static bool is_gguf(const struct reference *reference)
{
    return reference->kind == REFERENCE_GGUF || reference->file[0] != '\0';
}

char *model_locate(const char *reference, const struct model_options *options, struct error *err)
{
    struct reference parsed;
    return reference_parse(reference, &parsed, err) ? locate(&parsed, options, err) : NULL;
}

bool model_open(
    const char *reference, const struct model_options *options, struct model **out, struct error *err)
{
    struct reference parsed;
    if (!reference_parse(reference, &parsed, err))
        return false;
    char *path = locate(&parsed, options, err);
    if (path == NULL)
        return false;
    struct model *model = calloc(1, sizeof *model);
    bool ok = model != NULL && (model->reference = strdup(reference)) != NULL;
    if (!ok)
        error_set(err, ERROR_MEMORY, "no memory to open %s", reference);
    if (model != NULL)
        pthread_mutex_init(&model->digest_lock, NULL);
    ok = ok && (is_gguf(&parsed) ? open_gguf(path, model, err) : open_directory(path, model, err));
    free(path);
    if (ok)
        *out = model;
    else
        model_close(model);
    return ok;
}

void model_close(struct model *model)
{
    if (model == NULL)
        return;
    tokenizer_close(model->tokenizer);
    json_decref(model->config);
    json_decref(model->generation_config);
    weights_free(&model->weights);
    pthread_mutex_destroy(&model->digest_lock);
    free(model->reference);
    free(model);
}

const char *model_reference(const struct model *model)
{
    return model->reference;
}

const char *model_type(const struct model *model)
{
    return json_string_value(json_object_get(model->config, "model_type"));
}

const json_t *model_config(const struct model *model)
{
    return model->config;
}

const json_t *model_generation_config(const struct model *model)
{
    return model->generation_config;
}

const struct tokenizer *model_tokenizer(const struct model *model)
{
    return model->tokenizer;
}

size_t model_tensor_count(const struct model *model)
{
    return model->weights.tensor_count;
}

const struct tensor_view *model_tensor_at(const struct model *model, size_t index)
{
    assert(index < model->weights.tensor_count);
    return &model->weights.tensors[index];
}

const struct tensor_view *model_tensor(const struct model *model, const char *name)
{
    return weights_find(&model->weights, name);
}

const char *model_tensor_unreadable(const struct model *model, const char *name)
{
    return weights_unreadable_reason(&model->weights, name);
}

bool model_check_finite(const struct model *model, struct error *err)
{
    return weights_check_finite(&model->weights, err) || error_context(err, "%s: ", model->reference);
}

const char *model_digest(struct model *model, struct error *err)
{
    pthread_mutex_lock(&model->digest_lock);
    bool ok = model->digest[0] != '\0' || digest_compute(&model->weights, model->config, model->digest, err);
    pthread_mutex_unlock(&model->digest_lock);
    return ok ? model->digest : NULL;
}
