#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/metrics/metric.h"
#include "worker/tools/tool.h"

static const struct config_option options[] = {
    {"metrics", "A,B", NULL, "metrics by name, such as rouge,meteor", false, false},
    TOOL_LINES_OPTIONS("JSON lines {\"id\",\"prediction\",\"reference\"?,\"source\"?}; - is standard input",
        "JSON lines {\"id\",\"rouge1\":…}; a metric without a value for a sample says why in \"errors\""),
    {"threads", "N", "0", "CPU threads; 0 is one a core", false, false},
    {0},
};

enum { METRICS_MAX = 64, KEYS_MAX = 64, BLOCK_LINES = 2048, THREADS_MAX = 256 };

struct row {
    char *line; /* as read */
    size_t number;
    char *result; /* a JSON line */
    struct error error;
};

/* A block of lines that threads take rows from. */
struct block {
    const struct metric *metrics[METRICS_MAX];
    size_t metric_count;
    struct row rows[BLOCK_LINES];
    size_t count;
    size_t next; /* the first row that no thread has taken */
};

static const char *optional_text(const json_t *object, const char *name, size_t *len)
{
    const json_t *value = json_object_get(object, name);
    *len = json_is_string(value) ? json_string_length(value) : 0;
    return json_is_string(value) ? json_string_value(value) : NULL;
}

static void score_metric(const struct metric *metric, const struct metric_sample *sample, json_t *line)
{
    double values[KEYS_MAX];
    struct error why = {0};
    if (metric->needs_reference && !sample->reference)
        error_set(&why, ERROR_INVALID, "there is no reference");
    else if (metric->needs_source && !sample->source)
        error_set(&why, ERROR_INVALID, "there is no source");
    else if (metric->key_count <= KEYS_MAX && metric->score(sample, values, &why)) {
        for (size_t i = 0; i < metric->key_count; i++)
            json_object_set_new(line, metric->keys[i], json_real(values[i]));
        return;
    }
    json_t *errors = json_object_get(line, "errors");
    if (!errors) {
        errors = json_object();
        json_object_set_new(line, "errors", errors);
    }
    json_object_set_new(errors, metric->name, json_string(why.message));
}

static void score_row(const struct block *block, struct row *row)
{
    json_error_t why;
    struct metric_sample sample = {0};
    json_t *object = json_loads(row->line, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why), *line = NULL;
    if (!json_is_object(object)) {
        error_set(
            &row->error, ERROR_INVALID, "not a JSON object%s%s", object ? "" : ": ", object ? "" : why.text);
    } else if (object_has_id(object, &row->error) &&
               (sample.prediction = object_text(object, "prediction", &sample.prediction_len, &row->error))) {
        sample.reference = optional_text(object, "reference", &sample.reference_len);
        sample.source = optional_text(object, "source", &sample.source_len);
        line = json_pack("{sO}", "id", json_object_get(object, "id"));
        for (size_t i = 0; line && i < block->metric_count; i++)
            score_metric(block->metrics[i], &sample, line);
        row->result = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
        if (!row->result)
            error_set(&row->error, ERROR_MEMORY, "out of memory");
    }
    json_decref(line);
    json_decref(object);
}

static void *score_rows(void *context)
{
    struct block *block = context;
    enum { TAKEN = 16 };
    size_t first;
    while ((first = __atomic_fetch_add(&block->next, TAKEN, __ATOMIC_RELAXED)) < block->count)
        for (size_t i = first; i < first + TAKEN && i < block->count; i++)
            score_row(block, &block->rows[i]);
    return NULL;
}

static void score_block(struct block *block, size_t threads)
{
    pthread_t others[THREADS_MAX];
    size_t started = 0;
    block->next = 0;
    while (started + 1 < threads && pthread_create(&others[started], NULL, score_rows, block) == 0)
        started++;
    score_rows(block);
    for (size_t i = 0; i < started; i++)
        pthread_join(others[i], NULL);
}

static bool read_block(struct block *block, struct lines *lines, struct error *err)
{
    const char *line;
    block->count = 0;
    while (block->count < BLOCK_LINES && (line = lines_next(lines, err))) {
        struct row *row = &block->rows[block->count++];
        *row = (struct row){.line = strdup(line), .number = lines->number};
        if (!row->line)
            return error_set(err, ERROR_MEMORY, "out of memory");
    }
    return err->code == ERROR_NONE;
}

/* Writes results up to the first bad line, and frees the block. */
static bool write_block(struct block *block, struct lines *lines, FILE *out, struct error *err)
{
    bool fine = true;
    for (size_t i = 0; i < block->count; i++) {
        struct row *row = &block->rows[i];
        if (fine && row->error.code != ERROR_NONE) {
            *err = row->error;
            lines->number = row->number;
            fine = lines_error(lines, err);
        }
        if (fine && (fputs(row->result, out) == EOF || fputc('\n', out) == EOF))
            fine = error_set(err, ERROR_UNAVAILABLE, "writing failed");
        free(row->line);
        free(row->result);
    }
    return fine;
}

static size_t thread_count(size_t asked)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = asked ? asked : cores > 0 ? (size_t)cores : 1;
    return threads < THREADS_MAX ? threads : THREADS_MAX;
}

static bool run(const struct config *config, bool *usage_error, struct error *err)
{
    const char *names = tool_required(config, "metrics", usage_error, err),
               *path = config_text(config, "output");
    struct block *block = calloc(1, sizeof *block);
    struct lines lines = {0};
    FILE *out = NULL;
    size_t threads;
    bool fine = names != NULL;
    if (fine && !block)
        fine = error_set(err, ERROR_MEMORY, "out of memory");
    if (fine && !metric_list_parse(names, block->metrics, METRICS_MAX, &block->metric_count, err)) {
        *usage_error = true;
        fine = false;
    }
    fine = fine && tool_count(config, "threads", 0, THREADS_MAX, &threads, usage_error, err) &&
           lines_open(&lines, config_text(config, "input"), err) && (out = output_open(path, err));
    do {
        if (!fine)
            break;
        fine = read_block(block, &lines, err);
        score_block(block, thread_count(threads));
        fine = write_block(block, &lines, out, fine ? err : &(struct error){0}) && fine;
    } while (block->count == BLOCK_LINES);
    if (!output_close(out, path, fine ? err : NULL))
        fine = false;
    lines_close(&lines);
    free(block);
    return fine;
}

const struct tool tool_score = {"score",
    "--metrics A,B [--input FILE] [--output FILE]\n\nPer-sample metric values of predictions against "
    "references.",
    options, run};
