/* Porter's stemmer (Porter, "An algorithm for suffix stripping", 1980) with the deviations that NLTK's
 * PorterStemmer makes by default (its mode NLTK_EXTENSIONS). */
#ifndef LUMIGRID_WORKER_METRICS_PORTER_H
#define LUMIGRID_WORKER_METRICS_PORTER_H

#include <stddef.h>
#include <stdint.h>

/* Stems a lower-cased word in place; returns its new length, never more than `len`. */
size_t porter_stem(uint32_t *word, size_t len);

#endif
