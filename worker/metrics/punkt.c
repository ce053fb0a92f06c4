#include "worker/metrics/punkt.h"

#include <string.h>

#include "worker/metrics/punkt_english.h"

/* Orthographic contexts of a word in the training text. */
enum {
    BEGIN_UPPER = 1 << 1,
    MIDDLE_UPPER = 1 << 2,
    UNKNOWN_UPPER = 1 << 3,
    BEGIN_LOWER = 1 << 4,
    MIDDLE_LOWER = 1 << 5,
    UNKNOWN_LOWER = 1 << 6,
    ANY_UPPER = BEGIN_UPPER | MIDDLE_UPPER | UNKNOWN_UPPER,
    ANY_LOWER = BEGIN_LOWER | MIDDLE_LOWER | UNKNOWN_LOWER,
};
#define CONTEXT_BASE 33

/* All words of the parameters are ASCII and shorter than this; a longer or other type is in none of the sets.
 */
#define TYPE_MAX 64
struct type {
    char text[TYPE_MAX];
    size_t len; /* 0: in none of the sets */
};

struct token {
    size_t start, end;
    bool sentence_break, abbreviation, ellipsis;
};

/* ---- the parameters ---- */

/* Compares a record, which ends at a zero byte or a tab, with a key. */
static int compare_record(const char *record, const char *key, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (record[i] != key[i])
            return (unsigned char)record[i] < (unsigned char)key[i] ? -1 : 1;
    return record[len] == '\0' || record[len] == '\t' ? 0 : 1;
}

/* The record that starts with the key in a sorted run of zero-terminated records; NULL when there is none. */
static const char *find_record(const char *records, size_t size, const char *key, size_t len)
{
    size_t low = 0;
    size_t high = size;
    while (low < high) {
        size_t middle = (low + high) / 2;
        size_t start = middle;
        while (start > low && records[start - 1] != '\0')
            start--;
        int order = compare_record(records + start, key, len);
        if (order == 0)
            return records + start;
        if (order > 0)
            high = start;
        else
            low = start + strlen(records + start) + 1;
    }
    return NULL;
}
#define FIND(records, key, len) find_record(records, sizeof(records) - 1, key, len)

static bool is_collocation(const struct type *first, const struct type *second)
{
    char key[2 * TYPE_MAX];
    if (first->len == 0 || second->len == 0)
        return false;
    memcpy(key, first->text, first->len);
    key[first->len] = '\t';
    memcpy(key + first->len + 1, second->text, second->len);
    return FIND(punkt_collocations, key, first->len + 1 + second->len);
}

static int orthographic_context(const struct type *type)
{
    const char *record = type->len > 0 ? FIND(punkt_contexts, type->text, type->len) : NULL;
    return record ? (record[type->len + 1] - CONTEXT_BASE) * 2 : 0;
}

/* ---- words ---- */

static bool is_sentence_end(uint32_t c)
{
    return c == '.' || c == '?' || c == '!';
}

static bool is_curly(uint32_t c)
{
    return c == 0x2018 || c == 0x2019 || c == 0x201C || c == 0x201D || c == 0xAB || c == 0xBB;
}

static bool is_one_of(uint32_t c, const char *set)
{
    return c > 0 && c < 0x80 && strchr(set, (int)c);
}

/* Characters that cannot be within words. */
static bool is_non_word(uint32_t c)
{
    return is_one_of(c, ")\";}]*:@'({[?!") || is_curly(c);
}

static bool is_digit(uint32_t c)
{
    return metric_text_class(c) & METRIC_CLASS_DIGIT;
}

/* The longest run of the character from `at`. */
static size_t run_of(const uint32_t *cp, size_t at, size_t end, uint32_t c)
{
    size_t n = 0;
    while (at + n < end && cp[at + n] == c)
        n++;
    return n;
}

/* Dashes, dots, or at least three dots with single spaces between; 0 when there is none at `at`. */
static size_t multi_character_punctuation(const uint32_t *cp, size_t at, size_t end)
{
    size_t run = run_of(cp, at, end, '-');
    if (run < 2)
        run = run_of(cp, at, end, '.');
    if (run >= 2)
        return run;
    size_t pairs = 0;
    while (at + 2 * pairs + 1 < end && cp[at + 2 * pairs] == '.' &&
           metric_text_is_regex_space(cp[at + 2 * pairs + 1]))
        pairs++;
    bool dot_follows = at + 2 * pairs < end && cp[at + 2 * pairs] == '.';
    if (!dot_follows && pairs > 0)
        pairs--;
    return pairs >= 2 ? 2 * pairs + 1 : 0;
}

