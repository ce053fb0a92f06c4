#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/engine/batch.h"
#include "worker/engine/sampling.h"

double engine_clock_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool is_encoder_decoder(const struct engine *engine)
{
    return engine->network->architecture->kind == ENGINE_ENCODER_DECODER;
}

/* ---- the request ---- */

static bool check_id(const struct engine *e, const char *name, int32_t id, struct error *err)
{
    if (id < (int64_t)e->network->vocabulary)
        return true;
    return error_set(
        err, ERROR_INVALID, "%s is %d, but the model has %zu tokens", name, id, e->network->vocabulary);
}

static bool check_settings(const struct engine *e, const struct generation_settings *s, struct error *err)
{
    if (s->num_beams == 1 && !(s->do_sample && s->temperature > 0) && s->num_return_sequences > 1)
        return error_set(
            err, ERROR_INVALID, "num_return_sequences above 1 needs num_beams above 1 or do_sample");
    if (s->num_beams > 1 && s->num_return_sequences > s->num_beams)
        return error_set(err, ERROR_INVALID, "num_return_sequences (%d) is above num_beams (%d)",
            s->num_return_sequences, s->num_beams);
    size_t keep = (size_t)s->num_beams * (1 + (s->eos_token_count > 1 ? s->eos_token_count : 1));
    if (s->num_beams > 1 && keep > e->network->vocabulary)
        return error_set(err, ERROR_INVALID, "num_beams %d is too many for a vocabulary of %zu tokens",
            s->num_beams, e->network->vocabulary);
    if (s->stop_strings_count > 0 && !model_tokenizer(e->model))
        return error_set(err, ERROR_INVALID, "stop_strings need a tokenizer, and the model has none");
    return check_id(e, "forced_bos_token_id", s->forced_bos_token_id, err) &&
           check_id(e, "forced_eos_token_id", s->forced_eos_token_id, err) &&
           check_id(e, "decoder_start_token_id", s->decoder_start_token_id, err) &&
           check_id(e, "bos_token_id", s->bos_token_id, err);
}

/* How many of the last ids are marks that a cut keeps: </s>, or </s> and a language code after it. */
static size_t marks_at_end(const struct generation_settings *s, const int32_t *ids, size_t count)
{
    for (size_t marks = 1; marks <= 2 && marks < count; marks++)
        if (settings_is_eos(s, ids[count - marks]))
            return marks;
    return 0;
}

/* An encoder's input loses its end but keeps its marks, as a tokenizer's truncation does; a prompt loses its
 * beginning and leaves room for what is to come, as the text-generation pipeline's "hole" does. */
static void cut(const struct engine *e, struct sample *s)
{
    size_t longest = e->input_max;
    if (is_encoder_decoder(e)) {
        if (s->count <= longest)
            return;
        size_t marks = marks_at_end(&s->settings, s->ids, s->count);
        if (marks >= longest)
            marks = 0;
        memmove(s->ids + longest - marks, s->ids + s->count - marks, marks * sizeof *s->ids);
    } else {
        struct generation_limits limits = generation_limits_resolve(&s->settings, 0, longest);
        size_t fresh = s->settings.max_new_tokens < 0 && s->settings.max_length >= 0 ? 0 : limits.max_length;
        longest = longest > fresh ? longest - fresh : 1;
        if (s->count <= longest)
            return;
        memmove(s->ids, s->ids + s->count - longest, longest * sizeof *s->ids);
    }
    s->count = longest;
    s->truncated = true;
}

/* Nothing to read: an encoder reads the end token alone, a decoder begins with its first token. */
static bool read_nothing(const struct engine *e, struct sample *s, struct error *err)
{
    int32_t id = is_encoder_decoder(e) ? (s->settings.eos_token_count ? s->settings.eos_token_ids[0] : -1)
                                       : s->settings.bos_token_id;
    if (id < 0 || id >= (int64_t)e->network->vocabulary)
        return error_set(
            err, ERROR_INVALID, "the input is empty, and the model names no token to begin with");
    s->ids[0] = id;
    s->count = 1;
    return true;
}

