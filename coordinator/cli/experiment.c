/* lumigrid experiment …, but for what shows scores, which is in comparison.c */
#include "coordinator/cli/experiment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/listing.h"
#include "coordinator/cli/terminal.h"

enum { POLL_MS = 200, WATCHED_MAX = 16, BAR_COLUMNS = 28 };

static const struct config_option SUBMIT_OPTIONS[] = {
    {"dataset", "ID|FILE", NULL, "a dataset's id, or a file to upload first", false, false},
    {"model", "REF", NULL,
        "a model reference, such as hf://facebook/bart-large-cnn; several make several experiments", true,
        false},
    {"metrics", "a,b", NULL, "metrics to compute; the server's default otherwise", false, false},
    {"max-samples", "N", "-1", "at most this many samples; -1: all", false, false},
    {"name", "S", NULL, "a name; made of the model's otherwise", false, false},
    {"system-prompt", "TEXT", NULL, "for chat models", false, false},
    {"watch", NULL, NULL, "show progress, then the comparison", false, false}, {0}};

static const struct config_option RESULT_OPTIONS[] = {
    {"output", "FILE", NULL, "where to write it; -o FILE; stdout otherwise", false, false}, {0}};

static const struct listing_column COLUMNS[] = {{"ID", "id", LISTING_TEXT}, {"NAME", "name", LISTING_TEXT},
    {"MODEL", "model", LISTING_TEXT}, {"STATUS", "status", LISTING_STATUS},
    {"SAMPLES", "progress", LISTING_PROGRESS}, {"CREATED", "created_at", LISTING_TIME}, {0}};

static const struct listing_column DETAILS[] = {{"id", "id", LISTING_TEXT}, {"name", "name", LISTING_TEXT},
    {"description", "description", LISTING_TEXT}, {"model", "model", LISTING_TEXT},
    {"dataset", "dataset", LISTING_TEXT}, {"status", "status", LISTING_STATUS},
    {"message", "message", LISTING_TEXT}, {"waiting", "progress.waiting", LISTING_TEXT},
    {"samples", "progress", LISTING_PROGRESS}, {"failed samples", "progress.failed", LISTING_NUMBER},
    {"samples/s", "progress.samples_per_s", LISTING_NUMBER}, {"metrics", "metrics", LISTING_NAMES},
    {"means", "means", LISTING_TEXT}, {"created", "created_at", LISTING_TIME},
    {"started", "started_at", LISTING_TIME}, {"finished", "finished_at", LISTING_TIME}, {0}};

static char *experiment_path(const struct command_context *context, const char *suffix)
{
    return alloc_format("/experiments/%s%s", command_argument(context, 0), suffix);
}

/* ---- watch ---- */

static const char *text_of(const json_t *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object, field));
    return text ? text : "";
}

static bool ended(const json_t *experiment)
{
    const char *status = text_of(experiment, "status");
    return strcmp(status, "succeeded") == 0 || strcmp(status, "failed") == 0 ||
           strcmp(status, "stopped") == 0;
}

static void draw_line(const json_t *experiment)
{
    const json_t *progress = json_object_get(experiment, "progress");
    json_int_t done = json_integer_value(json_object_get(progress, "done"));
    json_int_t total = json_integer_value(json_object_get(progress, "total"));
    double rate = json_number_value(json_object_get(progress, "samples_per_s"));
    const char *waiting = text_of(progress, "waiting"), *status = text_of(experiment, "status");
    int filled = total > 0 ? (int)(done * BAR_COLUMNS / total) : 0;
    fprintf(stderr, "\033[K%-28.28s [", text_of(experiment, "name"));
    for (int i = 0; i < BAR_COLUMNS; i++)
        fputs(i < filled ? "█" : "·", stderr);
    fprintf(stderr, "] %lld/%lld", done, total);
    if (ended(experiment))
        fprintf(stderr, "  %s", status);
    else if (rate > 0)
        fprintf(stderr, "  %.1f samples/s", rate);
    else if (*waiting)
        fprintf(stderr, "  %.60s", waiting);
    fputc('\n', stderr);
}

/* Without a terminal: a line when something began or ended. */
static void tell_change(const json_t *experiment, const json_t *before)
{
    const char *status = text_of(experiment, "status");
    if (strcmp(status, text_of(before, "status")) != 0)
        fprintf(stderr, "%s: %s\n", text_of(experiment, "name"), status);
}

