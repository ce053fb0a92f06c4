#include "worker/engine/search.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/sampling.h"

/* What the reference writes for "not this one": a score that no sum of log-probabilities reaches. */
static const float never = -1e9f;

struct continuation {
    double key; /* what the best are chosen by: the score, plus noise when sampling */
    float score;
    int32_t id;
    float token_score;
    size_t parent;
    bool ended;
    enum finish_reason reason;
};

/* ---- memory ---- */

static bool open_hypotheses(struct hypothesis **list, size_t count, size_t capacity, size_t prompt_count)
{
    *list = calloc(count, sizeof **list);
    if (!*list)
        return false;
    for (size_t i = 0; i < count; i++) {
        struct hypothesis *h = &(*list)[i];
        h->ids = malloc(capacity * sizeof *h->ids);
        h->token_scores = malloc((capacity - prompt_count + 1) * sizeof *h->token_scores);
        if (!h->ids || !h->token_scores)
            return false;
    }
    return true;
}

static void close_hypotheses(struct hypothesis *list, size_t count)
{
    for (size_t i = 0; list && i < count; i++) {
        free(list[i].ids);
        free(list[i].token_scores);
    }
    free(list);
}

static void copy_hypothesis(const struct search *s, struct hypothesis *to, const struct hypothesis *from)
{
    memcpy(to->ids, from->ids, from->count * sizeof *to->ids);
    memcpy(to->token_scores, from->token_scores, (from->count - s->prompt_count) * sizeof *to->token_scores);
    to->count = from->count;
    to->score = from->score;
}

static void append(const struct search *s, struct hypothesis *h, int32_t id, float token_score)
{
    assert(h->count < s->limits.max_length);
    h->token_scores[h->count - s->prompt_count] = token_score;
    h->ids[h->count++] = id;
}

static bool is_sampling(const struct generation_settings *settings)
{
    return settings->do_sample && settings->temperature > 0; /* at temperature 0 it is greedy */
}

size_t search_width(const struct generation_settings *settings)
{
    if (settings->num_beams > 1)
        return (size_t)settings->num_beams;
    return is_sampling(settings) ? (size_t)settings->num_return_sequences : 1;
}

bool search_open(struct search *s, const struct generation_settings *settings,
    struct generation_limits limits, const int32_t *ids, size_t count, uint64_t noise_key, struct error *err)
{
    assert(count > 0 && count < limits.max_length);
    memset(s, 0, sizeof *s);
    s->settings = settings;
    s->limits = limits;
    s->prompt_count = count;
    s->noise_key = noise_key;
    s->beams = settings->num_beams > 1;
    s->sampling = is_sampling(settings);
    s->width = search_width(settings);
    size_t ends = settings->eos_token_count;
    s->keep = s->width * (ends > 1 ? 1 + ends : 2);
    s->pool = calloc(s->keep, sizeof *s->pool);
    bool fine = s->pool && open_hypotheses(&s->live, s->width, limits.max_length, count) &&
                open_hypotheses(&s->next, s->width, limits.max_length, count) &&
                open_hypotheses(&s->finished, s->width, limits.max_length, count);
    if (!fine) {
        search_close(s);
        return error_set(err, ERROR_MEMORY, "search: out of memory for %zu hypotheses of %zu tokens",
            s->width, limits.max_length);
    }
    for (size_t i = 0; i < s->width; i++) {
        memcpy(s->live[i].ids, ids, count * sizeof *ids);
        s->live[i].count = count;
        s->live[i].score = s->beams && i > 0 ? never : 0; /* the first step continues one beam only */
        s->live[i].parent = i;
    }
    return true;
}

void search_close(struct search *s)
{
    close_hypotheses(s->live, s->width);
    close_hypotheses(s->next, s->width);
    close_hypotheses(s->finished, s->width);
    free(s->pool);
    s->live = s->next = s->finished = NULL;
    s->pool = NULL;
}

