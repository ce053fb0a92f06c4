#include "worker/model/tokenizer/unigram.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"

struct node {
    double score;
    size_t from; /* SIZE_MAX: not reached */
    int32_t id;
};

/* SentencePiece keeps and compares floats; rounding decides ties between paths, so this does too. */
static void reach(const struct unigram *u, struct node *node, double score, size_t from, int32_t id)
{
    if (u->flavor == UNIGRAM_SENTENCEPIECE)
        score = (double)(float)score;
    if (node->from == SIZE_MAX || score > node->score)
        *node = (struct node){score, from, id};
}

static double score_of(const struct unigram *u, int32_t id, size_t len)
{
    if (u->user_defined && u->user_defined[id])
        return (double)((float)len * (float)u->max_score) - 0.1;
    return u->scores[id];
}

static bool advance(
    const struct unigram *u, const char *text, size_t len, size_t at, struct node *nodes, struct error *err)
{
    double here = nodes[at].score;
    size_t single = text_step(text[at]);
    bool has_single = false;
    uint32_t node = 0;
    for (size_t end = at; end < len;) {
        node = trie_child(&u->trie, node, (uint8_t)text[end]);
        if (!node)
            break;
        end++;
        int32_t id = u->trie.nodes[node].value;
        if (id < 0)
            continue;
        reach(u, &nodes[end], score_of(u, id, end - at) + here, at, id);
        has_single = has_single || end - at == single;
    }
    if (!has_single) {
        if (u->unknown < 0)
            return error_set(err, ERROR_INVALID,
                "a text has a character that the vocabulary lacks, and there "
                "is no unknown token");
        reach(u, &nodes[at + single], u->unknown_score + here, at, u->unknown);
    }
    return true;
}

static bool trace(const struct node *nodes, size_t len, struct unigram_path *out, struct error *err)
{
    size_t count = 0;
    for (size_t end = len; end > 0; end = nodes[end].from)
        count++;
    out->spans = malloc((count ? count : 1) * sizeof(*out->spans));
    if (!out->spans)
        return error_set(err, ERROR_MEMORY, "no memory to tokenize %zu bytes", len);
    out->count = count;
    for (size_t end = len; end > 0; end = nodes[end].from)
        out->spans[--count] = (struct unigram_span){nodes[end].from, end, nodes[end].id};
    return true;
}

bool unigram_best_path(
    const struct unigram *unigram, const char *text, size_t len, struct unigram_path *out, struct error *err)
{
    *out = (struct unigram_path){0};
    struct node *nodes = len < SIZE_MAX / sizeof(*nodes) - 1 ? malloc((len + 1) * sizeof(*nodes)) : NULL;
    if (!nodes)
        return error_set(err, ERROR_MEMORY, "no memory to tokenize %zu bytes", len);
    for (size_t i = 0; i <= len; i++)
        nodes[i] = (struct node){0, SIZE_MAX, 0};
    bool ok = true;
    for (size_t at = 0; ok && at < len; at += text_step(text[at]))
        ok = advance(unigram, text, len, at, nodes, err);
    ok = ok && trace(nodes, len, out, err);
    free(nodes);
    return ok;
}

static bool push_unknown(const struct unigram *u, const char *text, size_t begin, size_t end,
    struct token_ids *out, struct error *err)
{
    bool bytes = u->byte_fallback;
    for (size_t i = begin; bytes && i < end; i++)
        bytes = u->fallback_ids[(uint8_t)text[i]] >= 0;
    if (!bytes)
        return token_ids_push(out, u->unknown, err);
    for (size_t i = begin; i < end; i++) {
        if (!token_ids_push(out, u->fallback_ids[(uint8_t)text[i]], err))
            return false;
    }
    return true;
}

bool unigram_encode(
    const struct unigram *unigram, const char *text, size_t len, struct token_ids *out, struct error *err)
{
    struct unigram_path path;
    if (!unigram_best_path(unigram, text, len, &path, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < path.count;) {
        const struct unigram_span *span = &path.spans[i];
        size_t next = i + 1;
        if (span->id == unigram->unknown) {
            while (next < path.count && path.spans[next].id == unigram->unknown)
                next++;
            ok = push_unknown(unigram, text, span->begin, path.spans[next - 1].end, out, err);
        } else {
            ok = token_ids_push(out, span->id, err);
        }
        i = next;
    }
    free(path.spans);
    return ok;
}
