/* Postgres away, killed, taken: what was promised is kept, what cannot be done is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static void forget(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->store)
        fixture_store_close(fixture, fixture->store);
}

static int teardown(void **state)
{
    forget(state);
    return 0;
}

static void test_a_start_without_postgres_waits_for_it(void **state)
{
    struct fixture *fixture = *state;
    struct outcome got = {0};
    const struct store_options impatient = {.request_timeout_ms = 300};
    fixture_postgres(fixture, "stop");
    fixture->store = fixture_store_open(fixture, &impatient);
    fixture->reason = (struct error){0};
    char id[STORE_ID_BYTES];
    store_id_new(id);
    store_dataset_get(fixture->store, id, outcome_dataset, &got);
    fixture_wait(fixture, &got.called);
    assert_int_equal(got.err.code, ERROR_UNAVAILABLE);
    assert_int_equal(fixture->state, STORE_CONNECTING);
    assert_int_equal(fixture->reason.code, ERROR_UNAVAILABLE);
    fixture_postgres(fixture, "start");
    fixture_wait_state(fixture, STORE_ACTIVE);
    struct outcome again = {0};
    store_dataset_get(fixture->store, id, outcome_dataset, &again);
    fixture_wait(fixture, &again.called);
    assert_int_equal(again.err.code, ERROR_NOT_FOUND);
}

static void test_a_bad_connection_string_is_told_at_once(void **state)
{
    struct fixture *fixture = *state;
    const struct store_options bad = {.conninfo = "host=a nonsense"};
    struct store *store = NULL;
    struct error err = {0};
    assert_false(store_open(&fixture->loop, &bad, &store, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    assert_null(store);
}

static void test_migrations_run_once(void **state)
{
    struct fixture *fixture = *state;
    fixture_store_active(fixture);
    forget(state);
    fixture_store_active(fixture);
    fixture_sql(fixture, "DO \\$\\$ BEGIN ASSERT (SELECT count(*) = max(number) AND count(*) > 0"
                         " FROM schema_migration); END \\$\\$");
}

static void test_newer_tables_are_refused(void **state)
{
    struct fixture *fixture = *state;
    fixture_store_active(fixture);
    forget(state);
    fixture_sql(fixture, "INSERT INTO schema_migration (number, name) VALUES (9999, 'future')");
    fixture->store = fixture_store_open(fixture, NULL);
    fixture_wait_state(fixture, STORE_REFUSED);
    assert_non_null(strstr(fixture->reason.message, "version 9999"));
    fixture_sql(fixture, "DELETE FROM schema_migration WHERE number = 9999");
}

struct watcher {
    enum store_state state;
    struct error reason;
    bool standby, active, refused;
};

static void watch(void *context, enum store_state state, const struct error *reason)
{
    struct watcher *watcher = context;
    watcher->state = state;
    watcher->standby = watcher->standby || state == STORE_STANDBY;
    watcher->active = watcher->active || state == STORE_ACTIVE;
    watcher->refused = watcher->refused || state == STORE_REFUSED;
    watcher->reason = reason ? *reason : (struct error){0};
}

static void test_a_second_store_stands_by_and_takes_over(void **state)
{
    struct fixture *fixture = *state;
    struct watcher second = {0}, third = {0};
    fixture_store_active(fixture);
    struct store *standby =
        fixture_store_open(fixture, &(struct store_options){.on_state = watch, .context = &second});
    struct store *refused = fixture_store_open(
        fixture, &(struct store_options){.on_state = watch, .context = &third, .no_standby = true});
    fixture_wait(fixture, &second.standby);
    fixture_wait(fixture, &third.refused);
    assert_false(second.active);
    assert_non_null(strstr(third.reason.message, "another coordinator is active"));
    forget(state);
    fixture_wait(fixture, &second.active);
    fixture_store_close(fixture, standby);
    fixture_store_close(fixture, refused);
}

enum { BATCHES = 200, BATCH = 50 };

struct flood {
    uint32_t answered, failed;
    bool all, some;
};

static void flood_done(void *context, const struct error *err)
{
    struct flood *flood = context;
    flood->answered++;
    flood->failed += err != NULL;
    flood->all = flood->answered == BATCHES;
    flood->some = flood->answered > BATCHES / 10;
}

static void send_flood(struct fixture *fixture, const char *job, struct flood *flood)
{
    for (uint64_t b = 0; b < BATCHES; b++) {
        struct store_result results[BATCH];
        for (uint64_t i = 0; i < BATCH; i++)
            results[i] = (struct store_result){.index = b * BATCH + i, .prediction = {"p", 1}};
        store_results_append(fixture->store, job, results, BATCH, flood_done, flood);
    }
}

static void test_kill_9_of_postgres_loses_and_repeats_nothing(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES], check[300];
    struct flood first = {0}, second = {0};
    fixture_store_active(fixture);
    fixture_dataset(fixture, BATCHES * BATCH, dataset);
    fixture_job(fixture, dataset, job);
    send_flood(fixture, job, &first);
    fixture_wait(fixture, &first.some);
    fixture_postgres(fixture, "kill");
    send_flood(fixture, job, &second); /* the same again, while it is away */
    fixture_wait_state(fixture, STORE_CONNECTING);
    fixture_postgres(fixture, "start");
    fixture_wait(fixture, &first.all);
    fixture_wait(fixture, &second.all);
    assert_int_equal(first.failed + second.failed, 0);
    snprintf(check, sizeof check,
        "DO \\$\\$ BEGIN ASSERT (SELECT count(*) FROM result WHERE job_id = '%s') = %d; END \\$\\$", job,
        BATCHES * BATCH);
    fixture_sql(fixture, check);
}

