/* METEOR as NLTK's single_meteor_score computes it over word_tokenize: alpha 0.9, beta 3, gamma 0.5; words
 * are matched exactly, then by Porter stem, then by WordNet synonym. Lavie and Agarwal, "METEOR: An Automatic
 * Metric for MT Evaluation with High Levels of Correlation with Human Judgments" (2007).
 *
 * Which of several equal words match decides the number of chunks, so the order is part of the definition: in
 * each stage, from the prediction's last word to its first, each takes the last reference word still free.
 * The synonym stage sees stems, because NLTK hands it the words that the stem stage left over. */
#include <math.h>
#include <string.h>

#include "worker/metrics/porter.h"
#include "worker/metrics/punkt.h"
#include "worker/metrics/registry.h"
#include "worker/metrics/treebank.h"
#include "worker/metrics/vocabulary.h"
#include "worker/metrics/wordnet.h"

#define ALPHA 0.9
#define BETA 3.0
#define GAMMA 0.5

struct words {
    struct metric_text *list; /* lower-cased; stemmed in place after the first stage */
    size_t count;
};

/* Reference words by number: the last free position of each, and the free one before a position. */
struct chains {
    uint32_t *last, *before;
};

struct matcher {
    struct metric_arena *arena;
    struct words prediction, reference;
    uint32_t *match; /* by prediction word: its reference word, or METRIC_NO_ID */
    bool *taken;     /* by reference word */
    size_t match_count;
    struct error *err;
};

/* Appends the lower-cased tokens of a sentence; the tokeniser's own are gone after its next call. */
static bool add_words(struct metric_arena *arena, const struct metric_text *tokens, size_t count,
    struct words *words, size_t *capacity, struct error *err)
{
    if (words->count + count > *capacity) {
        *capacity = (words->count + count) * 2;
        struct metric_text *list = metric_arena_alloc(arena, *capacity, sizeof *list, err);
        if (!list)
            return false;
        if (words->count > 0)
            memcpy(list, words->list, words->count * sizeof *list);
        words->list = list;
    }
    for (size_t i = 0; i < count; i++)
        if (!metric_text_lower(arena, tokens[i], &words->list[words->count++], err))
            return false;
    return true;
}

static bool read_words(
    struct metric_arena *arena, const char *utf8, size_t len, struct words *words, struct error *err)
{
    struct metric_text text;
    struct metric_text *sentences;
    struct treebank treebank;
    size_t sentence_count;
    size_t capacity = 0;
    *words = (struct words){0};
    if (!metric_text_decode(arena, utf8, len, &text, err) ||
        !punkt_sentences(arena, text, &sentences, &sentence_count, err))
        return false;
    treebank_open(&treebank, arena);
    for (size_t i = 0; i < sentence_count; i++) {
        struct metric_text *tokens;
        size_t count;
        if (!treebank_tokenize(&treebank, sentences[i], &tokens, &count, err) ||
            !add_words(arena, tokens, count, words, &capacity, err))
            return false;
    }
    return true;
}

static bool open_chains(struct matcher *m, struct chains *chains, uint32_t numbers)
{
    chains->last = metric_arena_alloc(m->arena, numbers, sizeof *chains->last, m->err);
    chains->before = metric_arena_alloc(m->arena, m->reference.count, sizeof *chains->before, m->err);
    if (!chains->last || !chains->before)
        return false;
    for (uint32_t i = 0; i < numbers; i++)
        chains->last[i] = METRIC_NO_ID;
    return true;
}

static void push(struct chains *chains, uint32_t number, size_t position)
{
    chains->before[position] = chains->last[number];
    chains->last[number] = (uint32_t)position;
}

/* Matches prediction word i with the last free reference word of a number. */
static void take(struct matcher *m, struct chains *chains, size_t i, uint32_t number)
{
    uint32_t position = chains->last[number];
    chains->last[number] = chains->before[position];
    m->match[i] = position;
    m->taken[position] = true;
    m->match_count++;
}

/* One stage of equal words: all that are still free on both sides. */
static bool match_equal(struct matcher *m)
{
    struct metric_vocabulary vocabulary;
    struct chains chains;
    if (!metric_vocabulary_open(&vocabulary, m->arena, m->reference.count, m->err) ||
        !open_chains(m, &chains, (uint32_t)m->reference.count))
        return false;
    for (size_t j = 0; j < m->reference.count; j++) {
        const struct metric_text *word = &m->reference.list[j];
        if (!m->taken[j])
            push(&chains, metric_vocabulary_add(&vocabulary, word->cp, word->len * sizeof *word->cp), j);
    }
    for (size_t i = m->prediction.count; i-- > 0;) {
        const struct metric_text *word = &m->prediction.list[i];
        if (m->match[i] != METRIC_NO_ID)
            continue;
        uint32_t number = metric_vocabulary_find(&vocabulary, word->cp, word->len * sizeof *word->cp);
        if (number != METRIC_NO_ID && chains.last[number] != METRIC_NO_ID)
            take(m, &chains, i, number);
    }
    return true;
}

