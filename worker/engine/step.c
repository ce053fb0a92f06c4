/* One step of the running batch: admit, encode newcomers, decode a token of every live sample, choose. */
#include <stdlib.h>
#include <string.h>

#include "worker/engine/batch.h"

/* Prompt tokens that join in one step: bounds scratch memory and how long running samples wait. */
enum { JOIN_TOKENS_MAX = 2048, LIVE_SAMPLES_MAX = 1024 };

static void fail_sample(struct engine *e, struct sample *s, const struct error *why)
{
    struct error copy = *why;
    sample_end(e, s, FINISH_ERROR, &copy);
}

/* ---- admission ---- */

static struct sample **next_in_line(struct engine *e)
{
    for (struct sample **at = &e->queue; *at; at = &(*at)->next)
        if ((*at)->request.interactive)
            return at;
    return &e->queue;
}

static void link_last(struct sample **list, struct sample *s)
{
    while (*list)
        list = &(*list)->next;
    s->next = NULL;
    *list = s;
}

/* In order of arrival, interactive ones first; the first that does not fit waits, and all behind it, so that
 * a large one is not overtaken for ever. */
static void admit(struct engine *e)
{
    size_t tokens = 0, live_max = e->options.batch_max ? e->options.batch_max : LIVE_SAMPLES_MAX;
    struct error err = {0};
    live_max = e->live_limit && e->live_limit < live_max ? e->live_limit : live_max;
    while (e->queue && e->live_count < live_max) {
        struct sample **at = next_in_line(e), *s = *at;
        if (tokens > 0 && tokens + s->count > JOIN_TOKENS_MAX)
            return;
        if (!page_pool_promise(&e->pool, s->promised_pages))
            return;
        tokens += s->count;
        *at = s->next;
        e->queue_count--;
        s->joined_s = engine_clock_s();
        s->state = SAMPLE_JOINED;
        if (s->promised_pages == 0) {
            sample_end(e, s, FINISH_LENGTH, NULL); /* no room for a single token */
        } else if (!sample_join(e, s, &err)) {
            fail_sample(e, s, &err);
        } else {
            link_last(&e->live, s);
            e->live_count++;
        }
    }
}

/* Takes out of the batch those that `fails` and ends them with `why`. */
static void fail_all(struct engine *e, enum sample_state from, const struct error *why)
{
    struct sample **at = &e->live;
    while (*at) {
        struct sample *s = *at;
        if (s->state > from) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        e->live_count--;
        fail_sample(e, s, why);
    }
}

/* When the device's memory ran out in a step, which left tables half changed: all samples start anew, half as
 * many at once. False: that is no way out of this error. */
static bool shrink(struct engine *e, const struct error *why)
{
    if (why->code != ERROR_MEMORY || e->live_count < 2)
        return false;
    size_t limit = e->live_count / 2;
    struct sample *again = NULL;
    while (e->live) {
        struct sample *s = e->live;
        e->live = s->next;
        e->live_count--;
        sample_leave(e, s);
        link_last(&again, s);
        e->queue_count++;
    }
    struct sample **end = &again;
    while (*end)
        end = &(*end)->next;
    *end = e->queue;
    e->queue = again;
    e->live_limit = limit;
    admit(e);
    return true;
}

/* ---- encoding ---- */

static bool encode_newcomers(struct engine *e, struct error *err)
{
    size_t rows = 0, count = 0;
    for (struct sample *s = e->live; s; s = s->next)
        if (s->state == SAMPLE_JOINED) {
            rows += s->count;
            count++;
        }
    if (count == 0)
        return true;
    if (!pass_begin(&e->pass, rows, count, err))
        return false;
    for (struct sample *s = e->live; s; s = s->next)
        if (s->state == SAMPLE_JOINED)
            pass_add_input(&e->pass, s->ids, s->count, &s->cross);
    e->backend->ops->scratch_reset(e->backend);
    struct forward f = pass_forward(&e->pass, e->backend, e->cache);
    f.cross_appends = e->pass.appends;
    f.cross_append_count = e->pass.sequence_count;
    e->network->architecture->encode(e->network, &f);
    return e->backend->ops->sync(e->backend, err);
}

/* ---- decoding ---- */

static bool is_waiting(const struct sample *s, size_t hypothesis)
{
    return s->search.live[hypothesis].finished;
}

/* At its first step all hypotheses of a sample are the same: one row serves them. */
static size_t rows_of(const struct engine *e, const struct sample *s, size_t *logit_rows)
{
    if (s->state == SAMPLE_JOINED) {
        *logit_rows = 1;
        return e->network->cache_layers && !s->cross.pages ? s->count - s->shared_pages * KV_PAGE_TOKENS : 1;
    }
    *logit_rows = 0;
    for (size_t i = 0; i < s->search.width; i++)
        *logit_rows += !is_waiting(s, i);
    return *logit_rows;
}

