/* ROUGE as the package rouge-score computes it: rouge1, rouge2, rougeL and rougeLsum, no stemmer, F-measure.
 * Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004); the summary-level union LCS is its
 * section 3.2, with the clipping of repeated words that ROUGE 1.5.5 added. */
#include <string.h>

#include "worker/metrics/lcs.h"
#include "worker/metrics/registry.h"
#include "worker/metrics/vocabulary.h"

/* About ten seconds of column updates; texts of a hundred thousand words on both sides stay below it. */
#define LCS_STEPS_MAX ((uint64_t)6000000000)

struct line {
    size_t first, count; /* of tokens */
};

struct side {
    uint32_t *ids;
    size_t count;
    struct line *lines; /* lines with at least one token */
    size_t line_count;
};

/* Lower-cases like str.lower and cuts at everything but [a-z0-9]. Of all characters beyond ASCII, only two
 * have an ASCII character in their lower case: KELVIN SIGN gives k, I WITH DOT ABOVE gives i and a
 * combining dot, which cuts. Returns the class of the byte at *at and moves past its character. */
static char next_character(const unsigned char *text, size_t len, size_t *at)
{
    unsigned char c = text[(*at)++];
    if (c >= 'a' && c <= 'z')
        return (char)c;
    if (c >= '0' && c <= '9')
        return (char)c;
    if (c >= 'A' && c <= 'Z')
        return (char)(c + 32);
    if (c == 0xE2 && len - *at >= 2 && text[*at] == 0x84 && text[*at + 1] == 0xAA) {
        *at += 2;
        return 'k';
    }
    return c == '\n' ? '\n' : ' ';
}

static bool is_dotted_capital_i(const unsigned char *text, size_t len, size_t at)
{
    return len - at >= 2 && text[at] == 0xC4 && text[at + 1] == 0xB0;
}

/* One pass: tokens are written lower-cased into `bytes` and numbered; lines are recorded. */
struct reader {
    struct side *side;
    struct metric_vocabulary *vocabulary;
    char *bytes;
    size_t token_start, used; /* in bytes */
    size_t line_first;        /* token */
};

static void end_token(struct reader *r)
{
    if (r->used > r->token_start)
        r->side->ids[r->side->count++] =
            metric_vocabulary_add(r->vocabulary, r->bytes + r->token_start, r->used - r->token_start);
    r->token_start = r->used;
}

static void end_line(struct reader *r)
{
    if (r->side->count > r->line_first)
        r->side->lines[r->side->line_count++] = (struct line){r->line_first, r->side->count - r->line_first};
    r->line_first = r->side->count;
}

/* Upper bounds from the text's bytes: tokens are separated, so there are at most (len + 1) / 2. */
static bool side_reserve(
    struct side *side, struct metric_arena *arena, const char *text, size_t len, struct error *err)
{
    size_t newlines = 0;
    for (const char *p = text; len > 0 && (p = memchr(p, '\n', (size_t)(text + len - p))) != NULL; p++)
        newlines++;
    *side = (struct side){0};
    side->ids = metric_arena_alloc(arena, len / 2 + 1, sizeof *side->ids, err);
    if (!side->ids)
        return false;
    side->lines = metric_arena_alloc(arena, newlines + 1, sizeof *side->lines, err);
    return side->lines != NULL;
}

static bool side_read(struct side *side, struct metric_arena *arena, struct metric_vocabulary *vocabulary,
    const char *text, size_t len, struct error *err)
{
    const unsigned char *s = (const unsigned char *)text;
    struct reader r = {.side = side, .vocabulary = vocabulary};
    r.bytes = metric_arena_alloc(arena, len, 1, err);
    if (!r.bytes || !side_reserve(side, arena, text, len, err))
        return false;
    for (size_t at = 0; at < len;) {
        if (is_dotted_capital_i(s, len, at)) {
            r.bytes[r.used++] = 'i';
            at += 2;
            end_token(&r);
            continue;
        }
        char c = next_character(s, len, &at);
        if (c != ' ' && c != '\n') {
            r.bytes[r.used++] = c;
            continue;
        }
        end_token(&r);
        if (c == '\n')
            end_line(&r);
    }
    end_token(&r);
    end_line(&r);
    return true;
}