size_t search_candidates_wanted(const struct search *s, size_t vocabulary_size)
{
    size_t wanted = s->beams ? s->keep : 1;
    if (s->sampling) {
        size_t top_k = s->settings->top_k > 0 ? (size_t)s->settings->top_k : vocabulary_size;
        wanted = top_k > wanted ? top_k : wanted;
    }
    return wanted < vocabulary_size ? wanted : vocabulary_size;
}

/* Whether the sequence of `h` followed by `id` is complete, and why. */
static bool is_ended(struct search *s, struct hypothesis *h, int32_t id, enum finish_reason *reason)
{
    if (settings_is_eos(s->settings, id)) {
        *reason = FINISH_EOS;
        return true;
    }
    h->ids[h->count] = id; /* room for it: count < max_length */
    if (s->stop && s->stop(s->stop_context, h->ids + s->prompt_count, h->count + 1 - s->prompt_count)) {
        *reason = FINISH_STOP_STRING;
        return true;
    }
    *reason = FINISH_LENGTH;
    return h->count + 1 >= s->limits.max_length;
}

/* ---- greedy and sampling: every hypothesis goes its own way ---- */

static size_t choose(struct search *s, struct candidate *c, size_t count, size_t chain, float *token_score)
{
    *token_score = c[0].score;
    if (!s->sampling || c[0].score == -INFINITY)
        return 0;
    float best = c[0].score, temperature = (float)s->settings->temperature;
    count = sampling_warp(s->settings, c, count, 1);
    size_t chosen = sampling_draw(c, count, sampling_uniform(s->noise_key, s->step, chain));
    /* The model's own log-probability again, before the temperature. */
    *token_score = best + (c[chosen].score - best / temperature) * temperature;
    return chosen;
}

static void advance_chains(struct search *s, struct candidate *candidates, size_t count)
{
    bool all = true;
    for (size_t i = 0; i < s->width; i++) {
        struct hypothesis *h = &s->live[i];
        float token_score;
        if (h->finished)
            continue;
        size_t chosen = choose(s, candidates, count, i, &token_score);
        int32_t id = candidates[chosen].id;
        s->stuck |= !isfinite(token_score);
        h->finished = is_ended(s, h, id, &h->reason);
        append(s, h, id, token_score);
        h->score += token_score;
        all &= h->finished;
        candidates += count;
    }
    s->done = all || s->stuck;
}

/* ---- beam search ---- */

/* Best key first; equal keys in order of (beam, id). */
static bool precedes(const struct continuation *a, const struct continuation *b)
{
    if (a->key != b->key)
        return a->key > b->key;
    return a->parent != b->parent ? a->parent < b->parent : a->id < b->id;
}

static void offer(struct search *s, size_t *used, const struct continuation *c)
{
    size_t at = *used;
    if (at == s->keep) {
        if (!precedes(c, &s->pool[at - 1]))
            return;
        at--;
    } else {
        (*used)++;
    }
    while (at > 0 && precedes(c, &s->pool[at - 1])) {
        s->pool[at] = s->pool[at - 1];
        at--;
    }
    s->pool[at] = *c;
}

static size_t fill_pool(struct search *s, struct candidate *candidates, size_t count)
{
    size_t used = 0, keep_min = s->settings->eos_token_count + 1;
    for (size_t beam = 0; beam < s->width; beam++, candidates += count) {
        size_t left = s->sampling ? sampling_warp(s->settings, candidates, count, keep_min) : count;
        for (size_t i = 0; i < left; i++) {
            struct continuation c = {.score = candidates[i].score + s->live[beam].score,
                .id = candidates[i].id,
                .token_score = candidates[i].score,
                .parent = beam};
            c.key = c.score;
            if (s->sampling) { /* the best by score plus Gumbel noise are a draw without replacement */
                uint64_t place = ((uint64_t)beam << 32) | (uint32_t)c.id;
                c.key -= log(-log(sampling_uniform(s->noise_key, s->step, place)));
            }
            offer(s, &used, &c);
        }
    }
    for (size_t i = 0; i < used; i++)
        s->pool[i].ended = is_ended(s, &s->live[s->pool[i].parent], s->pool[i].id, &s->pool[i].reason);
    return used;
}

