#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"

enum { WAIT_MS = 60000 };

void fixture_postgres(const struct fixture *fixture, const char *command)
{
    char line[256];
    snprintf(line, sizeof line, TEST_SOURCE_DIR "/tests/cluster/postgres.sh %s %s >/dev/null", command,
        fixture->dir);
    if (system(line) != 0)
        fail_msg("%s failed", line);
}

void fixture_sql(const struct fixture *fixture, const char *sql)
{
    char line[1024];
    snprintf(
        line, sizeof line, "psql -q -v ON_ERROR_STOP=1 '%s' -c \"%s\" >/dev/null", fixture->conninfo, sql);
    if (system(line) != 0)
        fail_msg("%s failed", line);
}

int fixture_open(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    strcpy(fixture->dir, "/tmp/lumigrid-store-XXXXXX");
    if (!mkdtemp(fixture->dir))
        return -1;
    log_open("test", LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    uv_loop_init(&fixture->loop);
    snprintf(
        fixture->conninfo, sizeof fixture->conninfo, "host=%s user=lumigrid dbname=postgres", fixture->dir);
    fixture_postgres(fixture, "start");
    *state = fixture;
    return 0;
}

int fixture_close(void **state)
{
    struct fixture *fixture = *state;
    char line[128];
    if (fixture->store)
        fixture_store_close(fixture, fixture->store);
    fixture_postgres(fixture, "stop");
    snprintf(line, sizeof line, "rm -rf %s", fixture->dir);
    if (system(line) != 0)
        return -1;
    int open = uv_loop_close(&fixture->loop);
    free(fixture);
    return open;
}

static void on_state(void *context, enum store_state state, const struct error *reason)
{
    struct fixture *fixture = context;
    fixture->state = state;
    fixture->states |= 1U << state;
    fixture->reason = reason ? *reason : (struct error){0};
}

struct store *fixture_store_open(struct fixture *fixture, const struct store_options *options)
{
    struct store_options copy = options ? *options : (struct store_options){0};
    struct store *store = NULL;
    struct error err = {0};
    if (!copy.conninfo)
        copy.conninfo = fixture->conninfo;
    if (!copy.on_state) {
        copy.on_state = on_state;
        copy.context = fixture;
    }
    fixture->states = 0;
    fixture->state = STORE_CONNECTING;
    if (!store_open(&fixture->loop, &copy, &store, &err))
        fail_msg("%s", err.message);
    return store;
}

static void on_timeout(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void on_timer_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

/* Runs the loop until `reached` says so. */
static void run_until(struct fixture *fixture, bool (*reached)(const void *what), const void *what)
{
    uv_timer_t timer;
    bool late = false;
    uv_timer_init(&fixture->loop, &timer);
    timer.data = &late;
    uv_timer_start(&timer, on_timeout, WAIT_MS, 0);
    while (!reached(what) && !late)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    bool closed = false;
    timer.data = &closed;
    uv_close((uv_handle_t *)&timer, on_timer_closed);
    while (!closed)
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    if (late)
        fail_msg("waited %d s in vain", WAIT_MS / 1000);
}

static bool flag_set(const void *what)
{
    return *(const bool *)what;
}

void fixture_wait(struct fixture *fixture, const bool *flag)
{
    run_until(fixture, flag_set, flag);
}

struct state_wait {
    const struct fixture *fixture;
    enum store_state state;
};

static bool state_reached(const void *what)
{
    const struct state_wait *wait = what;
    return wait->fixture->state == wait->state;
}

void fixture_wait_state(struct fixture *fixture, enum store_state state)
{
    const struct state_wait wait = {fixture, state};
    run_until(fixture, state_reached, &wait);
}

static void on_closed(void *context)
{
    *(bool *)context = true;
}

void fixture_store_close(struct fixture *fixture, struct store *store)
{
    bool closed = false;
    store_close(store, on_closed, &closed);
    fixture_wait(fixture, &closed);
    if (store == fixture->store)
        fixture->store = NULL;
}

void fixture_store_active(struct fixture *fixture)
{
    if (!fixture->store)
        fixture->store = fixture_store_open(fixture, NULL);
    fixture_wait_state(fixture, STORE_ACTIVE);
}

void outcome_done(void *context, const struct error *err)
{
    struct outcome *outcome = context;
    assert_false(outcome->called);
    outcome->called = true;
    outcome->err = err ? *err : (struct error){0};
}

void outcome_dataset(void *context, const struct store_dataset *dataset, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    if (dataset) {
        outcome->dataset = *dataset;
        snprintf(outcome->text, sizeof outcome->text, "%s", dataset->filename);
    }
}

void outcome_job(void *context, const struct store_job *job, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    if (job) {
        outcome->job = *job;
        snprintf(outcome->text, sizeof outcome->text, "%s", job->message ? job->message : "");
    }
}

void outcome_experiment(void *context, const struct store_experiment *experiment, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_done(context, err);
    if (experiment)
        snprintf(outcome->text, sizeof outcome->text, "%s", experiment->id);
}

void outcome_ended(
    void *context, const struct store_job *job, const struct store_job *next, const struct error *err)
{
    struct outcome *outcome = context;
    outcome_job(context, job, err);
    if (next)
        outcome->next = *next;
}

void fixture_dataset(struct fixture *fixture, uint64_t count, char id[STORE_ID_BYTES])
{
    const struct store_dataset meta = {.filename = "mails.csv", .format = "experiment", .media = "csv"};
    struct outcome ready = {0}, committed = {0};
    struct store_upload *upload = store_upload_begin(fixture->store, &meta, outcome_done, NULL, &ready);
    fixture_wait(fixture, &ready.called);
    assert_int_equal(ready.err.code, ERROR_NONE);
    for (uint64_t i = 0; i < count; i++) {
        char example[32], truth[32];
        const struct store_sample sample = {
            .example = {example, (size_t)snprintf(example, sizeof example, "text %d", (int)i)},
            .ground_truth = {truth, (size_t)snprintf(truth, sizeof truth, "truth %d", (int)i)}};
        assert_true(store_upload_samples(upload, &sample, 1));
    }
    store_upload_chunk(upload, "raw bytes", 9);
    store_upload_commit(upload, outcome_dataset, &committed);
    fixture_wait(fixture, &committed.called);
    assert_int_equal(committed.err.code, ERROR_NONE);
    memcpy(id, committed.dataset.id, STORE_ID_BYTES);
}

void fixture_job(struct fixture *fixture, const char *dataset_id, char id[STORE_ID_BYTES])
{
    static const char *const metrics[] = {"rouge"};
    static const char *const keys[] = {"rouge1", "rouge2"};
    const struct store_job job = {.kind = STORE_JOB_EXPERIMENT,
        .name = "try",
        .dataset_id = dataset_id,
        .model = "sim://",
        .settings = "{\"seed\": 1}",
        .metrics = metrics,
        .metric_count = 1,
        .metric_keys = keys,
        .metric_key_count = 2};
    struct outcome outcome = {0};
    store_job_insert(fixture->store, &job, outcome_job, &outcome);
    fixture_wait(fixture, &outcome.called);
    if (outcome.err.code)
        fail_msg("%s", outcome.err.message);
    memcpy(id, outcome.job.id, STORE_ID_BYTES);
}
