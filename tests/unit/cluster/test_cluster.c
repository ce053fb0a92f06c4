/* The coordinator's side of the protocol against a worker that the test plays, well and badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/cluster/cluster.h"
#include "coordinator/scheduler/scheduler.h"
#include "proto/lumigrid.pb-c.h"
#include "tests/unit/store/fixture.h"

static const char WORKER[] = "b0000000-0000-4000-8000-000000000001";

struct scene {
    struct fixture *fixture;
    struct cluster *cluster;
    struct net_dealer *dealer;
    bool welcome, refused, goodbye, ack, assign, revoke, heartbeat, closed;
    uint64_t acked;
    char reason[256];
    Lumigrid__Envelope *assigned; /* the last Assign */
};

static void on_message(void *context, const uint8_t *data, size_t len)
{
    struct scene *scene = context;
    Lumigrid__Envelope *envelope = lumigrid__envelope__unpack(NULL, len, data);
    assert_non_null(envelope);
    switch (envelope->message_case) {
    case LUMIGRID__ENVELOPE__MESSAGE_WELCOME: scene->welcome = true; break;
    case LUMIGRID__ENVELOPE__MESSAGE_REFUSED:
        scene->refused = true;
        snprintf(scene->reason, sizeof scene->reason, "%s", envelope->refused->reason);
        break;
    case LUMIGRID__ENVELOPE__MESSAGE_GOODBYE: scene->goodbye = true; break;
    case LUMIGRID__ENVELOPE__MESSAGE_HEARTBEAT: scene->heartbeat = true; break;
    case LUMIGRID__ENVELOPE__MESSAGE_REVOKE: scene->revoke = true; break;
    case LUMIGRID__ENVELOPE__MESSAGE_ACK:
        scene->ack = true;
        scene->acked = envelope->ack->sequence;
        break;
    case LUMIGRID__ENVELOPE__MESSAGE_ASSIGN:
        scene->assign = true;
        if (scene->assigned)
            lumigrid__envelope__free_unpacked(scene->assigned, NULL);
        scene->assigned = envelope;
        return;
    default: break;
    }
    lumigrid__envelope__free_unpacked(envelope, NULL);
}

static void on_unfinished(void *context, const struct store_job *job, const struct store_range *remaining,
    size_t count, const struct error *err)
{
    (void)remaining, (void)count, (void)err;
    if (!job)
        *(bool *)context = true;
}

static int setup(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct error err = {0};
    struct net_keypair keys;
    static char dir[128], workers[160], public[192];
    void *fixture = NULL;
    if (fixture_open(&fixture))
        return -1;
    scene->fixture = fixture;
    fixture_store_active(scene->fixture);
    snprintf(dir, sizeof dir, "%s/keys", scene->fixture->dir);
    const struct cluster_options options = {
        .endpoint = "tcp://127.0.0.1:0", .keys_dir = dir, .id = WORKER, .lease_ms = 60000};
    if (!cluster_open(&scene->fixture->loop, &options, scene->fixture->store, &scene->cluster, &err))
        fail_msg("%s", err.message);
    snprintf(workers, sizeof workers, "%s/workers", dir);
    snprintf(public, sizeof public, "%s/test.pub", workers);
    assert_true(net_keypair_generate(&keys, &err));
    assert_true(net_public_key_save(public, keys.public_key, &err));
    cluster_reload_keys(scene->cluster);
    cluster_serve(scene->cluster);
    /* It is silent until it knows its unfinished jobs; asking the same after it tells when. */
    bool recovered = false;
    store_job_unfinished(scene->fixture->store, on_unfinished, &recovered);
    fixture_wait(scene->fixture, &recovered);
    const struct net_dealer_options dealer = {.endpoint = cluster_endpoint(scene->cluster),
        .server_public_key = cluster_public_key(scene->cluster),
        .keys = &keys,
        .on_message = on_message,
        .context = scene};
    assert_true(net_dealer_open(&scene->fixture->loop, &dealer, &scene->dealer, &err));
    *state = scene;
    return 0;
}

