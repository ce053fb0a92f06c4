/* Which token comes next: greedy, sampling and beam search over candidates, without a device.
 *
 * A search holds `width` live hypotheses. At each step every live one gets its best candidates;
 * search_advance turns them into the next step's hypotheses, each with the one it continues (`parent`), so
 * that caches can follow. Facts from transformers 4.57.1 (_beam_search, _sample); a sample is a batch of its
 * own, so its stopping does not depend on others. */
#ifndef LUMIGRID_WORKER_ENGINE_SEARCH_H
#define LUMIGRID_WORKER_ENGINE_SEARCH_H

#include "worker/engine/processors.h"

struct candidate {
    int32_t id;
    float score;
};

struct hypothesis {
    int32_t *ids;        /* prompt (or start token) and what was generated */
    float *token_scores; /* of generated ids only */
    size_t count;
    float score;   /* sum of log-probabilities; a finished beam's is divided by the length penalty */
    size_t parent; /* live: index of the hypothesis of the last step that it continues */
    bool finished;
    enum finish_reason reason;
};

/* Says whether a sequence ends with a stop string; NULL: there are none. */
typedef bool (*search_stop)(void *context, const int32_t *generated, size_t count);

struct search {
    const struct generation_settings *settings;
    struct generation_limits limits;
    size_t prompt_count, width;
    size_t keep; /* continuations that all beams together keep at a step */
    bool beams, sampling;
    uint64_t noise_key;
    struct hypothesis *live, *next, *finished; /* [width] each */
    size_t finished_count;
    struct continuation *pool; /* [keep] */
    size_t step;
    bool done;
    bool stuck; /* done because no token had a finite score */
    search_stop stop;
    void *stop_context;
};

/* How many hypotheses live at once. */
size_t search_width(const struct generation_settings *settings);

/* `ids` begin the sequence; `settings` is borrowed. `noise_key` names the sample: the same key, the same
 * draws. */
bool search_open(struct search *search, const struct generation_settings *settings,
    struct generation_limits limits, const int32_t *ids, size_t count, uint64_t noise_key, struct error *err);
void search_close(struct search *search);

/* How many of the best candidates a live hypothesis needs from the device. */
size_t search_candidates_wanted(const struct search *search, size_t vocabulary_size);

/* `candidates` holds `count` for each live hypothesis that is not finished, one after another, best first;
 * scores are log-probabilities after the processors. They may be overwritten. */
void search_advance(struct search *search, struct candidate *candidates, size_t count);

/* Final hypotheses, best first; once `done`. */
const struct hypothesis *search_results(const struct search *search, size_t *count);

#endif
