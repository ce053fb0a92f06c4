#include "worker/model/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "worker/model/checkpoint.h"
#include "worker/model/hub_download.h"
#include "worker/model/json_file.h"

enum { LIST_BYTES_MAX = 32 << 20, FILES_MAX = 64 };

static const struct json_limits list_limits = {.bytes_max = LIST_BYTES_MAX, .values_max = 1 << 20};

/* What a model may need besides its weights; taken when the repository has it. */
static const char *const small_files[] = {"config.json", "generation_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model", "source.spm",
    "target.spm", "target_vocab.json", "chat_template.jinja", "chat_template.json"};

/* In the order that checkpoint_read prefers. */
static const struct {
    const char *file;
    bool is_index;
} weight_files[] = {
    {"model.safetensors", false},
    {"model.safetensors.index.json", true},
    {"pytorch_model.bin", false},
    {"pytorch_model.bin.index.json", true},
};

static const char *const tokenizer_files[] = {"tokenizer.json", "vocab.json", "vocab.txt", "spiece.model",
    "sentencepiece.bpe.model", "tokenizer.model", "spm.model"};

struct fetch {
    const struct reference *reference;
    const struct model_options *options;
    struct hub_cache cache;
    struct hub_session session;
    char commit[HUB_COMMIT_BYTES];
    json_t *list; /* the hub's answer about the repository */
    struct error *err;
};

/* Whether every shard that a cached index names is cached too. */
static bool has_shards(const struct fetch *fetch, const char *commit, const char *index)
{
    char *path = hub_cache_snapshot_path(&fetch->cache, commit, index, NULL);
    char **shards = path == NULL ? NULL : checkpoint_shards(path, NULL);
    bool has = shards != NULL;
    for (size_t i = 0; has && shards[i] != NULL; i++)
        has = hub_cache_has(&fetch->cache, commit, shards[i]);
    checkpoint_shards_free(shards);
    free(path);
    return has;
}

/* Whether the cache has what opening needs. A snapshot made by another program may lack the tokenizer, which
 * only the hub can tell from a model that has none. */
static bool is_cached(const struct fetch *fetch, const char *commit, bool with_tokenizer)
{
    bool has_weights = false, has_tokenizer = !with_tokenizer;
    if (fetch->reference->file[0] != '\0')
        return hub_cache_has(&fetch->cache, commit, fetch->reference->file);
    for (size_t i = 0; !has_weights && i < sizeof weight_files / sizeof *weight_files; i++)
        has_weights = hub_cache_has(&fetch->cache, commit, weight_files[i].file) &&
                      (!weight_files[i].is_index || has_shards(fetch, commit, weight_files[i].file));
    for (size_t i = 0; !has_tokenizer && i < sizeof tokenizer_files / sizeof *tokenizer_files; i++)
        has_tokenizer = hub_cache_has(&fetch->cache, commit, tokenizer_files[i]);
    return has_weights && has_tokenizer && hub_cache_has(&fetch->cache, commit, "config.json");
}

/* GET /api/models/<repository>/revision/<revision>: the commit and the file list. */
static bool list_files(struct fetch *fetch)
{
    char *revision = hub_encode(fetch->reference->revision, false, fetch->err), *path = NULL, *body = NULL;
    size_t len;
    bool ok = revision != NULL;
    if (ok && asprintf(&path, "/api/models/%s/revision/%s", fetch->reference->repository, revision) < 0) {
        path = NULL;
        ok = error_set(fetch->err, ERROR_MEMORY, "no memory for a request to the hub");
    }
    ok = ok && hub_get(&fetch->session, path, LIST_BYTES_MAX, &body, &len, fetch->err);
    if (ok) {
        fetch->list = json_object_parse("the hub's file list", body, len, &list_limits, fetch->err);
        const char *commit = json_string_value(json_object_get(fetch->list, "sha"));
        ok = fetch->list != NULL;
        if (ok && (commit == NULL || !hub_is_commit(commit)))
            ok = error_set(fetch->err, ERROR_UNAVAILABLE, "the hub's answer about hf://%s names no commit",
                fetch->reference->repository);
        if (ok)
            memcpy(fetch->commit, commit, HUB_COMMIT_BYTES);
    }
    free(body);
    free(path);
    free(revision);
    return ok;
}

static bool is_listed(const struct fetch *fetch, const char *file)
{
    const json_t *files = json_object_get(fetch->list, "siblings");
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(files, i), "rfilename"));
        if (name != NULL && strcmp(name, file) == 0)
            return true;
    }
    return false;
}

static bool lists_gguf(const struct fetch *fetch)
{
    const json_t *files = json_object_get(fetch->list, "siblings");
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(files, i), "rfilename"));
        const char *suffix = name == NULL ? NULL : strrchr(name, '.');
        if (suffix != NULL && strcmp(suffix, ".gguf") == 0)
            return true;
    }
    return false;
}

/* Asks for ETag and size of a file that the snapshot lacks. */
static bool describe(struct fetch *fetch, const char *file, struct hub_download *out)
{
    struct hub_head head;
    char *path = hub_file_path(&fetch->session, fetch->commit, file, fetch->err);
    bool ok = path != NULL && hub_head(&fetch->session, path, &head, fetch->err);
    free(path);
    if (!ok)
        return false;
    out->file = file;
    memcpy(out->etag, head.etag, sizeof out->etag);
    out->size_bytes = head.size_bytes;
    return true;
}

