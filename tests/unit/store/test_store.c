#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static int setup(void **state)
{
    if (fixture_open(state))
        return -1;
    fixture_store_active(*state);
    return 0;
}

static void test_ids_are_uuids(void **state)
{
    char a[STORE_ID_BYTES], b[STORE_ID_BYTES];
    (void)state;
    store_id_new(a);
    store_id_new(b);
    assert_string_not_equal(a, b);
    assert_true(store_id_valid(a));
    assert_int_equal(a[14], '4');
    assert_false(store_id_valid("no uuid"));
    assert_false(store_id_valid("00000000-0000-4000-8000-00000000000"));
    assert_false(store_id_valid("00000000-0000-4000-8000-0000000000000"));
    assert_false(store_id_valid(NULL));
}

static void test_dataset_comes_back_as_it_went_in(void **state)
{
    struct fixture *fixture = *state;
    char id[STORE_ID_BYTES];
    fixture_dataset(fixture, 30, id);
    struct outcome got = {0};
    store_dataset_get(fixture->store, id, outcome_dataset, &got);
    fixture_wait(fixture, &got.called);
    assert_int_equal(got.err.code, ERROR_NONE);
    assert_string_equal(got.text, "mails.csv");
    assert_int_equal(got.dataset.sample_count, 30);
    assert_int_equal(got.dataset.size_bytes, 9);
    assert_true(got.dataset.ground_truth);
    assert_false(got.dataset.predictions);
    assert_true(got.dataset.created_ms > 1700000000000);
}

static void got_chunk(void *context, const void *bytes, size_t size, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    outcome->count = size;
    if (size)
        memcpy(outcome->text, bytes, size < sizeof outcome->text ? size : sizeof outcome->text);
}

static void test_raw_bytes_come_back(void **state)
{
    struct fixture *fixture = *state;
    char id[STORE_ID_BYTES];
    fixture_dataset(fixture, 1, id);
    struct outcome first = {0}, second = {0}, missing = {0};
    char other[STORE_ID_BYTES];
    store_id_new(other);
    store_dataset_chunk(fixture->store, id, 0, got_chunk, &first);
    store_dataset_chunk(fixture->store, id, 1, got_chunk, &second);
    store_dataset_chunk(fixture->store, other, 0, got_chunk, &missing);
    fixture_wait(fixture, &missing.called);
    fixture_wait(fixture, &first.called);
    fixture_wait(fixture, &second.called);
    assert_int_equal(first.count, 9);
    assert_memory_equal(first.text, "raw bytes", 9);
    assert_int_equal(second.count, 0);
    assert_int_equal(second.err.code, ERROR_NONE);
    assert_int_equal(missing.err.code, ERROR_NOT_FOUND);
}

struct reader {
    uint64_t next, bytes;
    bool called, done, wrong;
    struct fixture *fixture;
    const char *id;
};

static void got_samples(
    void *context, const struct store_sample *samples, size_t count, const struct error *err)
{
    struct reader *reader = context;
    assert_null(err);
    for (size_t i = 0; i < count; i++) {
        reader->wrong = reader->wrong || samples[i].index != reader->next;
        reader->next++;
        reader->bytes += samples[i].example.size;
    }
    reader->done = count == 0;
    reader->called = true;
}

struct feeder {
    struct store_upload *upload;
    struct outcome outcome;
    bool ready, drained;
};

static void feeder_ready(void *context, const struct error *err)
{
    struct feeder *feeder = context;
    assert_null(err);
    feeder->ready = true;
}

static void feeder_drained(void *context, const struct error *err)
{
    struct feeder *feeder = context;
    assert_null(err);
    feeder->drained = true;
}