static bool ends_word(const uint32_t *cp, size_t at, size_t end)
{
    if (at == end || metric_text_is_regex_space(cp[at]) || is_non_word(cp[at]) ||
        (is_one_of(cp[at], "-.") && multi_character_punctuation(cp, at, end) > 0))
        return true;
    return cp[at] == ',' && (at + 1 == end || (cp[at + 1] != ',' && ends_word(cp, at + 1, end)));
}

/* Finds the token at or after *at, within a line. */
static bool next_token(const uint32_t *cp, size_t *at, size_t end, struct token *token)
{
    size_t i = *at;
    while (i < end && metric_text_is_regex_space(cp[i]))
        i++;
    if (i == end)
        return false;
    size_t stop = i + 1;
    size_t punctuation = is_one_of(cp[i], "-.") ? multi_character_punctuation(cp, i, end) : 0;
    if (punctuation > 0) {
        stop = i + punctuation;
    } else if (!is_one_of(cp[i], "(\"`{[:;&#*@)}]-,")) {
        while (!ends_word(cp, stop, end))
            stop++;
    }
    *token = (struct token){.start = i, .end = stop};
    *at = stop;
    return true;
}

/* ---- types ---- */

/* A number: optional minus, optional point or comma, a digit, then digits, points, commas and dashes. */
static bool is_number(struct metric_text text)
{
    size_t i = 0;
    if (i < text.len && text.cp[i] == '-')
        i++;
    if (i < text.len && (text.cp[i] == '.' || text.cp[i] == ','))
        i++;
    if (i == text.len || !is_digit(text.cp[i]))
        return false;
    while (i < text.len && (is_digit(text.cp[i]) || is_one_of(text.cp[i], ",.-")))
        i++;
    return i == text.len;
}

/* Lower-cases; the length is 0 where the result is not in the parameters' alphabet. */
static bool lower_ascii(
    struct metric_arena *arena, struct metric_text text, struct type *type, struct error *err)
{
    type->len = 0;
    if (text.len >= TYPE_MAX)
        return true;
    if (!metric_text_lower(arena, text, &text, err))
        return false;
    for (size_t i = 0; i < text.len && i < TYPE_MAX - 1; i++) {
        if (text.cp[i] == 0 || text.cp[i] >= 0x80)
            return true;
        type->text[i] = (char)text.cp[i];
    }
    type->len = text.len < TYPE_MAX ? text.len : 0;
    return true;
}

/* The type of a token, without its period if asked for and if something is left. */
static bool read_type(struct metric_arena *arena, const uint32_t *cp, const struct token *token,
    bool drop_period, struct type *type, struct error *err)
{
    static const struct type number = {"##number##", 10};
    struct metric_text text = {(uint32_t *)cp + token->start, token->end - token->start};
    if (is_number(text)) {
        *type = number;
        return true;
    }
    if (drop_period && text.len > 1 && text.cp[text.len - 1] == '.')
        text.len--;
    return lower_ascii(arena, text, type, err);
}

/* ---- annotation ---- */

/* Known as a whole, or in its part after the last hyphen. */
static bool is_abbreviation(const struct type *type)
{
    if (type->len == 0)
        return false;
    const char *part = type->text;
    for (size_t i = 0; i < type->len; i++)
        if (type->text[i] == '-')
            part = type->text + i + 1;
    size_t len = (size_t)(type->text + type->len - part);
    return FIND(punkt_abbreviations, type->text, type->len) ||
           (len > 0 && FIND(punkt_abbreviations, part, len));
}

static bool annotate_alone(
    struct metric_arena *arena, const uint32_t *cp, struct token *token, struct error *err)
{
    size_t len = token->end - token->start;
    const uint32_t *text = cp + token->start;
    if (len == 1 && is_sentence_end(text[0])) {
        token->sentence_break = true;
        return true;
    }
    size_t dots = run_of(cp, token->start, token->end, '.');
    if (dots >= 2 && dots == len) {
        token->ellipsis = true;
        return true;
    }
    if (text[len - 1] != '.' || text[len - 2] == '.')
        return true;
    struct type type;
    if (!lower_ascii(arena, (struct metric_text){(uint32_t *)text, len - 1}, &type, err))
        return false;
    token->abbreviation = is_abbreviation(&type);
    token->sentence_break = !token->abbreviation;
    return true;
}

enum starter { STARTER_NO, STARTER_YES, STARTER_UNKNOWN };

