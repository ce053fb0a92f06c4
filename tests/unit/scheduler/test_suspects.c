/* Samples that kill the worker that runs them: each is found and given up, and nobody else is blamed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recorder.h"

enum { SAMPLES_MAX = 4096, STEP_MS = 100 };

/* Workers that run their leases for a time that differs from lease to lease, and die of poison. A worker that
 * died is followed by a new process with the same slots. */
struct world {
    struct recorder recorder;
    uint32_t slots;
    uint32_t deaths, processes;
    size_t checked;             /* leases that were looked at */
    size_t answered;            /* given up samples whose error is committed */
    bool poison[SAMPLES_MAX];   /* of JOB_A */
    bool suspect[SAMPLES_MAX];  /* of JOB_A: died in a task so small that it is alone from now on */
    uint32_t runs[SAMPLES_MAX]; /* of JOB_A: leases that held it */
    uint64_t alone_ms;          /* time that suspects ran, and within it the other workers' leases */
    size_t beside;
};

static void world_open(struct world *world, size_t workers, uint32_t slots)
{
    memset(world, 0, sizeof *world);
    recorder_open(&world->recorder, NULL);
    world->slots = slots;
    for (; world->processes < workers; world->processes++) {
        char id[SCHEDULER_ID_BYTES];
        snprintf(id, sizeof id, "%08x-0000-4000-8000-000000000000", world->processes);
        recorder_join(&world->recorder, id, slots);
    }
}

static bool is_suspect(const struct world *world, const struct lease *lease)
{
    return strcmp(lease->job, JOB_A) == 0 && lease->samples == 1 && world->suspect[lease->ranges[0].first];
}

static bool is_poisoned(const struct world *world, const struct lease *lease)
{
    for (uint64_t k = 0; strcmp(lease->job, JOB_A) == 0 && k < SAMPLES_MAX; k++)
        if (world->poison[k] && lease_contains(lease, k))
            return true;
    return false;
}

/* The rule: where a suspect runs, nothing else does. */
static void check_alone(struct world *world)
{
    struct recorder *recorder = &world->recorder;
    for (; world->checked < recorder->lease_count; world->checked++) {
        const struct lease *lease = &recorder->leases[world->checked];
        for (uint64_t k = 0; strcmp(lease->job, JOB_A) == 0 && k < SAMPLES_MAX; k++)
            world->runs[k] += lease_contains(lease, k);
    }
    for (size_t i = 0; i < recorder->lease_count; i++) {
        const struct lease *lease = &recorder->leases[i];
        if (lease->over || !is_suspect(world, lease))
            continue;
        assert_int_equal(open_leases(recorder, lease->worker, NULL), 1);
        world->alone_ms += STEP_MS;
        world->beside += open_leases(recorder, NULL, NULL) - 1;
    }
}

static void kill_worker(struct world *world, const char *worker)
{
    struct recorder *recorder = &world->recorder;
    char id[SCHEDULER_ID_BYTES], next[SCHEDULER_ID_BYTES];
    snprintf(id, sizeof id, "%s", worker);
    for (size_t i = 0; i < recorder->lease_count; i++) {
        const struct lease *lease = &recorder->leases[i];
        if (lease->over || strcmp(lease->worker, id) != 0 || strcmp(lease->job, JOB_A) != 0)
            continue;
        for (uint64_t k = 0; k < SAMPLES_MAX; k++)
            world->suspect[k] |= lease->samples <= 4 && lease_contains(lease, k);
    }
    world->deaths++;
    recorder_lose(recorder, id, false);
    snprintf(next, sizeof next, "%08x-0000-4000-8000-000000000000", world->processes++);
    recorder_join(recorder, next, world->slots);
}

static void step(struct world *world)
{
    struct recorder *recorder = &world->recorder;
    recorder->now_ms += STEP_MS;
    for (size_t i = 0; i < recorder->lease_count; i++) {
        const struct lease *lease = &recorder->leases[i];
        uint64_t takes_ms = 300 + lease->attempt * 7919 % 1700;
        if (lease->over || recorder->now_ms - lease->at_ms < takes_ms)
            continue;
        if (is_poisoned(world, lease))
            kill_worker(world, lease->worker);
        else
            lease_finish(recorder, i, (double)takes_ms / 1000.0);
    }
    recorder_beat(recorder);
    recorder_run(recorder);
    recorder_commit_given_up(recorder, world->answered);
    world->answered = recorder->given_up_count;
    check_alone(world);
}

