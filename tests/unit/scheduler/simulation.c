#include "simulation.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/scheduler/scheduler.h"

enum { JOBS = 4, WORKERS = 5, HELD = 24, FAULT_STEPS = 1500, STEPS_MAX = 40000, LEASE_MS = 3000 };

struct sim_job {
    char id[SCHEDULER_ID_BYTES];
    uint64_t total;
    uint8_t *row;    /* what the store holds: 0 nothing, 1 result, 2 error */
    uint8_t *poison; /* running this sample kills the worker */
    bool ended, cancelled;
    enum scheduler_outcome outcome;
};

struct sim_task {
    bool used, finished;
    struct sim_job *job;
    uint64_t id, attempt;
    uint64_t *todo;
    size_t todo_count, at;
    uint64_t *unacked; /* results sent or to be sent, not yet committed */
    size_t unacked_count;
};

struct sim_worker {
    char id[SCHEDULER_ID_BYTES];
    bool alive, connected;
    uint64_t returns_ms, beat_ms;
    struct sim_task tasks[HELD];
};

/* What the coordinator has received and not yet committed, in order. */
struct sim_message {
    bool done; /* the task's end; else one result */
    bool error;
    struct sim_worker *worker; /* NULL: written by the coordinator itself */
    struct sim_job *job;
    uint64_t task_id, attempt, index;
};

struct world {
    uint64_t random, now_ms, attempt_base;
    struct scheduler *scheduler;
    struct sim_job jobs[JOBS];
    struct sim_worker workers[WORKERS];
    struct sim_message *inbox;
    size_t inbox_count, inbox_capacity;
    bool store_down, faults;
    struct simulation_report *report;
};

static uint64_t draw(struct world *world, uint64_t below)
{
    /* xorshift64*: the same numbers everywhere */
    world->random ^= world->random >> 12;
    world->random ^= world->random << 25;
    world->random ^= world->random >> 27;
    return (world->random * 2685821657736338717U >> 11) % below;
}

static bool chance(struct world *world, uint64_t one_in)
{
    return world->faults && draw(world, one_in) == 0;
}

static struct sim_job *job_of(struct world *world, const char *id)
{
    for (int i = 0; i < JOBS; i++)
        if (strcmp(world->jobs[i].id, id) == 0)
            return &world->jobs[i];
    return NULL;
}

static struct sim_worker *worker_of(struct world *world, const char *id)
{
    for (int i = 0; i < WORKERS; i++)
        if (strcmp(world->workers[i].id, id) == 0)
            return &world->workers[i];
    return NULL;
}

static void receive(struct world *world, struct sim_message message)
{
    if (world->inbox_count == world->inbox_capacity) {
        world->inbox_capacity = world->inbox_capacity ? world->inbox_capacity * 2 : 256;
        world->inbox = alloc_resize(world->inbox, world->inbox_capacity, sizeof *world->inbox);
    }
    world->inbox[world->inbox_count++] = message;
}

static void task_forget(struct sim_task *task)
{
    free(task->todo);
    free(task->unacked);
    *task = (struct sim_task){0};
}

static struct sim_task *task_of(
    struct sim_worker *worker, const struct sim_job *job, uint64_t id, uint64_t attempt)
{
    for (int i = 0; i < HELD; i++) {
        struct sim_task *task = &worker->tasks[i];
        if (task->used && task->job == job && task->id == id && task->attempt == attempt)
            return task;
    }
    return NULL;
}

/* ---- decisions ---- */

static void on_wake(void *context)
{
    (void)context;
}

