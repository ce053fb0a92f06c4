#include "worker/model/tokenizer/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/buffer.h"
#include "worker/model/tokenizer/byte_level.h"
#include "worker/model/tokenizer/hash.h"
#include "worker/model/tokenizer/merge.h"

void bpe_free(struct bpe *bpe)
{
    free(bpe->merges);
    free(bpe->prefix);
    free(bpe->suffix);
    *bpe = (struct bpe){0};
}

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static struct merge_slot *slot_of(const struct bpe *bpe, uint64_t pair)
{
    size_t mask = bpe->merge_slots - 1;
    size_t i = (size_t)(hash_mix(pair * 0x9E3779B97F4A7C15u)) & mask;
    while (bpe->merges[i].pair != pair && bpe->merges[i].pair != UINT64_MAX)
        i = (i + 1) & mask;
    return &bpe->merges[i];
}

static bool widen(struct bpe *bpe, struct error *err)
{
    struct merge_slot *old = bpe->merges;
    size_t old_slots = bpe->merge_slots, slots = old_slots ? old_slots * 2 : 4096;
    struct merge_slot *merges = malloc(slots * sizeof(*merges));
    if (!merges)
        return error_set(err, ERROR_MEMORY, "no memory for %zu merges", bpe->merge_count);
    memset(merges, 0xFF, slots * sizeof(*merges));
    bpe->merges = merges;
    bpe->merge_slots = slots;
    for (size_t i = 0; i < old_slots; i++) {
        if (old[i].pair != UINT64_MAX)
            *slot_of(bpe, old[i].pair) = old[i];
    }
    free(old);
    return true;
}

bool bpe_add_merge_ids(struct bpe *bpe, int32_t left, int32_t right, int32_t merged, struct error *err)
{
    if (bpe->merge_count >= UINT32_MAX / 4)
        return error_set(err, ERROR_TOO_LARGE, "a tokenizer has too many merges");
    if (bpe->merge_count * 2 >= bpe->merge_slots && !widen(bpe, err))
        return false;
    *slot_of(bpe, pair_of(left, right)) =
        (struct merge_slot){pair_of(left, right), (uint32_t)bpe->merge_count++, merged};
    return true;
}

bool bpe_add_merge(struct bpe *bpe, const char *left, size_t left_len, const char *right, size_t right_len,
    struct error *err)
{
    size_t prefix_len = bpe->prefix ? strlen(bpe->prefix) : 0;
    if (prefix_len > right_len)
        prefix_len = right_len;
    struct buffer whole = {0};
    bool ok = buffer_append(&whole, left, left_len, err) &&
              buffer_append(&whole, right + prefix_len, right_len - prefix_len, err);
    int32_t a = vocabulary_find(bpe->vocabulary, left, left_len);
    int32_t b = vocabulary_find(bpe->vocabulary, right, right_len);
    int32_t merged = ok ? vocabulary_find(bpe->vocabulary, whole.data, whole.len) : -1;
    if (ok && (a < 0 || b < 0 || merged < 0))
        ok = error_set(err, ERROR_INVALID,
            "merge %zu joins \"%.40s\" and \"%.40s\", which the vocabulary lacks", bpe->merge_count, left,
            right);
    buffer_free(&whole);
    return ok && bpe_add_merge_ids(bpe, a, b, merged, err);
}

void bpe_prepare(struct bpe *bpe)
{
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        size_t len = text_encode(byte_level_character((uint8_t)byte), text);
        bpe->byte_ids[byte] = vocabulary_find(bpe->vocabulary, text, len);
        snprintf(text, sizeof(text), "<0x%02X>", (unsigned)byte);
        bpe->fallback_ids[byte] = vocabulary_find(bpe->vocabulary, text, 6);
    }
}

static bool find_merge(const void *context, const struct merge_symbol *left, const struct merge_symbol *right,
    struct merge_found *out)
{
    const struct bpe *bpe = context;
    if (!bpe->merge_slots)
        return false;
    const struct merge_slot *slot = slot_of(bpe, pair_of(left->id, right->id));
    if (slot->pair == UINT64_MAX)
        return false;
    out->order = slot->rank;
    out->id = slot->merged;
    return true;
}

/* The symbols of a word before any merge. */
struct spelling {
    const struct bpe *bpe;
    struct merge_list *list;
    bool unknown_open; /* unknown characters wait to be added as one */
    struct error *err;
};