static bool ended(const struct world *world, const char *job)
{
    for (size_t i = 0; i < world->recorder.ending_count; i++)
        if (strcmp(world->recorder.endings[i].job, job) == 0)
            return true;
    return false;
}

static void play(struct world *world, const char *job, size_t seconds)
{
    for (size_t i = 0; i < seconds * 1000 / STEP_MS && !ended(world, job); i++)
        step(world);
}

/* Each poisoned sample was given up once, no other was, and the job succeeded. */
static void check_end(const struct world *world, uint64_t samples)
{
    const struct recorder *recorder = &world->recorder;
    size_t poisons = 0;
    assert_true(ended(world, JOB_A));
    for (uint64_t k = 0; k < samples; k++)
        poisons += world->poison[k];
    for (size_t i = 0; i < recorder->given_up_count; i++) {
        assert_true(world->poison[recorder->given_up[i].index]);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(recorder->given_up[i].index, recorder->given_up[k].index);
    }
    assert_int_equal(recorder->given_up_count, poisons);
    for (size_t i = 0; i < recorder->ending_count; i++)
        assert_int_equal(recorder->endings[i].outcome, SCHEDULER_SUCCEEDED);
    assert_int_equal(recorder->revocation_count, 0);
}

static void world_close(struct world *world)
{
    recorder_close(&world->recorder);
}

static void test_a_killer_on_one_slot_is_found_by_halving(void **state)
{
    static struct world world;
    (void)state;
    world_open(&world, 1, 1);
    world.poison[37] = true;
    recorder_add(&world.recorder, JOB_A, NULL, 200, 1);
    play(&world, JOB_A, 3600);
    check_end(&world, 200);
    assert_int_equal(world.recorder.given_up[0].index, 37);
    assert_int_equal(world.recorder.given_up[0].reason.code, ERROR_INTERNAL);
    /* A task of at most 1024 is quartered to one in five deaths; alone it has three. */
    assert_in_range(world.deaths, 3, 8);
    world_close(&world);
}

static void test_neighbours_in_other_slots_are_not_given_up(void **state)
{
    static struct world world;
    (void)state;
    world_open(&world, 1, 8);
    world.poison[20] = true;
    recorder_add(&world.recorder, JOB_A, NULL, 300, 1);
    play(&world, JOB_A, 3600);
    check_end(&world, 300);
    world_close(&world);
}

static void test_many_killers_among_workers_with_many_slots(void **state)
{
    static struct world world;
    (void)state;
    world_open(&world, 4, 4);
    for (uint64_t k = 3; k < 1000; k += 97)
        world.poison[k] = true;
    recorder_add(&world.recorder, JOB_A, NULL, 1000, 1);
    play(&world, JOB_A, 36000);
    check_end(&world, 1000);
    world_close(&world);
}

static void test_neighbouring_killers_are_each_found(void **state)
{
    static struct world world;
    (void)state;
    world_open(&world, 2, 4);
    for (uint64_t k = 40; k < 48; k++)
        world.poison[k] = true;
    recorder_add(&world.recorder, JOB_A, NULL, 100, 1);
    play(&world, JOB_A, 36000);
    check_end(&world, 100);
    world_close(&world);
}

static void test_a_job_of_killers_only_still_ends(void **state)
{
    static struct world world;
    (void)state;
    world_open(&world, 2, 2);
    for (uint64_t k = 0; k < 12; k++)
        world.poison[k] = true;
    recorder_add(&world.recorder, JOB_A, NULL, 12, 1);
    play(&world, JOB_A, 36000);
    check_end(&world, 12);
    world_close(&world);
}

static void test_another_job_on_the_same_worker_is_not_blamed(void **state)
{
    static struct world world;
    (void)state;
    world_open(&world, 1, 4);
    world.poison[1] = true;
    recorder_add(&world.recorder, JOB_A, NULL, 4, 1);
    recorder_add(&world.recorder, JOB_B, NULL, 2000, 1);
    play(&world, JOB_B, 36000);
    check_end(&world, 4);
    assert_true(ended(&world, JOB_B));
    for (size_t i = 0; i < world.recorder.given_up_count; i++)
        assert_string_equal(world.recorder.given_up[i].job, JOB_A);
    world_close(&world);
}

