#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/report/columns.h"
#include "coordinator/report/report.h"
#include "coordinator/report/statistics.h"
#include "coordinator/store/store.h"

enum { SAMPLES_MAX = 1000000, BLOCK_SAMPLES = 5000, EXTREMES = 3 };

struct compared {
    char id[STORE_ID_BYTES];
    char dataset_id[STORE_ID_BYTES];
    json_t *head; /* id, name, model, status and figures */
    struct column *columns;
    size_t column_count;
    double **values; /* [column][sample]; NaN: none */
    size_t samples;
};

struct comparison {
    struct store *store;
    uv_loop_t *loop;
    report_compare_done done;
    void *context;
    struct compared jobs[REPORT_COMPARED_MAX];
    size_t count, loading;
    uint64_t next_index;
    uv_work_t work;
    json_t *document;
    bool out_of_memory;
};

static void comparison_end(struct comparison *c, const struct error *err)
{
    c->done(c->context, err ? NULL : c->document, err);
    for (size_t i = 0; i < c->count; i++) {
        struct compared *job = &c->jobs[i];
        for (size_t k = 0; job->values && k < job->column_count; k++)
            free(job->values[k]);
        free(job->values);
        free(job->columns);
        json_decref(job->head);
    }
    free(c);
}

/* ---- arithmetic, on the thread pool ---- */

static json_t *interval_json(const struct statistics_interval *interval)
{
    return json_pack("[f,f]", interval->low, interval->high);
}

static size_t gather(const double *from, size_t count, double *to)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(from[i]))
            to[used++] = from[i];
    return used;
}

static json_t *summary(struct comparison *c, const double *values, size_t samples, double *scratch)
{
    struct statistics_interval interval;
    size_t n = gather(values, samples, scratch);
    if (n == 0)
        return json_pack("{s:i, s:n, s:n}", "n", 0, "mean", "ci95");
    if (!statistics_mean_interval(scratch, n, &interval)) {
        c->out_of_memory = true;
        return json_null();
    }
    return json_pack(
        "{s:I, s:f, s:o}", "n", (json_int_t)n, "mean", interval.mean, "ci95", interval_json(&interval));
}

/* The EXTREMES samples with the largest (sign 1) or smallest (-1) value, best first; ties by position. */
static json_t *extremes(const double *values, size_t samples, double sign)
{
    size_t best[EXTREMES], used = 0;
    for (size_t i = 0; i < samples; i++) {
        if (isnan(values[i]))
            continue;
        size_t at = used;
        while (at > 0 && sign * values[i] > sign * values[best[at - 1]])
            at--;
        if (at == EXTREMES)
            continue;
        if (used < EXTREMES)
            used++;
        for (size_t k = used - 1; k > at; k--)
            best[k] = best[k - 1];
        best[at] = i;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < used; i++)
        json_array_append_new(
            list, json_pack("{s:I, s:f}", "index", (json_int_t)best[i], "value", values[best[i]]));
    return list;
}

static json_t *correlations(const struct compared *job, size_t column, double *a, double *b)
{
    json_t *row = json_object();
    for (size_t k = 0; k < job->column_count; k++) {
        size_t n = 0;
        for (size_t i = 0; i < job->samples; i++) {
            if (isnan(job->values[column][i]) || isnan(job->values[k][i]))
                continue;
            a[n] = job->values[column][i];
            b[n++] = job->values[k][i];
        }
        double r = k == column ? 1 : statistics_correlation(a, b, n);
        json_object_set_new(row, job->columns[k].value_key, isnan(r) ? json_null() : json_real(r));
    }
    return row;
}

static void describe_job(struct comparison *c, struct compared *job, json_t *best_worst)
{
    json_t *metrics = json_object(), *all_extremes = json_object(), *all_correlations = json_object();
    double *a = malloc((job->samples + 1) * sizeof(*a)), *b = malloc((job->samples + 1) * sizeof(*b));
    for (size_t k = 0; a && b && k < job->column_count; k++) {
        const char *key = job->columns[k].value_key;
        json_object_set_new(metrics, key, summary(c, job->values[k], job->samples, a));
        json_object_set_new(all_extremes, key,
            json_pack("{s:o, s:o}", "best", extremes(job->values[k], job->samples, 1), "worst",
                extremes(job->values[k], job->samples, -1)));
        json_object_set_new(all_correlations, key, correlations(job, k, a, b));
    }
    c->out_of_memory = c->out_of_memory || !a || !b;
    free(a);
    free(b);
    json_object_set_new(job->head, "metrics", metrics);
    json_object_set_new(job->head, "correlations", all_correlations);
    json_object_set_new(best_worst, job->id, all_extremes);
}

