/* Runs one model on one device: logits, hidden states, and generation by continuous batching.
 *
 * An engine belongs to one thread at a time: the caller drives it by engine_step. Samples of different
 * lengths, jobs and settings join and leave the running batch at every step, and a sample's tokens are the
 * same whatever else is in the batch: every reduction's order depends on the sample's own shape only. */
#ifndef LUMIGRID_WORKER_ENGINE_ENGINE_H
#define LUMIGRID_WORKER_ENGINE_ENGINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/model/model.h"

struct backend; /* worker/backend/backend.h */
struct engine;

enum engine_kind { ENGINE_ENCODER_DECODER, ENGINE_DECODER, ENGINE_ENCODER };

struct engine_options {
    enum dtype compute_dtype; /* f32, f16, bf16 or int8 weights; GGUF block formats stay packed */
    size_t batch_max;         /* live samples at once; 0: as memory allows */
    size_t memory_bytes_max;  /* weights, cache and scratch together; 0: most of what the device has free */
};

/* How to generate. engine_settings_from_model fills it from generation_config.json, config.json and
 * task_specific_params[task] as transformers' pipelines do; engine_settings_set overrides one by its
 * transformers name
 * ("num_beams", "early_stopping", …), `value` as JSON. Lists are owned by the struct; free with
 * engine_settings_free. */
struct generation_settings {
    int32_t num_beams, num_return_sequences;
    int32_t max_new_tokens, min_new_tokens; /* -1: not set */
    int32_t max_length, min_length;         /* whole sequence, prompt included for decoders; -1: not set */
    double length_penalty;
    enum { EARLY_STOPPING_FALSE, EARLY_STOPPING_TRUE, EARLY_STOPPING_NEVER } early_stopping;
    int32_t no_repeat_ngram_size;
    double repetition_penalty, frequency_penalty, presence_penalty;
    bool do_sample;
    double temperature, top_p, min_p, typical_p;
    int32_t top_k; /* 0: off */
    uint64_t seed;
    int32_t decoder_start_token_id, pad_token_id, bos_token_id; /* -1: not set */
    int32_t forced_bos_token_id, forced_eos_token_id;           /* -1: not set */
    int32_t *eos_token_ids;
    size_t eos_token_count;
    int32_t *suppress_tokens, *begin_suppress_tokens;
    size_t suppress_count, begin_suppress_count;
    int32_t **bad_words; /* each ended by -1 */
    size_t bad_words_count;
    char **stop_strings;
    size_t stop_strings_count;
    char *prefix; /* put before the input ("summarize: "); NULL: none */
};
bool engine_settings_from_model(
    const struct model *model, const char *task, struct generation_settings *out, struct error *err);
bool engine_settings_set(
    struct generation_settings *settings, const char *name, const json_t *value, struct error *err);
bool engine_settings_copy(
    struct generation_settings *out, const struct generation_settings *from, struct error *err);
void engine_settings_free(struct generation_settings *settings);
json_t *engine_settings_to_json(
    const struct generation_settings *settings); /* a new object, for listings; NULL when out of memory */

/* Loads `model` on `backend`; both are borrowed and outlive the engine. ERROR_UNSUPPORTED lists the
 * architectures there are; ERROR_MEMORY says how much is needed and how much there is. */
bool engine_open(struct backend *backend, struct model *model, const struct engine_options *options,
    struct engine **out, struct error *err);
void engine_close(struct engine *engine); /* live samples are dropped without a callback; NULL is fine */

enum engine_kind engine_kind(const struct engine *engine);
size_t engine_vocabulary_size(const struct engine *engine);
size_t engine_input_tokens_max(
    const struct engine *engine); /* longest input; longer ones are cut as the pipeline does */
size_t engine_layers(const struct engine *engine); /* encoder layers, for hidden states */
size_t engine_hidden_size(const struct engine *engine);
size_t engine_resident_bytes(const struct engine *engine); /* weights + cache + scratch owned by the engine */

/* Logits [count, vocabulary] for teacher-forced ids: an encoder-decoder takes `ids` as encoder input and
 * `decoder_ids` as decoder input, and `count` is decoder_count; a decoder takes ids. `out` is owned by the
 * caller. */
bool engine_logits(struct engine *engine, const int32_t *ids, size_t count, const int32_t *decoder_ids,
    size_t decoder_count, float *out, struct error *err);

/* Hidden states of an encoder for a batch of token lists. For each listed layer (0: embeddings, n: after
 * layer n) out[l] is [total tokens of the batch, hidden], samples one after another; owned by the caller. */
bool engine_hidden_states(struct engine *engine, const struct token_ids *batch, size_t batch_count,
    const int *layers, size_t layer_count, float **out, struct error *err);

enum finish_reason { FINISH_EOS, FINISH_LENGTH, FINISH_STOP_STRING, FINISH_CANCELLED, FINISH_ERROR };

struct generation_output {
    const int32_t
        *ids; /* generated only: no start token, no prompt; the ending token included when one was made */
    size_t count;
    double score;              /* beam search: sum of log-probabilities / length^penalty; else the sum */
    const float *token_scores; /* log-probability of each id; NULL unless asked for */
    enum finish_reason reason;
    size_t prompt_tokens;      /* after truncation */
    bool truncated;            /* the input was longer than the model takes */
    double seconds;            /* from joining the batch to the end */
    const struct error *error; /* with FINISH_ERROR */
};

struct generation_request {
    const int32_t *ids; /* tokenized input, special tokens included; copied by engine_submit */
    size_t count;
    const struct generation_settings *settings; /* copied by engine_submit */
    bool want_token_scores;
    bool interactive; /* joins ahead of waiting batch samples */
    /* Each new token as it is decided (greedy and sampling only); NULL: none. */
    void (*on_token)(void *context, int32_t id);
    /* Exactly once a request, from within engine_step or engine_cancel: num_return_sequences outputs, best
     * first. They live until it returns. */
    void (*on_done)(void *context, const struct generation_output *outputs, size_t output_count);
    void *context;
};

/* Queues a request; it joins the running batch when there is room. Returns a handle > 0, or 0 on error. */
uint64_t engine_submit(struct engine *engine, const struct generation_request *request, struct error *err);
void engine_cancel(struct engine *engine, uint64_t handle);

/* Advances every live sample by one step (admission, encoding of newcomers, one decoder step, selection),
 * calling callbacks. Returns how many requests are live or queued afterwards; 0 means there is nothing to do.
 */
size_t engine_step(struct engine *engine);

#endif