static void stem_free_words(struct matcher *m)
{
    for (size_t i = 0; i < m->prediction.count; i++)
        if (m->match[i] == METRIC_NO_ID)
            m->prediction.list[i].len = porter_stem(m->prediction.list[i].cp, m->prediction.list[i].len);
    for (size_t j = 0; j < m->reference.count; j++)
        if (!m->taken[j])
            m->reference.list[j].len = porter_stem(m->reference.list[j].cp, m->reference.list[j].len);
}

/* The word in ASCII, as WordNet has all of its words; 0 when it cannot be one. */
static size_t ascii(const struct metric_text *word, char out[256])
{
    if (word->len > 255)
        return 0;
    for (size_t i = 0; i < word->len; i++) {
        if (word->cp[i] == 0 || word->cp[i] >= 0x80)
            return 0;
        out[i] = (char)word->cp[i];
    }
    return word->len;
}

/* The best reference word found so far among the synonyms of one prediction word: the last free one. */
struct synonym_search {
    const struct metric_pairs *numbers; /* of (0, WordNet word) */
    const struct chains *chains;
    uint32_t best; /* number, or METRIC_NO_ID */
};

static void consider(void *context, uint32_t word)
{
    struct synonym_search *s = context;
    uint32_t number = metric_pairs_find(s->numbers, 0, word);
    if (number == METRIC_NO_ID || s->chains->last[number] == METRIC_NO_ID)
        return;
    if (s->best == METRIC_NO_ID || s->chains->last[number] > s->chains->last[s->best])
        s->best = number;
}

/* A word equal to the prediction's cannot be left in the reference here, so only other words are looked for.
 */
static bool match_synonyms(struct matcher *m)
{
    struct metric_pairs numbers;
    struct chains chains;
    char name[256];
    const struct wordnet *wordnet = wordnet_shared(m->err);
    if (!wordnet || !metric_pairs_open(&numbers, m->arena, m->reference.count, m->err) ||
        !open_chains(m, &chains, (uint32_t)m->reference.count))
        return false;
    for (size_t j = 0; j < m->reference.count; j++) {
        size_t len = m->taken[j] ? 0 : ascii(&m->reference.list[j], name);
        uint32_t word = len > 0 ? wordnet_find(wordnet, name, len) : WORDNET_NONE;
        if (word != WORDNET_NONE)
            push(&chains, metric_pairs_add(&numbers, 0, word), j);
    }
    for (size_t i = m->prediction.count; i-- > 0 && numbers.count > 0;) {
        struct synonym_search search = {&numbers, &chains, METRIC_NO_ID};
        size_t len = m->match[i] == METRIC_NO_ID ? ascii(&m->prediction.list[i], name) : 0;
        if (len > 0)
            wordnet_visit_synonyms(wordnet, name, len, consider, &search);
        if (search.best != METRIC_NO_ID)
            take(m, &chains, i, search.best);
    }
    return true;
}

/* Runs of matches that are neighbours in both texts. */
static size_t count_chunks(const struct matcher *m)
{
    size_t chunks = 0;
    for (size_t i = 0; i < m->prediction.count; i++) {
        if (m->match[i] == METRIC_NO_ID)
            continue;
        bool follows = i > 0 && m->match[i - 1] != METRIC_NO_ID && m->match[i - 1] + 1 == m->match[i];
        chunks += !follows;
    }
    return chunks;
}

static double combine(const struct matcher *m)
{
    if (m->match_count == 0)
        return 0.0;
    double matches = (double)m->match_count;
    double precision = matches / (double)m->prediction.count;
    double recall = matches / (double)m->reference.count;
    double mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall);
    double fragmentation = (double)count_chunks(m) / matches;
    return (1 - GAMMA * pow(fragmentation, BETA)) * mean;
}

static bool score_in_arena(
    struct metric_arena *arena, const struct metric_sample *sample, double *values, struct error *err)
{
    struct matcher m = {.arena = arena, .err = err};
    if (!read_words(arena, sample->prediction, sample->prediction_len, &m.prediction, err) ||
        !read_words(arena, sample->reference, sample->reference_len, &m.reference, err))
        return false;
    m.match = metric_arena_alloc(arena, m.prediction.count, sizeof *m.match, err);
    m.taken = metric_arena_zalloc(arena, m.reference.count, sizeof *m.taken, err);
    if (!m.match || !m.taken)
        return false;
    memset(m.match, 0xFF, m.prediction.count * sizeof *m.match);
    if (!match_equal(&m))
        return false;
    stem_free_words(&m);
    if (!match_equal(&m) || !match_synonyms(&m))
        return false;
    values[0] = combine(&m);
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

static const char *const keys[] = {"meteor", NULL};
const struct metric metric_meteor = {"meteor", "1", keys, 1, true, false, score};