/* 48 MB through an upload that holds 4: the caller has to wait, and nothing is lost. */
static void test_large_upload_waits_and_arrives(void **state)
{
    struct fixture *fixture = *state;
    const struct store_dataset meta = {.filename = "big.csv", .format = "job", .media = "csv"};
    struct feeder feeder = {0};
    enum { PIECES = 48, SAMPLES = 40 };
    char *piece = malloc(1 << 20);
    int waits = 0;
    memset(piece, 'x', 1 << 20);
    feeder.upload = store_upload_begin(fixture->store, &meta, feeder_ready, feeder_drained, &feeder);
    fixture_wait(fixture, &feeder.ready);
    for (int i = 0; i < PIECES; i++) {
        struct store_sample samples[SAMPLES];
        for (int k = 0; k < SAMPLES; k++)
            samples[k] = (struct store_sample){.example = {piece, (1 << 20) / SAMPLES}};
        feeder.drained = false;
        bool more = store_upload_chunk(feeder.upload, piece, 1 << 20);
        more = store_upload_samples(feeder.upload, samples, SAMPLES) && more;
        waits += !more;
        if (!more)
            fixture_wait(fixture, &feeder.drained);
    }
    store_upload_commit(feeder.upload, outcome_dataset, &feeder.outcome);
    fixture_wait(fixture, &feeder.outcome.called);
    free(piece);
    assert_int_equal(feeder.outcome.err.code, ERROR_NONE);
    assert_true(waits > 4);
    assert_int_equal(feeder.outcome.dataset.sample_count, PIECES * SAMPLES);
    assert_int_equal(feeder.outcome.dataset.size_bytes, PIECES << 20);

    struct reader reader = {0};
    while (!reader.done) {
        reader.called = false;
        store_sample_range(
            fixture->store, feeder.outcome.dataset.id, reader.next, 100000, got_samples, &reader);
        fixture_wait(fixture, &reader.called);
    }
    assert_false(reader.wrong);
    assert_int_equal(reader.next, PIECES * SAMPLES);
}

static void test_aborted_upload_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    const struct store_dataset meta = {.filename = "half.csv", .format = "job", .media = "csv"};
    struct feeder feeder = {0};
    feeder.upload = store_upload_begin(fixture->store, &meta, feeder_ready, feeder_drained, &feeder);
    fixture_wait(fixture, &feeder.ready);
    const struct store_sample sample = {.example = {"a", 1}};
    store_upload_samples(feeder.upload, &sample, 1);
    store_upload_abort(feeder.upload);
    char id[STORE_ID_BYTES];
    fixture_dataset(fixture, 1, id); /* something after it */
    fixture_sql(fixture,
        "DO \\$\\$ BEGIN ASSERT NOT EXISTS (SELECT FROM dataset WHERE filename = 'half.csv');"
        " END \\$\\$");
}

static void got_list(
    void *context, uint64_t total, const struct store_dataset *items, size_t count, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    outcome->total = total;
    outcome->count = count;
    if (count)
        outcome->dataset = items[0];
}

static void test_listing_is_newest_first_and_paged(void **state)
{
    struct fixture *fixture = *state;
    char older[STORE_ID_BYTES], newer[STORE_ID_BYTES];
    fixture_dataset(fixture, 1, older);
    fixture_dataset(fixture, 2, newer);
    struct outcome first = {0}, second = {0}, beyond = {0};
    store_dataset_list(fixture->store, 0, 1, got_list, &first);
    store_dataset_list(fixture->store, 1, 1, got_list, &second);
    store_dataset_list(fixture->store, 1000, 10, got_list, &beyond);
    fixture_wait(fixture, &beyond.called);
    fixture_wait(fixture, &first.called);
    fixture_wait(fixture, &second.called);
    assert_string_equal(first.dataset.id, newer);
    assert_string_equal(second.dataset.id, older);
    assert_int_equal(first.count, 1);
    assert_true(first.total >= 2);
    assert_int_equal(beyond.count, 0);
    assert_int_equal(beyond.total, first.total);
}

static void test_bad_ids_are_told(void **state)
{
    struct fixture *fixture = *state;
    struct outcome a = {0}, b = {0}, c = {0};
    char other[STORE_ID_BYTES];
    store_id_new(other);
    store_dataset_get(fixture->store, "'; DROP TABLE job; --", outcome_dataset, &a);
    assert_false(a.called); /* never from within the call */
    store_dataset_get(fixture->store, other, outcome_dataset, &b);
    store_job_get(fixture->store, other, outcome_job, &c);
    fixture_wait(fixture, &c.called);
    fixture_wait(fixture, &a.called);
    fixture_wait(fixture, &b.called);
    assert_int_equal(a.err.code, ERROR_INVALID);
    assert_int_equal(b.err.code, ERROR_NOT_FOUND);
    assert_int_equal(c.err.code, ERROR_NOT_FOUND);
}

