/* Translation edit rate as sacrebleu computes it by default (lower-cased, not normalised, punctuation kept):
 * 100 times the edits, shifts of word sequences among them, per reference word. Snover et al., "A Study of
 * Translation Edit Rate with Targeted Human Annotation" (2006). The best edit sequence is not searched for:
 * shifts are chosen greedily, and the rules by which they are chosen, tried and limited are part of the
 * definition; they are sacrebleu's. */
#include <string.h>

#include "worker/metrics/edit_distance.h"
#include "worker/metrics/registry.h"
#include "worker/metrics/text.h"
#include "worker/metrics/vocabulary.h"

#define SHIFT_LENGTH_MAX 10
#define SHIFT_DISTANCE_MAX 50
#define SHIFTS_TRIED_MAX 1000

struct words {
    uint32_t *ids;
    size_t count;
};

/* How hypothesis and reference lie beside each other after the edits of a trace. */
struct alignment {
    ptrdiff_t *hypothesis_of; /* by reference word: the hypothesis word it lies on, or the one before it */
    uint32_t *reference_errors, *hypothesis_errors; /* sums over the words before: [count + 1] */
};

struct shift {
    size_t start, length, target;
    int32_t gain;
    bool found;
};

struct search {
    struct edit_distance edit;
    struct words hypothesis, reference;
    struct alignment alignment;
    uint8_t *trace;
    uint32_t *shifted;
    int32_t base_distance;
    size_t tried;
};

static bool search_open(struct search *s, struct metric_arena *arena, struct words hypothesis,
    struct words reference, struct error *err)
{
    *s = (struct search){.hypothesis = hypothesis, .reference = reference};
    size_t h = hypothesis.count;
    size_t r = reference.count;
    s->trace = metric_arena_alloc(arena, h + r, 1, err);
    s->shifted = metric_arena_alloc(arena, h, sizeof *s->shifted, err);
    s->alignment.hypothesis_of = metric_arena_alloc(arena, r, sizeof *s->alignment.hypothesis_of, err);
    s->alignment.reference_errors = metric_arena_alloc(arena, r + 1, sizeof(uint32_t), err);
    s->alignment.hypothesis_errors = metric_arena_alloc(arena, h + 1, sizeof(uint32_t), err);
    return s->trace && s->shifted && s->alignment.hypothesis_of && s->alignment.reference_errors &&
           s->alignment.hypothesis_errors && edit_distance_open(&s->edit, arena, reference.ids, r, h, err);
}

static void align(struct search *s)
{
    struct alignment *a = &s->alignment;
    ptrdiff_t h = -1;
    ptrdiff_t r = -1;
    a->reference_errors[0] = 0;
    a->hypothesis_errors[0] = 0;
    for (size_t i = edit_distance_trace(&s->edit, s->trace); i-- > 0;) {
        uint8_t operation = s->trace[i];
        uint32_t error = operation != EDIT_KEEP;
        if (operation != EDIT_INSERT) {
            h++;
            a->hypothesis_errors[h + 1] = a->hypothesis_errors[h] + error;
        }
        if (operation != EDIT_DELETE) {
            r++;
            a->reference_errors[r + 1] = a->reference_errors[r] + error;
            a->hypothesis_of[r] = h;
        }
    }
}

static void copy(uint32_t *out, const uint32_t *words, size_t from, size_t to, size_t *at)
{
    if (to <= from)
        return;
    memcpy(out + *at, words + from, (to - from) * sizeof *out);
    *at += to - from;
}

/* Moves `length` words from `start` to before the word `target`. A target inside the moved words means: as
 * many words later. Words before *from and from *to on stay where they are. */
static void move_words(
    uint32_t *out, struct words words, size_t start, size_t length, size_t target, size_t *from, size_t *to)
{
    size_t at = 0;
    size_t n = words.count;
    if (target < start) {
        *from = target;
        *to = start + length;
        copy(out, words.ids, 0, target, &at);
        copy(out, words.ids, start, start + length, &at);
        copy(out, words.ids, target, start, &at);
    } else {
        size_t after = target > start + length ? target : target + length;
        *from = start;
        *to = after < n ? after : n;
        copy(out, words.ids, 0, start, &at);
        copy(out, words.ids, start + length, *to, &at);
        copy(out, words.ids, start, start + length, &at);
    }
    copy(out, words.ids, *to, n, &at);
}

/* Greater gain first, then the longer, the earlier, the earlier target. */
static bool is_better(const struct shift *a, const struct shift *b)
{
    if (!b->found || a->gain != b->gain)
        return !b->found || a->gain > b->gain;
    if (a->length != b->length)
        return a->length > b->length;
    if (a->start != b->start)
        return a->start < b->start;
    return a->target < b->target;
}

/* Tries the words [start, start + length), which match the reference at `r`, at every place beside that
 * match. */
