#include "worker/metrics/treebank.h"

#include <string.h>

/* Kinds of characters that rules react to. A rule whose kinds do not occur in the sentence is skipped. */
enum kind {
    OPENING_QUOTE = 1 << 0, /* « “ ‘ „ */
    CLOSING_QUOTE = 1 << 1, /* » ” ’ */
    BACKTICK = 1 << 2,
    DOUBLE_QUOTE = 1 << 3,
    APOSTROPHE = 1 << 4,
    COLON = 1 << 5, /* colon, comma */
    PERIOD = 1 << 6,
    SYMBOL = 1 << 7,    /* ; @ # $ % & */
    LONG_DASH = 1 << 8, /* U+2012 to U+2015 */
    QUESTION = 1 << 9,  /* ? ! */
    ASTERISK = 1 << 10,
    BRACKET = 1 << 11, /* ( ) [ ] { } < > */
    HYPHEN = 1 << 12,
};

static unsigned ascii_kind(uint32_t c)
{
    switch (c) {
    case '`': return BACKTICK;
    case '"': return DOUBLE_QUOTE;
    case '\'': return APOSTROPHE;
    case ':':
    case ',': return COLON;
    case '.': return PERIOD;
    case ';':
    case '@':
    case '#':
    case '$':
    case '%':
    case '&': return SYMBOL;
    case '?':
    case '!': return QUESTION;
    case '*': return ASTERISK;
    case '(':
    case ')':
    case '[':
    case ']':
    case '{':
    case '}':
    case '<':
    case '>': return BRACKET;
    case '-': return HYPHEN;
    default: return 0;
    }
}

static unsigned kind_of(uint32_t c)
{
    if (c < 0x80)
        return (c | 0x20) - 'a' < 26 ? 0 : ascii_kind(c);
    if (c == 0xAB || c == 0x2018 || c == 0x201C || c == 0x201E)
        return OPENING_QUOTE;
    if (c == 0xBB || c == 0x2019 || c == 0x201D)
        return CLOSING_QUOTE;
    return c >= 0x2012 && c <= 0x2015 ? LONG_DASH : 0;
}

static bool is_word(uint32_t c)
{
    return metric_text_class(c) & METRIC_CLASS_WORD;
}

/* The text under rewriting, and the buffer that a rule writes into; they change places after each rule. */
struct work {
    struct treebank *buffers;
    uint32_t *in, *out;
    size_t n, written;
    unsigned kinds; /* kinds in the text */
    struct error *err;
};

static bool reserve(struct treebank *t, uint32_t **buffer, size_t *capacity, size_t needed, struct error *err)
{
    if (needed <= *capacity)
        return true;
    *capacity = 0;
    *buffer = metric_arena_alloc(t->arena, needed * 2, sizeof **buffer, err);
    if (!*buffer)
        return false;
    *capacity = needed * 2;
    return true;
}

/* No rule writes more than four characters for each that it reads, plus one at both ends. */
static bool begin_rule(struct work *w)
{
    struct treebank *t = w->buffers;
    w->written = 0;
    bool ok = reserve(t, &t->out, &t->out_capacity, w->n * 4 + 2, w->err);
    w->out = t->out;
    return ok;
}

static void end_rule(struct work *w)
{
    struct treebank *t = w->buffers;
    size_t capacity = t->in_capacity;
    t->out = w->in;
    t->in = w->out;
    t->in_capacity = t->out_capacity;
    t->out_capacity = capacity;
    w->in = t->in;
    w->n = w->written;
}

static void put(struct work *w, uint32_t c)
{
    w->out[w->written++] = c;
}

static void put_range(struct work *w, size_t from, size_t to)
{
    memcpy(w->out + w->written, w->in + from, (to - from) * sizeof *w->out);
    w->written += to - from;
}

static void put_padded(struct work *w, size_t from, size_t to)
{
    put(w, ' ');
    put_range(w, from, to);
    put(w, ' ');
}

/* Sets single characters of some kinds apart. */
static bool pad_kinds(struct work *w, unsigned kinds)
{
    if (!(w->kinds & kinds))
        return true;
    if (!begin_rule(w))
        return false;
    for (size_t i = 0; i < w->n; i++) {
        if (kind_of(w->in[i]) & kinds)
            put_padded(w, i, i + 1);
        else
            put(w, w->in[i]);
    }
    end_rule(w);
    return true;
}

/* Sets runs of one character apart, runs of at least `shortest` and cut into pieces of at most `longest`. */
static bool pad_runs(struct work *w, unsigned kind, size_t shortest, size_t longest)
{
    if (!(w->kinds & kind))
        return true;
    if (!begin_rule(w))
        return false;
    for (size_t i = 0; i < w->n;) {
        size_t end = i;
        while (end < w->n && end - i < longest && kind_of(w->in[end]) == kind)
            end++;
        if (end - i >= shortest && end > i) {
            put_padded(w, i, end);
            i = end;
        } else {
            put(w, w->in[i++]);
        }
    }
    end_rule(w);
    return true;
}