static bool fetch(const char *id, json_t **out, struct error *err)
{
    char *path = alloc_format("/experiments/%s", id);
    json_t *experiment = client_call("GET", path, NULL, err);
    free(path);
    if (!experiment)
        return false;
    json_decref(*out);
    *out = experiment;
    return true;
}

/* Failed ones say why, on stderr. Returns how many there are. */
static size_t tell_failures(json_t *const *experiments, size_t count)
{
    size_t failures = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text_of(experiments[i], "status"), "succeeded") == 0)
            continue;
        const char *message = text_of(experiments[i], "message");
        fprintf(stderr, "lumigrid: %s %s: %s\n", text_of(experiments[i], "name"),
            text_of(experiments[i], "status"),
            *message ? message : "no reason is recorded; see lumigrid job logs ID");
        failures++;
    }
    return failures;
}

static int watch_experiments(const char *const *ids, size_t count)
{
    struct error err = {0};
    json_t *experiments[WATCHED_MAX] = {0};
    bool tty = isatty(STDERR_FILENO), running = true, drawn = false, ok = true;
    while (ok && running) {
        running = false;
        json_t *before[WATCHED_MAX] = {0};
        for (size_t i = 0; ok && i < count; i++) {
            before[i] = json_incref(experiments[i]);
            ok = fetch(ids[i], &experiments[i], &err);
            running = running || !ended(experiments[i]);
        }
        if (tty && drawn)
            fprintf(stderr, "\033[%zuA", count);
        for (size_t i = 0; ok && i < count; i++) {
            if (tty)
                draw_line(experiments[i]);
            else
                tell_change(experiments[i], before[i]);
        }
        drawn = true;
        for (size_t i = 0; i < count; i++)
            json_decref(before[i]);
        if (ok && running)
            nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
    }
    size_t failures = ok ? tell_failures(experiments, count) : 0;
    for (size_t i = 0; i < count; i++)
        json_decref(experiments[i]);
    if (!ok)
        return command_fail(&err);
    return failures ? EXIT_FAILED : EXIT_DONE;
}

static int watch(const struct command_context *context)
{
    const char *ids[WATCHED_MAX];
    size_t count = 0;
    while (count < WATCHED_MAX && command_argument(context, count)) {
        ids[count] = command_argument(context, count);
        count++;
    }
    return watch_experiments(ids, count);
}

/* ---- submit ---- */

static bool is_uuid(const char *text)
{
    if (strlen(text) != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !strchr("0123456789abcdefABCDEF", text[i]))
            return false;
    }
    return true;
}

static char *dataset_id(const char *given, struct error *err)
{
    if (is_uuid(given))
        return alloc_string(given);
    json_t *dataset = client_upload("/datasets/", given, "experiment", err);
    char *id = alloc_string(json_string_value(json_object_get(dataset, "id")));
    json_decref(dataset);
    return id;
}

static json_t *split_names(const char *text)
{
    json_t *names = json_array();
    while (text && *text) {
        size_t len = strcspn(text, ", ");
        if (len > 0)
            json_array_append_new(names, json_stringn(text, len));
        text += len + (text[len] != '\0');
    }
    return names;
}

static json_t *submission(
    const struct config *config, const char *dataset, const char *model, int64_t max_samples)
{
    const char *name = config_text(config, "name"), *prompt = config_text(config, "system-prompt");
    const char *last = strrchr(model, '/');
    bool several = config_count(config, "model") > 1;
    const char *short_model = last && last[1] ? last + 1 : model;
    char *full = name && several ? alloc_format("%s (%s)", name, short_model)
                                 : alloc_string(name ? name : short_model);
    json_t *body = json_pack("{s:s,s:s,s:s,s:s,s:I}", "name", full, "description", "", "model", model,
        "dataset", dataset, "max_samples", (json_int_t)max_samples);
    free(full);
    if (prompt)
        json_object_set_new(body, "system_prompt", json_string(prompt));
    if (config_text(config, "metrics"))
        json_object_set_new(body, "metrics", split_names(config_text(config, "metrics")));
    return body;
}

static bool check_submission(const struct config *config, int64_t *max_samples, struct error *err)
{
    if (!config_text(config, "dataset"))
        return error_set(err, ERROR_INVALID, "--dataset is missing: a dataset's id, or a file");
    if (!config_count(config, "model"))
        return error_set(
            err, ERROR_INVALID, "--model is missing: a model reference such as hf://facebook/bart-large-cnn");
    if (config_count(config, "model") > WATCHED_MAX)
        return error_set(err, ERROR_INVALID, "at most %d models at once", WATCHED_MAX);
    return config_integer(config, "max-samples", -1, INT64_MAX, max_samples, err);
}

