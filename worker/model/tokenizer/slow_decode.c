/* convert_tokens_to_string of the slow classes, and PreTrainedTokenizer._decode around it. */
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/byte_level.h"
#include "worker/model/tokenizer/slow.h"
#include "worker/model/tokenizer/unicode.h"

#define SPACE "\xE2\x96\x81" /* U+2581 */
enum { SPACE_BYTES = 3 };

struct token {
    const char *text;
    size_t len;
    bool special;
    bool alone; /* stands by itself between runs of ordinary tokens */
};

static void strip_ends(struct buffer *text, size_t from)
{
    size_t begin = from, end = from;
    bool leading = true;
    for (size_t i = from; i < text->len;) {
        uint32_t c;
        size_t step = text_decode(text->data + i, text->len - i, &c);
        bool space = unicode_is(c, CLASS_PYTHON_SPACE);
        if (leading && space)
            begin = i + step;
        if (!space) {
            leading = false;
            end = i + step;
        }
        i += step;
    }
    if (end < begin)
        end = begin;
    if (text->data)
        memmove(text->data + from, text->data + begin, end - begin);
    text->len = from + (end - begin);
}

static bool append_spaced(struct buffer *out, const char *text, size_t len, struct error *err)
{
    for (size_t i = 0; i < len;) {
        bool space = len - i >= SPACE_BYTES && memcmp(text + i, SPACE, SPACE_BYTES) == 0;
        if (!buffer_append(out, space ? " " : text + i, 1, err))
            return false;
        i += space ? SPACE_BYTES : 1;
    }
    return true;
}

static bool join_bytes(const struct token *tokens, size_t count, struct buffer *out, struct error *err)
{
    struct buffer bytes = {0};
    bool ok = true;
    for (size_t k = 0; ok && k < count; k++) {
        for (size_t i = 0; ok && i < tokens[k].len;) {
            uint32_t c;
            i += text_decode(tokens[k].text + i, tokens[k].len - i, &c);
            int byte = byte_level_byte(c);
            char value = (char)byte;
            /* The reference fails on a character that stands for no byte; its own text is kinder. */
            ok = byte >= 0 ? buffer_append(&bytes, &value, 1, err) : buffer_append_code_point(&bytes, c, err);
        }
    }
    size_t len = 0;
    char *repaired = ok ? text_repair(bytes.data ? bytes.data : "", bytes.len, &len) : NULL;
    if (ok && !repaired)
        ok = error_set(err, ERROR_MEMORY, "no memory to decode %zu bytes", bytes.len);
    ok = ok && buffer_append(out, repaired, len, err);
    free(repaired);
    buffer_free(&bytes);
    return ok;
}

/* BERT: " ##" goes, words are joined by spaces. */
static bool join_words(const struct token *tokens, size_t count, struct buffer *out, struct error *err)
{
    size_t from = out->len;
    for (size_t k = 0; k < count; k++) {
        const char *text = tokens[k].text;
        size_t len = tokens[k].len;
        bool continues = k && len >= 2 && memcmp(text, "##", 2) == 0;
        if ((k && !continues && !buffer_append(out, " ", 1, err)) ||
            !buffer_append(out, text + (continues ? 2 : 0), len - (continues ? 2 : 0), err))
            return false;
    }
    strip_ends(out, from);
    return true;
}

static bool end_run(struct sentencepiece_decoder *d, struct buffer *out, struct error *err)
{
    bool ok = sentencepiece_decode_end(d, err) && buffer_append(out, d->text.data, d->text.len, err);
    d->text.len = 0;
    d->space_seen = false;
    return ok;
}

