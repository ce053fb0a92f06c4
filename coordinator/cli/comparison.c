/* Scores of experiments beside each other, and their best and worst samples. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/cli/client.h"
#include "coordinator/cli/experiment.h"
#include "coordinator/cli/terminal.h"

enum { SHOWN_METRICS_MAX = 6, FOLD_COLUMNS = 96, FOLD_LINES = 7, EXAMPLE_LINES = 4 };

const struct config_option BEST_WORST_OPTIONS[] = {
    {"metric", "M", "rouge/rouge1", "by which metric, such as rouge/rougeL or bertscore/f1", false, false},
    {0}};

/* Shown in this order when they were computed; others follow. */
static const struct {
    const char *key, *heading;
} KNOWN[] = {{"rouge1", "ROUGE-1"}, {"rouge2", "ROUGE-2"}, {"rougeL", "ROUGE-L"}, {"meteor", "METEOR"},
    {"f1", "BERTSCORE F1"}, {"bleu", "BLEU"}, {"chrf", "CHRF"}};

static const char *text_of(const json_t *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object, field));
    return text ? text : "";
}

static json_t *fetch_comparison(const char *const *ids, size_t count, struct error *err)
{
    char *path = alloc_string("/experiments/compare?ids=");
    for (size_t i = 0; i < count; i++) {
        char *longer = alloc_format("%s%s%s", path, i ? "," : "", ids[i]);
        free(path);
        path = longer;
    }
    json_t *comparison = client_call("GET", path, NULL, err);
    free(path);
    return comparison;
}

/* Which metrics get a column: known ones that the first experiment has. */
static size_t choose_metrics(const json_t *comparison, size_t shown[SHOWN_METRICS_MAX])
{
    const json_t *first = json_array_get(json_object_get(comparison, "experiments"), 0);
    const json_t *metrics = json_object_get(first, "metrics");
    size_t count = 0;
    for (size_t i = 0; i < sizeof(KNOWN) / sizeof(KNOWN[0]) && count < SHOWN_METRICS_MAX; i++)
        if (json_object_get(metrics, KNOWN[i].key))
            shown[count++] = i;
    return count;
}

static void metric_cell(struct terminal_table *table, const json_t *summary)
{
    const json_t *mean = json_object_get(summary, "mean"), *interval = json_object_get(summary, "ci95");
    if (!json_is_number(mean))
        terminal_table_cell(table, "-");
    else if (json_array_size(interval) == 2)
        terminal_table_cell(table, "%.4f [%.4f, %.4f]", json_number_value(mean),
            json_number_value(json_array_get(interval, 0)), json_number_value(json_array_get(interval, 1)));
    else
        terminal_table_cell(table, "%.4f", json_number_value(mean));
}

static void print_scores(const json_t *comparison)
{
    const char *headings[SHOWN_METRICS_MAX + 6] = {"EXPERIMENT", ">SAMPLES"};
    char marked[SHOWN_METRICS_MAX][32];
    size_t shown[SHOWN_METRICS_MAX], count = choose_metrics(comparison, shown), column = 2, index;
    struct terminal_table table;
    json_t *experiment;
    for (size_t i = 0; i < count; i++) {
        snprintf(marked[i], sizeof(marked[i]), ">%s", KNOWN[shown[i]].heading);
        headings[column++] = marked[i];
    }
    headings[column++] = ">TIME";
    headings[column++] = ">TOKENS/S";
    terminal_table_begin(&table, headings);
    json_array_foreach(json_object_get(comparison, "experiments"), index, experiment)
    {
        char time[32];
        json_int_t failed = json_integer_value(json_object_get(experiment, "failed"));
        terminal_table_cell(&table, "%s", text_of(experiment, "name"));
        if (failed)
            terminal_table_cell(&table, "%lld (%lld failed)",
                json_integer_value(json_object_get(experiment, "samples")), failed);
        else
            terminal_table_cell(&table, "%lld", json_integer_value(json_object_get(experiment, "samples")));
        for (size_t i = 0; i < count; i++)
            metric_cell(&table, json_object_get(json_object_get(experiment, "metrics"), KNOWN[shown[i]].key));
        terminal_duration(
            json_number_value(json_object_get(experiment, "summarization_time")), time, sizeof(time));
        terminal_table_cell(&table, "%s", time);
        terminal_table_cell(
            &table, "%.0f", json_number_value(json_object_get(experiment, "new_tokens_per_s")));
    }
    terminal_table_end(&table);
}

static const char *name_of(const json_t *comparison, const char *id)
{
    size_t index;
    json_t *experiment;
    json_array_foreach(json_object_get(comparison, "experiments"), index, experiment)
    {
        if (strcmp(text_of(experiment, "id"), id) == 0)
            return text_of(experiment, "name");
    }
    return id;
}

