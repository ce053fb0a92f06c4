#include "worker/metrics/score_tool.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/metrics/bertscore.h"
#include "worker/metrics/metric.h"
#include "worker/metrics/registry.h"
#include "worker/metrics/sample_line.h"

#define METRICS_MAX 32
#define KEYS_MAX 8
#define THREADS_MAX 256
#define LAYERS_MAX 1000
/* One thread's portion: large enough that taking turns costs nothing, small enough to keep all cores busy. */
#define BATCH_BYTES ((size_t)64 * 1024)

static const char usage[] =
    "usage: lumigrid-worker score --metrics LIST [--encoder REF] --input FILE --output FILE [--threads N]\n"
    "\n"
    "Scores predictions against references, sample by sample.\n"
    "\n"
    "  --metrics LIST   comma-separated metrics (below)\n"
    "  --encoder REF    the encoder of metrics marked e (" BERTSCORE_ENCODER ")\n"
    "  --encoder-layer N  whose states are compared (the one that bert-score takes)\n"
    "  --input FILE     JSON Lines: {\"id\", \"prediction\", \"reference\", \"source\"}; -: standard input.\n"
    "                   reference and source are needed by the metrics marked r and s\n"
    "  --output FILE    JSON Lines in the same order: {\"id\", key: value, ...}; -: standard output.\n"
    "                   \"error\" says which metrics have no value for the sample, and why\n"
    "  --threads N      threads to use (all cores)\n"
    "  --help           this text\n"
    "\n"
    "metrics:\n";

struct buffer {
    char *data;
    size_t len, capacity;
};

/* A portion of the input and its output. */
struct batch {
    uint64_t turn;
    size_t first_line;
    struct buffer in; /* lines, each ended by a zero byte in the place of its newline */
    struct buffer out;
    bool failed;
    struct error error;
};

struct tool {
    const struct metric *metrics[METRICS_MAX];
    size_t metric_count;
    const char *input_name, *output_name;
    size_t threads;
    const char *encoder_reference;
    int encoder_layer;
    const struct score_tool_encoder *encoder_kind;
    void *encoder; /* NULL: no metric needs one */
    pthread_mutex_t encoding;
    FILE *input, *output;
    pthread_mutex_t reading, writing;
    pthread_cond_t turn_passed;
    uint64_t turns_read, turns_written; /* guarded by reading; by writing */
    size_t lines_read;                  /* guarded by reading */
    bool failed;                        /* guarded by writing */
    struct error error;                 /* guarded by writing: the first in the file's order */
};

/* ---- buffers ---- */

static bool reserve(struct buffer *b, size_t more, struct error *err)
{
    if (b->capacity - b->len >= more)
        return true;
    size_t capacity = (b->len + more) * 2;
    char *data = realloc(b->data, capacity);
    if (!data)
        return error_set(err, ERROR_MEMORY, "not enough memory");
    b->data = data;
    b->capacity = capacity;
    return true;
}

static bool put(struct buffer *b, const char *text, size_t len, struct error *err)
{
    if (!reserve(b, len, err))
        return false;
    memcpy(b->data + b->len, text, len);
    b->len += len;
    return true;
}

static bool put_text(struct buffer *b, const char *text, struct error *err)
{
    return put(b, text, strlen(text), err);
}

static bool put_json(struct buffer *b, const json_t *value, struct error *err)
{
    for (;;) {
        size_t room = b->capacity - b->len;
        size_t len = json_dumpb(value, b->data + b->len, room, JSON_COMPACT | JSON_ENCODE_ANY);
        if (len == 0)
            return error_set(err, ERROR_INTERNAL, "cannot write a value as JSON");
        if (len <= room) {
            b->len += len;
            return true;
        }
        if (!reserve(b, len, err))
            return false;
    }
}

static bool put_number(struct buffer *b, const char *key, double value, struct error *err)
{
    char text[128];
    int len = snprintf(text, sizeof text, ",\"%s\":%.17g", key, value);
    return put(b, text, (size_t)len, err);
}

/* ---- one line ---- */

