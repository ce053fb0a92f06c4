/* Which job is next, and where it runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "recorder.h"

static uint64_t samples_of(const struct recorder *recorder, const char *job)
{
    uint64_t samples = 0;
    for (size_t i = 0; i < recorder->lease_count; i++)
        samples += strcmp(recorder->leases[i].job, job) == 0 ? recorder->leases[i].samples : 0;
    return samples;
}

static void resident(const struct recorder *recorder, const char *worker, const char *model)
{
    assert_true(scheduler_worker_heartbeat(
        recorder->scheduler, worker, NULL, 0, &model, model ? 1 : 0, recorder->now_ms));
}

/* One slot; every task takes two seconds. */
static void serve(struct recorder *recorder, size_t tasks)
{
    for (size_t i = 0; i < tasks; i++) {
        recorder_run(recorder);
        lease_finish(recorder, recorder->lease_count - 1, 2.0);
    }
}

static void test_share_is_of_time_not_of_samples(void **state)
{
    struct recorder recorder;
    double a_s = 0, b_s = 0;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100000, 1);
    recorder_add(&recorder, JOB_B, NULL, 100000, 1);
    for (size_t i = 0; i < 200; i++) {
        recorder_run(&recorder);
        const struct lease *lease = &recorder.leases[i];
        bool is_a = strcmp(lease->job, JOB_A) == 0;
        double seconds = (double)lease->samples * (is_a ? 1.0 : 0.05); /* a slow model, a fast one */
        *(is_a ? &a_s : &b_s) += seconds;
        lease_finish(&recorder, i, seconds);
    }
    assert_true(a_s < 1.2 * b_s && b_s < 1.2 * a_s);
    recorder_close(&recorder);
}

static void test_a_new_job_is_owed_nothing_for_the_time_before(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100000, 1);
    serve(&recorder, 100);
    uint64_t before = samples_of(&recorder, JOB_A);
    recorder_add(&recorder, JOB_B, NULL, 100000, 1);
    serve(&recorder, 20);
    assert_in_range(samples_of(&recorder, JOB_A) - before, 9 * 8, 11 * 8);
    recorder_close(&recorder);
}

static void test_a_job_that_could_not_run_catches_up_a_little_only(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.switch_cost_ms = 10000});
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100000, 1);
    recorder_add(&recorder, JOB_B, "mistral://large", 100000, 1); /* nobody runs it yet */
    serve(&recorder, 200);
    assert_int_equal(samples_of(&recorder, JOB_B), 0);
    uint64_t before = samples_of(&recorder, JOB_A);
    const struct scheduler_device device = {.name = "cpu", .slots = 1};
    const char *const schemes[] = {"hf", "mistral"};
    const struct scheduler_worker_spec able = {
        .id = WORKER_1, .devices = &device, .device_count = 1, .schemes = schemes, .scheme_count = 2};
    assert_true(scheduler_worker_join(recorder.scheduler, &able, recorder.now_ms, NULL));
    serve(&recorder, 30);
    /* Ten of its own at first, then in turn; not the two hundred that it missed. */
    assert_in_range(samples_of(&recorder, JOB_A) - before, 8 * 8, 15 * 8);
    recorder_close(&recorder);
}

static void test_interactive_goes_first(void **state)
{
    struct recorder recorder;
    const struct scheduler_job_spec interactive = {
        .id = JOB_B, .model = "org/other", .sample_count = 30, .interactive = true};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100000, 100);
    serve(&recorder, 3);
    recorder_add_spec(&recorder, &interactive);
    while (!recorder.ending_count) {
        recorder_run(&recorder);
        size_t at = recorder.lease_count - 1;
        if (samples_of(&recorder, JOB_B) < 30)
            assert_string_equal(recorder.leases[at].job, JOB_B);
        lease_finish(&recorder, at, 2.0);
    }
    assert_string_equal(recorder.endings[0].job, JOB_B);
    recorder_run(&recorder);
    assert_string_equal(recorder.leases[recorder.lease_count - 1].job, JOB_A);
    recorder_close(&recorder);
}