static void test_job_counts_its_samples(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES];
    fixture_dataset(fixture, 10, dataset);
    const int64_t asked[] = {0, -1, 3, 99};
    const uint64_t runs[] = {10, 10, 3, 10};
    for (int i = 0; i < 4; i++) {
        struct outcome outcome = {0};
        const struct store_job job = {.kind = STORE_JOB_INFERENCE,
            .name = "n",
            .dataset_id = dataset,
            .model = "sim://",
            .max_samples = asked[i]};
        store_job_insert(fixture->store, &job, outcome_job, &outcome);
        fixture_wait(fixture, &outcome.called);
        assert_int_equal(outcome.err.code, ERROR_NONE);
        assert_int_equal(outcome.job.sample_count, runs[i]);
        assert_int_equal(outcome.job.status, STORE_JOB_CREATED);
        struct outcome ended = {0};
        store_job_finish(fixture->store, outcome.job.id, STORE_JOB_STOPPED, NULL, outcome_ended, &ended);
        fixture_wait(fixture, &ended.called);
    }
    struct outcome lost = {0};
    char other[STORE_ID_BYTES];
    store_id_new(other);
    const struct store_job job = {.name = "n", .dataset_id = other};
    store_job_insert(fixture->store, &job, outcome_job, &lost);
    fixture_wait(fixture, &lost.called);
    assert_int_equal(lost.err.code, ERROR_NOT_FOUND);
}

static void append(
    struct fixture *fixture, const char *job, uint64_t first, uint64_t count, const char *error)
{
    struct store_result *results = calloc(count, sizeof *results);
    double values[2] = {0.5, NAN};
    struct outcome outcome = {0};
    for (uint64_t i = 0; i < count; i++) {
        results[i] = (struct store_result){.index = first + i,
            .prediction = {"summary", 7},
            .values = values,
            .value_count = 2,
            .new_tokens = 3,
            .seconds = 0.25,
            .finish_reason = "eos"};
        if (error)
            results[i] =
                (struct store_result){.index = first + i, .error_code = "internal", .error_message = error};
    }
    store_results_append(fixture->store, job, results, count, outcome_done, &outcome);
    free(results);
    fixture_wait(fixture, &outcome.called);
    assert_int_equal(outcome.err.code, ERROR_NONE);
}

static void got_results(
    void *context, const struct store_result *results, size_t count, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    outcome->count = count;
    for (size_t i = 0; i < count; i++) {
        size_t at = strlen(outcome->text);
        snprintf(outcome->text + at, sizeof outcome->text - at, "%d:%.*s|%.*s|%s|%s|%g;",
            (int)results[i].index, (int)results[i].prediction.size,
            results[i].prediction.bytes ? results[i].prediction.bytes : "-", (int)results[i].example.size,
            results[i].example.bytes ? results[i].example.bytes : "-",
            results[i].error_message ? results[i].error_message : "-",
            results[i].value_count == 2 && isnan(results[i].values[1]) ? "nan" : "?",
            results[i].value_count ? results[i].values[0] : -1);
    }
}

static void test_second_delivery_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES];
    fixture_dataset(fixture, 4, dataset);
    fixture_job(fixture, dataset, job);
    append(fixture, job, 0, 2, NULL);
    append(fixture, job, 0, 2, "must not replace it");
    append(fixture, job, 2, 1, "it broke");
    struct outcome got = {0};
    store_result_range(fixture->store, job, 0, 100,
        STORE_RESULT_PREDICTION | STORE_RESULT_VALUES | STORE_RESULT_ERROR | STORE_RESULT_EXAMPLE,
        got_results, &got);
    fixture_wait(fixture, &got.called);
    assert_string_equal(
        got.text, "0:summary|text 0|-|nan|0.5;1:summary|text 1|-|nan|0.5;2:|text 2|it broke|?|-1;");
}

