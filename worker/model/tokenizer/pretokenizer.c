#include "worker/model/tokenizer/pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/byte_level.h"
#include "worker/model/tokenizer/unicode.h"

void pieces_free(struct pieces *pieces)
{
    buffer_free(&pieces->text);
    free(pieces->items);
    *pieces = (struct pieces){0};
}

bool pieces_push(struct pieces *pieces, size_t begin, size_t end, bool first, struct error *err)
{
    struct piece *items =
        array_grow(pieces->items, &pieces->capacity, pieces->count + 1, sizeof(*items), err);
    if (!items)
        return false;
    pieces->items = items;
    items[pieces->count++] = (struct piece){begin, end - begin, first};
    return true;
}

/* Turns the alternating matches and gaps of one piece into pieces, as they arrive in order. */
struct splitter {
    const struct pretokenizer_step *step;
    struct pieces *out;
    size_t base;     /* of the piece in the text */
    size_t from;     /* out->count when the piece began */
    bool first;      /* the piece's */
    bool last_match; /* whether the span before was a match */
    struct error *err;
};

static bool splitter_push(struct splitter *s, size_t begin, size_t end)
{
    return pieces_push(s->out, s->base + begin, s->base + end, s->first && begin == 0, s->err);
}

static bool splitter_span(struct splitter *s, size_t begin, size_t end, bool match)
{
    bool is_match = match != s->step->invert;
    bool follows = s->out->count > s->from;
    struct piece *last = follows ? &s->out->items[s->out->count - 1] : NULL;
    bool joins = false;
    switch (s->step->behavior) {
    case SPLIT_REMOVED:
        if (is_match)
            return true;
        break;
    case SPLIT_ISOLATED: break;
    case SPLIT_CONTIGUOUS: joins = is_match == s->last_match; break;
    case SPLIT_PREVIOUS: joins = is_match && !s->last_match; break;
    case SPLIT_NEXT: joins = !is_match && s->last_match; break;
    }
    /* MergedWithNext joins from the right: of a run of matches only the last is taken by what follows, which
     * is the same seen from the left. */
    s->last_match = is_match;
    if (joins && last) {
        last->len = s->base + end - last->begin;
        return true;
    }
    return splitter_push(s, begin, end);
}

static bool split_pattern(const char *text, size_t len, struct pattern_scan *scan, struct splitter *s)
{
    size_t at = 0, begin, end;
    bool found;
    scan->text = text;
    scan->len = len;
    scan->at = 0;
    for (;;) {
        if (!pattern_next(scan, &begin, &end, &found, s->err))
            return false;
        if (!found)
            break;
        if (at != begin && !splitter_span(s, at, begin, false))
            return false;
        if (!splitter_span(s, begin, end, true))
            return false;
        at = end;
    }
    return at == len || splitter_span(s, at, len, false);
}

static bool split_class(const char *text, size_t len, uint32_t classes, struct splitter *s)
{
    size_t gap = 0;
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t step = text_decode(text + i, len - i, &c);
        if (unicode_is(c, classes)) {
            if (gap < i && !splitter_span(s, gap, i, false))
                return false;
            if (!splitter_span(s, i, i + step, true))
                return false;
            gap = i + step;
        }
        i += step;
    }
    return gap == len || splitter_span(s, gap, len, false);
}

static bool split_words(const char *text, size_t len, struct splitter *s)
{
    size_t begin = 0;
    int kind = 0; /* 0: space, 1: word, 2: the rest */
    for (size_t i = 0; i <= len;) {
        uint32_t c = 0;
        size_t step = i < len ? text_decode(text + i, len - i, &c) : 1;
        uint32_t classes = i < len ? unicode_classes(c) : CLASS_SPACE;
        int next = classes & CLASS_RUST_WORD ? 1 : classes & CLASS_SPACE ? 0 : 2;
        if (next != kind) {
            if (kind && !splitter_push(s, begin, i))
                return false;
            begin = i;
            kind = next;
        }
        i += step;
    }
    return true;
}

static bool split_length(const char *text, size_t len, size_t characters, struct splitter *s)
{
    size_t begin = 0, count = 0;
    for (size_t i = 0; i < len;) {
        i += text_step(text[i]);
        if (++count == characters || i >= len) {
            if (!splitter_push(s, begin, i))
                return false;
            begin = i;
            count = 0;
        }
    }
    return true;
}

