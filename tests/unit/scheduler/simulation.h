/* A world for the scheduler: workers that crash, hang, lose their connection and fail; a store that is slow
 * or away; a coordinator that restarts. One seed is one history, the same on every machine. */
#ifndef LUMIGRID_TESTS_SCHEDULER_SIMULATION_H
#define LUMIGRID_TESTS_SCHEDULER_SIMULATION_H

#include <stdbool.h>
#include <stdint.h>

struct simulation_report {
    bool finished;          /* every job ended before time ran out */
    uint64_t samples;       /* of all jobs that were to succeed */
    uint64_t missing;       /* of these, without a result or an error: must be 0 */
    uint64_t wrong;         /* jobs that failed, results of poisoned samples: must be 0 */
    uint64_t blamed;        /* errors on good samples: must be 0 where poison is all that goes wrong */
    uint64_t disagreements; /* the scheduler took a result for new that the store knew, or the reverse: must
                               be 0 */
    uint64_t executions;    /* samples run by workers, repetitions included */
    uint64_t kills, reconnects, restarts, outages, adopted, poisoned;
    uint64_t steps;
};

void simulation_run(uint64_t seed, struct simulation_report *report);

/* Nothing fails but the workers that run a poisoned sample, each with several slots. */
void simulation_run_poison_only(uint64_t seed, struct simulation_report *report);

#endif