static void test_results_of_no_job_are_dropped(void **state)
{
    struct fixture *fixture = *state;
    char other[STORE_ID_BYTES];
    store_id_new(other);
    append(fixture, other, 0, 3, NULL);
    fixture_sql(fixture, "DO \\$\\$ BEGIN ASSERT NOT EXISTS (SELECT FROM result r WHERE NOT EXISTS"
                         " (SELECT FROM job WHERE id = r.job_id)); END \\$\\$");
}

static void test_end_computes_aggregates(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES];
    fixture_dataset(fixture, 3, dataset);
    fixture_job(fixture, dataset, job);
    append(fixture, job, 0, 2, NULL);
    append(fixture, job, 2, 1, "too long");
    struct outcome ended = {0}, again = {0};
    store_job_finish(fixture->store, job, STORE_JOB_SUCCEEDED, NULL, outcome_ended, &ended);
    store_job_finish(fixture->store, job, STORE_JOB_FAILED, NULL, outcome_ended, &again);
    fixture_wait(fixture, &again.called);
    fixture_wait(fixture, &ended.called);
    assert_int_equal(ended.job.status, STORE_JOB_SUCCEEDED);
    assert_int_equal(again.job.status, STORE_JOB_SUCCEEDED); /* an end is an end */
    char check[700];
    snprintf(check, sizeof check,
        "DO \\$\\$ DECLARE a jsonb = (SELECT aggregates FROM job WHERE id = '%s'); BEGIN"
        " ASSERT a->'samples' = '3' AND a->'failed' = '1', a; ASSERT a->'means' = '{\\\"rouge1\\\": 0.5}', a;"
        " ASSERT a->'counts' = '{\\\"rouge1\\\": 2}' AND a->'new_tokens' = '6', a;"
        " ASSERT a->'errors'->0->>'message' = 'too long', a; END \\$\\$",
        job);
    fixture_sql(fixture, check);
}

/* The end of a workflow's inference writes its dataset and its evaluation, once, and names what is to be
 * scheduled. */
static void test_workflow_takes_its_next_step_with_the_end_of_a_job(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], check[900], made_id[STORE_ID_BYTES];
    struct outcome made = {0}, job = {0}, first = {0}, again = {0}, last = {0};
    fixture_dataset(fixture, 2, dataset);
    const struct store_experiment experiment = {
        .name = "e", .dataset_id = dataset, .task = "{\"task\": \"summarization\"}", .max_samples = -1};
    store_experiment_insert(fixture->store, &experiment, outcome_experiment, &made);
    fixture_wait(fixture, &made.called);
    snprintf(made_id, sizeof made_id, "%.36s", made.text);
    const char *metrics[] = {"rouge"};
    const struct store_workflow workflow = {.experiment_id = made_id,
        .name = "w",
        .model = "sim://",
        .request = "{}",
        .metrics = metrics,
        .metric_count = 1,
        .timeout_s = 7};
    const struct store_job inference = {
        .dataset_id = dataset, .model = "sim://", .output_field = "predictions", .max_samples = -1};
    store_workflow_insert(fixture->store, &workflow, &inference, outcome_job, &job);
    fixture_wait(fixture, &job.called);
    assert_int_equal(job.err.code, 0);
    append(fixture, job.job.id, 0, 2, NULL);
    store_job_finish(fixture->store, job.job.id, STORE_JOB_SUCCEEDED, NULL, outcome_ended, &first);
    fixture_wait(fixture, &first.called);
    store_job_finish(fixture->store, job.job.id, STORE_JOB_SUCCEEDED, NULL, outcome_ended, &again);
    fixture_wait(fixture, &again.called);
    assert_int_equal(first.next.kind, STORE_JOB_EVALUATOR);
    assert_int_equal(first.next.sample_count, 2);
    assert_int_equal(first.next.timeout_s, 7);
    assert_string_equal(again.next.id, first.next.id);
    snprintf(check, sizeof check,
        "DO \\$\\$ BEGIN ASSERT (SELECT count(*) FROM job WHERE experiment_id = '%s') = 2;"
        " ASSERT (SELECT status FROM workflow) = 'created';"
        " ASSERT (SELECT predictions AND ground_truth AND sample_count = 2 FROM dataset WHERE run_id = '%s');"
        " END \\$\\$",
        made_id, job.job.id);
    fixture_sql(fixture, check);
    store_job_finish(fixture->store, first.next.id, STORE_JOB_SUCCEEDED, NULL, outcome_ended, &last);
    fixture_wait(fixture, &last.called);
    assert_string_equal(last.next.id, "");
    fixture_sql(fixture, "DO \\$\\$ BEGIN ASSERT (SELECT status FROM workflow) = 'succeeded'; END \\$\\$");
}

