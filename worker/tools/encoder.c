/* The encoder of `lumigrid-worker score`. */
#include <stdlib.h>

#include "worker/backend/backend.h"
#include "worker/metrics/score_tool.h"
#include "worker/task/bertscore_encoder.h"
#include "worker/tools/tool.h"

struct encoder {
    struct subject subject;
    struct bertscore_encoder bertscore;
};

static void encoder_close(void *context)
{
    struct encoder *encoder = context;
    if (encoder)
        subject_close(&encoder->subject);
    free(encoder);
}

static void *encoder_open(const char *reference, int layer, size_t threads, struct error *err)
{
    struct encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder) {
        error_set(err, ERROR_MEMORY, "not enough memory for an encoder");
        return NULL;
    }
    struct subject *s = &encoder->subject;
    struct backend_options how = {.threads = (int)threads};
    struct engine_options options = {.compute_dtype = DTYPE_F32};
    struct model_options model = {0};
    if (model_open(reference, &model, &s->model, err) && backend_open("cpu", &how, &s->backend, err) &&
        engine_open(s->backend, s->model, &options, &s->engine, err) &&
        bertscore_encoder_init(s->model, s->engine, layer, &encoder->bertscore, err))
        return encoder;
    encoder_close(encoder);
    return NULL;
}

static bool encoder_score(
    void *context, const struct metric_sample *sample, double *values, struct error *err)
{
    const struct encoder *encoder = context;
    return bertscore_encoder_score(&encoder->bertscore, sample, values, err);
}

const struct score_tool_encoder tool_encoder = {encoder_open, encoder_score, encoder_close};