/* Spaces become the replacement; then the piece splits before each replacement. */
static bool metaspace(const struct pretokenizer_step *step, const char *text, struct piece piece,
    struct pieces *out, struct error *err)
{
    size_t begin = out->text.len;
    const char *data = text + piece.begin;
    bool starts =
        piece.len && (data[0] == ' ' || (piece.len >= step->replacement_len &&
                                            memcmp(data, step->replacement, step->replacement_len) == 0));
    bool prepend = step->prepend == PREPEND_ALWAYS || (step->prepend == PREPEND_FIRST && piece.first);
    if (prepend && !starts && !buffer_append(&out->text, step->replacement, step->replacement_len, err))
        return false;
    for (size_t i = 0; i < piece.len;) {
        const char *space = memchr(data + i, ' ', piece.len - i);
        size_t end = space ? (size_t)(space - data) : piece.len;
        if (!buffer_append(&out->text, data + i, end - i, err) ||
            (space && !buffer_append(&out->text, step->replacement, step->replacement_len, err)))
            return false;
        i = space ? end + 1 : end;
    }
    if (step->behavior != SPLIT_NEXT)
        return pieces_push(out, begin, out->text.len, piece.first, err);
    size_t from = begin;
    while (from < out->text.len) {
        size_t skip = out->text.len - from >= step->replacement_len &&
                              memcmp(out->text.data + from, step->replacement, step->replacement_len) == 0
                          ? step->replacement_len
                          : 0;
        const char *next = memmem(out->text.data + from + skip, out->text.len - from - skip,
            step->replacement, step->replacement_len);
        size_t end = next ? (size_t)(next - out->text.data) : out->text.len;
        if (!pieces_push(out, from, end, piece.first && from == begin, err))
            return false;
        from = end;
    }
    return true;
}

/* Steps that change the text write a new one. */
static bool rewrite(const struct pretokenizer_step *step, const char *text, struct piece piece,
    struct pieces *out, struct error *err)
{
    if (step->kind == PRETOKENIZER_METASPACE)
        return metaspace(step, text, piece, out, err);
    size_t begin = out->text.len;
    if (step->kind == PRETOKENIZER_BYTES) {
        if (!byte_level_append(&out->text, text + piece.begin, piece.len, err))
            return false;
    } else {
        bool starts = piece.len && text[piece.begin] == ' ';
        if ((!starts && !buffer_append(&out->text, " ", 1, err)) ||
            !buffer_append(&out->text, text + piece.begin, piece.len, err))
            return false;
    }
    return pieces_push(out, begin, out->text.len, piece.first, err);
}

static bool split(const struct pretokenizer_step *step, const struct pieces *in, struct piece piece,
    struct pattern_scan *scan, struct pieces *out, struct error *err)
{
    struct splitter s = {
        .step = step, .out = out, .base = piece.begin, .from = out->count, .first = piece.first, .err = err};
    const char *text = in->text.data + piece.begin;
    switch (step->kind) {
    case PRETOKENIZER_PATTERN: return split_pattern(text, piece.len, scan, &s);
    case PRETOKENIZER_CLASS: return split_class(text, piece.len, step->classes, &s);
    case PRETOKENIZER_WORDS: return split_words(text, piece.len, &s);
    default: return split_length(text, piece.len, step->length, &s);
    }
}

static bool rewrites(const struct pretokenizer_step *step)
{
    return step->kind == PRETOKENIZER_METASPACE || step->kind == PRETOKENIZER_BYTES ||
           step->kind == PRETOKENIZER_SPACE_FIRST;
}

static bool run_step(
    const struct pretokenizer_step *step, const struct pieces *in, struct pieces *out, struct error *err)
{
    struct pattern_scan scan = {.pattern = step->pattern};
    bool ok = true;
    out->count = 0;
    out->text.len = 0;
    for (size_t i = 0; ok && i < in->count; i++) {
        if (!in->items[i].len)
            continue;
        ok = rewrites(step) ? rewrite(step, in->text.data, in->items[i], out, err)
                            : split(step, in, in->items[i], &scan, out, err);
    }
    pattern_scan_free(&scan);
    return ok;
}

bool pretokenizer_run(
    const struct pretokenizer *pretokenizer, struct pieces *pieces, struct pieces *spare, struct error *err)
{
    for (size_t i = 0; i < pretokenizer->count; i++) {
        const struct pretokenizer_step *step = &pretokenizer->steps[i];
        if (!run_step(step, pieces, spare, err))
            return false;
        if (!rewrites(step))
            buffer_swap(&spare->text, &pieces->text);
        struct pieces kept = *pieces;
        *pieces = *spare;
        *spare = kept;
    }
    return true;
}