/* Appends to the reasons why metrics have no value: "bleu: …; ter: …". */
static void add_reason(char *reasons, size_t size, const struct metric *metric, const struct error *why)
{
    size_t used = strlen(reasons);
    (void)snprintf(reasons + used, size - used, "%s%s: %s", used > 0 ? "; " : "", metric->name, why->message);
}

static bool put_reasons(struct buffer *out, const char *reasons, struct error *err)
{
    json_t *text = json_stringn_nocheck(reasons, strlen(reasons));
    bool ok = text && put_text(out, ",\"error\":", err) && put_json(out, text, err);
    if (!text)
        error_set(err, ERROR_MEMORY, "not enough memory");
    json_decref(text);
    return ok;
}

static bool score_one(struct tool *tool, const struct metric *metric, const struct metric_sample *sample,
    double *values, struct error *why)
{
    if (metric->score)
        return metric->score(sample, values, why);
    if (!metric_require_reference(sample, why))
        return false;
    pthread_mutex_lock(&tool->encoding);
    bool ok = tool->encoder_kind->score(tool->encoder, sample, values, why);
    pthread_mutex_unlock(&tool->encoding);
    return ok;
}

static bool score_line(
    struct tool *tool, const struct sample_line *line, struct buffer *out, struct error *err)
{
    char reasons[1024] = "";
    if (!put_text(out, "{\"id\":", err) || !put(out, line->id, line->id_len, err))
        return false;
    for (size_t m = 0; m < tool->metric_count; m++) {
        const struct metric *metric = tool->metrics[m];
        double values[KEYS_MAX];
        struct error why = {0};
        if (!score_one(tool, metric, &line->sample, values, &why)) {
            add_reason(reasons, sizeof reasons, metric, &why);
            continue;
        }
        for (size_t k = 0; k < metric->key_count; k++)
            if (!put_number(out, metric->keys[k], values[k], err))
                return false;
    }
    if (reasons[0] && !put_reasons(out, reasons, err))
        return false;
    return put_text(out, "}\n", err);
}

/* ---- batches ---- */

static bool read_line(struct tool *tool, struct batch *batch, struct buffer *scratch, bool *end)
{
    ssize_t len = getline(&scratch->data, &scratch->capacity, tool->input);
    *end = len < 0;
    if (len < 0)
        return ferror(tool->input)
                   ? error_set(&batch->error, ERROR_UNAVAILABLE, "cannot read: %s", strerror(errno))
                   : true;
    if (scratch->data[len - 1] == '\n')
        len--;
    uint64_t stored = (uint64_t)len;
    return put(&batch->in, (const char *)&stored, sizeof stored, &batch->error) &&
           put(&batch->in, scratch->data, (size_t)len, &batch->error);
}

/* Takes the next portion of the input. False at its end. */
static bool next_batch(struct tool *tool, struct batch *batch, struct buffer *scratch)
{
    batch->in.len = batch->out.len = 0;
    batch->failed = false;
    pthread_mutex_lock(&tool->reading);
    batch->turn = tool->turns_read++;
    batch->first_line = tool->lines_read + 1;
    bool end = false;
    while (!end && !batch->failed && batch->in.len < BATCH_BYTES) {
        batch->failed = !read_line(tool, batch, scratch, &end);
        tool->lines_read += !end;
    }
    bool any = batch->in.len > 0 || batch->failed;
    if (!any)
        tool->turns_read--;
    pthread_mutex_unlock(&tool->reading);
    return any;
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r", text[i]) || text[i] == '\0')
            return false;
    return true;
}

static void score_batch(struct tool *tool, struct batch *batch, struct sample_line *sample)
{
    size_t line = batch->first_line;
    for (size_t at = 0; at < batch->in.len; line++) {
        uint64_t len;
        memcpy(&len, batch->in.data + at, sizeof len);
        const char *text = batch->in.data + at + sizeof len;
        at += sizeof len + len;
        if (is_blank(text, len))
            continue;
        size_t written = batch->out.len;
        struct error err = {0};
        if (!sample_line_read(sample, text, len, &err) || !score_line(tool, sample, &batch->out, &err)) {
            batch->out.len = written;
            batch->failed = true;
            batch->error = err;
            error_context(&batch->error, "%s:%zu: ", tool->input_name, line);
            return;
        }
    }
}

