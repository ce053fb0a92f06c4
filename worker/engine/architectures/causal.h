/* The decoder-only transformer of the LLaMA family; its members differ in the options below.
 *
 *   x += attention(norm(x));  x += feed_forward(norm(x))        gated feed-forward, RMS norms, rotary
 * positions
 *
 * https://arxiv.org/abs/2302.13971 */
#ifndef LUMIGRID_WORKER_ENGINE_ARCHITECTURES_CAUSAL_H
#define LUMIGRID_WORKER_ENGINE_ARCHITECTURES_CAUSAL_H

#include "worker/engine/loader.h"

/* Which layers see only the last sliding_window tokens, when config.json has no layer_types. */
enum causal_windows {
    WINDOWS_NONE,
    WINDOWS_ALL,     /* every layer, when sliding_window is set */
    WINDOWS_UPPER,   /* from max_window_layers on, when use_sliding_window is set */
    WINDOWS_EVEN,    /* the first, the third, … */
    WINDOWS_PATTERN, /* all but each sliding_window_pattern-th */
};

struct causal_options {
    bool qkv_bias;     /* fixed */
    bool bias_named;   /* attention_bias and mlp_bias of config.json */
    bool head_norms;   /* each query and key head is normed */
    bool joined;       /* qkv_proj and gate_up_proj are stored in one */
    bool post_norms;   /* each branch is normed before it joins the stream */
    bool scaled_words; /* embeddings times sqrt(width) */
    bool soft_caps;    /* attn_logit_softcapping */
    bool local_rope;   /* sliding layers rotate by rope_local_base_freq */
    float norm_offset; /* added to RMS weights */
    enum causal_windows windows;
    bool tied;              /* config.json's default */
    const char *activation; /* config.json's default */
    double theta;           /* config.json's default */
};

void causal_load(struct network *network, struct loader *l, const struct causal_options *options);
struct tensor causal_decode(const struct network *network, struct forward *f);
struct tensor causal_head(const struct network *network, struct forward *f, struct tensor states);

#endif
