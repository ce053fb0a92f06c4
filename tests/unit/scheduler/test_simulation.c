/* Thousands of random histories: every sample ends with exactly one result or one recorded error. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "simulation.h"

static void test_every_sample_ends_once(void **state)
{
    (void)state;
    const char *seeds_text = getenv("SIMULATION_SEEDS");
    const char *first_text = getenv("SIMULATION_FIRST");
    uint64_t seeds = seeds_text ? strtoull(seeds_text, NULL, 10) : 1000;
    uint64_t first = first_text ? strtoull(first_text, NULL, 10) : 1;
    struct simulation_report sum = {0};
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct simulation_report report;
        simulation_run(seed, &report);
        if (!report.finished || report.missing || report.wrong || report.disagreements)
            fail_msg("seed %" PRIu64 ": finished %d, missing %" PRIu64 ", wrong %" PRIu64
                     ", disagreements %" PRIu64,
                seed, report.finished, report.missing, report.wrong, report.disagreements);
        sum.samples += report.samples;
        sum.executions += report.executions;
        sum.kills += report.kills;
        sum.reconnects += report.reconnects;
        sum.restarts += report.restarts;
        sum.outages += report.outages;
        sum.adopted += report.adopted;
        sum.poisoned += report.poisoned;
    }
    printf("%" PRIu64 " histories: %" PRIu64 " samples, %" PRIu64 " executions, %" PRIu64 " kills (%" PRIu64
           " by poison), %" PRIu64 " reconnects (%" PRIu64 " tasks kept), %" PRIu64
           " coordinator restarts, %" PRIu64 " store outages\n",
        seeds, sum.samples, sum.executions, sum.kills, sum.poisoned, sum.reconnects, sum.adopted,
        sum.restarts, sum.outages);
    /* The faults must have happened, or nothing was tested. */
    assert_true(sum.kills && sum.poisoned && sum.reconnects && sum.restarts && sum.outages && sum.adopted);
}

static void test_only_poisoned_samples_are_given_up(void **state)
{
    (void)state;
    uint64_t poisoned = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct simulation_report report;
        simulation_run_poison_only(seed, &report);
        if (!report.finished || report.missing || report.wrong || report.disagreements || report.blamed)
            fail_msg("seed %" PRIu64 ": finished %d, missing %" PRIu64 ", wrong %" PRIu64
                     ", disagreements %" PRIu64 ", blamed %" PRIu64,
                seed, report.finished, report.missing, report.wrong, report.disagreements, report.blamed);
        poisoned += report.poisoned;
    }
    assert_true(poisoned > 300);
}

static void test_same_seed_same_history(void **state)
{
    (void)state;
    struct simulation_report a, b;
    simulation_run(42, &a);
    simulation_run(42, &b);
    assert_memory_equal(&a, &b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_sample_ends_once),
        cmocka_unit_test(test_only_poisoned_samples_are_given_up),
        cmocka_unit_test(test_same_seed_same_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