static bool spell_known(struct spelling *s, int32_t id)
{
    if (s->unknown_open) {
        s->unknown_open = false;
        if (!merge_list_push(s->list, s->bpe->unknown, 1, s->err))
            return false;
    }
    return merge_list_push(s->list, id, 1, s->err);
}

static bool spell_unknown(struct spelling *s, const char *text, size_t len)
{
    const struct bpe *bpe = s->bpe;
    bool bytes = bpe->byte_fallback;
    for (size_t i = 0; bytes && i < len; i++)
        bytes = bpe->fallback_ids[(uint8_t)text[i]] >= 0;
    if (bytes) {
        /* The reference adds these before an unknown that still waits; so do we. */
        for (size_t i = 0; i < len; i++) {
            if (!merge_list_push(s->list, bpe->fallback_ids[(uint8_t)text[i]], 1, s->err))
                return false;
        }
        return true;
    }
    if (bpe->unknown < 0)
        return true;
    if (s->unknown_open && !bpe->fuse_unknown && !merge_list_push(s->list, bpe->unknown, 1, s->err))
        return false;
    s->unknown_open = true;
    return true;
}

static bool spell_affixed(
    struct spelling *s, const char *text, size_t len, const char *prefix, const char *suffix)
{
    struct buffer whole = {0};
    bool ok = buffer_append_string(&whole, prefix, s->err) && buffer_append(&whole, text, len, s->err) &&
              buffer_append_string(&whole, suffix, s->err);
    if (ok) {
        int32_t id = vocabulary_find(s->bpe->vocabulary, whole.data, whole.len);
        ok = id >= 0 ? spell_known(s, id) : spell_unknown(s, whole.data, whole.len);
    }
    buffer_free(&whole);
    return ok;
}

static bool spell(struct spelling *s, const char *word, size_t len)
{
    const struct bpe *bpe = s->bpe;
    for (size_t i = 0; i < len;) {
        size_t step = bpe->byte_level ? 1 : text_step(word[i]);
        const char *prefix = i > 0 && bpe->prefix ? bpe->prefix : "";
        const char *suffix = i + step >= len && bpe->suffix ? bpe->suffix : "";
        bool ok;
        if (bpe->byte_level || *prefix || *suffix) {
            char character[4];
            size_t bytes =
                bpe->byte_level ? text_encode(byte_level_character((uint8_t)word[i]), character) : 0;
            int32_t id = *prefix || *suffix || !bpe->byte_level ? -1 : bpe->byte_ids[(uint8_t)word[i]];
            if (id >= 0)
                ok = spell_known(s, id);
            else
                ok = spell_affixed(s, bytes ? character : word + i, bytes ? bytes : step, prefix, suffix);
        } else {
            int32_t id = vocabulary_find(bpe->vocabulary, word + i, step);
            ok = id >= 0 ? spell_known(s, id) : spell_unknown(s, word + i, step);
        }
        if (!ok)
            return false;
        i += step;
    }
    return !s->unknown_open || merge_list_push(s->list, bpe->unknown, 1, s->err);
}

static bool whole_word(const struct bpe *bpe, const char *word, size_t len, int32_t *id, struct error *err)
{
    if (!bpe->byte_level) {
        *id = vocabulary_find(bpe->vocabulary, word, len);
        return true;
    }
    struct buffer mapped = {0};
    bool ok = byte_level_append(&mapped, word, len, err);
    *id = ok ? vocabulary_find(bpe->vocabulary, mapped.data, mapped.len) : -1;
    buffer_free(&mapped);
    return ok;
}

bool bpe_encode(const struct bpe *bpe, const char *word, size_t len, struct token_ids *out, struct error *err)
{
    if (!len)
        return true;
    if (bpe->ignore_merges) {
        int32_t id;
        if (!whole_word(bpe, word, len, &id, err))
            return false;
        if (id >= 0)
            return token_ids_push(out, id, err);
    }
    struct merge_list list = {0};
    struct spelling spelling = {.bpe = bpe, .list = &list, .err = err};
    bool ok = spell(&spelling, word, len) && merge_list_run(&list, find_merge, bpe, err);
    for (uint32_t i = 0; ok && i < list.count; i++) {
        if (list.symbols[i].len)
            ok = token_ids_push(out, list.symbols[i].id, err);
    }
    merge_list_free(&list);
    return ok;
}