/* Whether the token's spelling, against how the word was seen in training, says that it begins a sentence. */
static enum starter orthographic_heuristic(
    const uint32_t *cp, const struct token *token, const struct type *type)
{
    uint32_t first = cp[token->start];
    if (token->end - token->start == 1 && is_one_of(first, ";:,.!?"))
        return STARTER_NO;
    int context = orthographic_context(type);
    unsigned letter = metric_text_class(first);
    if ((letter & METRIC_CLASS_UPPER) && (context & ANY_LOWER) && !(context & MIDDLE_UPPER))
        return STARTER_YES;
    if ((letter & METRIC_CLASS_LOWER) && ((context & ANY_UPPER) || !(context & BEGIN_LOWER)))
        return STARTER_NO;
    return STARTER_UNKNOWN;
}

/* One letter and a period. */
static bool is_initial(const uint32_t *cp, const struct token *token)
{
    unsigned letter = metric_text_class(cp[token->start]);
    return token->end - token->start == 2 && cp[token->start + 1] == '.' && (letter & METRIC_CLASS_WORD) &&
           !(letter & METRIC_CLASS_DIGIT);
}

/* Revises the first token's marks in the light of the second. */
static bool annotate_pair(struct metric_arena *arena, const uint32_t *cp, struct token *token,
    const struct token *next, struct error *err)
{
    struct type type;
    struct type next_type;
    if (cp[token->end - 1] != '.')
        return true;
    if (!read_type(arena, cp, token, true, &type, err) ||
        !read_type(arena, cp, next, next->sentence_break, &next_type, err))
        return false;
    if (is_collocation(&type, &next_type)) {
        token->sentence_break = false;
        return true;
    }
    bool initial = is_initial(cp, token);
    bool number = type.len == 10 && memcmp(type.text, "##number##", 10) == 0;
    bool next_upper = metric_text_class(cp[next->start]) & METRIC_CLASS_UPPER;
    enum starter starter = orthographic_heuristic(cp, next, &next_type);
    if ((token->abbreviation || token->ellipsis) && !initial) {
        bool frequent =
            next_upper && next_type.len > 0 && FIND(punkt_starters, next_type.text, next_type.len);
        if (starter == STARTER_YES || frequent) {
            token->sentence_break = true;
            return true;
        }
    }
    if (initial || number) {
        bool never_lower = initial && next_upper && !(orthographic_context(&next_type) & ANY_LOWER);
        if (starter == STARTER_NO || (starter == STARTER_UNKNOWN && never_lower))
            token->sentence_break = false;
    }
    return true;
}

/* ---- sentences ---- */

/* Whether one of the tokens in [start, end), but not the last, ends a sentence. Lines are cut into tokens one
 * by one, but are neighbours otherwise; the decision needs only two tokens at a time. */
static bool contains_break(
    struct metric_arena *arena, const uint32_t *cp, size_t start, size_t end, bool *found, struct error *err)
{
    struct token previous = {0};
    bool have_previous = false;
    *found = false;
    for (size_t line = start; line <= end && !*found;) {
        size_t line_end = line;
        while (line_end < end && cp[line_end] != '\n')
            line_end++;
        struct metric_text text = {(uint32_t *)cp + line, line_end - line};
        struct token token;
        size_t at = line;
        bool blank = metric_text_stripped_len(text) == 0;
        while (!blank && !*found && next_token(cp, &at, line_end, &token)) {
            if (!annotate_alone(arena, cp, &token, err))
                return false;
            if (have_previous && !annotate_pair(arena, cp, &previous, &token, err))
                return false;
            *found = have_previous && previous.sentence_break;
            previous = token;
            have_previous = true;
        }
        line = line_end + 1;
    }
    return true;
}

/* A place where a sentence may end: punctuation at `at`, and what follows it. */
struct candidate {
    size_t at;
    size_t context_start; /* of the word before */
    size_t context_end;
    size_t next_token; /* 0: other punctuation follows directly */
};

static bool next_candidate(struct metric_text text, size_t from, struct candidate *candidate)
{
    for (size_t i = from; i + 1 < text.len; i++) {
        if (!is_sentence_end(text.cp[i]))
            continue;
        *candidate = (struct candidate){.at = i, .context_end = i + 2};
        if (is_non_word(text.cp[i + 1]))
            return true;
        size_t next = i + 1;
        while (next < text.len && metric_text_is_regex_space(text.cp[next]))
            next++;
        if (next == i + 1 || next == text.len)
            continue;
        candidate->next_token = next;
        while (next < text.len && !metric_text_is_regex_space(text.cp[next]))
            next++;
        candidate->context_end = next;
        return true;
    }
    return false;
}