static void on_assign(void *context, const struct scheduler_assignment *a)
{
    struct world *world = context;
    struct sim_worker *worker = worker_of(world, a->worker_id);
    struct sim_job *job = job_of(world, a->job_id);
    assert(job && !job->ended);
    if (!worker || !worker->alive || !worker->connected)
        return; /* lost on the way: that process is gone, or out of reach */
    struct sim_task *task = NULL;
    for (int i = 0; i < HELD && !task; i++)
        if (!worker->tasks[i].used)
            task = &worker->tasks[i];
    if (!task)
        return;
    *task = (struct sim_task){.used = true, .job = job, .id = a->task_id, .attempt = a->attempt};
    task->todo = alloc_zero(a->sample_count, sizeof *task->todo);
    task->unacked = alloc_zero(a->sample_count, sizeof *task->unacked);
    uint64_t first = a->task_id >> SCHEDULER_SPAN_BITS;
    uint64_t span = a->task_id & ((1 << SCHEDULER_SPAN_BITS) - 1);
    for (size_t i = 0; i < a->range_count; i++) {
        assert(a->ranges[i].first >= first);
        assert(a->ranges[i].first + a->ranges[i].count <= first + span);
        for (uint64_t k = 0; k < a->ranges[i].count; k++)
            task->todo[task->todo_count++] = a->ranges[i].first + k;
    }
    assert(task->todo_count == a->sample_count);
}

static void on_revoke(void *context, const char *worker_id, const char *job_id, uint64_t task_id,
    uint64_t attempt, const char *reason)
{
    struct world *world = context;
    struct sim_worker *worker = worker_of(world, worker_id);
    struct sim_task *task =
        worker && worker->connected ? task_of(worker, job_of(world, job_id), task_id, attempt) : NULL;
    assert(*reason);
    if (task)
        task_forget(task);
}

static void on_give_up(void *context, const char *job_id, uint64_t index, const struct error *reason)
{
    assert(reason->code);
    receive(context, (struct sim_message){.error = true, .job = job_of(context, job_id), .index = index});
}

static void on_started(void *context, const char *job_id)
{
    assert(job_of(context, job_id));
}

static void on_finished(
    void *context, const char *job_id, enum scheduler_outcome outcome, const struct error *reason)
{
    struct sim_job *job = job_of(context, job_id);
    assert(!job->ended);
    assert((outcome == SCHEDULER_SUCCEEDED) == (reason == NULL));
    job->ended = true;
    job->outcome = outcome;
}

/* ---- the coordinator ---- */

static void job_schedule(struct world *world, struct sim_job *job)
{
    struct scheduler_range *ranges = alloc_zero(job->total / 2 + 1, sizeof *ranges);
    size_t count = 0;
    for (uint64_t i = 0; i < job->total; i++) {
        if (job->row[i])
            continue;
        if (count && ranges[count - 1].first + ranges[count - 1].count == i)
            ranges[count - 1].count++;
        else
            ranges[count++] = (struct scheduler_range){.first = i, .count = 1};
    }
    const struct scheduler_job_spec spec = {.id = job->id,
        .model = "sim://",
        .sample_count = job->total,
        .remaining = ranges,
        .remaining_count = count,
        .all_done = count == 0,
        .weight = 1.0 + (double)draw(world, 3),
        .interactive = draw(world, 4) == 0};
    struct error err = {0};
    bool added = scheduler_job_add(world->scheduler, &spec, world->now_ms, &err);
    assert(added);
    free(ranges);
}

static void coordinator_start(struct world *world)
{
    const struct scheduler_decisions decisions = {.context = world,
        .wake = on_wake,
        .assign = on_assign,
        .revoke = on_revoke,
        .give_up = on_give_up,
        .job_started = on_started,
        .job_finished = on_finished};
    world->attempt_base += 1000000;
    const struct scheduler_options options = {.lease_ms = LEASE_MS,
        .task_samples_max = 64,
        .backoff_ms = 100,
        .backoff_max_ms = 1000,
        .outages_max = 100000, /* outages here are never the provider's end */
        .attempt_base = world->attempt_base};
    world->scheduler = scheduler_open(&options, &decisions);
    for (int i = 0; i < JOBS; i++)
        if (!world->jobs[i].ended)
            job_schedule(world, &world->jobs[i]);
}

static void coordinator_crash(struct world *world)
{
    world->report->restarts++;
    scheduler_close(world->scheduler);
    world->inbox_count = 0;
    for (int i = 0; i < WORKERS; i++) {
        world->workers[i].connected = false;
        world->workers[i].returns_ms = world->now_ms + draw(world, 2 * LEASE_MS);
    }
    coordinator_start(world);
}