static void test_job_without_one_good_sample_fails(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES];
    fixture_dataset(fixture, 3, dataset);
    fixture_job(fixture, dataset, job);
    append(fixture, job, 0, 1, "rare");
    append(fixture, job, 1, 2, "usual");
    struct outcome ended = {0};
    store_job_finish(fixture->store, job, STORE_JOB_SUCCEEDED, NULL, outcome_ended, &ended);
    fixture_wait(fixture, &ended.called);
    assert_int_equal(ended.job.status, STORE_JOB_FAILED);
    assert_string_equal(ended.text, "every sample failed: usual");
}

static void test_keys_grow_in_order(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES];
    static const char *const keys[] = {"rouge2", "meteor", "bleu"};
    fixture_dataset(fixture, 1, dataset);
    fixture_job(fixture, dataset, job);
    struct outcome grown = {0};
    store_job_add_keys(fixture->store, job, keys, 3, outcome_job, &grown);
    fixture_wait(fixture, &grown.called);
    assert_int_equal(grown.job.metric_key_count, 4);
}

struct ranges {
    const char *job;
    uint64_t first[8], count[8];
    size_t n;
    bool seen, called;
};

static void got_unfinished(void *context, const struct store_job *job, const struct store_range *remaining,
    size_t count, const struct error *err)
{
    struct ranges *ranges = context;
    assert_null(err);
    if (!job) {
        ranges->called = true;
        return;
    }
    if (strcmp(job->id, ranges->job) != 0)
        return;
    ranges->seen = true;
    ranges->n = count;
    for (size_t i = 0; i < count && i < 8; i++) {
        ranges->first[i] = remaining[i].first;
        ranges->count[i] = remaining[i].count;
    }
}

static void test_restart_finds_what_is_missing(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES];
    fixture_dataset(fixture, 20, dataset);
    fixture_job(fixture, dataset, job);
    struct ranges untouched = {.job = job}, gaps = {.job = job}, full = {.job = job}, over = {.job = job};
    store_job_unfinished(fixture->store, got_unfinished, &untouched);
    fixture_wait(fixture, &untouched.called);
    assert_int_equal(untouched.n, 1);
    assert_int_equal(untouched.count[0], 20);
    append(fixture, job, 3, 2, NULL);
    append(fixture, job, 10, 1, "broken");
    store_job_unfinished(fixture->store, got_unfinished, &gaps);
    fixture_wait(fixture, &gaps.called);
    assert_int_equal(gaps.n, 3);
    const uint64_t first[] = {0, 5, 11}, count[] = {3, 5, 9};
    assert_memory_equal(gaps.first, first, sizeof first);
    assert_memory_equal(gaps.count, count, sizeof count);
    append(fixture, job, 0, 20, NULL);
    store_job_unfinished(fixture->store, got_unfinished, &full);
    fixture_wait(fixture, &full.called);
    assert_true(full.seen);
    assert_int_equal(full.n, 0);
    struct outcome ended = {0};
    store_job_finish(fixture->store, job, STORE_JOB_SUCCEEDED, NULL, outcome_ended, &ended);
    fixture_wait(fixture, &ended.called);
    store_job_unfinished(fixture->store, got_unfinished, &over);
    fixture_wait(fixture, &over.called);
    assert_false(over.seen);
}

