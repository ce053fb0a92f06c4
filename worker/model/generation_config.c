#include "worker/model/generation_config.h"

#include <string.h>

/* Every attribute of transformers' GenerationConfig that a model's configuration may carry. */
static const char *const names[] = {"max_length", "max_new_tokens", "min_length", "min_new_tokens",
    "early_stopping", "max_time", "stop_strings", "do_sample", "num_beams", "use_cache", "temperature",
    "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "repetition_penalty",
    "encoder_repetition_penalty", "length_penalty", "no_repeat_ngram_size", "bad_words_ids",
    "renormalize_logits", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "sequence_bias",
    "guidance_scale", "num_return_sequences", "pad_token_id", "bos_token_id", "eos_token_id",
    "encoder_no_repeat_ngram_size", "decoder_start_token_id", "diversity_penalty", "num_beam_groups",
    "penalty_alpha"};

enum { UNSET = -1 };

/* Special tokens that the configuration classes fill in when config.json does not name them
 * (checked by tests/golden/model/generation_defaults.json). */
static const struct {
    const char *model_type;
    int pad, bos, eos, decoder_start, forced_eos;
} defaults[] = {
    {"bart", 1, 0, 2, 2, 2},
    {"mbart", 1, 0, 2, UNSET, 2},
    {"t5", 0, UNSET, 1, UNSET, UNSET},
    {"mt5", 0, UNSET, 1, 0, UNSET},
    {"led", 1, 0, 2, 2, UNSET},
    {"pegasus", 0, UNSET, 1, 0, 1},
    {"marian", 58100, UNSET, 0, 58100, 0},
    {"m2m_100", 1, 0, 2, 2, UNSET},
    {"llama", UNSET, 1, 2, UNSET, UNSET},
    {"mistral", UNSET, 1, 2, UNSET, UNSET},
    {"gemma2", 0, 2, 1, UNSET, UNSET},
    {"gemma3_text", 0, 2, 1, UNSET, UNSET},
    {"gemma3", 0, 2, 1, UNSET, UNSET},
    {"phi3", 32000, 1, 32000, UNSET, UNSET},
    {"gpt2", UNSET, 50256, 50256, UNSET, UNSET},
    {"bert", 0, UNSET, UNSET, UNSET, UNSET},
    {"roberta", 1, 0, 2, UNSET, UNSET},
    {"xlm-roberta", 1, 0, 2, UNSET, UNSET},
    {"deberta-v2", 0, UNSET, UNSET, UNSET, UNSET},
};

/* Sets `name` unless config.json names it: an explicit null there means that the model has none. */
static bool set_default(json_t *out, const json_t *config, const char *name, int value)
{
    if (value == UNSET || json_object_get(config, name) != NULL || json_object_get(out, name) != NULL)
        return true;
    return json_object_set_new(out, name, json_integer(value)) == 0;
}

static bool set_defaults(json_t *out, const json_t *config)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    for (size_t i = 0; type != NULL && i < sizeof defaults / sizeof *defaults; i++) {
        if (strcmp(defaults[i].model_type, type) != 0)
            continue;
        return set_default(out, config, "pad_token_id", defaults[i].pad) &&
               set_default(out, config, "bos_token_id", defaults[i].bos) &&
               set_default(out, config, "eos_token_id", defaults[i].eos) &&
               set_default(out, config, "decoder_start_token_id", defaults[i].decoder_start) &&
               set_default(out, config, "forced_eos_token_id", defaults[i].forced_eos);
    }
    return true;
}

static bool take_settings(json_t *out, const json_t *config)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *value = json_object_get(config, names[i]);
        if (value == NULL || json_is_null(value) || json_object_get(out, names[i]) != NULL)
            continue;
        if (json_object_set(out, names[i], value) != 0)
            return false;
    }
    return true;
}

json_t *generation_config_derive(const json_t *config, struct error *err)
{
    static const char *const nested[] = {"text_config", "decoder", "generator"};
    json_t *out = json_object();
    bool ok = out != NULL && take_settings(out, config) && set_defaults(out, config);
    for (size_t i = 0; ok && i < sizeof nested / sizeof *nested; i++) {
        const json_t *inner = json_object_get(config, nested[i]);
        if (json_is_object(inner))
            ok = take_settings(out, inner) && set_defaults(out, inner);
    }
    if (ok)
        return out;
    json_decref(out);
    error_set(err, ERROR_MEMORY, "no memory for the generation settings");
    return NULL;
}