static void test_results_wait_within_their_bound(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES];
    struct flood flood = {0};
    fixture->store = fixture_store_open(fixture, &(struct store_options){.results_bytes_max = 100000});
    fixture_wait_state(fixture, STORE_ACTIVE);
    fixture_dataset(fixture, BATCHES * BATCH, dataset);
    fixture_job(fixture, dataset, job);
    assert_false(store_results_full(fixture->store));
    send_flood(fixture, job, &flood);
    assert_true(store_results_full(fixture->store));
    fixture_wait(fixture, &flood.all);
    assert_false(store_results_full(fixture->store));
}

static void test_a_refused_row_costs_only_its_own_append(void **state)
{
    struct fixture *fixture = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES];
    struct outcome good = {0}, bad = {0};
    fixture_store_active(fixture);
    fixture_dataset(fixture, 4, dataset);
    fixture_job(fixture, dataset, job);
    fixture_sql(fixture, "ALTER TABLE result ADD CONSTRAINT test_check CHECK (index <> 2) NOT VALID");
    const struct store_result one = {.index = 1, .prediction = {"p", 1}};
    const struct store_result two = {.index = 2, .prediction = {"p", 1}};
    store_results_append(fixture->store, job, &one, 1, outcome_done, &good);
    store_results_append(fixture->store, job, &two, 1, outcome_done, &bad);
    fixture_wait(fixture, &good.called);
    fixture_wait(fixture, &bad.called);
    fixture_sql(fixture, "ALTER TABLE result DROP CONSTRAINT test_check");
    assert_int_equal(good.err.code, ERROR_NONE);
    assert_int_equal(bad.err.code, ERROR_INVALID);
}

static void test_an_upload_cut_by_postgres_says_so_and_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    const struct store_dataset meta = {.filename = "cut.csv", .format = "job", .media = "csv"};
    const struct store_sample sample = {.example = {"a", 1}};
    struct outcome ready = {0}, committed = {0};
    fixture_store_active(fixture);
    struct store_upload *upload =
        store_upload_begin(fixture->store, &meta, outcome_done, outcome_done, &ready);
    fixture_wait(fixture, &ready.called);
    store_upload_samples(upload, &sample, 1);
    fixture_postgres(fixture, "kill");
    store_upload_commit(upload, outcome_dataset, &committed);
    fixture_wait(fixture, &committed.called);
    assert_int_equal(committed.err.code, ERROR_UNAVAILABLE);
    fixture_postgres(fixture, "start");
    fixture_wait_state(fixture, STORE_ACTIVE);
    fixture_sql(fixture, "DO \\$\\$ BEGIN ASSERT NOT EXISTS (SELECT FROM dataset WHERE filename = 'cut.csv');"
                         " END \\$\\$");
}

static void test_closing_answers_every_call(void **state)
{
    struct fixture *fixture = *state;
    struct outcome got = {0}, appended = {0};
    char id[STORE_ID_BYTES];
    const struct store_result result = {.index = 1};
    store_id_new(id);
    fixture_store_active(fixture);
    store_dataset_get(fixture->store, id, outcome_dataset, &got);
    store_results_append(fixture->store, id, &result, 1, outcome_done, &appended);
    forget(state);
    assert_true(got.called);
    assert_true(appended.called);
    assert_int_equal(appended.err.code, ERROR_CANCELLED);
}

#define TEST(function) cmocka_unit_test_teardown(function, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_start_without_postgres_waits_for_it),
        TEST(test_a_bad_connection_string_is_told_at_once),
        TEST(test_migrations_run_once),
        TEST(test_newer_tables_are_refused),
        TEST(test_a_second_store_stands_by_and_takes_over),
        TEST(test_kill_9_of_postgres_loses_and_repeats_nothing),
        TEST(test_results_wait_within_their_bound),
        TEST(test_a_refused_row_costs_only_its_own_append),
        TEST(test_an_upload_cut_by_postgres_says_so_and_leaves_nothing),
        TEST(test_closing_answers_every_call),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