static bool copy_ids(
    const struct engine *e, struct sample *s, const struct generation_request *request, struct error *err)
{
    s->ids = malloc((request->count + 1) * sizeof *s->ids);
    if (!s->ids)
        return error_set(err, ERROR_MEMORY, "out of memory for %zu tokens", request->count);
    for (size_t i = 0; i < request->count; i++) {
        s->ids[i] = request->ids[i];
        if (s->ids[i] < 0 || s->ids[i] >= (int64_t)e->network->vocabulary)
            return error_set(err, ERROR_INVALID,
                "token id %d at position %zu is not in the vocabulary of %zu", s->ids[i], i,
                e->network->vocabulary);
    }
    s->count = request->count;
    return s->count > 0 || read_nothing(e, s, err);
}

/* What the decoder begins with: the prompt, or the start token. */
static const int32_t *beginning(const struct engine *e, const struct sample *s, size_t *count)
{
    if (!is_encoder_decoder(e)) {
        *count = s->count;
        return s->ids;
    }
    *count = 1;
    return s->settings.decoder_start_token_id >= 0 ? &s->settings.decoder_start_token_id
                                                   : &s->settings.bos_token_id;
}

/* Whether the generated text now holds a stop string; the tail that can hold its end is enough. */
static bool ends_with_stop(void *context, const int32_t *generated, size_t count)
{
    const struct sample *s = context;
    const struct tokenizer *tokenizer = s->tokenizer;
    size_t window = 0, len;
    for (size_t i = 0; i < s->settings.stop_strings_count; i++)
        if (strlen(s->settings.stop_strings[i]) > window)
            window = strlen(s->settings.stop_strings[i]);
    enum { SLACK = 8 }; /* tokens that add no byte, or share one */
    window += SLACK;
    size_t first = count > window ? count - window : 0;
    char *text = tokenizer_decode(tokenizer, generated + first, count - first, false, &len, NULL);
    bool found = false;
    for (size_t i = 0; text && !found && i < s->settings.stop_strings_count; i++)
        found = strstr(text, s->settings.stop_strings[i]) != NULL;
    free(text);
    return found;
}

static bool plan(struct engine *e, struct sample *s, struct error *err)
{
    size_t begin_count;
    const int32_t *begin = beginning(e, s, &begin_count);
    if (begin[0] < 0)
        return error_set(err, ERROR_INVALID, "the model names no decoder_start_token_id");
    struct generation_limits limits =
        generation_limits_resolve(&s->settings, begin_count, e->network->trained_positions);
    if (limits.max_length > e->network->token_positions)
        limits.max_length = e->network->token_positions;
    s->limits = limits;
    if (limits.max_length <= begin_count)
        return true; /* nothing will be generated */
    size_t width = search_width(&s->settings);
    s->promised_pages = width * pages_for(limits.max_length);
    if (is_encoder_decoder(e))
        s->promised_pages += pages_for(s->count);
    if (s->promised_pages <= e->pool.total)
        return true;
    error_set(err, ERROR_MEMORY,
        "the sample needs %zu cache pages (%zu tokens in, up to %zu out, %zu at once), "
        "and the device has room for %zu",
        s->promised_pages, s->count, limits.max_length, width, e->pool.total);
    return error_hint(err, "lower max_new_tokens or num_beams, or give the worker more memory");
}