/* Opening quotes apart; a run of backticks stays together. */
static bool open_quotes(struct work *w)
{
    return pad_kinds(w, OPENING_QUOTE) && pad_runs(w, BACKTICK, 1, SIZE_MAX);
}

static bool leading_double_quote(struct work *w)
{
    if (w->n == 0 || w->in[0] != '"')
        return true;
    if (!begin_rule(w))
        return false;
    put(w, '`');
    put(w, '`');
    put_range(w, 1, w->n);
    w->kinds |= BACKTICK;
    end_rule(w);
    return true;
}

/* A double quote, or two single ones, after a space or an opening bracket opens. */
static bool inner_double_quotes(struct work *w)
{
    if (!(w->kinds & (DOUBLE_QUOTE | APOSTROPHE)))
        return true;
    if (!begin_rule(w))
        return false;
    for (size_t i = 0; i < w->n;) {
        uint32_t c = w->in[i];
        bool before = c == ' ' || c == '(' || c == '[' || c == '{' || c == '<';
        size_t quote = 0;
        if (before && i + 1 < w->n && w->in[i + 1] == '"')
            quote = 1;
        else if (before && i + 2 < w->n && w->in[i + 1] == '\'' && w->in[i + 2] == '\'')
            quote = 2;
        put(w, c);
        if (quote > 0) {
            put(w, ' ');
            put(w, '`');
            put(w, '`');
            put(w, ' ');
        }
        i += 1 + quote;
    }
    end_rule(w);
    return true;
}