static void test_a_job_goes_where_its_model_is_loaded(void **state)
{
    struct recorder recorder;
    const char *const holders[] = {WORKER_1, WORKER_2, WORKER_3};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        recorder_open(&recorder, NULL);
        for (size_t k = 0; k < 3; k++)
            recorder_join(&recorder, holders[k], 1);
        resident(&recorder, holders[i], "org/model");
        recorder_add(&recorder, JOB_A, NULL, 1, 1);
        recorder_run(&recorder);
        assert_int_equal(recorder.lease_count, 1);
        assert_string_equal(recorder.leases[0].worker, holders[i]);
        recorder_close(&recorder);
    }
}

static void test_two_jobs_part_to_their_models(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_join(&recorder, WORKER_2, 1);
    resident(&recorder, WORKER_1, "org/b");
    resident(&recorder, WORKER_2, "org/a");
    recorder_add(&recorder, JOB_A, "org/a", 1000, 1);
    recorder_add(&recorder, JOB_B, "org/b", 1000, 1);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 2);
    for (size_t i = 0; i < 2; i++) {
        const char *home = strcmp(recorder.leases[i].job, JOB_A) == 0 ? WORKER_2 : WORKER_1;
        assert_string_equal(recorder.leases[i].worker, home);
    }
    recorder_close(&recorder);
}

static void test_a_loaded_model_is_kept_for_a_while_not_for_ever(void **state)
{
    struct recorder recorder;
    size_t kept = 0;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.switch_cost_ms = 10000});
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, "org/a", 100000, 1);
    serve(&recorder, 1);
    resident(&recorder, WORKER_1, "org/a");
    recorder_add(&recorder, JOB_B, "org/b", 100000, 1);
    do {
        serve(&recorder, 1);
        kept++;
    } while (strcmp(recorder.leases[recorder.lease_count - 1].job, JOB_A) == 0);
    assert_in_range(kept, 4, 8); /* ten seconds of two-second tasks, and the one that switched */
    recorder_close(&recorder);
}

static void test_the_emptier_worker_is_preferred(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 4);
    recorder_join(&recorder, WORKER_2, 4);
    resident(&recorder, WORKER_1, "org/model");
    resident(&recorder, WORKER_2, "org/model");
    recorder_add(&recorder, JOB_A, NULL, 4, 1);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 4);
    assert_int_equal(open_leases(&recorder, WORKER_1, NULL), 2);
    assert_int_equal(open_leases(&recorder, WORKER_2, NULL), 2);
    recorder_close(&recorder);
}

static void test_a_scoring_only_job_needs_no_model(void **state)
{
    struct recorder recorder;
    const char *const metrics[] = {"exact_match"};
    const struct scheduler_job_spec job = {
        .id = JOB_A, .sample_count = 10, .metrics = metrics, .metric_count = 1};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add_spec(&recorder, &job);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 1);
    recorder_close(&recorder);
}

static void test_a_draining_worker_gets_nothing_new_and_ends_what_it_has(void **state)
{
    struct recorder recorder;
    struct scheduler_worker_load load;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    assert_true(scheduler_worker_drain(recorder.scheduler, WORKER_1, true));
    lease_finish(&recorder, 0, 1.0);
    recorder_pass(&recorder, 60000);
    assert_int_equal(recorder.lease_count, 2);
    assert_int_equal(recorder.revocation_count, 0);
    assert_true(scheduler_worker_load(recorder.scheduler, WORKER_1, recorder.now_ms, &load));
    assert_true(load.draining);
    assert_int_equal(load.tasks, 1);
    assert_true(scheduler_worker_drain(recorder.scheduler, WORKER_1, false));
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 3);
    assert_false(scheduler_worker_drain(recorder.scheduler, STRANGER, true));
    recorder_close(&recorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share_is_of_time_not_of_samples),
        cmocka_unit_test(test_a_new_job_is_owed_nothing_for_the_time_before),
        cmocka_unit_test(test_a_job_that_could_not_run_catches_up_a_little_only),
        cmocka_unit_test(test_interactive_goes_first),
        cmocka_unit_test(test_a_job_goes_where_its_model_is_loaded),
        cmocka_unit_test(test_two_jobs_part_to_their_models),
        cmocka_unit_test(test_a_loaded_model_is_kept_for_a_while_not_for_ever),
        cmocka_unit_test(test_the_emptier_worker_is_preferred),
        cmocka_unit_test(test_a_scoring_only_job_needs_no_model),
        cmocka_unit_test(test_a_draining_worker_gets_nothing_new_and_ends_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
