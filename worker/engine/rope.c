#include "worker/engine/rope.h"

#include <math.h>
#include <string.h>

/* A number of rope_scaling; `fallback` when it is absent. */
static double number(const json_t *scaling, const char *name, double fallback)
{
    const json_t *value = json_object_get(scaling, name);
    return json_is_number(value) && isfinite(json_number_value(value)) ? json_number_value(value) : fallback;
}

static double positive(struct loader *l, const json_t *scaling, const char *name, double fallback)
{
    double value = number(scaling, name, fallback);
    if (!(value > 0))
        loader_fail(l, ERROR_INVALID, "config.json: rope_scaling needs a positive %s", name);
    return value;
}

static double original_positions(struct loader *l, const json_t *scaling)
{
    return positive(l, scaling, "original_max_position_embeddings",
        (double)loader_size(l, "max_position_embeddings", 2048));
}

/* Long wavelengths are stretched, short ones kept, those between blended. */
static void scale_llama3(struct loader *l, struct rope *r, const json_t *scaling)
{
    double factor = positive(l, scaling, "factor", 0), low = positive(l, scaling, "low_freq_factor", 0);
    double high = positive(l, scaling, "high_freq_factor", 0), context = original_positions(l, scaling);
    for (size_t i = 0; i < r->pairs && !l->failed; i++) {
        double f = r->inverse_frequency[i], wavelength = 2 * M_PI / f;
        if (wavelength > context / low) {
            f /= factor;
        } else if (wavelength >= context / high) {
            double smooth = (context / wavelength - low) / (high - low);
            f = (1 - smooth) * f / factor + smooth * f;
        }
        r->inverse_frequency[i] = (float)f;
    }
}

static double yarn_magnitude(double scale, double weight)
{
    return scale <= 1 ? 1 : 0.1 * weight * log(scale) + 1;
}

/* The pair whose wave turns `rotations` times over the original context. */
static double yarn_pair(double rotations, double dim, double base, double context)
{
    return dim * log(context / (rotations * 2 * M_PI)) / (2 * log(base));
}

static void scale_yarn(struct loader *l, struct rope *r, const json_t *scaling)
{
    double factor = positive(l, scaling, "factor", 0), dim = 2.0 * (double)r->pairs;
    double context = original_positions(l, scaling);
    double fast = positive(l, scaling, "beta_fast", 32), slow = positive(l, scaling, "beta_slow", 1);
    double m = number(scaling, "mscale", 0), m_all = number(scaling, "mscale_all_dim", 0);
    double magnitude = m != 0 && m_all != 0 ? yarn_magnitude(factor, m) / yarn_magnitude(factor, m_all)
                                            : yarn_magnitude(factor, 1);
    double low = yarn_pair(fast, dim, r->base, context), high = yarn_pair(slow, dim, r->base, context);
    if (!json_is_false(json_object_get(scaling, "truncate"))) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, dim - 1);
    if (low == high)
        high += 0.001;
    for (size_t i = 0; i < r->pairs; i++) {
        double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1), f = r->inverse_frequency[i];
        r->inverse_frequency[i] = (float)(f / factor * ramp + f * (1 - ramp));
    }
    r->scale = (float)number(scaling, "attention_factor", magnitude);
}

static void divide_by_list(
    struct loader *l, const struct rope *r, const json_t *list, const char *name, float *out)
{
    if (json_array_size(list) != r->pairs) {
        loader_fail(l, ERROR_INVALID, "config.json: %s must hold %zu numbers", name, r->pairs);
        return;
    }
    for (size_t i = 0; i < r->pairs; i++) {
        double factor = json_number_value(json_array_get(list, i));
        if (!(factor > 0))
            loader_fail(l, ERROR_INVALID, "config.json: %s must hold positive numbers", name);
        out[i] = (float)((double)r->inverse_frequency[i] / factor);
    }
}

static void scale_longrope(struct loader *l, struct rope *r, const json_t *scaling)
{
    double longest = (double)loader_size(l, "max_position_embeddings", 0);
    double original = (double)loader_size(l, "original_max_position_embeddings", (size_t)longest);
    double factor = original < longest ? longest / original : number(scaling, "factor", 1);
    double magnitude = factor <= 1 ? 1 : sqrt(1 + log(factor) / log(original));
    float *stretched = loader_alloc(l, r->pairs, sizeof *stretched);
    if (!stretched)
        return;
    divide_by_list(l, r, json_object_get(scaling, "long_factor"), "long_factor", stretched);
    divide_by_list(l, r, json_object_get(scaling, "short_factor"), "short_factor", r->inverse_frequency);
    r->long_inverse_frequency = stretched;
    r->long_limit = l->network->shareable_positions = (size_t)original;
    r->scale = (float)number(scaling, "attention_factor", magnitude);
}

static void apply_scaling(struct loader *l, struct rope *r, const json_t *scaling)
{
    const char *kind = json_string_value(json_object_get(scaling, "rope_type"));
    if (!kind)
        kind = json_string_value(json_object_get(scaling, "type"));
    if (!kind || strcmp(kind, "default") == 0)
        return;
    if (strcmp(kind, "linear") == 0) {
        double factor = positive(l, scaling, "factor", 0);
        for (size_t i = 0; i < r->pairs; i++)
            r->inverse_frequency[i] = (float)((double)r->inverse_frequency[i] / factor);
    } else if (strcmp(kind, "dynamic") == 0) {
        r->dynamic_factor = positive(l, scaling, "factor", 0);
        r->dynamic_limit = l->network->shareable_positions = loader_size(l, "max_position_embeddings", 0);
    } else if (strcmp(kind, "llama3") == 0) {
        scale_llama3(l, r, scaling);
    } else if (strcmp(kind, "yarn") == 0) {
        scale_yarn(l, r, scaling);
    } else if (strcmp(kind, "longrope") == 0 || strcmp(kind, "su") == 0) {
        scale_longrope(l, r, scaling);
    } else {
        loader_fail(l, ERROR_UNSUPPORTED, "the rope_scaling \"%s\" is not implemented", kind);
    }
}

const struct rope *rope_load(struct loader *l, size_t head_dim, double theta, bool scaled)
{
    enum { PAIRS_MAX = 1024 };
    struct rope *r = loader_alloc(l, 1, sizeof *r);
    double partial = loader_real(l, "partial_rotary_factor", 1);
    if (!r || !(theta > 1) || !(partial > 0 && partial <= 1)) {
        loader_fail(l, ERROR_INVALID, "config.json: rope_theta or partial_rotary_factor is out of range");
        return NULL;
    }
    size_t dim = (size_t)((double)head_dim * partial);
    *r = (struct rope){.pairs = dim / 2, .scale = 1, .base = theta};
    if (r->pairs < 1 || r->pairs > PAIRS_MAX ||
        !(r->inverse_frequency = loader_alloc(l, r->pairs, sizeof(float)))) {
        loader_fail(l, ERROR_INVALID, "config.json: heads of %zu cannot be rotated", head_dim);
        return NULL;
    }
    for (size_t i = 0; i < r->pairs; i++)
        r->inverse_frequency[i] = (float)(1 / pow(theta, 2.0 * (double)i / (double)dim));
    r->interleaved = loader_converted(l, "qk_interleaved");
    const json_t *factors = json_object_get(json_object_get(l->config, "gguf"), "rope_freq_factors");
    if (scaled && factors)
        divide_by_list(l, r, factors, "rope_freq_factors", r->inverse_frequency);
    const json_t *scaling = json_object_get(l->config, "rope_scaling");
    if (scaled && json_is_object(scaling))
        apply_scaling(l, r, scaling);
    return r;
}
