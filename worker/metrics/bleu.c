/* BLEU of one pair as evaluate's `bleu` computes it: order 4, no smoothing, the 13a tokeniser of mteval.
 * Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (2002). */
#include <math.h>
#include <string.h>

#include "worker/metrics/registry.h"
#include "worker/metrics/text.h"
#include "worker/metrics/vocabulary.h"

#define ORDER 4

struct bytes {
    char *data;
    size_t len;
};

/* Removes or replaces every occurrence, left to right, as str.replace does; the replacement is not longer. */
static void replace_all(struct bytes *text, const char *what, const char *with)
{
    size_t what_len = strlen(what);
    size_t with_len = strlen(with);
    size_t out = 0;
    for (size_t i = 0; i < text->len;) {
        if (text->len - i >= what_len && memcmp(text->data + i, what, what_len) == 0) {
            memcpy(text->data + out, with, with_len);
            out += with_len;
            i += what_len;
        } else {
            text->data[out++] = text->data[i++];
        }
    }
    text->len = out;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ASCII punctuation that stands alone always; comma, period and dash depend on digits beside them, and the
 * apostrophe never does. */
static bool is_separate(char c)
{
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') ||
           (c >= '(' && c <= '+') || (c >= ':' && c <= '@') || c == '/';
}

static void put(struct bytes *out, char c)
{
    out->data[out->len++] = c;
}

static struct bytes separate_punctuation(struct bytes in, char *buffer)
{
    struct bytes out = {buffer, 0};
    for (size_t i = 0; i < in.len; i++) {
        if (is_separate(in.data[i]))
            put(&out, ' ');
        put(&out, in.data[i]);
        if (is_separate(in.data[i]))
            put(&out, ' ');
    }
    return out;
}

/* A pair of characters that one of the three rules rewrites. Matches do not overlap: both are consumed. */
static struct bytes rewrite_pairs(struct bytes in, char *buffer, int rule)
{
    struct bytes out = {buffer, 0};
    for (size_t i = 0; i < in.len; i++) {
        char a = in.data[i];
        char b = i + 1 < in.len ? in.data[i + 1] : '\0';
        bool last = i + 1 == in.len;
        bool match = !last && (rule == 0      ? !is_digit(a) && (b == '.' || b == ',')
                                  : rule == 1 ? (a == '.' || a == ',') && !is_digit(b)
                                              : is_digit(a) && b == '-');
        if (!match) {
            put(&out, a);
            continue;
        }
        if (rule == 1)
            put(&out, ' ');
        put(&out, a);
        put(&out, ' ');
        put(&out, b);
        if (rule != 1)
            put(&out, ' ');
        i++;
    }
    return out;
}

/* Works on bytes: every rule looks at ASCII characters, and the bytes of others count as "not a digit". */
static bool tokenize_13a(
    struct metric_arena *arena, const char *text, size_t len, struct bytes *out, struct error *err)
{
    /* Every rule puts two spaces beside a punctuation mark, and two rules see the same one (comma, period).
     */
    size_t capacity;
    if (__builtin_mul_overflow(len + 2, (size_t)5, &capacity))
        return error_set(err, ERROR_TOO_LARGE, "the text is too long");
    char *one = metric_arena_alloc(arena, capacity, 1, err);
    char *two = one ? metric_arena_alloc(arena, capacity, 1, err) : NULL;
    if (!two)
        return false;
    struct bytes line = {one + 1, len};
    if (len > 0)
        memcpy(line.data, text, len);
    replace_all(&line, "<skipped>", "");
    replace_all(&line, "-\n", "");
    replace_all(&line, "\n", " ");
    if (line.len > 0 && memchr(line.data, '&', line.len)) {
        replace_all(&line, "&quot;", "\"");
        replace_all(&line, "&amp;", "&");
        replace_all(&line, "&lt;", "<");
        replace_all(&line, "&gt;", ">");
    }
    one[0] = ' ';
    line = (struct bytes){one, line.len + 2};
    one[line.len - 1] = ' ';
    line = separate_punctuation(line, two);
    line = rewrite_pairs(line, one, 0);
    line = rewrite_pairs(line, two, 1);
    *out = rewrite_pairs(line, one, 2);
    return true;
}

struct side {
    uint32_t *ids;
    size_t count;
};

static bool side_read(struct metric_arena *arena, struct metric_vocabulary *vocabulary, struct bytes line,
    struct side *side, struct error *err)
{
    struct metric_text text;
    struct metric_text *tokens;
    if (!metric_text_decode(arena, line.data, line.len, &text, err) ||
        !metric_text_split(arena, text, &tokens, &side->count, err))
        return false;
    side->ids = metric_arena_alloc(arena, side->count, sizeof *side->ids, err);
    if (!side->ids)
        return false;
    for (size_t i = 0; i < side->count; i++)
        side->ids[i] = metric_vocabulary_add(vocabulary, tokens[i].cp, tokens[i].len * sizeof *tokens[i].cp);
    return true;
}

/* Matches of each order, clipped by the reference's counts. */
static bool count_matches(struct metric_arena *arena, const struct side *prediction,
    const struct side *reference, size_t matches[ORDER], struct error *err)
{
    uint32_t *reference_gram = metric_arena_zalloc(arena, reference->count, sizeof *reference_gram, err);
    uint32_t *gram = metric_arena_zalloc(arena, prediction->count, sizeof *gram, err);
    uint32_t *left = metric_arena_alloc(arena, reference->count, sizeof *left, err);
    if (!reference_gram || !gram || !left)
        return false;
    for (size_t n = 1; n <= ORDER; n++) {
        struct metric_pairs known;
        if (!metric_pairs_open(&known, arena, reference->count, err))
            return false;
        memset(left, 0, reference->count * sizeof *left);
        for (size_t i = 0; i + n <= reference->count; i++) {
            reference_gram[i] = metric_pairs_add(&known, reference_gram[i], reference->ids[i + n - 1]);
            left[reference_gram[i]]++;
        }
        matches[n - 1] = 0;
        for (size_t i = 0; i + n <= prediction->count; i++) {
            if (gram[i] != METRIC_NO_ID)
                gram[i] = metric_pairs_find(&known, gram[i], prediction->ids[i + n - 1]);
            if (gram[i] != METRIC_NO_ID && left[gram[i]] > 0) {
                left[gram[i]]--;
                matches[n - 1]++;
            }
        }
    }
    return true;
}

static double combine(const size_t matches[ORDER], size_t prediction_count, size_t reference_count)
{
    double log_sum = 0;
    for (size_t n = 1; n <= ORDER; n++) {
        if (matches[n - 1] == 0)
            return 0.0;
        log_sum += 1.0 / ORDER * log((double)matches[n - 1] / (double)(prediction_count - n + 1));
    }
    double ratio = (double)prediction_count / (double)reference_count;
    double brevity = ratio > 1.0 ? 1.0 : exp(1 - 1 / ratio);
    return exp(log_sum) * brevity;
}

static bool score_in_arena(
    struct metric_arena *arena, const struct metric_sample *sample, double *values, struct error *err)
{
    struct bytes prediction_line;
    struct bytes reference_line;
    struct metric_vocabulary vocabulary;
    struct side prediction;
    struct side reference;
    size_t matches[ORDER];
    if (!tokenize_13a(arena, sample->prediction, sample->prediction_len, &prediction_line, err) ||
        !tokenize_13a(arena, sample->reference, sample->reference_len, &reference_line, err) ||
        !metric_vocabulary_open(
            &vocabulary, arena, prediction_line.len / 2 + reference_line.len / 2 + 2, err) ||
        !side_read(arena, &vocabulary, prediction_line, &prediction, err) ||
        !side_read(arena, &vocabulary, reference_line, &reference, err))
        return false;
    /* The reference implementation divides by both lengths. */
    if (prediction.count == 0)
        return error_set(err, ERROR_INVALID, "BLEU is not defined: the prediction has no tokens");
    if (reference.count == 0)
        return error_set(err, ERROR_INVALID, "BLEU is not defined: the reference has no tokens");
    if (!count_matches(arena, &prediction, &reference, matches, err))
        return false;
    values[0] = combine(matches, prediction.count, reference.count);
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

static const char *const keys[] = {"bleu", NULL};
const struct metric metric_bleu = {"bleu", "1", keys, 1, true, false, score};