static double f_measure(size_t hits, size_t prediction_count, size_t reference_count)
{
    double precision = (double)hits / (double)(prediction_count > 0 ? prediction_count : 1);
    double recall = (double)hits / (double)(reference_count > 0 ? reference_count : 1);
    return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0.0;
}

static bool unigram_hits(struct metric_arena *arena, const struct side *prediction,
    const struct side *reference, uint32_t vocabulary_size, size_t *hits, struct error *err)
{
    uint32_t *left = metric_arena_zalloc(arena, vocabulary_size, sizeof *left, err);
    if (!left)
        return false;
    for (size_t i = 0; i < reference->count; i++)
        left[reference->ids[i]]++;
    *hits = 0;
    for (size_t i = 0; i < prediction->count; i++)
        if (left[prediction->ids[i]] > 0) {
            left[prediction->ids[i]]--;
            ++*hits;
        }
    return true;
}

static size_t bigram_count(const struct side *side)
{
    return side->count > 0 ? side->count - 1 : 0;
}

static bool bigram_hits(struct metric_arena *arena, const struct side *prediction,
    const struct side *reference, size_t *hits, struct error *err)
{
    struct metric_pairs pairs;
    if (!metric_pairs_open(&pairs, arena, bigram_count(reference), err))
        return false;
    uint32_t *left = metric_arena_zalloc(arena, pairs.capacity, sizeof *left, err);
    if (!left)
        return false;
    for (size_t i = 0; i < bigram_count(reference); i++)
        left[metric_pairs_add(&pairs, reference->ids[i], reference->ids[i + 1])]++;
    *hits = 0;
    for (size_t i = 0; i < bigram_count(prediction); i++) {
        uint32_t pair = metric_pairs_find(&pairs, prediction->ids[i], prediction->ids[i + 1]);
        if (pair != METRIC_NO_ID && left[pair] > 0) {
            left[pair]--;
            ++*hits;
        }
    }
    return true;
}

/* Numbers equal lines alike: an equal line adds nothing to a union, and its own union is the same. */
static bool number_lines(struct metric_arena *arena, const struct side *side, struct metric_vocabulary *kinds,
    uint32_t *kind_of, struct error *err)
{
    if (!metric_vocabulary_open(kinds, arena, side->line_count, err))
        return false;
    for (size_t i = 0; i < side->line_count; i++)
        kind_of[i] = metric_vocabulary_add(
            kinds, side->ids + side->lines[i].first, side->lines[i].count * sizeof *side->ids);
    return true;
}

/* For each kind of reference line: which of its tokens are in the union of its LCSs with the candidate lines.
 */
static bool mark_unions(struct metric_lcs *lcs, const struct metric_vocabulary *reference_kinds,
    const struct metric_vocabulary *candidate_kinds, bool **marks, struct error *err)
{
    for (uint32_t k = 0; k < reference_kinds->count; k++) {
        const struct metric_vocabulary_entry *line = &reference_kinds->entries[k];
        size_t length = line->bytes / sizeof(uint32_t);
        size_t marked = 0;
        marks[k] = metric_arena_zalloc(lcs->arena, length, sizeof **marks, err);
        if (!marks[k] || !metric_lcs_set_reference(lcs, line->key, length, err))
            return false;
        for (uint32_t c = 0; c < candidate_kinds->count && marked < length; c++) {
            const struct metric_vocabulary_entry *candidate = &candidate_kinds->entries[c];
            size_t added;
            if (!metric_lcs_mark(
                    lcs, candidate->key, candidate->bytes / sizeof(uint32_t), marks[k], &added, err))
                return false;
            marked += added;
        }
    }
    return true;
}

