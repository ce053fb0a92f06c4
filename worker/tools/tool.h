/* What the subcommands share: options, models, JSON lines, exit statuses. */
#ifndef LUMIGRID_WORKER_TOOLS_TOOL_H
#define LUMIGRID_WORKER_TOOLS_TOOL_H

#include <jansson.h>
#include <stdio.h>

#include "common/config.h"
#include "common/error.h"
#include "worker/engine/engine.h"

struct backend;

enum tool_status { TOOL_DONE, TOOL_FAILED, TOOL_USAGE, TOOL_NOT_FOUND, TOOL_DENIED, TOOL_UNREACHABLE };

struct tool {
    const char *name, *usage; /* usage: what follows the name, and what it does */
    const struct config_option *options;
    /* `usage_error` is set when the options are wrong. */
    bool (*run)(const struct config *config, bool *usage_error, struct error *err);
};
extern const struct score_tool_encoder tool_encoder; /* worker/metrics/score_tool.h */
extern const struct tool tool_tokenize, tool_logits, tool_generate, tool_bench, tool_inspect;

/* Options of every tool that opens a model. */
#define TOOL_MODEL_OPTIONS                                                                                   \
    {"model", "REF", NULL, "hf://org/name[@rev], file:///dir, gguf:///file.gguf", false, false},             \
    {                                                                                                        \
        "models", "DIR", NULL, "the model cache; the Hugging Face cache otherwise", false, false             \
    }
#define TOOL_ENGINE_OPTIONS                                                                                  \
    {"device", "D", "cpu", "cpu, cuda:N or auto", false, false},                                             \
        {"threads", "N", "0", "CPU threads; 0 is one a core", false, false},                                 \
    {                                                                                                        \
        "dtype", "D", "auto", "auto, f32, f16, bf16 or int8", false, false                                   \
    }
#define TOOL_LINES_OPTIONS(input_help, output_help)                                                          \
    {"input", "FILE", "-", input_help, false, false},                                                        \
    {                                                                                                        \
        "output", "FILE", "-", output_help, false, false                                                     \
    }

/* A value that must be given; sets *usage_error when it is missing. */
const char *tool_required(
    const struct config *config, const char *name, bool *usage_error, struct error *err);
bool tool_count(const struct config *config, const char *name, size_t min, size_t max, size_t *out,
    bool *usage_error, struct error *err);

/* A model, and an engine on a device when asked for. */
struct subject {
    struct model *model;
    struct backend *backend;
    struct engine *engine;
};
bool subject_open_model(
    struct subject *subject, const struct config *config, bool *usage_error, struct error *err);
/* On the device that --device names, unless the subject has a backend already. */
bool subject_open_engine(struct subject *subject, const struct config *config, size_t batch_max,
    bool *usage_error, struct error *err);
void subject_close(struct subject *subject);

/* JSON lines. Errors name the file and the line. */
struct lines {
    FILE *file;
    const char *name;
    char *line;
    size_t capacity, number;
};
bool lines_open(struct lines *lines, const char *path, struct error *err);
void lines_close(struct lines *lines);
/* The next line that is not empty, without its end; NULL at the end of the file or on an error. */
char *lines_next(struct lines *lines, struct error *err);
/* The next object; NULL at the end of the file or on an error (err->code is then set). Owned by the caller.
 */
json_t *lines_next_object(struct lines *lines, struct error *err);
/* Puts "file:line: " in front of the message. Returns false. */
bool lines_error(const struct lines *lines, struct error *err);

/* A text of an object; NULL and the error when it is missing or of another type. */
const char *object_text(const json_t *object, const char *name, size_t *len, struct error *err);
/* Token ids of an object; an absent key with `optional` leaves the list empty. */
bool object_ids(
    const json_t *object, const char *name, bool optional, struct token_ids *out, struct error *err);
bool object_has_id(const json_t *object, struct error *err);

FILE *output_open(const char *path, struct error *err);
bool output_line(FILE *file, const json_t *object, struct error *err);
bool output_close(FILE *file, const char *path, struct error *err);

#endif