static void add_sequence(struct engine *e, struct sample *s, size_t hypothesis)
{
    const struct hypothesis *h = &s->search.live[hypothesis];
    struct page_table *table = &s->tables[hypothesis];
    size_t first = h->count - 1;
    struct page_copy copy;
    if (s->state == SAMPLE_JOINED)
        first = s->cross.pages ? 0 : s->shared_pages * KV_PAGE_TOKENS;
    if (page_table_prepare(&e->pool, table, first, h->count - first, &copy)) {
        e->pass.copy_from[e->pass.copy_count] = copy.from;
        e->pass.copy_to[e->pass.copy_count++] = copy.to;
    }
    pass_add(&e->pass, h->ids + first, h->count - first, first, table);
    if (s->cross.pages)
        pass_add_cross(&e->pass, &s->cross, s->count);
}

/* Samples of one kind of selection stand together: 0 greedy and sampling, 1 beams. */
static void add_samples(struct engine *e, bool beams, size_t *logit_row)
{
    for (struct sample *s = e->live; s; s = s->next) {
        if (s->search.beams != beams)
            continue;
        size_t logit_rows;
        rows_of(e, s, &logit_rows);
        s->first_row = *logit_row;
        s->rows = logit_rows;
        *logit_row += logit_rows;
        for (size_t i = 0; i < s->search.width; i++)
            if (s->state == SAMPLE_JOINED ? i == 0 : !is_waiting(s, i))
                add_sequence(e, s, i);
    }
}

static bool begin_pass(struct engine *e, size_t *single_rows, size_t *logit_rows, struct error *err)
{
    size_t rows = 0, sequences = 0, of_sample;
    for (struct sample *s = e->live; s; s = s->next) {
        rows += rows_of(e, s, &of_sample);
        sequences += of_sample;
    }
    if (!pass_begin(&e->pass, rows, sequences, err))
        return false;
    *logit_rows = 0;
    add_samples(e, false, logit_rows);
    *single_rows = *logit_rows;
    add_samples(e, true, logit_rows);
    return true;
}

/* ---- choosing ---- */

static bool edit_rows(struct engine *e, bool beams, size_t base, struct error *err)
{
    e->edits.count = 0;
    for (struct sample *s = e->live; s; s = s->next) {
        if (s->search.beams != beams)
            continue;
        size_t row = s->first_row - base;
        for (size_t i = 0; i < s->search.width && row < s->first_row - base + s->rows; i++) {
            const struct hypothesis *h = &s->search.live[i];
            if (is_waiting(s, i))
                continue;
            struct sequence_view view = {h->ids, h->count, s->search.prompt_count};
            if (!processors_apply(&s->settings, &s->search.limits, &view, e->network->vocabulary,
                    (int32_t)row, &e->edits, err))
                return false;
            row++;
        }
    }
    return true;
}

static bool grow(void *list, size_t *capacity, size_t needed, size_t size, struct error *err)
{
    void **pointer = list, *grown;
    if (needed <= *capacity)
        return true;
    if (!(grown = realloc(*pointer, needed * size)))
        return error_set(err, ERROR_MEMORY, "engine: out of memory for %zu candidates", needed);
    *pointer = grown;
    *capacity = needed;
    return true;
}

static bool room_for_candidates(struct engine *e, size_t count, struct error *err)
{
    size_t ids = e->top_capacity, scores = e->top_capacity;
    bool fine = grow(&e->top_ids, &ids, count, sizeof *e->top_ids, err) &&
                grow(&e->top_scores, &scores, count, sizeof *e->top_scores, err);
    if (fine)
        e->top_capacity = ids;
    return fine;
}

/* A sample that started anew makes the same tokens again, and tells only those that are new. */
static void tell_token(struct sample *s)
{
    const struct hypothesis *h = &s->search.live[0];
    if (!s->request.on_token || s->search.beams || s->search.width != 1 || h->count <= s->told_count)
        return;
    s->told_count = h->count;
    s->request.on_token(s->request.context, h->ids[h->count - 1]);
}

/* Caches follow the hypotheses: each takes over the pages of the one it continues. */
static void follow_parents(struct engine *e, struct sample *s)
{
    bool first = s->state == SAMPLE_JOINED;
    if (!first && !s->search.beams)
        return;
    for (size_t i = 0; i < s->search.width; i++) {
        const struct page_table *from = &s->tables[first ? 0 : s->search.live[i].parent];
        page_table_share(&e->pool, &s->spare[i], from, from->count);
    }
    for (size_t i = 0; i < s->search.width; i++)
        page_table_clear(&e->pool, &s->tables[i]);
    struct page_table *tables = s->tables;
    s->tables = s->spare;
    s->spare = tables;
}