static void test_deleting_in_use_is_refused_and_cleans_up(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES];
    fixture_dataset(fixture, 2, dataset);
    fixture_job(fixture, dataset, job);
    append(fixture, job, 0, 2, NULL);
    struct outcome busy = {0}, running = {0}, ended = {0}, gone = {0}, hidden = {0}, job_gone = {0},
                   again = {0};
    store_dataset_delete(fixture->store, dataset, outcome_done, &busy);
    store_job_delete(fixture->store, job, outcome_done, &running);
    fixture_wait(fixture, &running.called);
    fixture_wait(fixture, &busy.called);
    assert_int_equal(busy.err.code, ERROR_CONFLICT);
    assert_int_equal(running.err.code, ERROR_CONFLICT);
    store_job_finish(fixture->store, job, STORE_JOB_SUCCEEDED, NULL, outcome_ended, &ended);
    fixture_wait(fixture, &ended.called);
    store_dataset_delete(fixture->store, dataset, outcome_done, &gone);
    fixture_wait(fixture, &gone.called);
    assert_int_equal(gone.err.code, ERROR_NONE);
    store_dataset_get(fixture->store, dataset, outcome_dataset, &hidden);
    fixture_wait(fixture, &hidden.called);
    assert_int_equal(hidden.err.code, ERROR_NOT_FOUND);
    struct outcome kept = {0};
    store_result_range(fixture->store, job, 0, 1, STORE_RESULT_EXAMPLE, got_results, &kept);
    fixture_wait(fixture, &kept.called);
    assert_non_null(strstr(kept.text, "text 0")); /* its document is still whole */
    store_job_delete(fixture->store, job, outcome_done, &job_gone);
    fixture_wait(fixture, &job_gone.called);
    assert_int_equal(job_gone.err.code, ERROR_NONE);
    store_job_delete(fixture->store, job, outcome_done, &again);
    fixture_wait(fixture, &again.called);
    assert_int_equal(again.err.code, ERROR_NOT_FOUND);
    char check[400];
    snprintf(check, sizeof check,
        "DO \\$\\$ BEGIN ASSERT NOT EXISTS (SELECT FROM sample WHERE dataset_id = '%s');"
        " ASSERT NOT EXISTS (SELECT FROM result WHERE job_id = '%s'); END \\$\\$",
        dataset, job);
    fixture_sql(fixture, check);
}

static void got_jobs(
    void *context, uint64_t total, const struct store_job *items, size_t count, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    outcome->total = total;
    outcome->count = count;
    if (count)
        memcpy(outcome->text, items[0].id, STORE_ID_BYTES);
}

static void test_job_listing_filters(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], first[STORE_ID_BYTES], second[STORE_ID_BYTES];
    fixture_dataset(fixture, 1, dataset);
    fixture_job(fixture, dataset, first);
    fixture_job(fixture, dataset, second);
    struct outcome mine = {0}, none = {0}, beyond = {0};
    const struct store_job_filter of_dataset = {.dataset_id = dataset, .kinds = 1U << STORE_JOB_EXPERIMENT};
    const struct store_job_filter other_kind = {.dataset_id = dataset, .kinds = 1U << STORE_JOB_ANNOTATE};
    store_job_list(fixture->store, &of_dataset, 0, 10, got_jobs, &mine);
    store_job_list(fixture->store, &other_kind, 0, 10, got_jobs, &none);
    store_job_list(fixture->store, &of_dataset, 50, 10, got_jobs, &beyond);
    fixture_wait(fixture, &beyond.called);
    fixture_wait(fixture, &mine.called);
    fixture_wait(fixture, &none.called);
    assert_int_equal(mine.total, 2);
    assert_int_equal(mine.count, 2);
    assert_string_equal(mine.text, second);
    assert_int_equal(none.total, 0);
    assert_int_equal(none.count, 0);
    assert_int_equal(beyond.total, 2);
    assert_int_equal(beyond.count, 0);
}

static void got_lines(
    void *context, const struct store_log_line *lines, size_t count, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    outcome->count = count;
    if (count)
        snprintf(outcome->text, sizeof outcome->text, "%s %s", lines[count - 1].level, lines[count - 1].text);
}

static void test_log_lines(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES];
    fixture_dataset(fixture, 1, dataset);
    fixture_job(fixture, dataset, job);
    store_log_append(fixture->store, job, "info", "one");
    store_log_append(fixture->store, job, "warn", "bad \xff byte");
    struct outcome lines = {0};
    while (lines.count < 2) {
        lines = (struct outcome){0};
        store_log_read(fixture->store, job, 0, 10, got_lines, &lines);
        fixture_wait(fixture, &lines.called);
    }
    assert_int_equal(lines.count, 2);
    assert_string_equal(lines.text, "warn bad \xef\xbf\xbd byte");
}