static float length_penalised(const struct search *s, float score, size_t length)
{
    return score / (float)pow((double)length, s->settings->length_penalty);
}

/* Only continuations among the first `width` may become results: the rest exist to keep beams alive. */
static void collect_finished(struct search *s, size_t used)
{
    for (size_t i = 0; i < used && i < s->width; i++) {
        const struct continuation *c = &s->pool[i];
        if (!c->ended)
            continue;
        const struct hypothesis *parent = &s->live[c->parent];
        float score = length_penalised(s, c->score, parent->count + 1 - s->prompt_count);
        size_t at = s->finished_count;
        if (at == s->width && !(score > s->finished[at - 1].score))
            continue;
        if (at == s->width)
            at--;
        else
            s->finished_count++;
        copy_hypothesis(s, &s->finished[at], parent);
        append(s, &s->finished[at], c->id, c->token_score);
        s->finished[at].score = score;
        s->finished[at].reason = c->reason;
        s->finished[at].finished = true;
        for (; at > 0 && s->finished[at].score > s->finished[at - 1].score; at--) {
            struct hypothesis better = s->finished[at];
            s->finished[at] = s->finished[at - 1];
            s->finished[at - 1] = better;
        }
    }
}

/* The best continuations that have not ended live on; ended ones fill up when there are too few. */
static void continue_beams(struct search *s, size_t used)
{
    for (size_t i = 0; i < used; i++)
        s->pool[i].key = s->pool[i].score + (s->pool[i].ended ? never : 0.0f);
    for (size_t beam = 0; beam < s->width; beam++) {
        size_t best = 0;
        for (size_t i = 1; i < used; i++)
            if (s->pool[i].key > s->pool[best].key)
                best = i;
        struct continuation *c = &s->pool[best];
        struct hypothesis *h = &s->next[beam];
        copy_hypothesis(s, h, &s->live[c->parent]);
        append(s, h, c->id, c->token_score);
        h->score = (float)c->key;
        h->parent = c->parent;
        h->finished = false;
        c->key = -INFINITY;
    }
    struct hypothesis *previous = s->live;
    s->live = s->next;
    s->next = previous;
}

/* Whether an open beam can still beat the worst result, by the reference's estimate. */
static bool is_improvable(const struct search *s)
{
    const struct generation_settings *g = s->settings;
    size_t length = s->live[0].count - s->prompt_count;
    if (g->early_stopping == EARLY_STOPPING_NEVER && g->length_penalty > 0)
        length = s->limits.max_length - s->prompt_count;
    float worst = s->finished_count == s->width ? s->finished[s->width - 1].score : never;
    return length_penalised(s, s->live[0].score, length) > worst;
}

static void advance_beams(struct search *s, struct candidate *candidates, size_t count)
{
    size_t used = fill_pool(s, candidates, count);
    bool all_ended = true;
    for (size_t i = 0; i < used; i++)
        all_ended &= s->pool[i].ended;
    s->stuck = !isfinite(s->pool[0].score);
    collect_finished(s, used);
    continue_beams(s, used);
    bool full = s->finished_count == s->width;
    s->done = s->stuck || all_ended || !is_improvable(s) ||
              (full && s->settings->early_stopping == EARLY_STOPPING_TRUE);
}

void search_advance(struct search *s, struct candidate *candidates, size_t count)
{
    if (s->beams)
        advance_beams(s, candidates, count);
    else
        advance_chains(s, candidates, count);
    s->step++;
    if (s->beams)
        s->stuck = s->done && s->finished_count == 0;
}

static int by_score(const void *a, const void *b)
{
    const struct hypothesis *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

const struct hypothesis *search_results(const struct search *s, size_t *count)
{
    if (!s->beams) {
        qsort(s->live, s->width, sizeof *s->live, by_score);
        *count = s->width;
        return s->live;
    }
    size_t wanted = (size_t)s->settings->num_return_sequences;
    *count = wanted < s->finished_count ? wanted : s->finished_count;
    return s->finished;
}
