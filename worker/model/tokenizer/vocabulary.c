#include "worker/model/tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/buffer.h"
#include "worker/model/tokenizer/hash.h"

struct vocabulary_slot {
    const char *text; /* NULL: free */
    uint32_t len;
    uint32_t hash;
    int32_t id;
};

enum { ARENA_BYTES = 1 << 16 };
struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t size;
    char data[];
};

void vocabulary_free(struct vocabulary *vocabulary)
{
    for (struct arena_block *block = vocabulary->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(vocabulary->slots);
    free(vocabulary->texts);
    *vocabulary = (struct vocabulary){0};
}

static const char *keep(struct vocabulary *v, const char *text, size_t len, struct error *err)
{
    if (!v->blocks || v->blocks->size - v->blocks->used < len + 1) {
        size_t size = len + 1 > ARENA_BYTES ? len + 1 : ARENA_BYTES;
        struct arena_block *block = malloc(sizeof(*block) + size);
        if (!block) {
            error_set(err, ERROR_MEMORY, "no memory for a vocabulary");
            return NULL;
        }
        *block = (struct arena_block){.next = v->blocks, .size = size};
        v->blocks = block;
    }
    char *kept = v->blocks->data + v->blocks->used;
    memcpy(kept, text, len);
    kept[len] = '\0';
    v->blocks->used += len + 1;
    return kept;
}

static struct vocabulary_slot *slot_of(
    const struct vocabulary *v, const char *text, size_t len, uint32_t hash)
{
    size_t mask = v->slot_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct vocabulary_slot *slot = &v->slots[i];
        if (!slot->text || (slot->hash == hash && slot->len == len && memcmp(slot->text, text, len) == 0))
            return slot;
    }
}

static bool widen(struct vocabulary *v, struct error *err)
{
    size_t old_count = v->slot_count;
    struct vocabulary_slot *old = v->slots;
    size_t count = old_count ? old_count * 2 : 1024;
    struct vocabulary_slot *slots = calloc(count, sizeof(*slots));
    if (!slots)
        return error_set(err, ERROR_MEMORY, "no memory for a vocabulary of %zu tokens", v->count);
    v->slots = slots;
    v->slot_count = count;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].text)
            *slot_of(v, old[i].text, old[i].len, old[i].hash) = old[i];
    }
    free(old);
    return true;
}

static bool set_text(struct vocabulary *v, const char *text, size_t len, size_t id, struct error *err)
{
    if (id >= v->text_count) {
        struct token_text *texts = array_grow(v->texts, &v->text_capacity, id + 1, sizeof(*texts), err);
        if (!texts)
            return false;
        v->texts = texts;
        memset(texts + v->text_count, 0, (id + 1 - v->text_count) * sizeof(*texts));
        v->text_count = id + 1;
    }
    v->texts[id] = (struct token_text){text, (uint32_t)len};
    return true;
}

bool vocabulary_add(struct vocabulary *v, const char *text, size_t len, int64_t id, struct error *err)
{
    if (id < 0 || id >= VOCABULARY_ID_MAX)
        return error_set(
            err, ERROR_INVALID, "token id %lld is outside 0..%d", (long long)id, VOCABULARY_ID_MAX);
    if (len > TOKEN_BYTES_MAX)
        return error_set(
            err, ERROR_TOO_LARGE, "a token of %zu bytes is over the limit of %d", len, TOKEN_BYTES_MAX);
    if (v->count * 2 >= v->slot_count && !widen(v, err))
        return false;
    uint32_t hash = hash_bytes(text, len);
    struct vocabulary_slot *slot = slot_of(v, text, len, hash);
    if (!slot->text) {
        const char *kept = keep(v, text, len, err);
        if (!kept)
            return false;
        *slot = (struct vocabulary_slot){kept, (uint32_t)len, hash, 0};
        v->count++;
    }
    slot->id = (int32_t)id;
    return set_text(v, slot->text, len, (size_t)id, err);
}

int32_t vocabulary_find(const struct vocabulary *v, const char *text, size_t len)
{
    if (!v->slot_count)
        return -1;
    const struct vocabulary_slot *slot = slot_of(v, text, len, hash_bytes(text, len));
    return slot->text ? slot->id : -1;
}

struct token_text vocabulary_text(const struct vocabulary *v, int32_t id)
{
    if (id < 0 || (size_t)id >= v->text_count)
        return (struct token_text){NULL, 0};
    return v->texts[id];
}