static void on_closed(void *context)
{
    *(bool *)context = true;
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    void *fixture = scene->fixture;
    net_dealer_close(scene->dealer, 0);
    cluster_close(scene->cluster, 5000, on_closed, &scene->closed);
    fixture_wait(scene->fixture, &scene->closed);
    fixture_store_close(scene->fixture, scene->fixture->store);
    cluster_free(scene->cluster);
    if (scene->assigned)
        lumigrid__envelope__free_unpacked(scene->assigned, NULL);
    free(scene);
    uv_run(&((struct fixture *)fixture)->loop, UV_RUN_NOWAIT);
    return fixture_close(&fixture);
}

static void say(struct scene *scene, Lumigrid__Envelope *envelope)
{
    struct error err = {0};
    size_t size = lumigrid__envelope__get_packed_size(envelope);
    uint8_t *bytes = malloc(size + 1);
    lumigrid__envelope__pack(envelope, bytes);
    if (!net_dealer_send(scene->dealer, bytes, size, &err))
        fail_msg("%s", err.message);
    free(bytes);
}

static void say_hello(struct scene *scene, const char *id, uint32_t protocol)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__Hello hello = LUMIGRID__HELLO__INIT;
    Lumigrid__Device device = LUMIGRID__DEVICE__INIT, *devices[] = {&device};
    char scheme[] = "sim", metric[] = "rouge", host[] = "here", name[] = "cpu", *schemes[] = {scheme},
         *metrics[] = {metric};
    device.name = name;
    device.slots = 1;
    hello.protocol_min = hello.protocol_max = protocol;
    hello.worker_id = (char *)id;
    hello.host = host;
    hello.n_devices = hello.n_schemes = hello.n_metrics = 1;
    hello.devices = devices;
    hello.schemes = schemes;
    hello.metrics = metrics;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = &hello;
    scene->welcome = scene->refused = false;
    say(scene, &envelope);
}

static void join(struct scene *scene)
{
    say_hello(scene, WORKER, 1);
    fixture_wait(scene->fixture, &scene->welcome);
}

static void say_heartbeat(struct scene *scene, char *job_id)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__Heartbeat heartbeat = LUMIGRID__HEARTBEAT__INIT;
    Lumigrid__HeldTask held = LUMIGRID__HELD_TASK__INIT, *running[] = {&held};
    held.job_id = job_id;
    heartbeat.n_running = job_id ? 1 : 0;
    heartbeat.running = running;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_HEARTBEAT;
    envelope.heartbeat = &heartbeat;
    say(scene, &envelope);
}

/* One result for that sample, as of the last Assign. */
static void say_result(
    struct scene *scene, char *job_id, uint64_t index, uint64_t sequence, const char *error)
{
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    Lumigrid__Results results = LUMIGRID__RESULTS__INIT;
    Lumigrid__Result result = LUMIGRID__RESULT__INIT, *list[] = {&result};
    Lumigrid__MetricValue value = LUMIGRID__METRIC_VALUE__INIT, *values[] = {&value};
    char key[] = "brand_new_key", text[] = "fine";
    value.key = key;
    value.value = 0.5;
    result.index = index;
    result.prediction = (ProtobufCBinaryData){4, (uint8_t *)text};
    result.error_code = (char *)error;
    result.n_values = 1;
    result.values = values;
    results.job_id = job_id;
    if (scene->assigned) {
        results.task_id = scene->assigned->assign->task_id;
        results.attempt = scene->assigned->assign->attempt;
    }
    results.sequence = sequence;
    results.n_results = 1;
    results.results = list;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_RESULTS;
    envelope.results = &results;
    scene->ack = false;
    say(scene, &envelope);
}

static void schedule_of(struct scene *scene, const char *dataset, uint64_t samples, char id[STORE_ID_BYTES])
{
    struct error err = {0};
    fixture_job(scene->fixture, dataset, id);
    const struct scheduler_job_spec spec = {.id = id, .model = "sim://", .sample_count = samples};
    assert_true(
        scheduler_job_add(cluster_scheduler(scene->cluster), &spec, uv_now(&scene->fixture->loop), &err));
}

static void schedule(struct scene *scene, uint64_t samples, char id[STORE_ID_BYTES])
{
    char dataset[STORE_ID_BYTES];
    fixture_dataset(scene->fixture, samples, dataset);
    schedule_of(scene, dataset, samples, id);
}

