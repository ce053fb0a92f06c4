#include <stdlib.h>
#include <string.h>

#include "worker/engine/batch.h"

/* Share of the device's free memory that is used when no limit is given. */
static const double memory_share = 0.85;

/* Rows that one pass of teacher-forced logits or hidden states takes at once. */
enum { PASS_ROWS_MAX = 2048, LOGIT_ROWS_MAX = 64 };

static uint64_t model_bytes(const struct model *model)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < model_tensor_count(model); i++)
        sum += model_tensor_at(model, i)->bytes;
    return sum;
}

static double mebibytes(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

static bool too_little_memory(const struct model *model, uint64_t needed, uint64_t have, struct error *err)
{
    error_set(err, ERROR_MEMORY, "%s needs about %.0f MiB and the device has %.0f MiB for it",
        model_reference(model), mebibytes(needed), mebibytes(have));
    return error_hint(err, "use a device with more memory, a smaller dtype or a smaller model");
}

/* What the memory is for: weights, the scratch of one pass, and the rest for cache pages. */
static uint64_t scratch_estimate(const struct network *network)
{
    enum { ACTIVATIONS_PER_ROW = 16, LOGIT_ROWS = 128 };
    uint64_t rows = (uint64_t)PASS_ROWS_MAX * network->hidden * ACTIVATIONS_PER_ROW;
    return sizeof(float) * (rows + (uint64_t)LOGIT_ROWS * network->vocabulary);
}

/* More pages than a full batch of long samples with four beams could hold would lie idle. */
static size_t useful_pages(const struct engine *e)
{
    enum {
        BEAMS = 4,
        TOKENS = 4096,
        INPUT_TOKENS = 16384,
        SAMPLES = 64,
        SAMPLES_MIN = 16,
        PAGES_MAX = 1 << 20
    };
    const struct network *n = e->network;
    size_t samples = e->options.batch_max ? e->options.batch_max : SAMPLES;
    size_t tokens = n->trained_positions < TOKENS ? n->trained_positions : TOKENS;
    size_t input = n->architecture->kind == ENGINE_DECODER ? 0 : n->input_positions;
    size_t per_sample = BEAMS * pages_for(tokens) + pages_for(input < INPUT_TOKENS ? input : INPUT_TOKENS);
    size_t pages = per_sample * (samples > SAMPLES_MIN ? samples : SAMPLES_MIN);
    return pages < PAGES_MAX ? pages : PAGES_MAX;
}

static bool open_cache(struct engine *e, uint64_t memory, struct error *err)
{
    enum { MIN_TOKENS = 64 };
    const struct network *n = e->network;
    struct kv_cache_args args = {.layers = n->cache_layers,
        .kv_heads = n->kv_heads,
        .head_dim = n->head_dim,
        .value_dim = n->head_dim};
    uint64_t page =
        (uint64_t)n->cache_layers * KV_PAGE_TOKENS * 2 * n->kv_heads * n->head_dim * sizeof(float);
    uint64_t fixed = model_bytes(e->model) + scratch_estimate(n);
    uint64_t least = fixed + page * pages_for(MIN_TOKENS);
    if (memory < least)
        return too_little_memory(e->model, least, memory, err);
    uint64_t pages = (memory - fixed) / page;
    size_t useful = useful_pages(e);
    args.pages = pages < useful ? (size_t)pages : useful;
    return page_pool_open(&e->pool, args.pages, err) &&
           e->backend->ops->kv_cache_create(e->backend, &args, &e->cache, err);
}

static size_t input_limit(const struct engine *e)
{
    const struct tokenizer *tokenizer = model_tokenizer(e->model);
    const struct network *n = e->network;
    size_t limit = n->input_positions;
    if (n->architecture->kind == ENGINE_DECODER)
        limit = n->trained_positions < n->token_positions ? n->trained_positions : n->token_positions;
    else if (tokenizer && tokenizer_max_length(tokenizer) < limit)
        limit = tokenizer_max_length(tokenizer);
    return limit ? limit : 1;
}

bool engine_open(struct backend *backend, struct model *model, const struct engine_options *options,
    struct engine **out, struct error *err)
{
    struct engine *e = calloc(1, sizeof *e);
    struct backend_memory memory;
    if (!e)
        return error_set(err, ERROR_MEMORY, "out of memory");
    e->backend = backend;
    e->model = model;
    if (options)
        e->options = *options;
    backend->ops->memory(backend, &memory);
    uint64_t limit = e->options.memory_bytes_max ? e->options.memory_bytes_max
                                                 : (uint64_t)((double)memory.free_bytes * memory_share);
    if (model_bytes(model) > limit) {
        too_little_memory(model, model_bytes(model), limit, err);
        goto fail;
    }
    if (!network_open(backend, model, e->options.compute_dtype, &e->network, err))
        goto fail;
    if (e->network->cache_layers > 0 && !open_cache(e, limit, err))
        goto fail;
    e->input_max = input_limit(e);
    *out = e;
    return true;
fail:
    engine_close(e);
    return false;
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    for (struct sample *s = e->live, *next; s; s = next) {
        next = s->next;
        sample_free(e, s);
    }
    for (struct sample *s = e->queue, *next; s; s = next) {
        next = s->next;
        sample_free(e, s);
    }
    if (e->cache)
        e->backend->ops->kv_cache_free(e->backend, e->cache);
    page_pool_close(&e->pool);
    network_close(e->network);
    pass_free(&e->pass);
    edits_free(&e->edits);
    free(e->top_ids);
    free(e->top_scores);
    free(e->candidates);
    free(e);
}

enum engine_kind engine_kind(const struct engine *e)
{
    return e->network->architecture->kind;
}

size_t engine_vocabulary_size(const struct engine *e)
{
    return e->network->vocabulary;
}

size_t engine_input_tokens_max(const struct engine *e)
{
    return e->input_max;
}

size_t engine_layers(const struct engine *e)
{
    return e->network->encoder_layers;
}

size_t engine_hidden_size(const struct engine *e)
{
    return e->network->hidden;
}

size_t engine_resident_bytes(const struct engine *e)
{
    struct backend_memory memory;
    e->backend->ops->memory(e->backend, &memory);
    return memory.weight_bytes + memory.cache_bytes + memory.scratch_bytes;
}

/* ---- teacher-forced logits ---- */

static bool check_ids(const struct engine *e, const int32_t *ids, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= (int64_t)e->network->vocabulary)
            return error_set(err, ERROR_INVALID,
                "token id %d at position %zu is not in the vocabulary of %zu", ids[i], i,
                e->network->vocabulary);
    return true;
}