static void print_pairs(const json_t *comparison)
{
    static const char *const headings[] = {
        "METRIC", "A", "B", ">A − B", ">95% INTERVAL", ">P (HOLM)", ">WON/TIED/LOST", NULL};
    const json_t *pairs = json_object_get(comparison, "pairs");
    size_t shown[SHOWN_METRICS_MAX], count = choose_metrics(comparison, shown), index;
    struct terminal_table table;
    json_t *pair;
    if (json_array_size(pairs) == 0)
        return;
    printf("\nIs the difference real? (paired bootstrap over the same samples; p below 0.05 says yes)\n");
    terminal_table_begin(&table, headings);
    json_array_foreach((json_t *)pairs, index, pair)
    {
        const char *metric = text_of(pair, "metric"), *heading = NULL;
        const json_t *interval = json_object_get(pair, "ci95");
        for (size_t i = 0; i < count; i++)
            heading = strcmp(KNOWN[shown[i]].key, metric) == 0 ? KNOWN[shown[i]].heading : heading;
        if (!heading)
            continue;
        terminal_table_cell(&table, "%s", heading);
        terminal_table_cell(&table, "%s", name_of(comparison, text_of(pair, "a")));
        terminal_table_cell(&table, "%s", name_of(comparison, text_of(pair, "b")));
        terminal_table_cell(&table, "%+.4f", json_number_value(json_object_get(pair, "mean_difference")));
        terminal_table_cell(&table, "[%+.4f, %+.4f]", json_number_value(json_array_get(interval, 0)),
            json_number_value(json_array_get(interval, 1)));
        terminal_table_cell(&table, "%.4f", json_number_value(json_object_get(pair, "p_holm")));
        terminal_table_cell(&table, "%lld/%lld/%lld", json_integer_value(json_object_get(pair, "wins")),
            json_integer_value(json_object_get(pair, "ties")),
            json_integer_value(json_object_get(pair, "losses")));
    }
    terminal_table_end(&table);
}

int comparison_print(const char *const *ids, size_t count)
{
    struct error err = {0};
    json_t *comparison = fetch_comparison(ids, count, &err);
    if (!comparison)
        return command_fail(&err);
    putchar('\n');
    print_scores(comparison);
    print_pairs(comparison);
    json_decref(comparison);
    return EXIT_DONE;
}

int comparison_run(const struct command_context *context)
{
    struct error err = {0};
    const char *ids[16];
    size_t count = 0;
    while (count < 16 && command_argument(context, count)) {
        ids[count] = command_argument(context, count);
        count++;
    }
    if (!context->json)
        return comparison_print(ids, count);
    json_t *comparison = fetch_comparison(ids, count, &err);
    if (!comparison)
        return command_fail(&err);
    terminal_json(comparison);
    json_decref(comparison);
    return EXIT_DONE;
}

/* ---- best and worst ---- */

static void print_text(const char *label, const json_t *texts, json_int_t index, size_t lines)
{
    const char *text = json_string_value(json_array_get(texts, (size_t)index));
    printf("%s%s%s\n", terminal_dim(), label, terminal_reset());
    terminal_fold(text ? text : "(none)", FOLD_COLUMNS, "  ", lines);
}

static void print_sample(const char *which, const char *metric, const json_t *extreme, const json_t *document)
{
    json_int_t index = json_integer_value(json_object_get(extreme, "index"));
    printf("%s%s: sample %lld, %s %.4f%s\n", terminal_bold(), which, index, metric,
        json_number_value(json_object_get(extreme, "value")), terminal_reset());
    print_text("text", json_object_get(document, "examples"), index, EXAMPLE_LINES);
    print_text("ground truth", json_object_get(document, "ground_truth"), index, FOLD_LINES);
    print_text("prediction", json_object_get(document, "predictions"), index, FOLD_LINES);
}

static json_t *load_document(const char *id, struct error *err)
{
    FILE *file = tmpfile();
    json_error_t where;
    json_t *document = NULL;
    if (!file) {
        error_set(err, ERROR_UNAVAILABLE, "no temporary file can be made");
        return NULL;
    }
    if (experiment_document(id, file, err)) {
        rewind(file);
        document = json_loadf(file, 0, &where);
        if (!document)
            error_set(err, ERROR_INTERNAL, "the result document is no JSON: %s", where.text);
    }
    fclose(file);
    return document;
}

int best_worst_run(const struct command_context *context)
{
    struct error err = {0};
    const char *id = command_argument(context, 0), *metric = config_text(context->config, "metric");
    const char *slash = strrchr(metric, '/'), *key = slash ? slash + 1 : metric;
    json_t *comparison = fetch_comparison(&id, 1, &err);
    const json_t *by_metric = json_object_get(json_object_get(comparison, "best_worst"), id);
    const json_t *extremes = json_object_get(by_metric, key);
    const json_t *best = json_array_get(json_object_get(extremes, "best"), 0);
    const json_t *worst = json_array_get(json_object_get(extremes, "worst"), 0);
    json_t *document = NULL;
    bool ok = comparison != NULL;
    if (ok && !best)
        ok = error_set(&err, ERROR_NOT_FOUND, "this experiment has no values of %s", metric);
    if (ok && context->json)
        terminal_json(extremes);
    else if (ok)
        ok = (document = load_document(id, &err)) != NULL;
    if (document) {
        print_sample("Best", key, best, document);
        putchar('\n');
        print_sample("Worst", key, worst, document);
    }
    json_decref(document);
    json_decref(comparison);
    return ok ? EXIT_DONE : command_fail(&err);
}
