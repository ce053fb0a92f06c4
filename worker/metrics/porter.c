#include "worker/metrics/porter.h"

#include <stdbool.h>
#include <string.h>

struct word {
    uint32_t *c;
    size_t n;
};

static bool is_vowel_letter(uint32_t c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

/* A y is a consonant at the beginning and after a vowel: its class alternates along a run of them. */
static bool is_consonant(const uint32_t *c, size_t i)
{
    size_t run = 0;
    while (i > 0 && c[i] == 'y') {
        run++;
        i--;
    }
    return !is_vowel_letter(c[i]) != (run % 2 == 1);
}

/* How often a vowel is followed by a consonant in the first n letters: the paper's m. */
static size_t measure(const uint32_t *c, size_t n)
{
    size_t m = 0;
    bool previous = true;
    for (size_t i = 0; i < n; i++) {
        bool consonant = c[i] == 'y' ? i == 0 || !previous : !is_vowel_letter(c[i]);
        m += consonant && !previous;
        previous = consonant;
    }
    return m;
}

static bool contains_vowel(const uint32_t *c, size_t n)
{
    bool previous = true;
    for (size_t i = 0; i < n; i++) {
        previous = c[i] == 'y' ? i == 0 || !previous : !is_vowel_letter(c[i]);
        if (!previous)
            return true;
    }
    return false;
}

static bool ends_double_consonant(const struct word *w)
{
    return w->n >= 2 && w->c[w->n - 1] == w->c[w->n - 2] && is_consonant(w->c, w->n - 1);
}

/* Consonant, vowel, consonant other than w, x, y; or a word of just vowel and consonant. */
static bool ends_cvc(const uint32_t *c, size_t n)
{
    if (n == 2)
        return !is_consonant(c, 0) && is_consonant(c, 1);
    return n >= 3 && is_consonant(c, n - 3) && !is_consonant(c, n - 2) && is_consonant(c, n - 1) &&
           c[n - 1] != 'w' && c[n - 1] != 'x' && c[n - 1] != 'y';
}

static bool equals(const uint32_t *c, const char *text, size_t len)
{
    for (size_t i = len; i-- > 0;)
        if (c[i] != (unsigned char)text[i])
            return false;
    return true;
}

/* Inlined, so that the compiler knows the suffix. */
static inline bool ends(const struct word *w, const char *suffix)
{
    size_t len = strlen(suffix);
    return w->n >= len && equals(w->c + w->n - len, suffix, len);
}

static void replace(struct word *w, size_t suffix_len, const char *with)
{
    w->n -= suffix_len;
    for (; *with; with++)
        w->c[w->n++] = (unsigned char)*with;
}

/* The first rule whose suffix the word has decides; it applies if the stem's measure is above `measure`. */
struct rule {
    const char *suffix;
    size_t len; /* of the suffix; 0 ends a list */
    const char *with;
};
#define RULE(suffix, with)                                                                                   \
    {                                                                                                        \
        suffix, sizeof(suffix) - 1, with                                                                     \
    }

static const struct rule *find_rule(const struct word *w, const struct rule *rules)
{
    uint32_t last = w->n > 0 ? w->c[w->n - 1] : 0;
    for (; rules->len > 0; rules++)
        if (last == (unsigned char)rules->suffix[rules->len - 1] && w->n >= rules->len &&
            equals(w->c + w->n - rules->len, rules->suffix, rules->len))
            return rules;
    return NULL;
}

static void apply_rules(struct word *w, const struct rule *rules, size_t measure_above)
{
    const struct rule *rule = find_rule(w, rules);
    if (!rule)
        return;
    if (measure(w->c, w->n - rule->len) > measure_above)
        replace(w, rule->len, rule->with);
}

static bool irregular(struct word *w)
{
    static const struct rule forms[] = {
        RULE("sky", "sky"),
        RULE("skies", "sky"),
        RULE("dying", "die"),
        RULE("lying", "lie"),
        RULE("tying", "tie"),
        RULE("news", "news"),
        RULE("innings", "inning"),
        RULE("inning", "inning"),
        RULE("outings", "outing"),
        RULE("outing", "outing"),
        RULE("cannings", "canning"),
        RULE("canning", "canning"),
        RULE("howe", "howe"),
        RULE("proceed", "proceed"),
        RULE("exceed", "exceed"),
        RULE("succeed", "succeed"),
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].len == w->n && equals(w->c, forms[i].suffix, w->n)) {
            replace(w, w->n, forms[i].with);
            return true;
        }
    return false;
}