static void test_a_stranger_is_asked_to_say_hello(void **state)
{
    struct scene *scene = *state;
    say_heartbeat(scene, NULL);
    fixture_wait(scene->fixture, &scene->goodbye);
}

static void test_hellos_that_break_the_rules_are_refused(void **state)
{
    struct scene *scene = *state;
    say_hello(scene, WORKER, 99);
    fixture_wait(scene->fixture, &scene->refused);
    assert_non_null(strstr(scene->reason, "different protocols"));
    say_hello(scene, "no uuid", 1);
    fixture_wait(scene->fixture, &scene->refused);
    assert_non_null(strstr(scene->reason, "breaks the protocol"));
}

static void test_garbage_ends_the_session_and_nothing_else(void **state)
{
    struct scene *scene = *state;
    struct error err = {0};
    join(scene);
    uint8_t noise[64];
    memset(noise, 0xff, sizeof noise);
    assert_true(net_dealer_send(scene->dealer, noise, sizeof noise, &err));
    fixture_wait(scene->fixture, &scene->goodbye);
    join(scene);
    say_heartbeat(scene, NULL);
    fixture_wait(scene->fixture, &scene->heartbeat);
}

static void test_a_heartbeat_with_a_bad_job_ends_the_session(void **state)
{
    struct scene *scene = *state;
    char bad[] = "../../etc/passwd";
    join(scene);
    say_heartbeat(scene, bad);
    fixture_wait(scene->fixture, &scene->goodbye);
}

static void test_a_job_goes_its_way(void **state)
{
    struct scene *scene = *state;
    char job[STORE_ID_BYTES], check[600];
    struct outcome got = {0};
    join(scene);
    schedule(scene, 2, job);
    for (uint64_t sequence = 1; sequence <= 2; sequence++) {
        fixture_wait(scene->fixture, &scene->assign);
        scene->assign = false;
        const Lumigrid__Assign *assign = scene->assigned->assign;
        assert_string_equal(assign->job_id, job);
        assert_string_equal(assign->model, "sim://");
        assert_int_equal(assign->n_samples, 1); /* two slots' worth of a tiny job */
        assert_memory_equal(assign->samples[0]->text.data, "text ", 5);
        assert_true(assign->samples[0]->has_reference);
        Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
        Lumigrid__TaskDone done = LUMIGRID__TASK_DONE__INIT;
        done.job_id = job;
        done.task_id = assign->task_id;
        done.attempt = assign->attempt;
        envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_TASK_DONE;
        envelope.task_done = &done;
        say_result(scene, job, assign->samples[0]->index, sequence, "");
        say(scene, &envelope);
        fixture_wait(scene->fixture, &scene->ack);
        assert_int_equal(scene->acked, sequence);
    }
    while (got.job.status != STORE_JOB_SUCCEEDED) {
        got = (struct outcome){0};
        store_job_get(scene->fixture->store, job, outcome_job, &got);
        fixture_wait(scene->fixture, &got.called);
        assert_int_not_equal(got.job.status, STORE_JOB_FAILED);
    }
    /* The key that nobody had heard of has its place, and its mean. */
    snprintf(check, sizeof check,
        "DO \\$\\$ BEGIN ASSERT (SELECT aggregates->'means'->>'brand_new_key' FROM job WHERE id = '%s') = "
        "'0.5';"
        " ASSERT (SELECT count(*) FROM result WHERE job_id = '%s') = 2; END \\$\\$",
        job, job);
    fixture_sql(scene->fixture, check);
}

static void test_results_of_unknown_jobs_are_acknowledged_and_dropped(void **state)
{
    struct scene *scene = *state;
    char job[STORE_ID_BYTES];
    store_id_new(job);
    join(scene);
    say_result(scene, job, 0, 7, "");
    fixture_wait(scene->fixture, &scene->ack);
    assert_int_equal(scene->acked, 7);
}