static void acknowledge(const struct sim_message *message)
{
    struct sim_worker *worker = message->worker;
    if (!worker || !worker->alive || !worker->connected)
        return;
    struct sim_task *task = task_of(worker, message->job, message->task_id, message->attempt);
    for (size_t i = 0; task && i < task->unacked_count; i++) {
        if (task->unacked[i] == message->index) {
            task->unacked[i] = task->unacked[--task->unacked_count];
            break;
        }
    }
    if (task && task->finished && !task->unacked_count)
        task_forget(task);
}

static void commit(struct world *world, const struct sim_message *message)
{
    struct sim_job *job = message->job;
    if (message->done) {
        scheduler_task_done(
            world->scheduler, job->id, message->task_id, message->attempt, 0.1, world->now_ms);
        return;
    }
    bool fresh = !job->row[message->index];
    bool known = !job->ended;
    if (fresh && known)
        job->row[message->index] = message->error ? 2 : 1;
    uint64_t taken = scheduler_results_committed(
        world->scheduler, job->id, message->task_id, &message->index, 1, message->error, world->now_ms);
    /* A job that the scheduler has ended, though its decision is still to come, takes nothing. */
    struct scheduler_job_progress progress;
    if (known && scheduler_job_progress(world->scheduler, job->id, world->now_ms, &progress))
        world->report->disagreements += taken != fresh;
    acknowledge(message);
}

static void store_step(struct world *world)
{
    if (chance(world, 300)) {
        world->store_down = true;
        world->report->outages++;
    } else if (world->store_down && (!world->faults || draw(world, 30) == 0)) {
        world->store_down = false;
    }
    scheduler_pause(world->scheduler, world->store_down);
    if (world->store_down)
        return;
    size_t count = world->inbox_count ? 1 + draw(world, world->inbox_count) : 0;
    for (size_t i = 0; i < count; i++)
        commit(world, &world->inbox[i]);
    if (!count)
        return;
    memmove(world->inbox, world->inbox + count, (world->inbox_count - count) * sizeof *world->inbox);
    world->inbox_count -= count;
}

/* ---- the workers ---- */

static void worker_join(struct world *world, struct sim_worker *worker)
{
    struct scheduler_held held[HELD];
    size_t held_count = 0;
    for (int i = 0; i < HELD; i++) {
        struct sim_task *task = &worker->tasks[i];
        if (task->used)
            held[held_count++] = (struct scheduler_held){task->job->id, task->id, task->attempt};
    }
    const struct scheduler_device devices[] = {{.name = "cpu", .slots = 4}, {.name = "cuda:0", .slots = 2}};
    const char *const schemes[] = {"sim", "hf"};
    const struct scheduler_worker_spec spec = {.id = worker->id,
        .devices = devices,
        .device_count = 1 + (worker->id[35] & 1),
        .schemes = schemes,
        .scheme_count = 2,
        .held = held,
        .held_count = held_count};
    struct error err = {0};
    worker->connected = true;
    bool joined = scheduler_worker_join(world->scheduler, &spec, world->now_ms, &err);
    assert(joined);
    /* Everything unacknowledged is sent again, in order, each finished task's end after its results. */
    for (int i = 0; i < HELD; i++) {
        struct sim_task *task = &worker->tasks[i];
        if (!task->used)
            continue;
        world->report->adopted +=
            scheduler_task_open(world->scheduler, task->job->id, task->id, task->attempt);
        for (size_t k = 0; k < task->unacked_count; k++)
            receive(world, (struct sim_message){.worker = worker,
                               .job = task->job,
                               .task_id = task->id,
                               .attempt = task->attempt,
                               .index = task->unacked[k]});
        if (task->finished) {
            scheduler_task_sent(world->scheduler, task->job->id, task->id, task->attempt, world->now_ms);
            receive(world, (struct sim_message){.done = true,
                               .worker = worker,
                               .job = task->job,
                               .task_id = task->id,
                               .attempt = task->attempt});
        }
    }
}

