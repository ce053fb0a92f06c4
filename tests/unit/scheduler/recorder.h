/* A scheduler whose decisions are written down, with workers that do what a test tells them. Every step ends
 * in scheduler_check(). Times move only when a test says so. */
#ifndef LUMIGRID_TESTS_SCHEDULER_RECORDER_H
#define LUMIGRID_TESTS_SCHEDULER_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/scheduler/scheduler.h"

#define JOB_A "aaaaaaaa-0000-4000-8000-000000000000"
#define JOB_B "bbbbbbbb-0000-4000-8000-000000000000"
#define WORKER_1 "00000001-0000-4000-8000-000000000000"
#define WORKER_2 "00000002-0000-4000-8000-000000000000"
#define WORKER_3 "00000003-0000-4000-8000-000000000000"
#define STRANGER "99999999-0000-4000-8000-000000000000"

enum { RECORDER_WORKERS = 8 };

struct lease {
    char worker[SCHEDULER_ID_BYTES], job[SCHEDULER_ID_BYTES], device[16];
    uint64_t task_id, attempt, at_ms;
    struct scheduler_range *ranges;
    size_t range_count;
    uint64_t samples;
    bool over; /* finished, failed, revoked or lost */
};

struct revocation {
    char worker[SCHEDULER_ID_BYTES], job[SCHEDULER_ID_BYTES];
    uint64_t task_id, attempt;
    char reason[128];
};

struct given_up {
    char job[SCHEDULER_ID_BYTES];
    uint64_t index;
    struct error reason;
};

struct ending {
    char job[SCHEDULER_ID_BYTES];
    enum scheduler_outcome outcome;
    bool has_reason;
    struct error reason;
};

struct recorder {
    struct scheduler *scheduler;
    uint64_t now_ms;
    char workers[RECORDER_WORKERS][SCHEDULER_ID_BYTES]; /* connected ones; "" is a free place */
    struct lease *leases;
    size_t lease_count;
    struct revocation *revocations;
    size_t revocation_count;
    struct given_up *given_up;
    size_t given_up_count;
    struct ending endings[8];
    size_t ending_count;
    size_t started_count, wakes;
};

void recorder_open(struct recorder *recorder, const struct scheduler_options *options);
void recorder_close(struct recorder *recorder);

/* A worker with one device "cpu" that runs "hf" and "test" models and scores "exact_match". */
void recorder_join(struct recorder *recorder, const char *worker, uint32_t slots);
/* A job of `model` (NULL: "org/model") with that share. */
void recorder_add(
    struct recorder *recorder, const char *job, const char *model, uint64_t samples, double weight);
void recorder_add_spec(struct recorder *recorder, const struct scheduler_job_spec *spec);

void recorder_run(struct recorder *recorder);
/* Heartbeats of every connected worker: each lists what it runs. */
void recorder_beat(struct recorder *recorder);
/* Lets time pass in steps of 250 ms with heartbeats and runs. */
void recorder_pass(struct recorder *recorder, uint64_t ms);

void lease_commit(struct recorder *recorder, const struct lease *lease);
/* All sent, committed, done: it took `seconds`. */
void lease_finish(struct recorder *recorder, size_t at, double seconds);
void lease_fail(struct recorder *recorder, size_t at, enum error_code code, const char *message);
/* The worker is gone, and all that it ran. */
void recorder_lose(struct recorder *recorder, const char *worker, bool clean);
/* Commits the error of every sample given up since `from`. */
void recorder_commit_given_up(struct recorder *recorder, size_t from);

bool lease_contains(const struct lease *lease, uint64_t index);
/* Leases that are not over: of that worker and job; NULL: any. */
size_t open_leases(const struct recorder *recorder, const char *worker, const char *job);
/* The last lease not over that holds the sample; SIZE_MAX when none does. */
size_t lease_of(const struct recorder *recorder, const char *job, uint64_t index);
struct scheduler_job_progress progress_of(const struct recorder *recorder, const char *job);
struct scheduler_counts counts_of(const struct recorder *recorder);

#endif
