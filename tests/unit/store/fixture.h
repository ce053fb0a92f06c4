/* A private Postgres and a loop that runs until something has happened. */
#ifndef LUMIGRID_TESTS_STORE_FIXTURE_H
#define LUMIGRID_TESTS_STORE_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "coordinator/store/store.h"

struct fixture {
    uv_loop_t loop;
    char dir[64];
    char conninfo[160];
    struct store *store;
    enum store_state state;
    struct error reason; /* of the last state */
    uint32_t states;     /* a bit for each state seen */
};

/* postgres.sh COMMAND on the fixture's folder. */
void fixture_postgres(const struct fixture *fixture, const char *command);

/* Runs SQL from outside, with psql; aborts when it fails. */
void fixture_sql(const struct fixture *fixture, const char *sql);

int fixture_open(void **state);  /* cmocka group setup: Postgres runs, no store yet */
int fixture_close(void **state); /* and teardown */

/* A store on the fixture's database, its state kept in `fixture`. */
struct store *fixture_store_open(struct fixture *fixture, const struct store_options *options);
void fixture_store_close(struct fixture *fixture, struct store *store);
void fixture_store_active(struct fixture *fixture); /* opens fixture->store and waits until it serves */

/* Runs the loop until *flag; fails the test after a minute. */
void fixture_wait(struct fixture *fixture, const bool *flag);
void fixture_wait_state(struct fixture *fixture, enum store_state state);

/* ---- a waiting caller for each kind of callback ---- */

struct outcome {
    bool called;
    struct error err;
    uint64_t total, count;
    char text[4096];
    struct store_dataset dataset;
    struct store_job job, next;
};
void outcome_done(void *context, const struct error *err);
void outcome_dataset(void *context, const struct store_dataset *dataset, const struct error *err);
void outcome_job(void *context, const struct store_job *job, const struct error *err); /* text: message */
void outcome_experiment(                                                               /* text: its id */
    void *context, const struct store_experiment *experiment, const struct error *err);
void outcome_ended(
    void *context, const struct store_job *job, const struct store_job *next, const struct error *err);

/* Uploads `count` samples "text 0", … with ground truth "truth 0", …; returns the dataset's id. */
void fixture_dataset(struct fixture *fixture, uint64_t count, char id[STORE_ID_BYTES]);
void fixture_job(struct fixture *fixture, const char *dataset_id, char id[STORE_ID_BYTES]);

#endif