static void worker_kill(struct world *world, struct sim_worker *worker)
{
    world->report->kills++;
    worker->alive = worker->connected = false;
    worker->returns_ms = world->now_ms + 100 + draw(world, 3 * LEASE_MS);
    for (int i = 0; i < HELD; i++)
        task_forget(&worker->tasks[i]);
}

static void worker_rise(struct world *world, struct sim_worker *worker)
{
    if (!worker->alive) {
        /* A new process is a new worker: its id changes. */
        for (int i = 0; i < 8; i++)
            worker->id[i] = "0123456789abcdef"[draw(world, 16)];
        worker->alive = true;
    } else {
        world->report->reconnects++;
    }
    worker_join(world, worker);
}

static void task_fail(struct world *world, struct sim_task *task, enum error_code code)
{
    struct error reason = {0};
    error_set(&reason, code, "simulated");
    scheduler_task_failed(world->scheduler, task->job->id, task->id, task->attempt, &reason, world->now_ms);
    task_forget(task);
}

/* The coordinator could send only a part of the assignment, or nothing of it. */
static void task_send_less(struct world *world, struct sim_task *task)
{
    if (task->todo_count > 1 && draw(world, 2)) {
        task->todo_count /= 2;
        scheduler_task_cut(
            world->scheduler, task->job->id, task->id, task->attempt, task->todo[task->todo_count]);
    } else {
        scheduler_task_returned(world->scheduler, task->job->id, task->id, task->attempt, world->now_ms);
        task_forget(task);
    }
}

/* Runs a few samples; false when that killed the worker. */
static bool task_step(struct world *world, struct sim_worker *worker, struct sim_task *task)
{
    for (uint64_t burst = 1 + draw(world, 12); burst && task->at < task->todo_count; burst--) {
        uint64_t index = task->todo[task->at++];
        world->report->executions++;
        if (task->job->poison[index]) {
            world->report->poisoned++;
            worker_kill(world, worker);
            return false;
        }
        task->unacked[task->unacked_count++] = index;
        if (worker->connected)
            receive(world, (struct sim_message){.worker = worker,
                               .job = task->job,
                               .task_id = task->id,
                               .attempt = task->attempt,
                               .index = index});
    }
    if (task->at == task->todo_count) {
        task->finished = true;
        if (worker->connected) {
            scheduler_task_sent(world->scheduler, task->job->id, task->id, task->attempt, world->now_ms);
            receive(world, (struct sim_message){.done = true,
                               .worker = worker,
                               .job = task->job,
                               .task_id = task->id,
                               .attempt = task->attempt});
        }
    }
    return true;
}

static void worker_beat(struct world *world, struct sim_worker *worker)
{
    struct scheduler_held running[HELD];
    size_t count = 0;
    for (int i = 0; i < HELD; i++) {
        struct sim_task *task = &worker->tasks[i];
        if (task->used && !task->finished)
            running[count++] = (struct scheduler_held){task->job->id, task->id, task->attempt};
    }
    const char *const models[] = {"sim://"};
    worker->beat_ms = world->now_ms + LEASE_MS / 5;
    if (!scheduler_worker_heartbeat(world->scheduler, worker->id, running, count, models, 1, world->now_ms))
        worker_join(world, worker);
}

static void worker_step(struct world *world, struct sim_worker *worker)
{
    if (!worker->connected && world->now_ms >= worker->returns_ms)
        worker_rise(world, worker);
    if (!worker->alive)
        return;
    if (chance(world, 400)) {
        worker_kill(world, worker);
        return;
    }
    if (worker->connected && chance(world, 200)) {
        worker->connected = false; /* a partition: it goes on working */
        worker->returns_ms = world->now_ms + draw(world, 3 * LEASE_MS);
    }
    for (int i = 0; i < HELD; i++) {
        struct sim_task *task = &worker->tasks[i];
        static const enum error_code codes[] = {ERROR_UNAVAILABLE, ERROR_CANCELLED, ERROR_UNAVAILABLE};
        if (!task->used || task->finished)
            continue;
        if (worker->connected && !task->at && chance(world, 100))
            task_send_less(world, task);
        else if (worker->connected && !task->unacked_count && chance(world, 150))
            task_fail(world, task, codes[draw(world, 3)]);
        else if (!task_step(world, worker, task))
            return;
    }
    if (worker->connected && world->now_ms >= worker->beat_ms)
        worker_beat(world, worker);
}

