/* Synonyms from WordNet 3.0, as NLTK looks them up: morphy's base forms in every part of speech, and all
 * names in their synsets. */
#ifndef LUMIGRID_WORKER_METRICS_WORDNET_H
#define LUMIGRID_WORKER_METRICS_WORDNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

#define WORDNET_NONE UINT32_MAX

struct wordnet;

/* Maps a compiled file. ERROR_NOT_FOUND, or ERROR_INVALID when it is not one or is cut. */
bool wordnet_open(const char *path, struct wordnet **out, struct error *err);
void wordnet_close(struct wordnet *wordnet); /* NULL is fine */

/* The installation's own file, mapped at the first call and kept for the process's life; any thread. It is
 * looked for as wordnet.bin in $LUMIGRID_SHARE, beside the program, in ../worker and ../share/lumigrid from
 * there, and in the configured installation folder. NULL with ERROR_NOT_FOUND. */
const struct wordnet *wordnet_shared(struct error *err);

/* The word of that name, WORDNET_NONE when there is none. Names are lower-case ASCII. */
uint32_t wordnet_find(const struct wordnet *wordnet, const char *name, size_t len);

/* Calls `visit` for each name (a word) in the synsets of the base forms of `form`, some more than once. */
void wordnet_visit_synonyms(const struct wordnet *wordnet, const char *form, size_t len,
    void (*visit)(void *context, uint32_t word), void *context);

#endif