/* Where the word before `at` starts, looking back to `from`. Whitespace at `from` itself is not seen, and
 * then, as when there is none, the word is the one that the candidate before already has: NLTK's rule. */
static size_t word_before(struct metric_text text, size_t from, size_t at, size_t fallback)
{
    for (size_t i = at; i > from + 1; i--) {
        uint32_t c = text.cp[i - 1];
        if (c == ' ' || (c >= '\t' && c <= '\r'))
            return i;
    }
    return fallback;
}

struct spans {
    struct metric_text *list; /* cp: NULL where the span is empty */
    size_t count;
};

static struct metric_text span(struct metric_text text, size_t start, size_t end)
{
    return (struct metric_text){text.cp + start, end > start ? end - start : 0};
}

/* Cuts at the candidate if its context says so. */
static bool judge(struct metric_arena *arena, struct metric_text text, const struct candidate *c,
    struct spans *spans, size_t *sentence_start, struct error *err)
{
    bool found;
    if (!contains_break(arena, text.cp, c->context_start, c->context_end, &found, err))
        return false;
    if (found) {
        spans->list[spans->count++] = span(text, *sentence_start, c->at + 1);
        *sentence_start = c->next_token ? c->next_token : c->at + 1;
    }
    return true;
}

/* Candidates whose words overlap are one: the last of them is judged. */
static bool cut(struct metric_arena *arena, struct metric_text text, struct spans *spans, struct error *err)
{
    struct candidate previous = {0};
    struct candidate candidate;
    size_t previous_end = 0;
    size_t sentence_start = 0;
    bool have_previous = false;
    for (size_t from = 0; next_candidate(text, from, &candidate); from = candidate.at + 1) {
        candidate.context_start = word_before(text, previous_end, candidate.at, previous.context_start);
        if (have_previous && previous_end <= candidate.context_start &&
            !judge(arena, text, &previous, spans, &sentence_start, err))
            return false;
        previous = candidate;
        previous_end = candidate.at;
        have_previous = true;
    }
    if (have_previous && !judge(arena, text, &previous, spans, &sentence_start, err))
        return false;
    spans->list[spans->count++] = span(text, sentence_start, metric_text_stripped_len(text));
    return true;
}

/* How much of the beginning is punctuation that closes the sentence before: quotes and brackets up to
 * whitespace, two dashes or the end. `whole` includes the whitespace. */
static size_t closing_punctuation(struct metric_text text, size_t *whole)
{
    size_t n = 0;
    while (n < text.len && (is_one_of(text.cp[n], "\"')]}") || is_curly(text.cp[n]))) {
        n++;
        size_t end = n;
        while (end < text.len && metric_text_is_regex_space(text.cp[end]))
            end++;
        bool dashes = n + 1 < text.len && text.cp[n] == '-' && text.cp[n + 1] == '-';
        if (end > n || dashes || n == text.len) {
            *whole = end;
            return n;
        }
    }
    return 0;
}

/* Gives closing punctuation back to the sentence that it closes, and drops what is then empty. */
static void realign(struct spans *spans)
{
    size_t kept = 0;
    size_t skip = 0;
    for (size_t i = 0; i < spans->count; i++) {
        struct metric_text sentence = spans->list[i];
        size_t dropped = skip < sentence.len ? skip : sentence.len;
        sentence.cp += dropped;
        sentence.len -= dropped;
        skip = 0;
        size_t closing = 0;
        if (i + 1 < spans->count)
            closing = closing_punctuation(spans->list[i + 1], &skip);
        if (closing > 0)
            sentence.len = (size_t)(spans->list[i + 1].cp + closing - sentence.cp);
        if (sentence.len > 0)
            spans->list[kept++] = sentence;
    }
    spans->count = kept;
}

bool punkt_sentences(struct metric_arena *arena, struct metric_text text, struct metric_text **sentences,
    size_t *count, struct error *err)
{
    size_t ends = 1;
    for (size_t i = 0; i < text.len; i++)
        ends += is_sentence_end(text.cp[i]);
    struct spans spans = {.list = metric_arena_alloc(arena, ends, sizeof *spans.list, err)};
    if (!spans.list || !cut(arena, text, &spans, err))
        return false;
    realign(&spans);
    *sentences = spans.list;
    *count = spans.count;
    return true;
}
