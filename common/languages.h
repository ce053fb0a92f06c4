/* Languages, by name or code, as people and models write them. */
#ifndef LUMIGRID_COMMON_LANGUAGES_H
#define LUMIGRID_COMMON_LANGUAGES_H

#include <stddef.h>

struct language {
    const char *code;  /* ISO 639-1; ISO 639-2 where that has none. M2M100's and Marian's too */
    const char *code3; /* ISO 639-3 */
    const char *name;  /* in English */
    const char *mbart; /* "de_DE"; NULL: mBART does not know it */
    const char *nllb;  /* "deu_Latn"; NULL: NLLB does not know it */
};

/* By English name or any of the codes, whatever the case; NULL: not known. */
const struct language *language_find(const char *name);

size_t language_count(void);
const struct language *language_at(size_t index);

#endif