static bool check_length(const char *what, size_t count, size_t limit, struct error *err)
{
    if (count > 0 && count <= limit)
        return true;
    return error_set(err, ERROR_INVALID, "%s has %zu tokens; the model takes 1 to %zu", what, count, limit);
}

/* Logits of all rows, a few at a time: a vocabulary is wide. */
static bool download_logits(
    struct engine *e, struct forward *f, struct tensor states, float *out, struct error *err)
{
    const struct backend_ops *ops = e->backend->ops;
    for (size_t row = 0; row < states.rows; row += LOGIT_ROWS_MAX) {
        size_t rows = states.rows - row < LOGIT_ROWS_MAX ? states.rows - row : LOGIT_ROWS_MAX;
        f->rows = rows;
        struct tensor logits = e->network->architecture->head(e->network, f, tensor_rows(states, row, rows));
        if (!ops->download(e->backend, logits, out + row * e->network->vocabulary, err))
            return false;
    }
    return true;
}

static bool encode_for_logits(
    struct engine *e, const int32_t *ids, size_t count, const struct page_table *cross, struct error *err)
{
    if (!pass_begin(&e->pass, count, 1, err))
        return false;
    pass_add_input(&e->pass, ids, count, cross);
    e->backend->ops->scratch_reset(e->backend);
    struct forward f = pass_forward(&e->pass, e->backend, e->cache);
    f.cross_appends = e->pass.appends;
    f.cross_append_count = e->pass.sequence_count;
    e->network->architecture->encode(e->network, &f);
    return e->backend->ops->sync(e->backend, err);
}

