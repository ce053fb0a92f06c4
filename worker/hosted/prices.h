/* What models cost, from prices.json. Private to the hosted room. */
#ifndef LUMIGRID_WORKER_HOSTED_PRICES_H
#define LUMIGRID_WORKER_HOSTED_PRICES_H

#include <jansson.h>
#include <stdint.h>

#include "common/error.h"

/* The table: an object. `file` NULL: the built-in one. NULL: it cannot be read, or a price is no price. */
json_t *prices_open(const char *file, struct error *err);

/* US dollars for this many tokens; -1: no price is known. A name also stands for its versions: "gpt-4o" for
 * "gpt-4o-2024-08-06" and "mistral-large" for "mistral-large-latest", the longest name first. */
double prices_of(const json_t *table, const char *model, uint32_t prompt_tokens, uint32_t new_tokens);

#endif