static void test_the_only_sample_left_is_not_given_up_for_its_neighbour(void **state)
{
    struct recorder recorder;
    (void)state;
    /* One failure alone is enough here: what failed in company must not count as alone. */
    recorder_open(&recorder, &(struct scheduler_options){.attempts_max = 1});
    recorder_join(&recorder, WORKER_1, 2);
    recorder_add(&recorder, JOB_A, NULL, 1, 1);
    recorder_add(&recorder, JOB_B, NULL, 1, 1);
    recorder_run(&recorder);
    assert_int_equal(open_leases(&recorder, WORKER_1, NULL), 2);
    recorder_lose(&recorder, WORKER_1, false);
    recorder_run(&recorder);
    assert_int_equal(recorder.given_up_count, 0);
    recorder_close(&recorder);
}

/* A job of one suspect: its worker was lost once. */
static void make_suspect(struct recorder *recorder)
{
    recorder_join(recorder, STRANGER, 1);
    recorder_add(recorder, JOB_A, NULL, 1, 1);
    recorder_run(recorder);
    assert_int_equal(open_leases(recorder, STRANGER, JOB_A), 1);
    recorder_lose(recorder, STRANGER, false);
}

static void finish_one(struct recorder *recorder, const char *worker)
{
    for (size_t i = 0; i < recorder->lease_count; i++) {
        if (recorder->leases[i].over || strcmp(recorder->leases[i].worker, worker) != 0)
            continue;
        lease_finish(recorder, i, 1.0);
        return;
    }
    fail_msg("%s runs nothing", worker);
}

static void test_a_suspect_runs_on_an_idle_worker_and_others_stay_away(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    make_suspect(&recorder);
    recorder_pass(&recorder, 1000);
    recorder_join(&recorder, WORKER_1, 4);
    recorder_run(&recorder);
    size_t suspect = lease_of(&recorder, JOB_A, 0);
    assert_string_equal(recorder.leases[suspect].worker, WORKER_1);
    recorder_add(&recorder, JOB_B, NULL, 1000, 100);
    recorder_join(&recorder, WORKER_2, 4);
    recorder_pass(&recorder, 20000);
    assert_int_equal(open_leases(&recorder, WORKER_1, NULL), 1);
    assert_int_equal(open_leases(&recorder, WORKER_2, JOB_B), 4);
    lease_finish(&recorder, suspect, 1.0);
    recorder_run(&recorder);
    assert_int_equal(open_leases(&recorder, WORKER_1, JOB_B), 4);
    recorder_close(&recorder);
}

static void test_a_suspect_prefers_the_idle_worker(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, NULL);
    make_suspect(&recorder);
    recorder_join(&recorder, WORKER_1, 4);
    recorder_add(&recorder, JOB_B, NULL, 1, 1);
    recorder_run(&recorder);
    assert_int_equal(open_leases(&recorder, WORKER_1, JOB_B), 1);
    recorder_join(&recorder, WORKER_2, 4);
    recorder_pass(&recorder, 1000);
    assert_int_equal(open_leases(&recorder, WORKER_2, JOB_A), 1);
    recorder_close(&recorder);
}

static void test_a_worker_is_held_free_when_all_are_busy(void **state)
{
    static struct world world;
    struct recorder *recorder = &world.recorder;
    (void)state;
    world_open(&world, 3, 3);
    make_suspect(recorder);
    recorder_add(recorder, JOB_B, NULL, 1000000, 1);
    world.suspect[0] = true;
    /* JOB_B may run ahead of its share by the cost of a switch or two, not more. */
    play(&world, JOB_A, 60);
    check_end(&world, 1);
    world_close(&world);
}

static void test_a_suspect_does_not_starve_beside_a_stream_of_jobs(void **state)
{
    static struct world world;
    struct recorder *recorder = &world.recorder;
    (void)state;
    world_open(&world, 2, 4);
    make_suspect(recorder);
    world.suspect[0] = true;
    for (int i = 0; i < 600 && !ended(&world, JOB_A); i++) {
        char id[SCHEDULER_ID_BYTES];
        snprintf(id, sizeof id, "cccccccc-0000-4000-8000-%012d", i);
        recorder_add(recorder, id, NULL, 64, 2);
        for (int k = 0; k < 3 && !ended(&world, JOB_A); k++)
            step(&world);
        recorder->ending_count = ended(&world, JOB_A) ? recorder->ending_count : 0;
    }
    assert_true(ended(&world, JOB_A));
    assert_int_equal(recorder->given_up_count, 0);
    world_close(&world);
}

static void test_other_workers_go_on_while_a_suspect_runs(void **state)
{
    static struct world world;
    (void)state;
    world_open(&world, 4, 2);
    world.poison[5] = true;
    recorder_add(&world.recorder, JOB_A, NULL, 4000, 1);
    play(&world, JOB_A, 36000);
    check_end(&world, 4000);
    /* Six slots elsewhere: most of them at work. */
    assert_true(world.alone_ms > 0);
    assert_true(world.beside * STEP_MS >= 3 * world.alone_ms);
    world_close(&world);
}