static void advance_sample(struct engine *e, struct sample *s, size_t base, size_t top)
{
    size_t wanted = search_candidates_wanted(&s->search, e->network->vocabulary), n = 0;
    size_t row = s->first_row - base;
    for (size_t i = 0; i < s->search.width; i++) {
        if (is_waiting(s, i))
            continue;
        for (size_t j = 0; j < wanted; j++)
            e->candidates[n++] = (struct candidate){e->top_ids[row * top + j], e->top_scores[row * top + j]};
        if (s->state == SAMPLE_LIVE)
            row++;
    }
    search_advance(&s->search, e->candidates, wanted);
    if (!s->search.stuck)
        tell_token(s);
    if (!s->search.done)
        follow_parents(e, s);
    s->state = SAMPLE_LIVE;
}

/* Selects the next tokens of all rows of one kind, whose first is `base`. */
static bool choose(struct engine *e, bool beams, struct tensor logits, size_t base, struct error *err)
{
    size_t top = 1, room = 0, vocabulary = e->network->vocabulary;
    if (logits.rows == 0)
        return true;
    for (struct sample *s = e->live; s; s = s->next) {
        size_t wanted = s->search.beams == beams ? search_candidates_wanted(&s->search, vocabulary) : 0;
        top = wanted > top ? wanted : top;
        room = wanted * s->search.width > room ? wanted * s->search.width : room;
    }
    if (!room_for_candidates(e, logits.rows * top, err) ||
        !grow(&e->candidates, &e->candidate_capacity, room, sizeof *e->candidates, err) ||
        !edit_rows(e, beams, base, err))
        return false;
    struct select_args args = {.logits = logits,
        .edits = e->edits.items,
        .edit_count = e->edits.count,
        .edits_after = beams,
        .top = top,
        .ids = e->top_ids,
        .scores = e->top_scores};
    if (!e->backend->ops->select(e->backend, &args, err))
        return false;
    for (struct sample *s = e->live; s; s = s->next)
        if (s->search.beams == beams)
            advance_sample(e, s, base, top);
    return true;
}

static bool decode(struct engine *e, struct error *err)
{
    const struct backend_ops *ops = e->backend->ops;
    const struct architecture *architecture = e->network->architecture;
    size_t single_rows, logit_rows;
    if (!begin_pass(e, &single_rows, &logit_rows, err))
        return false;
    ops->scratch_reset(e->backend);
    struct forward f = pass_forward(&e->pass, e->backend, e->cache);
    if (e->pass.copy_count > 0)
        ops->kv_copy(e->backend, e->cache, e->pass.copy_from, e->pass.copy_to, e->pass.copy_count);
    struct tensor states = architecture->decode(e->network, &f);
    if (e->pass.rows > logit_rows) {
        struct tensor last = ops->scratch(e->backend, logit_rows, e->network->hidden);
        ops->gather(e->backend, last, states, e->pass.last_rows);
        states = last;
    }
    f.rows = logit_rows;
    struct tensor logits = architecture->head(e->network, &f, states);
    if (!ops->sync(e->backend, err))
        return false;
    return choose(e, false, tensor_rows(logits, 0, single_rows), 0, err) &&
           choose(e, true, tensor_rows(logits, single_rows, logit_rows - single_rows), single_rows, err);
}

static void finish_done(struct engine *e)
{
    struct sample **at = &e->live;
    while (*at) {
        struct sample *s = *at;
        if (!s->search.done) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        e->live_count--;
        e->live_limit += e->live_limit > 0; /* memory may be there again */
        sample_finish(e, s);
    }
}

/* ---- the door ---- */

uint64_t engine_submit(struct engine *e, const struct generation_request *request, struct error *err)
{
    if (e->network->architecture->kind == ENGINE_ENCODER) {
        error_set(err, ERROR_UNSUPPORTED, "%s is an encoder: it cannot generate", model_reference(e->model));
        return 0;
    }
    struct sample *s = sample_create(e, request, err);
    if (!s)
        return 0;
    link_last(&e->queue, s);
    e->queue_count++;
    return s->handle;
}

static struct sample *unlink_sample(struct sample **list, uint64_t handle)
{
    for (; *list; list = &(*list)->next)
        if ((*list)->handle == handle) {
            struct sample *s = *list;
            *list = s->next;
            return s;
        }
    return NULL;
}

void engine_cancel(struct engine *e, uint64_t handle)
{
    struct error why = {0};
    struct sample *s = unlink_sample(&e->queue, handle);
    if (s) {
        e->queue_count--;
    } else if ((s = unlink_sample(&e->live, handle))) {
        e->live_count--;
    } else {
        return; /* it ended before the caller knew */
    }
    error_set(&why, ERROR_CANCELLED, "cancelled");
    sample_end(e, s, FINISH_CANCELLED, &why);
}

size_t engine_step(struct engine *e)
{
    struct error err = {0};
    bool encodes = e->network->architecture->kind == ENGINE_ENCODER_DECODER;
    admit(e);
    while (e->live && encodes && !encode_newcomers(e, &err))
        if (!shrink(e, &err))
            fail_all(e, SAMPLE_JOINED, &err);
    if (e->live && !decode(e, &err) && !shrink(e, &err))
        fail_all(e, SAMPLE_LIVE, &err);
    finish_done(e);
    return e->live_count + e->queue_count;
}
