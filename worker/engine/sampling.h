/* Distribution warpers of sampling, and noise that depends on the sample alone.
 *
 * Facts from transformers 4.57.1: temperature, top-k, top-p, min-p, typical, in this order. */
#ifndef LUMIGRID_WORKER_ENGINE_SAMPLING_H
#define LUMIGRID_WORKER_ENGINE_SAMPLING_H

#include "worker/engine/search.h"

/* Keeps what may be drawn: candidates are sorted best first and hold raw scores (any constant added to all of
 * them changes nothing). Returns how many are left, at least min(count, keep_min), sorted; scores are divided
 * by the temperature. */
size_t sampling_warp(
    const struct generation_settings *settings, struct candidate *candidates, size_t count, size_t keep_min);

/* A uniform number in (0, 1) for draw (a, b) of the sample named by `key`. */
double sampling_uniform(uint64_t key, uint64_t a, uint64_t b);
uint64_t sampling_key(uint64_t seed, const int32_t *ids, size_t count);

/* Index of the candidate that `uniform` falls on. */
size_t sampling_draw(const struct candidate *candidates, size_t count, double uniform);

#endif