/* ---- the world ---- */

static void world_open(
    struct world *world, uint64_t seed, uint64_t fault_steps, struct simulation_report *report)
{
    *world = (struct world){.random = seed * 0x9e3779b97f4a7c15U + 1, .now_ms = 1000, .report = report};
    for (int i = 0; i < JOBS; i++) {
        struct sim_job *job = &world->jobs[i];
        snprintf(job->id, sizeof job->id, "00000000-0000-4000-8000-00000000000%d", i);
        job->total = 1 + draw(world, 600);
        job->row = alloc_zero(job->total, 1);
        job->poison = alloc_zero(job->total, 1);
        for (uint64_t poison = draw(world, 6); poison; poison--)
            job->poison[draw(world, job->total)] = 1;
    }
    for (int i = 0; i < WORKERS; i++) {
        struct sim_worker *worker = &world->workers[i];
        snprintf(worker->id, sizeof worker->id, "10000000-0000-4000-8000-00000000000%d", i);
        worker->returns_ms = draw(world, 5000);
    }
    world->faults = fault_steps > 0;
    coordinator_start(world);
}

static bool all_ended(const struct world *world)
{
    for (int i = 0; i < JOBS; i++)
        if (!world->jobs[i].ended)
            return false;
    return true;
}

static void judge(struct world *world)
{
    struct simulation_report *report = world->report;
    report->finished = all_ended(world);
    for (int i = 0; i < JOBS; i++) {
        struct sim_job *job = &world->jobs[i];
        if (job->outcome == SCHEDULER_STOPPED && job->cancelled)
            continue;
        report->samples += job->total;
        report->wrong += job->outcome != SCHEDULER_SUCCEEDED;
        for (uint64_t k = 0; k < job->total; k++) {
            report->missing += !job->row[k];
            report->wrong += job->poison[k] && job->row[k] == 1;
            report->blamed += !job->poison[k] && job->row[k] == 2;
        }
    }
}

static void world_close(struct world *world)
{
    scheduler_close(world->scheduler);
    for (int i = 0; i < JOBS; i++) {
        free(world->jobs[i].row);
        free(world->jobs[i].poison);
    }
    for (int i = 0; i < WORKERS; i++)
        for (int k = 0; k < HELD; k++)
            task_forget(&world->workers[i].tasks[k]);
    free(world->inbox);
}

static void run(uint64_t seed, uint64_t fault_steps, struct simulation_report *report)
{
    struct world world;
    *report = (struct simulation_report){0};
    world_open(&world, seed, fault_steps, report);
    for (; !all_ended(&world) && report->steps < STEPS_MAX; report->steps++) {
        world.now_ms += 1 + draw(&world, 100);
        world.faults = report->steps < fault_steps;
        if (chance(&world, 500))
            coordinator_crash(&world);
        for (int i = 0; i < WORKERS; i++)
            worker_step(&world, &world.workers[i]);
        store_step(&world);
        struct sim_job *victim = &world.jobs[draw(&world, JOBS)];
        if (chance(&world, 3000) && scheduler_job_cancel(world.scheduler, victim->id, "simulated"))
            victim->cancelled = true;
        scheduler_run(world.scheduler, world.now_ms);
        scheduler_check(world.scheduler);
    }
    judge(&world);
    world_close(&world);
}

void simulation_run(uint64_t seed, struct simulation_report *report)
{
    run(seed, FAULT_STEPS, report);
}

void simulation_run_poison_only(uint64_t seed, struct simulation_report *report)
{
    run(seed, 0, report);
}