/* Walks the reference's lines in order; each token in a union counts while both texts have it left. */
static bool clipped_hits(struct metric_arena *arena, const struct side *prediction,
    const struct side *reference, uint32_t vocabulary_size, const uint32_t *kind_of, bool *const *marks,
    size_t *hits, struct error *err)
{
    uint32_t *left = metric_arena_zalloc(arena, vocabulary_size, sizeof *left, err);
    if (!left)
        return false;
    /* The reference's own count needs no clipping: a union marks each of its tokens at most once. */
    for (size_t i = 0; i < prediction->count; i++)
        left[prediction->ids[i]]++;
    *hits = 0;
    for (size_t l = 0; l < reference->line_count; l++)
        for (size_t i = 0; i < reference->lines[l].count; i++) {
            uint32_t id = reference->ids[reference->lines[l].first + i];
            if (marks[kind_of[l]][i] && left[id] > 0) {
                left[id]--;
                ++*hits;
            }
        }
    return true;
}

static bool summary_hits(struct metric_lcs *lcs, const struct side *prediction, const struct side *reference,
    uint32_t vocabulary_size, size_t *hits, struct error *err)
{
    struct metric_vocabulary reference_kinds;
    struct metric_vocabulary candidate_kinds;
    uint32_t *kind_of =
        metric_arena_alloc(lcs->arena, prediction->line_count + reference->line_count, sizeof *kind_of, err);
    bool **marks = kind_of ? metric_arena_alloc(lcs->arena, reference->line_count, sizeof *marks, err) : NULL;
    return marks && number_lines(lcs->arena, prediction, &candidate_kinds, kind_of, err) &&
           number_lines(lcs->arena, reference, &reference_kinds, kind_of, err) &&
           mark_unions(lcs, &reference_kinds, &candidate_kinds, marks, err) &&
           clipped_hits(lcs->arena, prediction, reference, vocabulary_size, kind_of, marks, hits, err);
}

static bool subsequence_hits(struct metric_arena *arena, const struct side *prediction,
    const struct side *reference, uint32_t vocabulary_size, size_t *whole, size_t *summary, struct error *err)
{
    struct metric_lcs lcs;
    *whole = *summary = 0;
    if (prediction->count == 0 || reference->count == 0)
        return true;
    if (!metric_lcs_open(&lcs, arena, vocabulary_size, reference->count, LCS_STEPS_MAX, err) ||
        !metric_lcs_set_reference(&lcs, reference->ids, reference->count, err) ||
        !metric_lcs_length(&lcs, prediction->ids, prediction->count, whole, err))
        return false;
    *summary = *whole; /* of one line each, the union is the LCS itself */
    if (prediction->line_count == 1 && reference->line_count == 1)
        return true;
    return summary_hits(&lcs, prediction, reference, vocabulary_size, summary, err);
}

static bool score_in_arena(
    struct metric_arena *arena, const struct metric_sample *sample, double *values, struct error *err)
{
    struct metric_vocabulary vocabulary;
    struct side prediction;
    struct side reference;
    size_t hits1;
    size_t hits2;
    size_t whole;
    size_t summary;
    size_t tokens_max = sample->prediction_len / 2 + sample->reference_len / 2 + 2;
    if (!metric_vocabulary_open(&vocabulary, arena, tokens_max, err) ||
        !side_read(&prediction, arena, &vocabulary, sample->prediction, sample->prediction_len, err) ||
        !side_read(&reference, arena, &vocabulary, sample->reference, sample->reference_len, err) ||
        !unigram_hits(arena, &prediction, &reference, vocabulary.count, &hits1, err) ||
        !bigram_hits(arena, &prediction, &reference, &hits2, err) ||
        !subsequence_hits(arena, &prediction, &reference, vocabulary.count, &whole, &summary, err))
        return false;
    values[0] = f_measure(hits1, prediction.count, reference.count);
    values[1] = f_measure(hits2, bigram_count(&prediction), bigram_count(&reference));
    values[2] = f_measure(whole, prediction.count, reference.count);
    values[3] = f_measure(summary, prediction.count, reference.count);
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

static const char *const keys[] = {"rouge1", "rouge2", "rougeL", "rougeLsum", NULL};
const struct metric metric_rouge = {"rouge", "1", keys, 4, true, false, score};