static void test_results_beyond_the_job_are_dropped(void **state)
{
    struct scene *scene = *state;
    char job[STORE_ID_BYTES], check[200];
    join(scene);
    schedule(scene, 2, job);
    say_result(scene, job, UINT64_MAX, 1, "");
    fixture_wait(scene->fixture, &scene->ack);
    snprintf(check, sizeof check,
        "DO \\$\\$ BEGIN ASSERT NOT EXISTS (SELECT FROM result WHERE job_id = '%s'); END \\$\\$", job);
    fixture_sql(scene->fixture, check);
}

static void test_an_assignment_ends_before_its_texts_are_too_many(void **state)
{
    struct scene *scene = *state;
    char dataset[STORE_ID_BYTES], job[STORE_ID_BYTES], sql[200];
    join(scene);
    fixture_dataset(scene->fixture, 16, dataset);
    /* Two of them pass the 32 MiB that one message may carry. */
    snprintf(sql, sizeof sql,
        "UPDATE sample SET example = repeat('x', 20 << 20)::bytea WHERE dataset_id = '%s' AND index < 2",
        dataset);
    fixture_sql(scene->fixture, sql);
    schedule_of(scene, dataset, 16, job);
    for (uint64_t index = 0; index < 2; index++) {
        fixture_wait(scene->fixture, &scene->assign);
        scene->assign = false;
        const Lumigrid__Assign *assign = scene->assigned->assign;
        size_t bytes = 0;
        for (size_t i = 0; i < assign->n_samples; i++)
            bytes += assign->samples[i]->text.len;
        assert_int_equal(assign->samples[0]->index, index); /* what was cut off comes next */
        assert_int_equal(assign->samples[0]->text.len, 20 << 20);
        assert_true(bytes <= 32 << 20);
        Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
        Lumigrid__TaskDone done = LUMIGRID__TASK_DONE__INIT;
        done.job_id = job;
        done.task_id = assign->task_id;
        done.attempt = assign->attempt;
        envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_TASK_DONE;
        envelope.task_done = &done;
        for (size_t i = 0; i < assign->n_samples; i++)
            say_result(scene, job, assign->samples[i]->index, 1 + index * 16 + i, "");
        say(scene, &envelope);
    }
}

static void test_cancel_reaches_the_worker(void **state)
{
    struct scene *scene = *state;
    char job[STORE_ID_BYTES];
    join(scene);
    schedule(scene, 2, job);
    fixture_wait(scene->fixture, &scene->assign);
    assert_true(scheduler_job_cancel(cluster_scheduler(scene->cluster), job, "enough"));
    fixture_wait(scene->fixture, &scene->revoke);
}

static void see_worker(void *context, const struct cluster_worker *worker)
{
    snprintf(context, 64, "%s %s %s", worker->state, worker->host, worker->devices[0].name);
}

static void test_an_evicted_worker_stays_out(void **state)
{
    struct scene *scene = *state;
    char seen[64] = "";
    join(scene);
    cluster_workers(scene->cluster, see_worker, seen);
    assert_string_equal(seen, "online here cpu");
    assert_true(cluster_worker_drain(scene->cluster, WORKER, "maintenance"));
    cluster_workers(scene->cluster, see_worker, seen);
    assert_string_equal(seen, "draining here cpu");
    assert_true(cluster_worker_evict(scene->cluster, WORKER, "bad disk"));
    fixture_wait(scene->fixture, &scene->goodbye);
    say_hello(scene, WORKER, 1);
    fixture_wait(scene->fixture, &scene->refused);
    assert_non_null(strstr(scene->reason, "evicted"));
    assert_false(cluster_worker_evict(scene->cluster, "nobody", NULL));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_stranger_is_asked_to_say_hello),
        TEST(test_hellos_that_break_the_rules_are_refused),
        TEST(test_garbage_ends_the_session_and_nothing_else),
        TEST(test_a_heartbeat_with_a_bad_job_ends_the_session),
        TEST(test_a_job_goes_its_way),
        TEST(test_results_of_unknown_jobs_are_acknowledged_and_dropped),
        TEST(test_results_beyond_the_job_are_dropped),
        TEST(test_an_assignment_ends_before_its_texts_are_too_many),
        TEST(test_cancel_reaches_the_worker),
        TEST(test_an_evicted_worker_stays_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
