#include "worker/task/bertscore_encoder.h"

#include <stdlib.h>
#include <string.h>

#include "common/text.h"

bool bertscore_encoder_init(
    struct model *model, struct engine *engine, int layer, struct bertscore_encoder *out, struct error *err)
{
    const char *reference = model_reference(model);
    if (engine_kind(engine) != ENGINE_ENCODER)
        return error_set(err, ERROR_INVALID, "bertscore: %s is no encoder", reference);
    if (!model_tokenizer(model))
        return error_set(err, ERROR_INVALID, "bertscore: %s has no tokenizer files", reference);
    if (layer < 0)
        layer = bertscore_default_layer(reference);
    if (layer < 0)
        return error_set(err, ERROR_INVALID,
            "bertscore: which layer of %s to take is not known; name one of 0 to %zu", reference,
            engine_layers(engine));
    if ((size_t)layer > engine_layers(engine))
        return error_set(err, ERROR_INVALID, "bertscore: %s has layers 0 to %zu, not %d", reference,
            engine_layers(engine), layer);
    *out = (struct bertscore_encoder){model, engine, layer};
    return true;
}

/* What Python's str.strip takes off. */
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

static size_t leading_space(const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        uint32_t c;
        size_t step = text_decode(text + at, len - at, &c);
        if (!is_space(c))
            break;
        at += step;
    }
    return at;
}

static size_t without_trailing_space(const char *text, size_t len)
{
    while (len > 0) {
        size_t start = len - 1;
        uint32_t c;
        while (start > 0 && len - start < 4 && ((unsigned char)text[start] & 0xC0) == 0x80)
            start--;
        if (text_decode(text + start, len - start, &c) != len - start || !is_space(c))
            break;
        len = start;
    }
    return len;
}

/* RoBERTa's byte-level tokenizer is asked for a space before the first word. */
static bool wants_space(const struct bertscore_encoder *encoder)
{
    return strcmp(model_type(encoder->model), "roberta") == 0;
}

static bool encode(const struct bertscore_encoder *encoder, const char *text, size_t len,
    struct token_ids *out, struct error *err)
{
    const struct tokenizer *tokenizer = model_tokenizer(encoder->model);
    size_t skipped = leading_space(text, len);
    text += skipped;
    len = without_trailing_space(text, len - skipped);
    char *spaced = malloc(len + 1);
    if (!spaced)
        return error_set(err, ERROR_MEMORY, "not enough memory for a text of %zu bytes", len);
    spaced[0] = ' ';
    memcpy(spaced + 1, text, len);
    bool with_space = len > 0 && wants_space(encoder);
    bool ok =
        tokenizer_encode(tokenizer, spaced + !with_space, len + with_space, TOKENIZER_ADD_SPECIAL, out, err);
    free(spaced);
    size_t most = tokenizer_max_length(tokenizer), positions = engine_input_tokens_max(encoder->engine);
    most = positions < most ? positions : most;
    if (ok && out->count > most && most >= 2) { /* the ending token stays */
        out->ids[most - 1] = out->ids[out->count - 1];
        out->count = most;
    }
    return ok;
}

bool bertscore_encoder_score(const struct bertscore_encoder *encoder, const struct metric_sample *sample,
    double values[BERTSCORE_VALUES], struct error *err)
{
    struct token_ids texts[2] = {{0}};
    size_t width = engine_hidden_size(encoder->engine);
    float *states = NULL;
    bool ok = encode(encoder, sample->prediction, sample->prediction_len, &texts[0], err) &&
              encode(encoder, sample->reference, sample->reference_len, &texts[1], err);
    if (ok) {
        states = malloc((texts[0].count + texts[1].count) * width * sizeof *states);
        ok = states || error_set(err, ERROR_MEMORY, "not enough memory for the states of two texts");
    }
    ok = ok && engine_hidden_states(encoder->engine, texts, 2, &encoder->layer, 1, &states, err);
    if (ok) {
        const struct bertscore_text prediction = {texts[0].ids, states, texts[0].count};
        const struct bertscore_text reference = {
            texts[1].ids, states + texts[0].count * width, texts[1].count};
        ok = bertscore_match(&prediction, &reference, width, values, err);
    }
    free(states);
    token_ids_free(&texts[0]);
    token_ids_free(&texts[1]);
    return ok;
}