static const double *column_named(const struct compared *job, const char *key)
{
    for (size_t k = 0; k < job->column_count; k++)
        if (strcmp(job->columns[k].value_key, key) == 0)
            return job->values[k];
    return NULL;
}

static json_t *compare_pair(
    struct comparison *c, const struct compared *a, const struct compared *b, const char *key, double *p)
{
    const double *va = column_named(a, key), *vb = column_named(b, key);
    size_t samples = a->samples < b->samples ? a->samples : b->samples, n = 0;
    struct statistics_pair pair;
    if (!va || !vb || strcmp(a->dataset_id, b->dataset_id) != 0)
        return NULL;
    double *differences = malloc((samples + 1) * sizeof(*differences));
    for (size_t i = 0; differences && i < samples; i++)
        if (!isnan(va[i]) && !isnan(vb[i]))
            differences[n++] = va[i] - vb[i];
    bool ok = differences && (n == 0 || statistics_paired(differences, n, &pair));
    free(differences);
    c->out_of_memory = c->out_of_memory || !ok;
    if (!ok || n == 0)
        return NULL;
    *p = pair.p;
    return json_pack("{s:s, s:s, s:s, s:I, s:f, s:o, s:f, s:I, s:I, s:I}", "metric", key, "a", a->id, "b",
        b->id, "n", (json_int_t)n, "mean_difference", pair.difference.mean, "ci95",
        interval_json(&pair.difference), "p", pair.p, "wins", (json_int_t)pair.wins, "ties",
        (json_int_t)pair.ties, "losses", (json_int_t)pair.losses);
}

/* Every pair of jobs by one metric, corrected together. */
static void compare_by(struct comparison *c, const char *key, json_t *pairs)
{
    enum { PAIRS_MAX = REPORT_COMPARED_MAX * (REPORT_COMPARED_MAX - 1) / 2 };
    json_t *found[PAIRS_MAX];
    double p[PAIRS_MAX] = {0}, corrected[PAIRS_MAX];
    size_t used = 0;
    for (size_t i = 0; i < c->count; i++)
        for (size_t k = i + 1; k < c->count; k++)
            if ((found[used] = compare_pair(c, &c->jobs[i], &c->jobs[k], key, &p[used])))
                used++;
    statistics_holm(p, used, corrected);
    for (size_t i = 0; i < used; i++) {
        json_object_set_new(found[i], "p_holm", json_real(corrected[i]));
        json_array_append_new(pairs, found[i]);
    }
}

static json_t *method(void)
{
    return json_pack("{s:s, s:s, s:i, s:I, s:s}", "interval",
        "95% percentile bootstrap of the mean; normal approximation above 20000 samples", "p",
        "two-sided paired bootstrap of the mean difference, shifted to 0; Holm-corrected over the pairs of a "
        "metric",
        "resamples_max", STATISTICS_RESAMPLES_MAX, "seed", (json_int_t)STATISTICS_SEED, "wins",
        "samples where a is above b");
}

static void compute(uv_work_t *work)
{
    struct comparison *c = work->data;
    json_t *experiments = json_array(), *pairs = json_array(), *best_worst = json_object();
    for (size_t i = 0; i < c->count; i++) {
        describe_job(c, &c->jobs[i], best_worst);
        json_array_append(experiments, c->jobs[i].head);
    }
    for (size_t k = 0; k < c->jobs[0].column_count; k++)
        compare_by(c, c->jobs[0].columns[k].value_key, pairs);
    c->document = json_pack("{s:o, s:o, s:o, s:o}", "experiments", experiments, "pairs", pairs, "best_worst",
        best_worst, "method", method());
}

static void on_computed(uv_work_t *work, int status)
{
    struct comparison *c = work->data;
    struct error err;
    if (status == 0 && c->document && !c->out_of_memory) {
        comparison_end(c, NULL);
        return;
    }
    json_decref(c->document);
    error_set(&err, status == 0 ? ERROR_MEMORY : ERROR_CANCELLED, "the comparison could not be computed: %s",
        status == 0 ? "not enough memory" : uv_strerror(status));
    comparison_end(c, &err);
}