struct sample *sample_create(struct engine *e, const struct generation_request *request, struct error *err)
{
    struct sample *s = calloc(1, sizeof *s);
    if (!s) {
        error_set(err, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    s->request = *request;
    s->tokenizer = model_tokenizer(e->model);
    bool fine = check_settings(e, request->settings, err) &&
                engine_settings_copy(&s->settings, request->settings, err) && copy_ids(e, s, request, err);
    if (fine) {
        cut(e, s);
        fine = plan(e, s, err);
    }
    if (fine) {
        s->handle = ++e->last_handle;
        return s;
    }
    sample_free(e, s);
    return NULL;
}

/* ---- its life in the batch ---- */

/* Full pages of the prompt that a live sample's prompt begins with too; the last token is always computed. */
static void share_prompt(struct engine *e, struct sample *s)
{
    const struct sample *best = NULL;
    size_t longest = 0;
    if (s->count > e->network->shareable_positions)
        return;
    for (const struct sample *o = e->live; o; o = o->next) {
        size_t common = 0, limit = o->count < s->count ? o->count : s->count;
        if (o == s || !o->tables || o->count > e->network->shareable_positions)
            continue;
        while (common < limit && o->ids[common] == s->ids[common])
            common++;
        if (common > longest) {
            longest = common;
            best = o;
        }
    }
    if (longest == s->count)
        longest--;
    s->shared_pages = longest / KV_PAGE_TOKENS;
    if (best && s->shared_pages > best->tables[0].count)
        s->shared_pages = best->tables[0].count;
    if (best && s->shared_pages > 0)
        page_table_share(&e->pool, &s->tables[0], &best->tables[0], s->shared_pages);
}

static bool open_tables(struct sample *s, struct error *err)
{
    size_t width = s->search.width, capacity = pages_for(s->limits.max_length);
    s->tables = calloc(width, sizeof *s->tables);
    s->spare = calloc(width, sizeof *s->spare);
    if (!s->tables || !s->spare)
        return error_set(err, ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < width; i++)
        if (!page_table_open(&s->tables[i], capacity, err) || !page_table_open(&s->spare[i], capacity, err))
            return false;
    return true;
}

bool sample_join(struct engine *e, struct sample *s, struct error *err)
{
    size_t begin_count;
    const int32_t *begin = beginning(e, s, &begin_count);
    uint64_t key = sampling_key(s->settings.seed, s->ids, s->count);
    s->state = SAMPLE_JOINED;
    if (!search_open(&s->search, &s->settings, s->limits, begin, begin_count, key, err))
        return false;
    s->searching = true;
    if (s->settings.stop_strings_count > 0) {
        s->search.stop = ends_with_stop;
        s->search.stop_context = s;
    }
    if (!open_tables(s, err))
        return false;
    struct page_copy none;
    if (!is_encoder_decoder(e)) {
        share_prompt(e, s);
        size_t first = s->shared_pages * KV_PAGE_TOKENS;
        page_table_prepare(&e->pool, &s->tables[0], first, s->count - first, &none);
        return true;
    }
    if (!page_table_open(&s->cross, pages_for(s->count), err))
        return false;
    page_table_prepare(&e->pool, &s->cross, 0, s->count, &none);
    return true;
}

static void close_tables(struct engine *e, struct page_table *tables, size_t count)
{
    for (size_t i = 0; tables && i < count; i++)
        page_table_close(&e->pool, &tables[i]);
    free(tables);
}

void sample_leave(struct engine *e, struct sample *s)
{
    close_tables(e, s->tables, s->search.width);
    close_tables(e, s->spare, s->search.width);
    page_table_close(&e->pool, &s->cross);
    if (s->state != SAMPLE_QUEUED)
        page_pool_release_promise(&e->pool, s->promised_pages);
    if (s->searching)
        search_close(&s->search);
    s->tables = s->spare = NULL;
    s->cross = (struct page_table){0};
    s->search = (struct search){0};
    s->searching = false;
    s->shared_pages = 0;
    s->state = SAMPLE_QUEUED;
}

void sample_free(struct engine *e, struct sample *s)
{
    sample_leave(e, s);
    engine_settings_free(&s->settings);
    free(s->ids);
    free(s);
}

static struct generation_output output_base(const struct sample *s)
{
    return (struct generation_output){.prompt_tokens = s->count,
        .truncated = s->truncated,
        .seconds = s->state == SAMPLE_QUEUED ? 0 : engine_clock_s() - s->joined_s};
}

void sample_end(struct engine *e, struct sample *s, enum finish_reason reason, const struct error *why)
{
    struct generation_output output = output_base(s);
    output.reason = reason;
    output.error = why;
    s->request.on_done(s->request.context, &output, 1);
    sample_free(e, s);
}

void sample_finish(struct engine *e, struct sample *s)
{
    size_t count;
    const struct hypothesis *results = search_results(&s->search, &count);
    struct generation_output *outputs = calloc(count, sizeof *outputs);
    struct error none = {0};
    if (!outputs || s->search.stuck) {
        error_set(&none, s->search.stuck ? ERROR_INVALID : ERROR_MEMORY,
            s->search.stuck ? "no token has a finite score: the weights are broken or every token is banned"
                            : "out of memory");
        free(outputs);
        sample_end(e, s, FINISH_ERROR, &none);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        outputs[i] = output_base(s);
        outputs[i].ids = results[i].ids + s->search.prompt_count;
        outputs[i].count = results[i].count - s->search.prompt_count;
        outputs[i].score = results[i].score;
        outputs[i].token_scores = s->request.want_token_scores ? results[i].token_scores : NULL;
        outputs[i].reason = results[i].reason;
    }
    s->request.on_done(s->request.context, outputs, count);
    free(outputs);
    sample_free(e, s);
}
