/* Logits processors as sparse edits: which ids' scores change at this step, and how.
 *
 * Facts from transformers 4.57.1 (_get_logits_processor's order: repetition, no-repeat n-gram, bad words,
 * minimum length, forced first, forced last, suppress, suppress at begin). Frequency and presence penalties
 * are OpenAI's, over generated tokens only. Pure logic over token ids: no device, no model. */
#ifndef LUMIGRID_WORKER_ENGINE_PROCESSORS_H
#define LUMIGRID_WORKER_ENGINE_PROCESSORS_H

#include "worker/backend/backend.h"
#include "worker/engine/engine.h"

/* The edits of all rows of a step, in the order that select_args wants. Reused from step to step. */
struct edits {
    struct edit *items;
    size_t count, capacity;
};
void edits_free(struct edits *edits);

/* A sequence as the processors see it: for a decoder the prompt and what it made; for an encoder-decoder
 * the start token and what it made. */
struct sequence_view {
    const int32_t *ids;
    size_t count, prompt_count;
};

/* Lengths of the whole sequence (prompt_count included) as generate() resolves them: max_new_tokens before
 * max_length before 20 new ones; min_new_tokens before min_length. `positions_max` caps the default. */
struct generation_limits {
    size_t max_length, min_length;
};
struct generation_limits generation_limits_resolve(
    const struct generation_settings *settings, size_t prompt_count, size_t positions_max);

/* Appends the edits of one row. Ids outside the vocabulary are left out. */
bool processors_apply(const struct generation_settings *settings, const struct generation_limits *limits,
    const struct sequence_view *sequence, size_t vocabulary_size, int32_t row, struct edits *out,
    struct error *err);

bool settings_is_eos(const struct generation_settings *settings, int32_t id);

#endif