/* ---- loading, on the loop ---- */

static void load_next_job(struct comparison *c);

static void on_values(
    void *context, const struct store_result *results, size_t count, const struct error *err)
{
    struct comparison *c = context;
    struct compared *job = &c->jobs[c->loading];
    if (err) {
        comparison_end(c, err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const struct store_result *r = &results[i];
        c->next_index = r->index + 1;
        for (size_t k = 0; r->index < job->samples && k < job->column_count; k++)
            if (job->columns[k].index < r->value_count)
                job->values[k][r->index] = r->values[job->columns[k].index];
    }
    if (count > 0) {
        store_result_range(
            c->store, job->id, c->next_index, BLOCK_SAMPLES, STORE_RESULT_VALUES, on_values, c);
        return;
    }
    c->loading++;
    load_next_job(c);
}

static bool prepare(struct compared *job, const struct store_job *row, struct error *err)
{
    if (row->status != STORE_JOB_SUCCEEDED)
        return error_set(err, ERROR_CONFLICT,
            "\"%.200s\" (%s) is %s; only what has succeeded can be compared", row->name, row->id,
            store_job_status_name(row->status));
    if (row->sample_count > SAMPLES_MAX)
        return error_set(err, ERROR_TOO_LARGE, "%s has %llu samples; at most %d can be compared", row->id,
            (unsigned long long)row->sample_count, SAMPLES_MAX);
    snprintf(job->dataset_id, sizeof(job->dataset_id), "%s", row->dataset_id);
    job->samples = row->sample_count;
    job->columns = columns_of(row, &job->column_count);
    job->values = alloc_zero(job->column_count, sizeof(*job->values));
    for (size_t k = 0; k < job->column_count; k++) {
        job->values[k] = malloc((job->samples + 1) * sizeof(double));
        if (!job->values[k])
            return error_set(err, ERROR_MEMORY, "not enough memory to compare %zu samples", job->samples);
        for (size_t i = 0; i < job->samples; i++)
            job->values[k][i] = NAN;
    }
    return true;
}

static json_t *ratio(double a, double b)
{
    return b > 0 ? json_real(a / b) : json_null();
}

static json_t *head_of(const struct store_job *row)
{
    json_t *figures = row->aggregates ? json_loads(row->aggregates, 0, NULL) : NULL;
    double samples = json_number_value(json_object_get(figures, "samples"));
    double tokens = json_number_value(json_object_get(figures, "new_tokens"));
    double seconds = (double)(row->finished_ms - row->started_ms) / 1000;
    json_t *head = json_pack("{s:s, s:s, s:s*, s:s, s:I, s:I, s:f}", "id", row->id, "name", row->name,
        "model", row->model, "status", store_job_status_name(row->status), "samples", (json_int_t)samples,
        "failed", json_integer_value(json_object_get(figures, "failed")), "summarization_time", seconds);
    json_object_set_new(head, "seconds_per_sample", ratio(seconds, samples));
    json_object_set_new(head, "new_tokens_per_s", ratio(tokens, seconds));
    json_decref(figures);
    return head;
}

static void on_job(void *context, const struct store_job *row, const struct error *err)
{
    struct comparison *c = context;
    struct compared *job = &c->jobs[c->loading];
    struct error own;
    if (!err && !prepare(job, row, &own))
        err = &own;
    if (err) {
        comparison_end(c, err);
        return;
    }
    job->head = head_of(row);
    c->next_index = 0;
    store_result_range(c->store, job->id, 0, BLOCK_SAMPLES, STORE_RESULT_VALUES, on_values, c);
}

static void load_next_job(struct comparison *c)
{
    if (c->loading < c->count) {
        store_job_get(c->store, c->jobs[c->loading].id, on_job, c);
        return;
    }
    c->work.data = c;
    uv_queue_work(c->loop, &c->work, compute, on_computed);
}

void report_compare(uv_loop_t *loop, struct store *store, const char *const *ids, size_t count,
    report_compare_done done, void *context)
{
    struct comparison *c = alloc_zero(1, sizeof(*c));
    c->loop = loop;
    c->store = store;
    c->done = done;
    c->context = context;
    c->count = count;
    for (size_t i = 0; i < count; i++)
        snprintf(c->jobs[i].id, sizeof(c->jobs[i].id), "%s", ids[i]);
    load_next_job(c);
}
