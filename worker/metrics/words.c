#include "worker/metrics/words.h"

bool metric_words_read(struct metric_arena *arena, const char *utf8, size_t len, struct metric_text **words,
    size_t *count, struct error *err)
{
    struct metric_text text;
    if (!metric_text_decode(arena, utf8, len, &text, err) || !metric_text_lower(arena, text, &text, err))
        return false;
    *words = metric_arena_alloc(arena, text.len / 2 + 1, sizeof **words, err);
    if (!*words)
        return false;
    *count = 0;
    for (size_t i = 0; i < text.len;) {
        size_t start = i;
        while (i < text.len && (metric_text_class(text.cp[i]) & METRIC_CLASS_WORD))
            i++;
        if (i > start)
            (*words)[(*count)++] = (struct metric_text){text.cp + start, i - start};
        else
            i++;
    }
    return true;
}
