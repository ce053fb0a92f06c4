/* The running batch: samples that joined, their hypotheses' pages, and the arrays of one forward pass. */
#ifndef LUMIGRID_WORKER_ENGINE_BATCH_H
#define LUMIGRID_WORKER_ENGINE_BATCH_H

#include "worker/engine/blocks.h"
#include "worker/engine/network.h"
#include "worker/engine/pages.h"
#include "worker/engine/search.h"

enum sample_state {
    SAMPLE_QUEUED, /* waits for room */
    SAMPLE_JOINED, /* has pages; its prompt (or start token) has not been through the decoder */
    SAMPLE_LIVE,   /* generating */
};

struct sample {
    uint64_t handle;
    enum sample_state state;
    struct generation_request request; /* ids and settings point to what follows */
    struct generation_settings settings;
    struct generation_limits limits;
    const struct tokenizer *tokenizer; /* for stop strings */
    int32_t *ids;                      /* the encoder's input, or the prompt */
    size_t count;
    bool truncated;
    size_t shared_pages;       /* of the prompt, held by another sample too */
    size_t promised_pages;     /* worst case */
    struct page_table cross;   /* the encoder's keys and values */
    struct page_table *tables; /* [search.width], of the live hypotheses */
    struct page_table *spare;  /* [search.width], the next step's tables */
    struct search search;
    bool searching;    /* search is open */
    size_t told_count; /* tokens of the sequence when the last one was told */
    double joined_s;
    size_t first_row, rows; /* of this step's logits */
    struct sample *next;
};

/* Arrays of one pass, grown as needed and reused. */
struct pass {
    int32_t *ids, *positions, *spare, *zeros, *last_rows;
    struct attention_sequence *sequences, *spare_sequences, *crosses;
    struct kv_append_sequence *appends;
    size_t rows, row_capacity, sequence_count, sequence_capacity, cross_count;
    int32_t *copy_from, *copy_to;
    size_t copy_count;
};

struct engine {
    struct backend *backend;
    struct model *model;
    struct network *network;
    struct kv_cache *cache;
    struct page_pool pool;
    struct engine_options options;
    size_t input_max;
    struct sample *queue, *live; /* in order of arrival */
    size_t queue_count, live_count;
    size_t live_limit; /* since memory ran out; grows again; 0: none */
    uint64_t last_handle;
    struct pass pass;
    struct edits edits;
    int32_t *top_ids;
    float *top_scores;
    struct candidate *candidates;
    size_t top_capacity, candidate_capacity;
};

/* Room for `rows` rows in `sequences` sequences; the pass is empty afterwards. */
bool pass_begin(struct pass *pass, size_t rows, size_t sequences, struct error *err);
void pass_free(struct pass *pass);
/* Adds a decoder's sequence: `count` tokens from position `first` on, whose keys are in `table`. */
void pass_add(
    struct pass *pass, const int32_t *ids, size_t count, size_t first, const struct page_table *table);
/* Adds an encoder's sequence, which looks at its own rows; its cross keys go to `cross` (NULL: nowhere). */
void pass_add_input(struct pass *pass, const int32_t *ids, size_t count, const struct page_table *cross);
/* The last sequence added looks at the encoder's `keys`. */
void pass_add_cross(struct pass *pass, const struct page_table *table, size_t keys);
struct forward pass_forward(const struct pass *pass, struct backend *backend, struct kv_cache *cache);

/* A sample's life. sample_finish and sample_end call on_done and free it; it must be unlinked before. */
struct sample *sample_create(
    struct engine *engine, const struct generation_request *request, struct error *err);
bool sample_join(struct engine *engine, struct sample *sample, struct error *err);
/* Out of the batch and back to how it was queued: it starts anew when it joins again. */
void sample_leave(struct engine *engine, struct sample *sample);
void sample_finish(struct engine *engine, struct sample *sample);
void sample_end(
    struct engine *engine, struct sample *sample, enum finish_reason reason, const struct error *why);
void sample_free(struct engine *engine, struct sample *sample);

double engine_clock_s(void);

#endif