static void try_targets(struct search *s, size_t start, size_t r, size_t length, struct shift *best)
{
    const struct alignment *a = &s->alignment;
    ptrdiff_t previous = -1;
    for (size_t offset = 0; offset <= length; offset++) {
        ptrdiff_t target = 0;
        size_t beside = r + offset; /* one past the reference word that the target comes after */
        if (beside > s->reference.count)
            break;
        if (beside > 0)
            target = a->hypothesis_of[beside - 1] + 1;
        if (target == previous)
            continue;
        previous = target;
        size_t from;
        size_t to;
        move_words(s->shifted, s->hypothesis, start, length, (size_t)target, &from, &to);
        struct shift shift = {start, length, (size_t)target, 0, true};
        /* A shift that gains nothing, or less than the best so far, is never done: its gain need not be
         * exact. */
        int32_t needed = best->gain > 1 ? best->gain : 1;
        shift.gain = s->base_distance - edit_distance_of(&s->edit, s->shifted, from, to, needed);
        s->tried++;
        if (is_better(&shift, best))
            *best = shift;
    }
}

/* A shift makes sense only where both places are wrong now, and not onto itself. */
static bool worth_trying(const struct alignment *a, size_t start, size_t r, size_t length)
{
    if (a->hypothesis_errors[start + length] == a->hypothesis_errors[start] ||
        a->reference_errors[r + length] == a->reference_errors[r])
        return false;
    ptrdiff_t now = a->hypothesis_of[r];
    return now < (ptrdiff_t)start || now >= (ptrdiff_t)(start + length);
}

static struct shift best_shift(struct search *s)
{
    struct shift best = {0};
    for (size_t h = 0; h < s->hypothesis.count; h++) {
        size_t first = h > SHIFT_DISTANCE_MAX ? h - SHIFT_DISTANCE_MAX : 0;
        for (size_t r = first; r < s->reference.count && r <= h + SHIFT_DISTANCE_MAX; r++) {
            for (size_t length = 1; length <= SHIFT_LENGTH_MAX; length++) {
                if (h + length > s->hypothesis.count || r + length > s->reference.count ||
                    s->hypothesis.ids[h + length - 1] != s->reference.ids[r + length - 1])
                    break;
                if (!worth_trying(&s->alignment, h, r, length))
                    continue;
                try_targets(s, h, r, length, &best);
                if (s->tried >= SHIFTS_TRIED_MAX)
                    return best;
            }
        }
    }
    return best;
}

/* Shifts while that reduces the distance; a shift found when the limit is reached is not done. */
static size_t count_edits(struct search *s)
{
    size_t shifts = 0;
    for (;;) {
        s->base_distance = edit_distance_set_base(&s->edit, s->hypothesis.ids);
        align(s);
        struct shift shift = best_shift(s);
        if (s->tried >= SHIFTS_TRIED_MAX || !shift.found || shift.gain <= 0)
            return shifts + (size_t)s->base_distance;
        size_t from;
        size_t to;
        move_words(s->shifted, s->hypothesis, shift.start, shift.length, shift.target, &from, &to);
        memcpy(s->hypothesis.ids, s->shifted, s->hypothesis.count * sizeof *s->shifted);
        shifts++;
    }
}

static bool read_words(struct metric_arena *arena, struct metric_vocabulary *vocabulary,
    const struct metric_text *tokens, struct words *words, struct error *err)
{
    words->ids = metric_arena_alloc(arena, words->count, sizeof *words->ids, err);
    if (!words->ids)
        return false;
    for (size_t i = 0; i < words->count; i++)
        words->ids[i] = metric_vocabulary_add(vocabulary, tokens[i].cp, tokens[i].len * sizeof *tokens[i].cp);
    return true;
}

static bool read_tokens(struct metric_arena *arena, const char *utf8, size_t len, struct metric_text **tokens,
    size_t *count, struct error *err)
{
    struct metric_text text;
    if (!metric_text_decode(arena, utf8, len, &text, err))
        return false;
    text.len = metric_text_stripped_len(text);
    return metric_text_lower(arena, text, &text, err) && metric_text_split(arena, text, tokens, count, err);
}

static bool score_in_arena(
    struct metric_arena *arena, const struct metric_sample *sample, double *values, struct error *err)
{
    struct metric_text *hypothesis_tokens;
    struct metric_text *reference_tokens;
    struct words hypothesis = {0};
    struct words reference = {0};
    struct metric_vocabulary vocabulary;
    struct search search;
    if (!read_tokens(
            arena, sample->prediction, sample->prediction_len, &hypothesis_tokens, &hypothesis.count, err) ||
        !read_tokens(
            arena, sample->reference, sample->reference_len, &reference_tokens, &reference.count, err) ||
        !metric_vocabulary_open(&vocabulary, arena, hypothesis.count + reference.count, err) ||
        !read_words(arena, &vocabulary, hypothesis_tokens, &hypothesis, err) ||
        !read_words(arena, &vocabulary, reference_tokens, &reference, err))
        return false;
    if (reference.count == 0) {
        values[0] = hypothesis.count > 0 ? 100.0 : 0.0;
        return true;
    }
    if (!search_open(&search, arena, hypothesis, reference, err))
        return false;
    values[0] = 100 * ((double)count_edits(&search) / (double)reference.count);
    return true;
}

static bool score(const struct metric_sample *sample, double *values, struct error *err)
{
    struct metric_arena arena;
    if (!metric_require_reference(sample, err))
        return false;
    metric_arena_open(&arena);
    bool ok = score_in_arena(&arena, sample, values, err);
    metric_arena_close(&arena);
    return ok;
}

static const char *const keys[] = {"ter", NULL};
const struct metric metric_ter = {"ter", "1", keys, 1, true, false, score};
