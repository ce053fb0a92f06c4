/* A cache from words to their ids that any number of threads read and fill without locks: entries are only
 * ever added, never moved or freed before the cache is. Natural text repeats few words often, so a table that
 * stops taking words when it is full serves as well as one that forgets. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_WORD_CACHE_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_WORD_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/model/tokenizer/tokenizer.h"

struct cached_word;
struct word_cache {
    _Atomic(struct cached_word *) *slots;
};

bool word_cache_init(struct word_cache *cache, struct error *err);
void word_cache_free(struct word_cache *cache);

enum word_cache_result { WORD_CACHE_HIT, WORD_CACHE_MISS, WORD_CACHE_ERROR };

/* HIT: the word's ids were appended to `out`. MISS: *slot is where word_cache_keep may put them. */
enum word_cache_result word_cache_get(const struct word_cache *cache, const char *word, size_t len,
    size_t *slot, struct token_ids *out, struct error *err);
void word_cache_keep(const struct word_cache *cache, size_t slot, const char *word, size_t len,
    const int32_t *ids, size_t count);

#endif