/* Waits for the batches before this one, then writes. False when the tool has failed: no more work. */
static bool write_batch(struct tool *tool, const struct batch *batch)
{
    pthread_mutex_lock(&tool->writing);
    while (!tool->failed && tool->turns_written != batch->turn)
        pthread_cond_wait(&tool->turn_passed, &tool->writing);
    bool ok = !tool->failed;
    if (ok && batch->out.len > 0 &&
        fwrite(batch->out.data, 1, batch->out.len, tool->output) != batch->out.len) {
        error_set(
            &tool->error, ERROR_UNAVAILABLE, "%s: cannot write: %s", tool->output_name, strerror(errno));
        tool->failed = true;
    }
    if (ok && !tool->failed && batch->failed) {
        tool->error = batch->error;
        tool->failed = true;
    }
    tool->turns_written += ok;
    ok = ok && !tool->failed;
    pthread_cond_broadcast(&tool->turn_passed);
    pthread_mutex_unlock(&tool->writing);
    return ok;
}

static void *work(void *context)
{
    struct tool *tool = context;
    struct batch batch = {0};
    struct buffer scratch = {0};
    struct sample_line sample = {0};
    while (next_batch(tool, &batch, &scratch)) {
        if (!batch.failed)
            score_batch(tool, &batch, &sample);
        if (!write_batch(tool, &batch))
            break;
    }
    free(batch.in.data);
    free(batch.out.data);
    free(scratch.data);
    sample_line_free(&sample);
    return NULL;
}

static void run_threads(struct tool *tool)
{
    pthread_t threads[THREADS_MAX];
    size_t started = 0;
    pthread_mutex_init(&tool->reading, NULL);
    pthread_mutex_init(&tool->writing, NULL);
    pthread_cond_init(&tool->turn_passed, NULL);
    /* This thread works too; fewer helpers than wanted only make it slower. */
    while (started + 1 < tool->threads && pthread_create(&threads[started], NULL, work, tool) == 0)
        started++;
    work(tool);
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&tool->turn_passed);
    pthread_mutex_destroy(&tool->writing);
    pthread_mutex_destroy(&tool->reading);
}

/* ---- the command line ---- */

static size_t core_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > THREADS_MAX ? THREADS_MAX : (size_t)count;
}

static void print_help(void)
{
    fputs(usage, stdout);
    for (const struct metric *const *m = metric_all(); *m; m++) {
        printf("  %-18s %c%c%c ", (*m)->name, (*m)->needs_reference ? 'r' : ' ',
            (*m)->needs_source ? 's' : ' ', (*m)->score ? ' ' : 'e');
        for (size_t k = 0; k < (*m)->key_count; k++)
            printf(" %s", (*m)->keys[k]);
        putchar('\n');
    }
}

static bool parse_number(
    const char *option, const char *text, long least, long most, long *out, struct error *err)
{
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *out < least || *out > most)
        return error_set(
            err, ERROR_INVALID, "%s takes a number from %ld to %ld, not '%s'", option, least, most, text);
    return true;
}