static bool join_pieces(const struct tokenizer *t, const struct token *tokens, size_t count,
    struct buffer *out, struct error *err)
{
    const struct slow *slow = t->slow;
    struct sentencepiece_decoder d = {.model = slow->target ? slow->target : slow->source};
    size_t from = out->len;
    bool ok = true, after_special = false;
    for (size_t k = 0; ok && k < count; k++) {
        const char *text = tokens[k].text;
        size_t len = tokens[k].len;
        if (tokens[k].special) {
            bool llama =
                slow->join == SLOW_JOIN_PIECES_LLAMA && k && !slow->modern && !slow->space_after_special;
            if ((slow->join == SLOW_JOIN_PIECES_SPACED || llama) && !after_special)
                ok = buffer_append(out, " ", 1, err);
            ok = ok && end_run(&d, out, err) && buffer_append(out, text, len, err) &&
                 (slow->join != SLOW_JOIN_PIECES_MARIAN || buffer_append(out, " ", 1, err));
            after_special = true;
            continue;
        }
        if (k == 0 && slow->add_prefix_space && len >= SPACE_BYTES && memcmp(text, SPACE, SPACE_BYTES) == 0) {
            text += SPACE_BYTES;
            len -= SPACE_BYTES;
        }
        if (slow->join == SLOW_JOIN_PIECES_LLAMA && after_special && k == 1 && slow->add_prefix_space &&
            !slow->space_after_special && (len < SPACE_BYTES || memcmp(text, SPACE, SPACE_BYTES) != 0))
            ok = buffer_append(out, " ", 1, err);
        ok = ok && sentencepiece_decode_piece(&d, text, len, err);
        after_special = false;
    }
    ok = ok && end_run(&d, out, err);
    buffer_free(&d.text);
    buffer_free(&d.bytes);
    if (ok && slow->join != SLOW_JOIN_PIECES_LLAMA)
        strip_ends(out, from);
    return ok;
}

static bool join(const struct tokenizer *t, const struct token *tokens, size_t count, struct buffer *out,
    struct error *err)
{
    size_t from = out->len;
    switch (t->slow->join) {
    case SLOW_JOIN_BYTES: return join_bytes(tokens, count, out, err);
    case SLOW_JOIN_WORDS: return join_words(tokens, count, out, err);
    case SLOW_JOIN_SPACES: break;
    case SLOW_JOIN_PIECES:
    case SLOW_JOIN_PIECES_SPACED:
    case SLOW_JOIN_PIECES_LLAMA:
    case SLOW_JOIN_PIECES_MARIAN: return join_pieces(t, tokens, count, out, err);
    }
    for (size_t k = 0; k < count; k++) {
        if (!append_spaced(out, tokens[k].text, tokens[k].len, err))
            return false;
    }
    strip_ends(out, from);
    return true;
}

/* Added tokens that are not special, and additional special ones past the class's own vocabulary. */
static bool stands_alone(const struct tokenizer *t, const struct added_token *added)
{
    if (!added || !added->special)
        return added != NULL;
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        if (t->special[i] && strcmp(t->special[i], added->content) == 0)
            return false;
    }
    return added->id >= t->slow->base_size;
}

/* Runs of ordinary tokens and tokens that stand alone, joined by spaces. */
static bool join_runs(const struct tokenizer *t, const struct token *tokens, size_t count, struct buffer *out,
    struct error *err)
{
    bool any = false;
    for (size_t k = 0; k < count;) {
        size_t begin = k, from = out->len;
        if (any && !buffer_append(out, " ", 1, err))
            return false;
        size_t text_from = out->len;
        if (tokens[k].alone) {
            if (!buffer_append(out, tokens[k].text, tokens[k].len, err))
                return false;
            k++;
        } else {
            while (k < count && !tokens[k].alone)
                k++;
            if (!join(t, tokens + begin, k - begin, out, err))
                return false;
            if (out->len == text_from && k < count) {
                out->len = from;
                continue;
            }
        }
        any = true;
    }
    return true;
}

bool slow_decode(const struct tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
    struct buffer *out, struct error *err)
{
    struct token *tokens = calloc(count + 1, sizeof(*tokens));
    size_t used = 0;
    if (!tokens)
        return error_set(err, ERROR_MEMORY, "no memory to decode %zu ids", count);
    for (size_t i = 0; i < count; i++) {
        const struct added_token *added = added_by_id(&t->added, ids[i]);
        struct token_text text = added ? (struct token_text){added->content, (uint32_t)added->len}
                                       : vocabulary_text(&t->vocabulary, ids[i]);
        if (!text.data || (skip_special && added && added->special))
            continue;
        tokens[used++] = (struct token){text.data, text.len, added && added->special, stands_alone(t, added)};
    }
    bool ok = join_runs(t, tokens, used, out, err);
    free(tokens);
    return ok && (!t->clean_up || decoder_clean_up(out, err));
}