/* Submits one after another; those submitted before an error stay and are in `answers`. */
static bool submit_all(const struct config *config, json_t *answers, struct error *err)
{
    int64_t max_samples;
    if (!check_submission(config, &max_samples, err))
        return false;
    char *dataset = dataset_id(config_text(config, "dataset"), err);
    bool ok = dataset != NULL;
    for (size_t i = 0; ok && i < config_count(config, "model"); i++) {
        json_t *body = submission(config, dataset, config_text_at(config, "model", i), max_samples);
        json_t *answer = client_call("POST", "/experiments/", body, err);
        json_decref(body);
        ok = answer != NULL;
        if (ok)
            json_array_append_new(answers, answer);
    }
    free(dataset);
    return ok;
}

static int submit(const struct command_context *context)
{
    struct error err = {0};
    json_t *answers = json_array();
    const char *ids[WATCHED_MAX];
    size_t index;
    json_t *answer;
    bool ok = submit_all(context->config, answers, &err);
    if (context->json)
        terminal_json(answers);
    json_array_foreach(answers, index, answer)
    {
        ids[index] = text_of(answer, "id");
        if (!context->json)
            printf("%s\n", ids[index]);
    }
    fflush(stdout);
    int status = ok ? EXIT_DONE : command_fail(&err);
    if (ok && config_switch(context->config, "watch")) {
        status = watch_experiments(ids, json_array_size(answers));
        if (status == EXIT_DONE && !context->json)
            status = comparison_print(ids, json_array_size(answers));
    }
    json_decref(answers);
    return status;
}

/* ---- the rest ---- */

static int list(const struct command_context *context)
{
    return listing_run(context, "/experiments/", COLUMNS);
}

static int show(const struct command_context *context)
{
    char *path = experiment_path(context, "");
    int status = listing_run_object(context, path, DETAILS);
    free(path);
    return status;
}

static int cancel(const struct command_context *context)
{
    char *path = experiment_path(context, "/cancel");
    int status = listing_call(context, "POST", path, "cancelled");
    free(path);
    return status;
}

static int delete (const struct command_context *context)
{
    char *path = experiment_path(context, "");
    int status = listing_call(context, "DELETE", path, "deleted");
    free(path);
    return status;
}

static int result(const struct command_context *context)
{
    struct error err = {0};
    const char *output = config_text(context->config, "output");
    FILE *to = output ? fopen(output, "we") : stdout;
    if (!to) {
        error_set(&err, ERROR_DENIED, "%s cannot be written", output);
        return command_fail(&err);
    }
    bool ok = experiment_document(command_argument(context, 0), to, &err);
    if (output)
        fclose(to);
    return ok ? EXIT_DONE : command_fail(&err);
}

bool experiment_document(const char *id, FILE *to, struct error *err)
{
    char *path = alloc_format("/experiments/%s/result/download", id);
    json_t *answer = client_call("GET", path, NULL, err);
    free(path);
    bool ok = answer && client_download(text_of(answer, "download_url"), to, err);
    json_decref(answer);
    return ok;
}

const struct command EXPERIMENT_COMMANDS[] = {
    {"experiment submit", "", 0, 0, "run models over a dataset", SUBMIT_OPTIONS, submit},
    {"experiment list", "", 0, 0, "the experiments, newest first", NULL, list},
    {"experiment show", "ID", 1, 1, "one experiment", NULL, show},
    {"experiment watch", "ID…", 1, WATCHED_MAX, "follow them until they end", NULL, watch},
    {"experiment cancel", "ID", 1, 1, "stop it; results so far stay", NULL, cancel},
    {"experiment delete", "ID", 1, 1, "delete it with its results", NULL, delete},
    {"experiment result", "ID", 1, 1, "its result document", RESULT_OPTIONS, result},
    {"experiment compare", "ID…", 1, WATCHED_MAX, "scores with 95% intervals, and which differences are real",
        NULL, comparison_run},
    {"experiment best-worst", "ID", 1, 1, "the best and the worst sample", BEST_WORST_OPTIONS,
        best_worst_run},
    {0},
};