static void got_secret(void *context, const struct store_secret *secret, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    if (secret)
        memcpy(outcome->text, secret->sealed, secret->sealed_size);
}

static void secret_put(void *context, bool created, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    outcome->count = created;
}

static void test_secrets(void **state)
{
    struct fixture *fixture = *state;
    const struct store_secret first = {"openai", "the team's", "\0sealed", 7, 0};
    const struct store_secret second = {"openai", "the team's", "\0other", 6, 0};
    struct outcome a = {0}, b = {0}, got = {0}, gone = {0}, missing = {0};
    store_secret_put(fixture->store, &first, secret_put, &a);
    fixture_wait(fixture, &a.called);
    store_secret_put(fixture->store, &second, secret_put, &b);
    fixture_wait(fixture, &b.called);
    assert_int_equal(a.count, 1);
    assert_int_equal(b.count, 0);
    store_secret_get(fixture->store, "openai", got_secret, &got);
    fixture_wait(fixture, &got.called);
    assert_memory_equal(got.text, "\0other", 6);
    store_secret_delete(fixture->store, "openai", outcome_done, &gone);
    fixture_wait(fixture, &gone.called);
    store_secret_delete(fixture->store, "openai", outcome_done, &missing);
    fixture_wait(fixture, &missing.called);
    assert_int_equal(gone.err.code, ERROR_NONE);
    assert_int_equal(missing.err.code, ERROR_NOT_FOUND);
}

static void got_token(void *context, const struct store_token *token, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    if (token)
        snprintf(outcome->text, sizeof outcome->text, "%s", token->role);
}

static void test_tokens(void **state)
{
    struct fixture *fixture = *state;
    unsigned char hash[32] = {1, 2, 3}, old_hash[32] = {9};
    const struct store_token token = {.name = "ci", .role = "viewer", .hash = hash};
    const struct store_token old = {.name = "old", .role = "admin", .hash = old_hash, .expires_ms = 1000};
    struct outcome made = {0}, made_old = {0}, found = {0}, expired = {0};
    store_token_insert(fixture->store, &token, got_token, &made);
    store_token_insert(fixture->store, &old, got_token, &made_old);
    fixture_wait(fixture, &made_old.called);
    fixture_wait(fixture, &made.called);
    assert_int_equal(made.err.code, ERROR_NONE);
    store_token_find(fixture->store, hash, got_token, &found);
    store_token_find(fixture->store, old_hash, got_token, &expired);
    fixture_wait(fixture, &expired.called);
    fixture_wait(fixture, &found.called);
    assert_string_equal(found.text, "viewer");
    assert_int_equal(expired.err.code, ERROR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_uuids),
        cmocka_unit_test(test_dataset_comes_back_as_it_went_in),
        cmocka_unit_test(test_raw_bytes_come_back),
        cmocka_unit_test(test_large_upload_waits_and_arrives),
        cmocka_unit_test(test_aborted_upload_leaves_nothing),
        cmocka_unit_test(test_listing_is_newest_first_and_paged),
        cmocka_unit_test(test_bad_ids_are_told),
        cmocka_unit_test(test_job_counts_its_samples),
        cmocka_unit_test(test_second_delivery_changes_nothing),
        cmocka_unit_test(test_results_of_no_job_are_dropped),
        cmocka_unit_test(test_end_computes_aggregates),
        cmocka_unit_test(test_workflow_takes_its_next_step_with_the_end_of_a_job),
        cmocka_unit_test(test_job_without_one_good_sample_fails),
        cmocka_unit_test(test_keys_grow_in_order),
        cmocka_unit_test(test_restart_finds_what_is_missing),
        cmocka_unit_test(test_deleting_in_use_is_refused_and_cleans_up),
        cmocka_unit_test(test_job_listing_filters),
        cmocka_unit_test(test_log_lines),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, setup, fixture_close);
}
