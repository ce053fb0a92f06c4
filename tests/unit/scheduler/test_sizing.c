/* How many samples a task gets, and how many tasks a worker gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "recorder.h"

static size_t last(const struct recorder *recorder)
{
    return recorder->lease_count - 1;
}

static void test_first_task_is_small_while_nothing_is_known(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.task_samples_first = 5});
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100000, 1);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 1);
    assert_int_equal(recorder.leases[0].samples, 5);
    recorder_close(&recorder);
}

static void test_tasks_shrink_when_the_slot_slows_down(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100000, 1);
    for (int i = 0; i < 30; i++) {
        double per_s = i < 5 ? 500.0 : 0.01;
        recorder_run(&recorder);
        lease_finish(&recorder, last(&recorder), (double)recorder.leases[last(&recorder)].samples / per_s);
    }
    recorder_run(&recorder);
    assert_int_equal(recorder.leases[last(&recorder)].samples, 1);
    recorder_close(&recorder);
}

static void test_no_task_exceeds_the_limit(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.task_samples_max = 50});
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100000, 1);
    for (int i = 0; i < 10; i++) {
        recorder_run(&recorder);
        assert_true(recorder.leases[last(&recorder)].samples <= 50);
        lease_finish(&recorder, last(&recorder), 0);
    }
    assert_int_equal(recorder.leases[last(&recorder)].samples, 50);
    recorder_close(&recorder);
}

static void test_tasks_shrink_at_the_end_so_that_slots_end_together(void **state)
{
    struct recorder recorder;
    uint64_t before = 1000, leased = 0;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.task_samples_first = 1000});
    recorder_join(&recorder, WORKER_1, 2);
    recorder_join(&recorder, WORKER_2, 2);
    recorder_add(&recorder, JOB_A, NULL, 800, 1);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 4);
    for (size_t i = 0; i < recorder.lease_count; i++) {
        assert_true(recorder.leases[i].samples <= before);
        before = recorder.leases[i].samples;
        leased += before;
        lease_finish(&recorder, i, 100.0);
        recorder_run(&recorder);
    }
    /* The first got its eighth (two rounds of four slots), the last a single sample; none was left out. */
    assert_int_equal(recorder.leases[0].samples, 100);
    assert_int_equal(before, 1);
    assert_int_equal(leased, 800);
    assert_int_equal(recorder.ending_count, 1);
    assert_int_equal(recorder.endings[0].outcome, SCHEDULER_SUCCEEDED);
    recorder_close(&recorder);
}

static void test_speed_without_meaning_changes_nothing(void **state)
{
    struct recorder recorder;
    const double seconds[] = {-1.0, 0.0 / 0.0};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100000, 1);
    for (size_t i = 0; i < 2; i++) {
        recorder_run(&recorder);
        lease_finish(&recorder, last(&recorder), seconds[i]);
    }
    recorder_run(&recorder);
    assert_int_equal(recorder.leases[last(&recorder)].samples, 8);
    recorder_close(&recorder);
}

static void test_each_device_gets_as_many_tasks_as_it_has_slots(void **state)
{
    struct recorder recorder;
    const struct scheduler_device devices[] = {{.name = "cpu", .slots = 3}, {.name = "cuda:0", .slots = 2}};
    const char *const schemes[] = {"hf"};
    const struct scheduler_worker_spec spec = {
        .id = WORKER_1, .devices = devices, .device_count = 2, .schemes = schemes, .scheme_count = 1};
    size_t on_cpu = 0;
    struct scheduler_worker_load load;
    (void)state;
    recorder_open(&recorder, NULL);
    assert_true(scheduler_worker_join(recorder.scheduler, &spec, recorder.now_ms, NULL));
    recorder_add(&recorder, JOB_A, NULL, 100000, 1);
    recorder_run(&recorder);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 5);
    for (size_t i = 0; i < recorder.lease_count; i++)
        on_cpu += strcmp(recorder.leases[i].device, "cpu") == 0;
    assert_int_equal(on_cpu, 3);
    assert_true(scheduler_worker_load(recorder.scheduler, WORKER_1, recorder.now_ms, &load));
    assert_int_equal(load.slots, 5);
    assert_int_equal(load.tasks, 5);
    recorder_close(&recorder);
}

static void test_a_slot_is_free_once_all_is_sent(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 1);
    recorder_add(&recorder, JOB_A, NULL, 100, 1);
    recorder_run(&recorder);
    const struct lease first = recorder.leases[0];
    scheduler_task_sent(recorder.scheduler, JOB_A, first.task_id, first.attempt, recorder.now_ms);
    recorder_run(&recorder);
    assert_int_equal(recorder.lease_count, 2);
    assert_false(lease_contains(&recorder.leases[1], 0)); /* still owed by the first, until the commit */
    assert_true(scheduler_task_open(recorder.scheduler, JOB_A, first.task_id, first.attempt));
    assert_int_equal(progress_of(&recorder, JOB_A).done, 0);
    recorder_close(&recorder);
}

static void test_every_sample_is_leased_once(void **state)
{
    struct recorder recorder;
    enum { SAMPLES = 500 };
    int times[SAMPLES] = {0};
    (void)state;
    recorder_open(&recorder, NULL);
    recorder_join(&recorder, WORKER_1, 3);
    recorder_join(&recorder, WORKER_2, 1);
    recorder_add(&recorder, JOB_A, NULL, SAMPLES, 1);
    recorder_run(&recorder);
    for (size_t i = 0; i < recorder.lease_count; i++) {
        for (uint64_t k = 0; k < SAMPLES; k++)
            times[k] += lease_contains(&recorder.leases[i], k);
        lease_finish(&recorder, i, 0.1 * (double)(i % 7));
        recorder_run(&recorder);
    }
    for (int k = 0; k < SAMPLES; k++)
        assert_int_equal(times[k], 1);
    assert_int_equal(recorder.endings[0].outcome, SCHEDULER_SUCCEEDED);
    recorder_close(&recorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_task_is_small_while_nothing_is_known),
        cmocka_unit_test(test_tasks_shrink_when_the_slot_slows_down),
        cmocka_unit_test(test_no_task_exceeds_the_limit),
        cmocka_unit_test(test_tasks_shrink_at_the_end_so_that_slots_end_together),
        cmocka_unit_test(test_speed_without_meaning_changes_nothing),
        cmocka_unit_test(test_each_device_gets_as_many_tasks_as_it_has_slots),
        cmocka_unit_test(test_a_slot_is_free_once_all_is_sent),
        cmocka_unit_test(test_every_sample_is_leased_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