static void test_the_jobs_other_samples_go_on_while_a_worker_is_held_free(void **state)
{
    struct recorder recorder;
    (void)state;
    recorder_open(&recorder, &(struct scheduler_options){.task_samples_first = 4});
    recorder_join(&recorder, WORKER_1, 2);
    recorder_join(&recorder, WORKER_2, 2);
    recorder_add(&recorder, JOB_A, NULL, 1000, 1);
    recorder_run(&recorder);
    lease_fail(&recorder, lease_of(&recorder, JOB_A, 0), ERROR_INTERNAL, "out of luck"); /* 0 to 3 */
    recorder_pass(&recorder, 1000);
    assert_int_equal(open_leases(&recorder, NULL, NULL), 4); /* all busy with others */
    finish_one(&recorder, WORKER_1);
    recorder_run(&recorder);
    assert_int_equal(open_leases(&recorder, WORKER_1, NULL), 1); /* held free */
    for (int i = 0; i < 5; i++) {
        finish_one(&recorder, WORKER_2);
        recorder_run(&recorder);
        assert_int_equal(open_leases(&recorder, WORKER_2, NULL), 2);
        assert_int_equal(lease_of(&recorder, JOB_A, 0), SIZE_MAX);
    }
    finish_one(&recorder, WORKER_1);
    recorder_run(&recorder);
    size_t suspect = lease_of(&recorder, JOB_A, 0);
    assert_int_not_equal(suspect, SIZE_MAX);
    assert_string_equal(recorder.leases[suspect].worker, WORKER_1);
    assert_int_equal(recorder.leases[suspect].samples, 1);
    assert_int_equal(open_leases(&recorder, WORKER_1, NULL), 1);
    recorder_close(&recorder);
}

static void test_a_reservation_ends_with_its_job_or_its_worker(void **state)
{
    struct recorder recorder;
    (void)state;
    for (int way = 0; way < 3; way++) {
        recorder_open(&recorder, NULL);
        make_suspect(&recorder);
        recorder_join(&recorder, WORKER_1, 2);
        recorder_add(&recorder, JOB_B, NULL, 1000, 1);
        recorder_run(&recorder);
        recorder_pass(&recorder, 1000);
        finish_one(&recorder, WORKER_1);
        recorder_run(&recorder);
        assert_int_equal(open_leases(&recorder, WORKER_1, NULL), 1); /* held free */
        if (way == 0) {
            assert_true(scheduler_job_cancel(recorder.scheduler, JOB_A, NULL));
        } else if (way == 1) {
            recorder_lose(&recorder, WORKER_1, true);
            recorder_join(&recorder, WORKER_2, 2);
        } else {
            assert_true(scheduler_worker_drain(recorder.scheduler, WORKER_1, true));
            recorder_join(&recorder, WORKER_2, 2);
        }
        recorder_run(&recorder);
        if (way == 0)
            assert_int_equal(open_leases(&recorder, WORKER_1, JOB_B), 2);
        else
            assert_int_equal(open_leases(&recorder, WORKER_2, JOB_A), 1);
        recorder_close(&recorder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_killer_on_one_slot_is_found_by_halving),
        cmocka_unit_test(test_neighbours_in_other_slots_are_not_given_up),
        cmocka_unit_test(test_many_killers_among_workers_with_many_slots),
        cmocka_unit_test(test_neighbouring_killers_are_each_found),
        cmocka_unit_test(test_a_job_of_killers_only_still_ends),
        cmocka_unit_test(test_another_job_on_the_same_worker_is_not_blamed),
        cmocka_unit_test(test_the_only_sample_left_is_not_given_up_for_its_neighbour),
        cmocka_unit_test(test_a_suspect_runs_on_an_idle_worker_and_others_stay_away),
        cmocka_unit_test(test_a_suspect_prefers_the_idle_worker),
        cmocka_unit_test(test_a_worker_is_held_free_when_all_are_busy),
        cmocka_unit_test(test_a_suspect_does_not_starve_beside_a_stream_of_jobs),
        cmocka_unit_test(test_other_workers_go_on_while_a_suspect_runs),
        cmocka_unit_test(test_the_jobs_other_samples_go_on_while_a_worker_is_held_free),
        cmocka_unit_test(test_a_reservation_ends_with_its_job_or_its_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
