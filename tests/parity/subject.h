/* A golden model opened on a device (LUMIGRID_TEST_DEVICE names it; cpu otherwise), and requests run to their
 * end. */
#ifndef LUMIGRID_TESTS_PARITY_SUBJECT_H
#define LUMIGRID_TESTS_PARITY_SUBJECT_H

#include <jansson.h>

#include "worker/backend/backend.h"
#include "worker/engine/engine.h"

enum { SEQUENCES_MAX = 8, TOKENS_MAX = 256 };

struct subject {
    struct backend *backend;
    struct model *model;
    struct engine *engine;
    json_t *cases;
};
void subject_open(struct subject *subject, const char *name, const struct engine_options *options);
void subject_close(struct subject *subject);

/* What a request ended with, copied. */
struct outcome {
    size_t sequence_count, counts[SEQUENCES_MAX];
    int32_t ids[SEQUENCES_MAX][TOKENS_MAX];
    float token_scores[SEQUENCES_MAX][TOKENS_MAX];
    double scores[SEQUENCES_MAX];
    enum finish_reason reason;
    bool truncated;
    size_t prompt_tokens;
    int calls;       /* of on_done */
    size_t streamed; /* tokens told by on_token */
    struct error error;
};

/* The model's settings with `overrides` (an object) on top. */
void settings_make(const struct subject *subject, const json_t *overrides, struct generation_settings *out);
/* `outcome` is filled when the request ends, and must not move until then. Returns the handle. */
uint64_t subject_submit(const struct subject *subject, const json_t *ids,
    const struct generation_settings *settings, struct outcome *outcome);
void subject_finish(const struct subject *subject); /* steps until nothing is left */

int32_t *ids_from_json(const json_t *list, size_t *count); /* malloc'd */

#endif
