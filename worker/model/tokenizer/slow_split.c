/* Cutting a text at added tokens the way transformers' Trie.split does. It follows every possible start at
 * once and takes the first that completes, preferring an earlier start and a longer token; its results differ
 * from a plain leftmost-longest search in odd cases, and ids depend on them. */
#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/slow.h"
#include "worker/model/tokenizer/unicode.h"

#include "common/text.h"

struct state {
    size_t start;
    uint32_t node;
    bool dead; /* did not take the current character; the reference still looks ahead from it */
};

struct search {
    const struct trie *trie;
    const char *text;
    size_t len;
    struct state *states; /* in order of start */
    size_t count, capacity;
    size_t skip;
    struct slow_stretches *out;
    size_t cut; /* where the last stretch ended */
    struct error *err;
};

static bool ends(const struct search *s, uint32_t node)
{
    return s->trie->nodes[node].value >= 0;
}

static bool push_stretch(struct slow_stretches *out, size_t begin, size_t end, struct error *err)
{
    struct slow_stretch *items = array_grow(out->items, &out->capacity, out->count + 1, sizeof(*items), err);
    if (!items)
        return false;
    out->items = items;
    items[out->count++] = (struct slow_stretch){begin, end, NULL};
    return true;
}

/* A cut at each end; stretches of no length and cuts that lie behind are left out. */
static bool cut_at(struct search *s, size_t at)
{
    if (at <= s->cut)
        return true;
    size_t begin = s->cut;
    s->cut = at;
    return push_stretch(s->out, begin, at, s->err);
}

/* State `done` has completed before `current`: looks ahead, from it and the earlier ones, for the longest
 * token. Earlier states have already taken text[current]. */
static void look_ahead(struct search *s, size_t done, size_t current, size_t *start, size_t *end)
{
    *start = s->states[done].start;
    *end = current;
    for (size_t i = 0; i <= done && s->states[i].start <= *start; i++) {
        size_t at = i < done && s->states[i].start < *start ? current + 1 : current;
        uint32_t node = s->states[i].node;
        *end = at;
        if (ends(s, node)) {
            *start = s->states[i].start;
            s->skip = at;
        }
        while (at < s->len && (node = trie_child(s->trie, node, (uint8_t)s->text[at])) != 0) {
            at++;
            if (ends(s, node)) {
                *start = s->states[i].start;
                *end = at;
                s->skip = at;
            }
        }
    }
}

/* Moves every state over text[current]. Sets *reset when one had completed, after cutting there. */
static bool step(struct search *s, size_t current, bool *reset)
{
    *reset = false;
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (ends(s, s->states[i].node)) {
            size_t start, end;
            look_ahead(s, i, current, &start, &end);
            *reset = true;
            s->count = 0;
            return cut_at(s, start) && cut_at(s, end);
        }
        uint32_t next = trie_child(s->trie, s->states[i].node, (uint8_t)s->text[current]);
        if (next)
            s->states[i].node = next;
        else
            s->states[i].dead = true;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (!s->states[i].dead)
            s->states[kept++] = s->states[i];
    }
    s->count = kept;
    return true;
}

static bool search_text(struct search *s)
{
    for (size_t current = 0; current < s->len; current++) {
        if (s->skip && current < s->skip)
            continue;
        bool reset;
        if (!step(s, current, &reset))
            return false;
        uint32_t node = current >= s->skip ? s->trie->roots[(uint8_t)s->text[current]] : 0;
        if (!node)
            continue;
        struct state *states = array_grow(s->states, &s->capacity, s->count + 1, sizeof(*states), s->err);
        if (!states)
            return false;
        s->states = states;
        states[s->count++] = (struct state){current, node, false};
    }
    for (size_t i = 0; i < s->count; i++) {
        if (ends(s, s->states[i].node))
            return cut_at(s, s->states[i].start) && cut_at(s, s->len);
    }
    return true;
}

static bool is_space_at(const char *text, size_t at, size_t end, size_t *step)
{
    uint32_t c;
    *step = text_decode(text + at, end - at, &c);
    return unicode_is(c, CLASS_PYTHON_SPACE);
}

static size_t strip_left(const char *text, size_t begin, size_t end)
{
    size_t step;
    while (begin < end && is_space_at(text, begin, end, &step))
        begin += step;
    return begin;
}

static size_t strip_right(const char *text, size_t begin, size_t end)
{
    size_t keep = begin, step;
    for (size_t at = begin; at < end; at += step) {
        if (!is_space_at(text, at, end, &step))
            keep = at + step;
    }
    return keep;
}

/* A token may take the spaces beside it, or give itself up when it must stand alone and does not. */
static void apply_flags(const char *text, struct slow_stretches *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct slow_stretch *s = &list->items[i];
        struct slow_stretch *left = i ? s - 1 : NULL, *right = i + 1 < list->count ? s + 1 : NULL;
        if (!s->token)
            continue;
        if (s->token->rstrip && right && right->begin < right->end)
            right->begin = strip_left(text, right->begin, right->end);
        if (s->token->lstrip && left && left->begin < left->end)
            left->end = strip_right(text, left->begin, left->end);
        if (!s->token->single_word)
            continue;
        /* Joining stretches keeps them contiguous only when nothing was stripped between; it was not, for a
         * stripped neighbour ends in no word character. */
        if (left && left->begin < left->end && text[left->end - 1] != ' ' && left->end == s->begin) {
            left->end = s->end;
            left->token = NULL;
            s->begin = s->end;
            s->token = NULL;
        } else if (right && right->begin < right->end && text[right->begin] != ' ' &&
                   right->begin == s->end) {
            right->begin = s->begin;
            right->token = NULL;
            s->end = s->begin;
            s->token = NULL;
        }
    }
}

bool slow_split(
    const struct tokenizer *t, const char *text, size_t len, struct slow_stretches *out, struct error *err)
{
    struct search s = {.trie = &t->slow->added, .text = text, .len = len, .out = out, .err = err};
    bool ok = (s.trie->count <= 1 || search_text(&s)) && cut_at(&s, len);
    free(s.states);
    for (size_t i = 0; ok && i < out->count; i++) {
        struct slow_stretch *item = &out->items[i];
        item->token = added_by_content(&t->added, text + item->begin, item->end - item->begin);
    }
    if (ok)
        apply_flags(text, out);
    return ok;
}