/* Letters as `regex` folds them without regard to case: LATIN SMALL LETTER LONG S is an s. */
static uint32_t fold(uint32_t c)
{
    return c == 0x17F ? 's' : c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static bool starts_with_clitic(const uint32_t *text, size_t n)
{
    static const char *const clitics[] = {"re", "ve", "ll", "m", "t", "s", "d", "n"};
    for (size_t k = 0; k < sizeof clitics / sizeof *clitics; k++) {
        size_t len = strlen(clitics[k]);
        size_t i = 0;
        while (i < len && i < n && fold(text[i]) == (unsigned char)clitics[k][i])
            i++;
        if (i == len && (i == n || !is_word(text[i])))
            return true;
    }
    return false;
}

/* An apostrophe that begins a word is set off, unless the word is a clitic. */
static bool opening_apostrophes(struct work *w)
{
    if (!(w->kinds & APOSTROPHE))
        return true;
    if (!begin_rule(w))
        return false;
    for (size_t i = 0; i < w->n; i++) {
        put(w, w->in[i]);
        if (w->in[i] == '\'' && (i == 0 || !is_word(w->in[i - 1])) && i + 1 < w->n && is_word(w->in[i + 1]) &&
            !starts_with_clitic(w->in + i + 1, w->n - i - 1))
            put(w, ' ');
    }
    end_rule(w);
    return true;
}

static bool closes_sentence(uint32_t c, bool spaces_and_curly)
{
    if (c == ']' || c == ')' || c == '}' || c == '>' || c == '"' || c == '\'')
        return true;
    return spaces_and_curly && (c == 0xBB || c == 0x201D || c == 0x2019 || c == ' ');
}

/* A last period, followed by nothing but closing characters and whitespace, is set off. NLTK has this rule
 * twice: first with spaces and typographic quotes among the closing characters, later without. */
static bool final_period(struct work *w, bool spaces_and_curly)
{
    if (!(w->kinds & PERIOD))
        return true;
    size_t period = w->n;
    while (period > 0 && w->in[period - 1] != '.')
        period--;
    if (period < 2 || w->in[period - 2] == '.')
        return true;
    size_t closed = period;
    while (closed < w->n && closes_sentence(w->in[closed], spaces_and_curly))
        closed++;
    size_t end = closed;
    while (end < w->n && metric_text_is_regex_space(w->in[end]))
        end++;
    if (end < w->n)
        return true;
    if (!begin_rule(w))
        return false;
    put_range(w, 0, period - 1);
    put(w, ' ');
    put(w, '.');
    if (spaces_and_curly)
        put(w, ' ');
    put_range(w, period, closed);
    put(w, ' ');
    end_rule(w);
    return true;
}

/* A colon or comma before anything but a digit; both characters are consumed. */
static bool inner_colons(struct work *w)
{
    if (!(w->kinds & COLON))
        return true;
    if (!begin_rule(w))
        return false;
    for (size_t i = 0; i < w->n; i++) {
        bool match = kind_of(w->in[i]) == COLON && i + 1 < w->n &&
                     !(metric_text_class(w->in[i + 1]) & METRIC_CLASS_DIGIT);
        if (match) {
            put_padded(w, i, i + 1);
            i++;
        }
        put(w, w->in[i]);
    }
    end_rule(w);
    return true;
}

/* A colon or comma at the end, or before the newline that ends the text. */
static bool final_colon(struct work *w)
{
    if (!(w->kinds & COLON) || w->n == 0)
        return true;
    size_t at = w->n - 1;
    if (w->in[at] == '\n' && at > 0)
        at--;
    if (kind_of(w->in[at]) != COLON)
        return true;
    if (!begin_rule(w))
        return false;
    put_range(w, 0, at);
    put_padded(w, at, at + 1);
    put_range(w, at + 1, w->n);
    end_rule(w);
    return true;
}

/* An apostrophe between a character other than it and a space; all three are consumed. */
static bool trailing_apostrophes(struct work *w)
{
    if (!(w->kinds & APOSTROPHE))
        return true;
    if (!begin_rule(w))
        return false;
    for (size_t i = 0; i < w->n; i++) {
        put(w, w->in[i]);
        if (w->in[i] != '\'' && i + 2 < w->n && w->in[i + 1] == '\'' && w->in[i + 2] == ' ') {
            put(w, ' ');
            put(w, '\'');
            put(w, ' ');
            i += 2;
        }
    }
    end_rule(w);
    return true;
}

static bool closing_double_quotes(struct work *w)
{
    if (!(w->kinds & DOUBLE_QUOTE))
        return true;
    if (!begin_rule(w))
        return false;
    for (size_t i = 0; i < w->n; i++) {
        if (w->in[i] != '"') {
            put(w, w->in[i]);
            continue;
        }
        put(w, ' ');
        put(w, '\'');
        put(w, '\'');
        put(w, ' ');
    }
    w->kinds |= APOSTROPHE;
    end_rule(w);
    return true;
}

/* One space in the place of each run of whitespace, and one at both ends. */
static bool join_spaces(struct work *w)
{
    if (!begin_rule(w))
        return false;
    put(w, ' ');
    for (size_t i = 0; i < w->n; i++) {
        bool space = metric_text_is_regex_space(w->in[i]);
        if (!space)
            put(w, w->in[i]);
        else if (w->out[w->written - 1] != ' ')
            put(w, ' ');
    }
    if (w->out[w->written - 1] != ' ')
        put(w, ' ');
    end_rule(w);
    return true;
}

/* Length of a clitic at `at` that a space follows: 's 'm 'd in either case, or a bare apostrophe. */
static size_t short_clitic(const struct work *w, size_t at)
{
    if (at + 1 >= w->n || w->in[at] != '\'')
        return 0;
    uint32_t c = w->in[at + 1];
    if (at + 2 < w->n && w->in[at + 2] == ' ' && (c < 0x80) && strchr("sSmMdD", (int)c) && c != 0)
        return 2;
    return c == ' ' ? 1 : 0;
}

/* 'll 're 've n't, all in lower or all in upper case. */
static size_t long_clitic(const struct work *w, size_t at)
{
    static const char clitics[8][4] = {"'ll", "'LL", "'re", "'RE", "'ve", "'VE", "n't", "N'T"};
    if (at + 3 >= w->n || w->in[at + 3] != ' ')
        return 0;
    for (size_t k = 0; k < 8; k++)
        if (w->in[at] == (unsigned char)clitics[k][0] && w->in[at + 1] == (unsigned char)clitics[k][1] &&
            w->in[at + 2] == (unsigned char)clitics[k][2])
            return 3;
    return 0;
}

static bool split_clitics(struct work *w, size_t (*clitic)(const struct work *, size_t))
{
    if (!(w->kinds & APOSTROPHE))
        return true;
    if (!begin_rule(w))
        return false;
    for (size_t i = 0; i < w->n; i++) {
        put(w, w->in[i]);
        if (w->in[i] == '\'' || w->in[i] == ' ')
            continue;
        size_t len = clitic(w, i + 1);
        if (len > 0) {
            put(w, ' ');
            put_range(w, i + 1, i + 2 + len);
            i += len + 1;
        }
    }
    end_rule(w);
    return true;
}

/* Contractions that are two words. `re` matches them here, with its own folding and word boundaries. */
struct contraction {
    const char *text;
    size_t first; /* length of the first word */
    enum { AT_WORD, AT_WORD_BEFORE_SPACE, AFTER_SPACE } where;
};
static const struct contraction contractions[] = {
    {"cannot", 3, AT_WORD},
    {"d'ye", 1, AT_WORD},
    {"gimme", 3, AT_WORD},
    {"gonna", 3, AT_WORD},
    {"gotta", 3, AT_WORD},
    {"lemme", 3, AT_WORD},
    {"more'n", 4, AT_WORD},
    {"wanna", 3, AT_WORD_BEFORE_SPACE},
    {"'tis", 2, AFTER_SPACE},
    {"'twas", 2, AFTER_SPACE},
};
#define CONTRACTIONS (sizeof contractions / sizeof *contractions)

static uint32_t fold_re(uint32_t c)
{
    return c == 0x130 || c == 0x131 ? 'i' : fold(c);
}

static bool spells(const struct work *w, size_t at, const char *text)
{
    for (; *text; text++, at++)
        if (at >= w->n || fold_re(w->in[at]) != (unsigned char)*text)
            return false;
    return true;
}

static bool is_re_word(uint32_t c)
{
    return metric_text_class(c) & METRIC_CLASS_RE_WORD;
}

static bool matches(const struct work *w, size_t at, const struct contraction *c)
{
    if (!spells(w, at, c->text))
        return false;
    size_t end = at + strlen(c->text);
    bool boundary_before =
        c->where == AFTER_SPACE ? at > 0 && w->in[at - 1] == ' ' : at == 0 || !is_re_word(w->in[at - 1]);
    if (c->where == AT_WORD_BEFORE_SPACE)
        return boundary_before && end < w->n && metric_text_is_space(w->in[end]);
    return boundary_before && (end == w->n || !is_re_word(w->in[end]));
}

/* Which contractions are spelled anywhere, boundaries aside: most texts have none. */
static unsigned find_contractions(const struct work *w)
{
    unsigned found = 0;
    for (size_t i = 0; i < w->n; i++) {
        uint32_t c = fold_re(w->in[i]);
        if (c != 'c' && c != 'd' && c != 'g' && c != 'l' && c != 'm' && c != 'w' && c != '\'')
            continue;
        for (size_t k = 0; k < CONTRACTIONS; k++)
            if (c == (unsigned char)contractions[k].text[0] && spells(w, i, contractions[k].text))
                found |= 1u << k;
    }
    return found;
}

static bool split_contraction(struct work *w, const struct contraction *c)
{
    size_t len = strlen(c->text);
    if (!begin_rule(w))
        return false;
    for (size_t i = 0; i < w->n;) {
        if (!matches(w, i, c)) {
            put(w, w->in[i++]);
            continue;
        }
        /* An AFTER_SPACE rule consumes the space and writes one again. */
        if (c->where != AFTER_SPACE)
            put(w, ' ');
        put_range(w, i, i + c->first);
        put(w, ' ');
        put_range(w, i + c->first, i + len);
        put(w, ' ');
        i += len;
    }
    end_rule(w);
    return true;
}

static bool split_contractions(struct work *w)
{
    unsigned found = find_contractions(w);
    for (size_t k = 0; k < CONTRACTIONS; k++)
        if ((found >> k & 1) && !split_contraction(w, &contractions[k]))
            return false;
    return true;
}

static bool rewrite(struct work *w)
{
    return open_quotes(w) && leading_double_quote(w) && pad_runs(w, BACKTICK, 2, 2) &&
           inner_double_quotes(w) && opening_apostrophes(w) && final_period(w, true) && inner_colons(w) &&
           final_colon(w) && pad_runs(w, PERIOD, 2, SIZE_MAX) && pad_kinds(w, SYMBOL) &&
           pad_kinds(w, LONG_DASH) && final_period(w, false) && pad_kinds(w, QUESTION) &&
           trailing_apostrophes(w) && pad_kinds(w, ASTERISK) && pad_kinds(w, BRACKET) &&
           pad_runs(w, HYPHEN, 2, 2) && pad_kinds(w, CLOSING_QUOTE) && pad_runs(w, APOSTROPHE, 2, 2) &&
           closing_double_quotes(w) && join_spaces(w) && split_clitics(w, short_clitic) &&
           split_clitics(w, long_clitic) && split_contractions(w);
}

void treebank_open(struct treebank *treebank, struct metric_arena *arena)
{
    *treebank = (struct treebank){.arena = arena};
}

bool treebank_tokenize(struct treebank *treebank, struct metric_text sentence, struct metric_text **tokens,
    size_t *count, struct error *err)
{
    struct work w = {.buffers = treebank, .n = sentence.len, .err = err};
    if (!reserve(treebank, &treebank->in, &treebank->in_capacity, sentence.len + 1, err))
        return false;
    w.in = treebank->in;
    for (size_t i = 0; i < sentence.len; i++) {
        w.in[i] = sentence.cp[i];
        w.kinds |= kind_of(sentence.cp[i]);
    }
    return rewrite(&w) &&
           metric_text_split(treebank->arena, (struct metric_text){w.in, w.n}, tokens, count, err);
}