static void step_1a(struct word *w)
{
    if (ends(w, "ies"))
        replace(w, 3, w->n == 4 ? "ie" : "i");
    else if (ends(w, "sses"))
        replace(w, 4, "ss");
    else if (ends(w, "s") && !ends(w, "ss"))
        replace(w, 1, "");
}

/* What follows the removal of -ed or -ing. */
static void repair_1b(struct word *w)
{
    if (ends(w, "at") || ends(w, "bl") || ends(w, "iz")) {
        replace(w, 0, "e");
    } else if (ends_double_consonant(w)) {
        uint32_t last = w->c[w->n - 1];
        if (last != 'l' && last != 's' && last != 'z')
            w->n--;
    } else if (measure(w->c, w->n) == 1 && ends_cvc(w->c, w->n)) {
        replace(w, 0, "e");
    }
}

static void step_1b(struct word *w)
{
    if (ends(w, "ied")) {
        replace(w, 3, w->n == 4 ? "ie" : "i");
    } else if (ends(w, "eed")) {
        if (measure(w->c, w->n - 3) > 0)
            replace(w, 3, "ee");
    } else {
        size_t len = ends(w, "ed") ? 2 : ends(w, "ing") ? 3 : 0;
        if (len == 0 || !contains_vowel(w->c, w->n - len))
            return;
        w->n -= len;
        repair_1b(w);
    }
}

static void step_1c(struct word *w)
{
    if (ends(w, "y") && w->n > 2 && is_consonant(w->c, w->n - 2))
        replace(w, 1, "i");
}

static void step_2(struct word *w)
{
    static const struct rule rules[] = {
        RULE("ational", "ate"),
        RULE("tional", "tion"),
        RULE("enci", "ence"),
        RULE("anci", "ance"),
        RULE("izer", "ize"),
        RULE("bli", "ble"),
        RULE("alli", "al"),
        RULE("entli", "ent"),
        RULE("eli", "e"),
        RULE("ousli", "ous"),
        RULE("ization", "ize"),
        RULE("ation", "ate"),
        RULE("ator", "ate"),
        RULE("alism", "al"),
        RULE("iveness", "ive"),
        RULE("fulness", "ful"),
        RULE("ousness", "ous"),
        RULE("aliti", "al"),
        RULE("iviti", "ive"),
        RULE("biliti", "ble"),
        RULE("fulli", "ful"),
        {NULL, 0, NULL},
    };
    while (ends(w, "alli") && measure(w->c, w->n - 4) > 0)
        replace(w, 4, "al");
    if (find_rule(w, rules)) {
        apply_rules(w, rules, 0);
    } else if (ends(w, "logi") && measure(w->c, w->n - 3) > 0) {
        replace(w, 4, "log"); /* the l counts as the stem's, so that "geo" and "theo" are long enough */
    }
}

static void step_3(struct word *w)
{
    static const struct rule rules[] = {
        RULE("icate", "ic"),
        RULE("ative", ""),
        RULE("alize", "al"),
        RULE("iciti", "ic"),
        RULE("ical", "ic"),
        RULE("ful", ""),
        RULE("ness", ""),
        {NULL, 0, NULL},
    };
    apply_rules(w, rules, 0);
}

static void step_4(struct word *w)
{
    static const struct rule rules[] = {
        RULE("al", ""),
        RULE("ance", ""),
        RULE("ence", ""),
        RULE("er", ""),
        RULE("ic", ""),
        RULE("able", ""),
        RULE("ible", ""),
        RULE("ant", ""),
        RULE("ement", ""),
        RULE("ment", ""),
        RULE("ent", ""),
        RULE("ion", ""),
        RULE("ou", ""),
        RULE("ism", ""),
        RULE("ate", ""),
        RULE("iti", ""),
        RULE("ous", ""),
        RULE("ive", ""),
        RULE("ize", ""),
        {NULL, 0, NULL},
    };
    if (ends(w, "ion") && w->n > 3 && w->c[w->n - 4] != 's' && w->c[w->n - 4] != 't')
        return;
    apply_rules(w, rules, 1);
}

static void step_5(struct word *w)
{
    if (ends(w, "e")) {
        size_t m = measure(w->c, w->n - 1);
        if (m > 1 || (m == 1 && !ends_cvc(w->c, w->n - 1)))
            w->n--;
    }
    if (ends(w, "ll") && measure(w->c, w->n - 1) > 1)
        w->n--;
}

size_t porter_stem(uint32_t *word, size_t len)
{
    struct word w = {word, len};
    if (irregular(&w) || len <= 2)
        return w.n;
    step_1a(&w);
    step_1b(&w);
    step_1c(&w);
    step_2(&w);
    step_3(&w);
    step_4(&w);
    step_5(&w);
    return w.n;
}
