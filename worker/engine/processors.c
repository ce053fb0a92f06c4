#include "worker/engine/processors.h"

#include <stdlib.h>
#include <string.h>

/* What the processors of one row share. */
struct row {
    const struct generation_settings *settings;
    const struct sequence_view *sequence;
    int32_t index;
    struct edits *out;
    struct error *err;
};

void edits_free(struct edits *edits)
{
    free(edits->items);
    memset(edits, 0, sizeof *edits);
}

bool settings_is_eos(const struct generation_settings *settings, int32_t id)
{
    for (size_t i = 0; i < settings->eos_token_count; i++)
        if (settings->eos_token_ids[i] == id)
            return true;
    return false;
}

struct generation_limits generation_limits_resolve(
    const struct generation_settings *settings, size_t prompt_count, size_t positions_max)
{
    enum { DEFAULT_NEW_TOKENS = 20 };
    struct generation_limits limits = {0, 0};
    if (settings->max_new_tokens >= 0)
        limits.max_length = prompt_count + (size_t)settings->max_new_tokens;
    else if (settings->max_length >= 0)
        limits.max_length = (size_t)settings->max_length;
    else {
        limits.max_length = prompt_count + DEFAULT_NEW_TOKENS;
        if (limits.max_length > positions_max)
            limits.max_length = positions_max;
    }
    if (settings->min_new_tokens >= 0)
        limits.min_length = prompt_count + (size_t)settings->min_new_tokens;
    else if (settings->min_length > 0)
        limits.min_length = (size_t)settings->min_length;
    return limits;
}

static bool push(const struct row *r, int32_t id, enum edit_kind kind, double value)
{
    struct edits *edits = r->out;
    if (edits->count == edits->capacity) {
        size_t capacity = edits->capacity ? edits->capacity * 2 : 64;
        struct edit *items = realloc(edits->items, capacity * sizeof *items);
        if (!items)
            return error_set(r->err, ERROR_MEMORY, "logits processors: out of memory");
        edits->items = items;
        edits->capacity = capacity;
    }
    edits->items[edits->count++] = (struct edit){r->index, id, kind, (float)value};
    return true;
}

static bool ban_list(const struct row *r, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!push(r, ids[i], EDIT_BAN, 0))
            return false;
    return true;
}

static bool penalise_repetition(const struct row *r)
{
    if (r->settings->repetition_penalty == 1)
        return true;
    for (size_t i = 0; i < r->sequence->count; i++)
        if (!push(r, r->sequence->ids[i], EDIT_PENALTY, r->settings->repetition_penalty))
            return false;
    return true;
}

/* One addition an occurrence; `fold` makes the sum of them. */
static bool penalise_frequency(const struct row *r)
{
    if (r->settings->frequency_penalty == 0 && r->settings->presence_penalty == 0)
        return true;
    for (size_t i = r->sequence->prompt_count; i < r->sequence->count; i++)
        if (!push(r, r->sequence->ids[i], EDIT_ADD, -r->settings->frequency_penalty))
            return false;
    return true;
}

/* Bans what would repeat an n-gram: the id after each earlier occurrence of the sequence's last n-1 ids. */
static bool ban_repeated_ngrams(const struct row *r)
{
    const struct sequence_view *q = r->sequence;
    size_t n = (size_t)r->settings->no_repeat_ngram_size;
    if (n == 0 || q->count + 1 < n)
        return true;
    const int32_t *last = q->ids + q->count + 1 - n;
    for (size_t i = 0; i + n <= q->count; i++)
        if (memcmp(q->ids + i, last, (n - 1) * sizeof *last) == 0 && !push(r, q->ids[i + n - 1], EDIT_BAN, 0))
            return false;
    return true;
}

static bool ban_bad_words(const struct row *r)
{
    const struct sequence_view *q = r->sequence;
    for (size_t w = 0; w < r->settings->bad_words_count; w++) {
        const int32_t *word = r->settings->bad_words[w];
        size_t n = 0;
        while (word[n] >= 0)
            n++;
        bool is_end = n == 1 && settings_is_eos(r->settings, word[0]); /* an end token is never a bad word */
        if (n == 0 || is_end || n > q->count)
            continue;
        bool follows = memcmp(q->ids + q->count - (n - 1), word, (n - 1) * sizeof *word) == 0;
        if (follows && !push(r, word[n - 1], EDIT_BAN, 0))
            return false;
    }
    return true;
}

static int kind_order(enum edit_kind kind)
{
    static const int order[] = {[EDIT_PENALTY] = 0, [EDIT_ADD] = 1, [EDIT_BAN] = 2, [EDIT_ONLY] = 3};
    return order[kind];
}

static int by_id_and_kind(const void *a, const void *b)
{
    const struct edit *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return kind_order(x->kind) - kind_order(y->kind);
}

/* One edit per id and kind: a penalty and a ban apply once, additions become their sum. */
static void fold(const struct row *r, size_t first, size_t vocabulary_size)
{
    struct edits *edits = r->out;
    size_t n = first;
    if (edits->count == first)
        return;
    qsort(edits->items + first, edits->count - first, sizeof *edits->items, by_id_and_kind);
    for (size_t i = first; i < edits->count; i++) {
        const struct edit *item = &edits->items[i];
        bool again =
            n > first && edits->items[n - 1].id == item->id && edits->items[n - 1].kind == item->kind;
        if ((size_t)item->id >= vocabulary_size)
            break;
        if (!again)
            edits->items[n++] = *item;
        else if (item->kind == EDIT_ADD)
            edits->items[n - 1].value += item->value;
    }
    edits->count = n;
    for (size_t i = first; i < n; i++)
        if (edits->items[i].kind == EDIT_ADD)
            edits->items[i].value -= (float)r->settings->presence_penalty;
}

static bool in_list(const int32_t *ids, size_t count, int32_t id)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* Suppression comes after forcing in the reference: a forced id that is suppressed leaves nothing. */
static bool force(const struct row *r, int32_t id, bool at_begin)
{
    const struct generation_settings *s = r->settings;
    bool banned = in_list(s->suppress_tokens, s->suppress_count, id) ||
                  (at_begin && in_list(s->begin_suppress_tokens, s->begin_suppress_count, id));
    return push(r, id, EDIT_ONLY, 0) && (!banned || push(r, id, EDIT_BAN, 0));
}

bool processors_apply(const struct generation_settings *s, const struct generation_limits *limits,
    const struct sequence_view *q, size_t vocabulary_size, int32_t row, struct edits *out, struct error *err)
{
    const struct row r = {s, q, row, out, err};
    size_t first = out->count;
    size_t begin = q->prompt_count + (q->prompt_count == 1 && s->forced_bos_token_id >= 0);
    bool at_begin = q->count == begin;
    if (s->forced_eos_token_id >= 0 && q->count + 1 == limits->max_length)
        return force(&r, s->forced_eos_token_id, at_begin);
    if (s->forced_bos_token_id >= 0 && q->count == 1)
        return force(&r, s->forced_bos_token_id, at_begin);
    bool fine =
        penalise_repetition(&r) && penalise_frequency(&r) && ban_repeated_ngrams(&r) && ban_bad_words(&r);
    if (fine && q->count < limits->min_length)
        fine = ban_list(&r, s->eos_token_ids, s->eos_token_count);
    fine = fine && ban_list(&r, s->suppress_tokens, s->suppress_count);
    if (fine && at_begin)
        fine = ban_list(&r, s->begin_suppress_tokens, s->begin_suppress_count);
    if (fine)
        fold(&r, first, vocabulary_size);
    return fine;
}