bool engine_logits(struct engine *e, const int32_t *ids, size_t count, const int32_t *decoder_ids,
    size_t decoder_count, float *out, struct error *err)
{
    const struct network *n = e->network;
    bool seq2seq = n->architecture->kind == ENGINE_ENCODER_DECODER;
    const int32_t *tokens = seq2seq ? decoder_ids : ids;
    size_t token_count = seq2seq ? decoder_count : count, pages = pages_for(token_count);
    struct page_table cross = {0}, table = {0};
    struct page_copy none;
    bool fine = false;
    if (n->architecture->kind == ENGINE_ENCODER)
        return error_set(
            err, ERROR_UNSUPPORTED, "%s is an encoder: it has no logits", model_reference(e->model));
    if (!check_ids(e, tokens, token_count, err) ||
        !check_length(seq2seq ? "decoder_ids" : "ids", token_count, n->token_positions, err))
        return false;
    if (seq2seq) {
        if (!check_ids(e, ids, count, err) || !check_length("ids", count, n->input_positions, err))
            return false;
        pages += pages_for(count);
    }
    if (!page_pool_promise(&e->pool, pages))
        return error_set(err, ERROR_MEMORY, "%zu tokens need %zu cache pages, and %zu are free", token_count,
            pages, e->pool.total - e->pool.promised);
    if (!page_table_open(&table, pages_for(token_count), err) ||
        !page_table_open(&cross, pages_for(count), err))
        goto done;
    if (seq2seq) {
        page_table_prepare(&e->pool, &cross, 0, count, &none);
        if (!encode_for_logits(e, ids, count, &cross, err))
            goto done;
    }
    page_table_prepare(&e->pool, &table, 0, token_count, &none);
    if (!pass_begin(&e->pass, token_count, 1, err))
        goto done;
    pass_add(&e->pass, tokens, token_count, 0, &table);
    if (seq2seq)
        pass_add_cross(&e->pass, &cross, count);
    e->backend->ops->scratch_reset(e->backend);
    struct forward f = pass_forward(&e->pass, e->backend, e->cache);
    struct tensor states = n->architecture->decode(n, &f);
    fine = download_logits(e, &f, states, out, err);
done:
    page_table_close(&e->pool, &cross);
    page_table_close(&e->pool, &table);
    page_pool_release_promise(&e->pool, pages);
    return fine;
}

/* ---- hidden states ---- */

struct listener {
    struct engine *engine;
    const int *layers;
    size_t layer_count, first_row;
    float **out;
    struct error *err;
    bool failed;
};

static void keep_layer(void *context, size_t layer, struct tensor states)
{
    struct listener *l = context;
    const struct backend *b = l->engine->backend;
    for (size_t i = 0; i < l->layer_count && !l->failed; i++)
        if (l->layers[i] == (int)layer)
            l->failed = !b->ops->download(
                l->engine->backend, states, l->out[i] + l->first_row * l->engine->network->hidden, l->err);
}

bool engine_hidden_states(struct engine *e, const struct token_ids *batch, size_t batch_count,
    const int *layers, size_t layer_count, float **out, struct error *err)
{
    const struct network *n = e->network;
    if (n->architecture->kind == ENGINE_DECODER)
        return error_set(err, ERROR_UNSUPPORTED, "%s has no encoder", model_reference(e->model));
    for (size_t i = 0; i < layer_count; i++)
        if (layers[i] < 0 || (size_t)layers[i] > n->encoder_layers)
            return error_set(err, ERROR_INVALID, "layer %d: the encoder has layers 0 to %zu", layers[i],
                n->encoder_layers);
    for (size_t i = 0; i < batch_count; i++)
        if (!check_ids(e, batch[i].ids, batch[i].count, err) ||
            !check_length("a sample", batch[i].count, n->input_positions, err))
            return false;
    size_t last = 0;
    for (size_t i = 0; i < layer_count; i++)
        last = (size_t)layers[i] > last ? (size_t)layers[i] : last;
    struct listener listener = {e, layers, layer_count, 0, out, err, false};
    for (size_t first = 0, next; first < batch_count; first = next) {
        size_t rows = 0;
        for (next = first; next < batch_count; next++) {
            if (next > first && rows + batch[next].count > PASS_ROWS_MAX)
                break;
            rows += batch[next].count;
        }
        if (!pass_begin(&e->pass, rows, next - first, err))
            return false;
        for (size_t i = first; i < next; i++)
            pass_add_input(&e->pass, batch[i].ids, batch[i].count, NULL);
        e->backend->ops->scratch_reset(e->backend);
        struct forward f = pass_forward(&e->pass, e->backend, NULL);
        f.on_layer = keep_layer;
        f.layers_unused = n->encoder_layers - last;
        f.context = &listener;
        n->architecture->encode(n, &f);
        if (listener.failed || !e->backend->ops->sync(e->backend, err))
            return false;
        listener.first_row += rows;
    }
    return true;
}
