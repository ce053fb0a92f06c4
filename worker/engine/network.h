/* A loaded model: its parameters, its sizes, and how to run it.
 *
 * An architecture (architectures/<name>.c) is a row of architecture_table: it reads config.json and tensors
 * through a loader into its own structs and runs them with the blocks of blocks.h. The rest of the engine
 * knows only this header. */
#ifndef LUMIGRID_WORKER_ENGINE_NETWORK_H
#define LUMIGRID_WORKER_ENGINE_NETWORK_H

#include "worker/backend/backend.h"
#include "worker/engine/engine.h"

struct forward;
struct loader;
struct network;

struct architecture {
    const char *model_type; /* config.json's */
    enum engine_kind kind;
    /* Fills network->own and the sizes; a failure is left in the loader. */
    void (*load)(struct network *network, struct loader *loader);
    /* Encoder: states of all rows of `f`, and for an encoder-decoder the cross keys and values into the cache
     * (when f->cross_appends is set). */
    struct tensor (*encode)(const struct network *network, struct forward *f);
    /* Decoder: final states (normed) of all rows of `f`. */
    struct tensor (*decode)(const struct network *network, struct forward *f);
    /* Logits [rows, vocabulary] of states; may overwrite them. */
    struct tensor (*head)(const struct network *network, struct forward *f, struct tensor states);
};
extern const struct architecture *const architecture_table[];
extern const size_t architecture_count;

/* Everything that is freed with the network; pointers in architectures' structs are borrowed from here. */
struct owned {
    enum { OWNED_WEIGHT, OWNED_VECTOR, OWNED_MEMORY } kind;
    void *pointer;
    struct owned *next;
};

struct network {
    const struct architecture *architecture;
    struct backend *backend;
    void *own; /* the architecture's struct */
    struct owned *owned;

    size_t vocabulary, hidden;
    size_t encoder_layers, cache_layers;     /* 0: has none */
    size_t kv_heads, head_dim;               /* of the cache */
    size_t input_positions, token_positions; /* hard limits of the encoder and the decoder; SIZE_MAX: none */
    size_t shareable_positions; /* prompts up to here have keys that depend on their beginning only */
    size_t trained_positions;   /* max_position_embeddings: caps the default length; SIZE_MAX: unknown */
};

/* ERROR_UNSUPPORTED lists the architectures there are. */
bool network_open(struct backend *backend, const struct model *model, enum dtype compute,
    struct network **out, struct error *err);
void network_close(struct network *network); /* NULL is fine */

#endif
