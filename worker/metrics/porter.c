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

static bool ends(const struct word *w, const char *suffix)
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
    const char *suffix, *with;
};

static const struct rule *find_rule(const struct word *w, const struct rule *rules)
{
    while (rules->suffix && !ends(w, rules->suffix))
        rules++;
    return rules->suffix ? rules : NULL;
}

static void apply_rules(struct word *w, const struct rule *rules, size_t measure_above)
{
    const struct rule *rule = find_rule(w, rules);
    if (!rule)
        return;
    size_t len = strlen(rule->suffix);
    if (measure(w->c, w->n - len) > measure_above)
        replace(w, len, rule->with);
}

static bool irregular(struct word *w)
{
    static const struct rule forms[] = {
        {"sky", "sky"},
        {"skies", "sky"},
        {"dying", "die"},
        {"lying", "lie"},
        {"tying", "tie"},
        {"news", "news"},
        {"innings", "inning"},
        {"inning", "inning"},
        {"outings", "outing"},
        {"outing", "outing"},
        {"cannings", "canning"},
        {"canning", "canning"},
        {"howe", "howe"},
        {"proceed", "proceed"},
        {"exceed", "exceed"},
        {"succeed", "succeed"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strlen(forms[i].suffix) == w->n && equals(w->c, forms[i].suffix, w->n)) {
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
        {"ational", "ate"},
        {"tional", "tion"},
        {"enci", "ence"},
        {"anci", "ance"},
        {"izer", "ize"},
        {"bli", "ble"},
        {"alli", "al"},
        {"entli", "ent"},
        {"eli", "e"},
        {"ousli", "ous"},
        {"ization", "ize"},
        {"ation", "ate"},
        {"ator", "ate"},
        {"alism", "al"},
        {"iveness", "ive"},
        {"fulness", "ful"},
        {"ousness", "ous"},
        {"aliti", "al"},
        {"iviti", "ive"},
        {"biliti", "ble"},
        {"fulli", "ful"},
        {NULL, NULL},
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
        {"icate", "ic"},
        {"ative", ""},
        {"alize", "al"},
        {"iciti", "ic"},
        {"ical", "ic"},
        {"ful", ""},
        {"ness", ""},
        {NULL, NULL},
    };
    apply_rules(w, rules, 0);
}

static void step_4(struct word *w)
{
    static const struct rule rules[] = {
        {"al", ""},
        {"ance", ""},
        {"ence", ""},
        {"er", ""},
        {"ic", ""},
        {"able", ""},
        {"ible", ""},
        {"ant", ""},
        {"ement", ""},
        {"ment", ""},
        {"ent", ""},
        {"ion", ""},
        {"ou", ""},
        {"ism", ""},
        {"ate", ""},
        {"iti", ""},
        {"ous", ""},
        {"ive", ""},
        {"ize", ""},
        {NULL, NULL},
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