static bool parse_options(int argc, char **argv, struct tool *tool, bool *help, struct error *err)
{
    static const struct option options[] = {
        {"metrics", required_argument, NULL, 'm'},
        {"encoder", required_argument, NULL, 'e'},
        {"encoder-layer", required_argument, NULL, 'l'},
        {"input", required_argument, NULL, 'i'},
        {"output", required_argument, NULL, 'o'},
        {"threads", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *metrics = NULL;
    long number;
    int option;
    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case 'm': metrics = optarg; break;
        case 'e': tool->encoder_reference = optarg; break;
        case 'l':
            if (!parse_number("--encoder-layer", optarg, 0, LAYERS_MAX, &number, err))
                return false;
            tool->encoder_layer = (int)number;
            break;
        case 'i': tool->input_name = optarg; break;
        case 'o': tool->output_name = optarg; break;
        case 't':
            if (!parse_number("--threads", optarg, 1, THREADS_MAX, &number, err))
                return false;
            tool->threads = (size_t)number;
            break;
        case 'h': *help = true; return true;
        case ':': return error_set(err, ERROR_INVALID, "%s needs a value", argv[optind - 1]);
        default: return error_set(err, ERROR_INVALID, "there is no option '%s'", argv[optind - 1]);
        }
    }
    if (optind < argc)
        return error_set(err, ERROR_INVALID, "unexpected argument '%s'", argv[optind]);
    if (!metrics || !tool->input_name || !tool->output_name)
        return error_set(err, ERROR_INVALID, "--metrics, --input and --output are all needed");
    return metric_list_parse(metrics, tool->metrics, METRICS_MAX, &tool->metric_count, err);
}

static bool open_files(struct tool *tool, struct error *err)
{
    bool from_stdin = strcmp(tool->input_name, "-") == 0;
    bool to_stdout = strcmp(tool->output_name, "-") == 0;
    tool->input = from_stdin ? stdin : fopen(tool->input_name, "rb");
    if (!tool->input)
        return error_set(err, ERROR_NOT_FOUND, "cannot open %s: %s", tool->input_name, strerror(errno));
    tool->output = to_stdout ? stdout : fopen(tool->output_name, "wb");
    if (!tool->output)
        return error_set(err, ERROR_UNAVAILABLE, "cannot write %s: %s", tool->output_name, strerror(errno));
    return true;
}

/* Closing tells whether the last bytes reached the file. */
static bool close_files(struct tool *tool, struct error *err)
{
    bool ok = true;
    if (tool->input && tool->input != stdin)
        (void)fclose(tool->input);
    if (tool->output == stdout)
        ok = fflush(stdout) == 0;
    else if (tool->output)
        ok = fclose(tool->output) == 0;
    return ok ||
           error_set(err, ERROR_UNAVAILABLE, "%s: cannot write: %s", tool->output_name, strerror(errno));
}

static int report(const struct error *err, int status)
{
    (void)fprintf(stderr, "lumigrid-worker score: %s%s%s%s\n", err->message, err->hint[0] ? " (" : "",
        err->hint, err->hint[0] ? ")" : "");
    return status;
}

static bool open_encoder(struct tool *tool, struct error *err)
{
    bool needed = false;
    for (size_t m = 0; m < tool->metric_count; m++)
        needed = needed || !tool->metrics[m]->score;
    if (needed && !tool->encoder_kind)
        return error_set(err, ERROR_UNSUPPORTED, "metrics that need an encoder are not available here");
    if (needed)
        tool->encoder =
            tool->encoder_kind->open(tool->encoder_reference, tool->encoder_layer, tool->threads, err);
    return !needed || tool->encoder;
}

static void close_encoder(const struct tool *tool)
{
    if (tool->encoder)
        tool->encoder_kind->close(tool->encoder);
}

int score_tool_run(int argc, char **argv, const struct score_tool_encoder *encoder)
{
    struct tool tool = {.threads = core_count(),
        .encoder_reference = BERTSCORE_ENCODER,
        .encoder_layer = -1,
        .encoder_kind = encoder,
        .encoding = PTHREAD_MUTEX_INITIALIZER};
    struct error err = {0};
    bool help = false;
    if (!parse_options(argc, argv, &tool, &help, &err)) {
        if (!err.hint[0])
            error_hint(&err, "see --help");
        return report(&err, 2);
    }
    if (help) {
        print_help();
        return 0;
    }
    if (!open_encoder(&tool, &err))
        return report(&err, 1);
    if (!open_files(&tool, &err)) {
        struct error ignored;
        close_files(&tool, &ignored);
        close_encoder(&tool);
        return report(&err, 1);
    }
    run_threads(&tool);
    close_encoder(&tool);
    bool closed = close_files(&tool, &err);
    if (tool.failed)
        return report(&tool.error, 1);
    return closed ? 0 : report(&err, 1);
}