/* Brings `files` into the snapshot. */
static bool fetch_files(struct fetch *fetch, const char *const *files, size_t count)
{
    struct hub_download *downloads = calloc(count + 1, sizeof *downloads);
    size_t missing = 0;
    bool ok = downloads != NULL || error_set(fetch->err, ERROR_MEMORY, "no memory for a download");
    for (size_t i = 0; ok && i < count; i++) {
        if (!hub_cache_has(&fetch->cache, fetch->commit, files[i]))
            ok = describe(fetch, files[i], &downloads[missing++]);
    }
    ok = ok && hub_download_all(&fetch->session, &fetch->cache, fetch->commit, downloads, missing,
                   fetch->options, fetch->err);
    for (size_t i = 0; ok && i < missing; i++)
        ok = hub_cache_link(&fetch->cache, fetch->commit, downloads[i].file, downloads[i].etag, fetch->err);
    free(downloads);
    return ok;
}

static bool fetch_shards(struct fetch *fetch, const char *index)
{
    char *path = hub_cache_snapshot_path(&fetch->cache, fetch->commit, index, fetch->err);
    char **shards = path == NULL ? NULL : checkpoint_shards(path, fetch->err);
    size_t count = 0;
    while (shards != NULL && shards[count] != NULL)
        count++;
    bool ok = shards != NULL && fetch_files(fetch, (const char *const *)shards, count);
    checkpoint_shards_free(shards);
    free(path);
    return ok;
}

static bool refuse_repository(const struct fetch *fetch, const char *what)
{
    error_set(fetch->err, ERROR_NOT_FOUND, "hf://%s has no %s", fetch->reference->repository, what);
    if (lists_gguf(fetch))
        error_hint(
            fetch->err, "it has GGUF files: name one, as in hf://%s/file.gguf", fetch->reference->repository);
    return false;
}

static bool fetch_model(struct fetch *fetch)
{
    const char *files[FILES_MAX];
    size_t count = 0, weight = 0, weight_count = sizeof weight_files / sizeof *weight_files;
    for (size_t i = 0; i < sizeof small_files / sizeof *small_files; i++) {
        if (is_listed(fetch, small_files[i]))
            files[count++] = small_files[i];
    }
    while (weight < weight_count && !is_listed(fetch, weight_files[weight].file))
        weight++;
    if (!is_listed(fetch, "config.json"))
        return refuse_repository(fetch, "config.json");
    if (weight == weight_count)
        return refuse_repository(fetch, "safetensors or torch weights");
    files[count++] = weight_files[weight].file;
    return fetch_files(fetch, files, count) &&
           (!weight_files[weight].is_index || fetch_shards(fetch, weight_files[weight].file));
}

static bool fetch_gguf(struct fetch *fetch)
{
    const char *file = fetch->reference->file;
    if (!is_listed(fetch, file)) {
        error_set(fetch->err, ERROR_NOT_FOUND, "hf://%s has no file %s", fetch->reference->repository, file);
        return false;
    }
    return fetch_files(fetch, &file, 1);
}

/* Whatever the hub has that the cache lacks. */
static bool fetch_online(struct fetch *fetch)
{
    return hub_session_open(&fetch->session, fetch->reference->repository, fetch->err) && list_files(fetch) &&
           (fetch->reference->file[0] != '\0' ? fetch_gguf(fetch) : fetch_model(fetch)) &&
           hub_cache_set_commit(&fetch->cache, fetch->reference->revision, fetch->commit, fetch->err);
}

static bool is_offline(void)
{
    static const char *const names[] = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"};
    for (size_t i = 0; i < 2; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && (strcmp(value, "1") == 0 || strcasecmp(value, "true") == 0 ||
                                 strcasecmp(value, "yes") == 0 || strcasecmp(value, "on") == 0))
            return true;
    }
    return false;
}

/* Chooses between cache and hub; on success fetch->commit names the snapshot. */
static bool provide(struct fetch *fetch)
{
    char known[HUB_COMMIT_BYTES];
    const char *revision = fetch->reference->revision;
    bool is_known = hub_cache_commit(&fetch->cache, revision, known);
    bool usable = is_known && is_cached(fetch, known, false);
    if (usable && (is_offline() || (hub_is_commit(revision) && is_cached(fetch, known, true)))) {
        memcpy(fetch->commit, known, sizeof known);
        return true;
    }
    if (is_offline()) {
        error_set(fetch->err, ERROR_NOT_FOUND,
            "hf://%s@%s is not%s in the cache %s, and HF_HUB_OFFLINE forbids "
            "asking the hub",
            fetch->reference->repository, revision, is_known ? " completely" : "", fetch->cache.root);
        return error_hint(fetch->err, "unset HF_HUB_OFFLINE, or copy the model into the cache");
    }
    struct error unused;
    if (fetch->err == NULL)
        fetch->err = &unused;
    if (fetch_online(fetch))
        return true;
    if (!usable || fetch->err->code != ERROR_UNAVAILABLE)
        return false;
    log_error_value(LOG_LEVEL_WARN, "the hub does not answer; using the cached model", fetch->err);
    memcpy(fetch->commit, known, sizeof known);
    return true;
}

char *hub_fetch(const struct reference *reference, const struct model_options *options, struct error *err)
{
    struct fetch fetch = {.reference = reference, .options = options, .err = err};
    char *path = NULL;
    if (!hub_cache_open(&fetch.cache, options->cache_dir, reference->repository, err))
        return NULL;
    if (provide(&fetch))
        path = hub_cache_snapshot_path(
            &fetch.cache, fetch.commit, reference->file[0] != '\0' ? reference->file : NULL, err);
    json_decref(fetch.list);
    hub_session_close(&fetch.session);
    hub_cache_close(&fetch.cache);
    return path;
}
