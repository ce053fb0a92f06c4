/* Carrying out what the scheduler decides. Nothing here calls the scheduler from within a decision: what
 * comes of one is told to it later, from the store's callbacks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "coordinator/cluster/state.h"

/* An assignment on its way: its samples are being read. */
struct assignment {
    struct cluster *cluster;
    char worker_id[STORE_ID_BYTES], job_id[STORE_ID_BYTES];
    char *device;
    uint64_t task_id, attempt;
    struct scheduler_range *ranges;
    size_t range_count, at; /* the range that is being read */
    uint64_t next;          /* the next sample of it */
    Lumigrid__Sample **samples;
    size_t count, capacity, bytes;
};

static void assignment_free(struct assignment *assignment)
{
    for (size_t i = 0; i < assignment->count; i++) {
        Lumigrid__Sample *sample = assignment->samples[i];
        free(sample->text.data);
        free(sample->reference.data);
        free(sample->prediction.data);
        free(sample);
    }
    free(assignment->samples);
    free(assignment->ranges);
    free(assignment->device);
    free(assignment);
}

static void give_back(struct assignment *assignment)
{
    struct cluster *cluster = assignment->cluster;
    if (!cluster->closing)
        scheduler_task_returned(cluster->scheduler, assignment->job_id, assignment->task_id,
            assignment->attempt, now_ms(cluster));
    assignment_free(assignment);
}

static void fail_job(struct assignment *assignment, const struct error *err)
{
    if (!assignment->cluster->closing)
        scheduler_job_fail(assignment->cluster->scheduler, assignment->job_id, err);
    assignment_free(assignment);
}

static ProtobufCBinaryData copy_text(struct store_text text)
{
    return (ProtobufCBinaryData){
        .len = text.size, .data = text.bytes ? alloc_copy(text.bytes, text.size) : NULL};
}

static void add_sample(struct assignment *assignment, const struct store_sample *from)
{
    if (assignment->count == assignment->capacity) {
        assignment->capacity = assignment->capacity ? assignment->capacity * 2 : 64;
        assignment->samples =
            alloc_resize(assignment->samples, assignment->capacity, sizeof *assignment->samples);
    }
    Lumigrid__Sample *sample = alloc_zero(1, sizeof *sample);
    lumigrid__sample__init(sample);
    sample->index = from->index;
    sample->text = copy_text(from->example);
    sample->reference = copy_text(from->ground_truth);
    sample->has_reference = from->ground_truth.bytes != NULL;
    sample->prediction = copy_text(from->prediction);
    sample->has_prediction = from->prediction.bytes != NULL;
    assignment->samples[assignment->count++] = sample;
    assignment->bytes += from->example.size + from->ground_truth.size + from->prediction.size;
}

static Lumigrid__TaskKind kind_of(const struct job *job)
{
    if (job->kind == STORE_JOB_EVALUATOR || !*job->model)
        return LUMIGRID__TASK_KIND__TASK_KIND_SCORE;
    return job->metrics.count ? LUMIGRID__TASK_KIND__TASK_KIND_INFER_AND_SCORE
                              : LUMIGRID__TASK_KIND__TASK_KIND_INFER;
}

static void on_job_ready(struct cluster *cluster, struct job *job, const struct error *err, void *context)
{
    struct assignment *assignment = context;
    struct worker *worker = worker_by_id(cluster, assignment->worker_id);
    if (!job && err->code != ERROR_CANCELLED && err->code != ERROR_UNAVAILABLE) {
        fail_job(assignment, err);
        return;
    }
    if (!job || !worker || !worker->connected) {
        give_back(assignment);
        return;
    }
    /* Its lease may have ended while the texts were read. */
    if (scheduler_task_open(cluster->scheduler, job->id, assignment->task_id, assignment->attempt)) {
        Lumigrid__Assign assign = LUMIGRID__ASSIGN__INIT;
        Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
        assign.job_id = job->id;
        assign.task_id = assignment->task_id;
        assign.attempt = assignment->attempt;
        assign.device = assignment->device;
        assign.kind = kind_of(job);
        assign.model = job->model;
        assign.settings_json = job->settings;
        assign.n_metrics = job->metrics.count;
        assign.metrics = job->metrics.items;
        assign.n_samples = assignment->count;
        assign.samples = assignment->samples;
        assign.secret = job->secret ? job->secret : "";
        envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_ASSIGN;
        envelope.assign = &assign;
        worker_send(cluster, worker, &envelope);
        tell_job(cluster, job->id);
    }
    assignment_free(assignment);
}

static void read_more(struct assignment *assignment);

static void on_samples(
    void *context, const struct store_sample *samples, size_t count, const struct error *err)
{
    struct assignment *assignment = context;
    struct cluster *cluster = assignment->cluster;
    const struct scheduler_range *range = &assignment->ranges[assignment->at];
    if (err && (err->code == ERROR_UNAVAILABLE || err->code == ERROR_CANCELLED)) {
        give_back(assignment);
        return;
    }
    bool gap = !err && (!count || samples[0].index != assignment->next ||
                           samples[count - 1].index != assignment->next + count - 1);
    if (err || gap) {
        struct error reason = err ? *err : (struct error){0};
        if (gap)
            error_set(&reason, ERROR_NOT_FOUND, "sample %llu of the job's dataset does not exist (any more)",
                (unsigned long long)assignment->next);
        fail_job(assignment, &reason);
        return;
    }
    size_t taken = 0;
    for (; taken < count; taken++) {
        const struct store_sample *sample = &samples[taken];
        size_t bytes = sample->example.size + sample->ground_truth.size + sample->prediction.size;
        if (assignment->count && assignment->bytes + bytes > ASSIGN_BYTES_MAX)
            break;
        add_sample(assignment, sample);
    }
    assignment->next += taken;
    if (assignment->next == range->first + range->count && ++assignment->at < assignment->range_count)
        assignment->next = assignment->ranges[assignment->at].first;
    if (assignment->at < assignment->range_count && (taken < count || assignment->bytes > ASSIGN_BYTES_MAX)) {
        scheduler_task_cut(cluster->scheduler, assignment->job_id, assignment->task_id, assignment->attempt,
            assignment->next);
        assignment->at = assignment->range_count;
    }
    read_more(assignment);
}

static void read_more(struct assignment *assignment)
{
    struct cluster *cluster = assignment->cluster;
    if (cluster->closing) {
        assignment_free(assignment);
    } else if (assignment->at == assignment->range_count) {
        if (scheduler_task_open(
                cluster->scheduler, assignment->job_id, assignment->task_id, assignment->attempt))
            job_when_loaded(cluster, assignment->job_id, on_job_ready, assignment);
        else
            assignment_free(assignment); /* cancelled meanwhile */
    } else {
        const struct scheduler_range *range = &assignment->ranges[assignment->at];
        const struct job *job = job_by_id(cluster, assignment->job_id);
        if (job && job->dataset_id)
            store_sample_range(cluster->store, job->dataset_id, assignment->next,
                range->first + range->count - assignment->next, on_samples, assignment);
        else
            give_back(assignment); /* it ended meanwhile */
    }
}

static void on_job_known(struct cluster *cluster, struct job *job, const struct error *err, void *context)
{
    struct assignment *assignment = context;
    (void)cluster;
    if (job)
        read_more(assignment);
    else if (err->code == ERROR_UNAVAILABLE || err->code == ERROR_CANCELLED)
        give_back(assignment);
    else
        fail_job(assignment, err);
}

static void on_assign(void *context, const struct scheduler_assignment *decided)
{
    struct cluster *cluster = context;
    struct assignment *assignment = alloc_zero(1, sizeof *assignment);
    assignment->cluster = cluster;
    snprintf(assignment->worker_id, sizeof assignment->worker_id, "%s", decided->worker_id);
    snprintf(assignment->job_id, sizeof assignment->job_id, "%s", decided->job_id);
    assignment->device = alloc_string(decided->device);
    assignment->task_id = decided->task_id;
    assignment->attempt = decided->attempt;
    assignment->range_count = decided->range_count;
    assignment->ranges = alloc_copy(decided->ranges, decided->range_count * sizeof *decided->ranges);
    assignment->next = decided->ranges[0].first;
    /* The job's row may be at hand, but its samples never are: what follows is told later. */
    job_when_loaded(cluster, assignment->job_id, on_job_known, assignment);
}

static void on_revoke(void *context, const char *worker_id, const char *job_id, uint64_t task_id,
    uint64_t attempt, const char *reason)
{
    struct cluster *cluster = context;
    struct worker *worker = worker_by_id(cluster, worker_id);
    Lumigrid__Revoke revoke = LUMIGRID__REVOKE__INIT;
    Lumigrid__Envelope envelope = LUMIGRID__ENVELOPE__INIT;
    if (!worker)
        return;
    revoke.job_id = (char *)job_id;
    revoke.task_id = task_id;
    revoke.attempt = attempt;
    revoke.reason = (char *)reason;
    envelope.message_case = LUMIGRID__ENVELOPE__MESSAGE_REVOKE;
    envelope.revoke = &revoke;
    worker_send(cluster, worker, &envelope);
}

/* ---- samples given up ---- */

struct given_up {
    struct cluster *cluster;
    char job_id[STORE_ID_BYTES];
    uint64_t index;
};

static void on_recorded(void *context, const struct error *err)
{
    struct given_up *given_up = context;
    struct cluster *cluster = given_up->cluster;
    cluster->appends--;
    if (!err || err->code != ERROR_CANCELLED) {
        scheduler_results_committed(
            cluster->scheduler, given_up->job_id, 0, &given_up->index, 1, 1, now_ms(cluster));
        tell_job(cluster, given_up->job_id);
    }
    free(given_up);
}

static void on_give_up(void *context, const char *job_id, uint64_t index, const struct error *reason)
{
    struct cluster *cluster = context;
    struct given_up *given_up = alloc_zero(1, sizeof *given_up);
    const struct store_result result = {
        .index = index,
        .error_code = error_code_name(reason->code),
        .error_message = reason->message,
    };
    *given_up = (struct given_up){.cluster = cluster, .index = index};
    snprintf(given_up->job_id, sizeof given_up->job_id, "%s", job_id);
    log_warn("sample given up", "job", job_id, "sample", LOG_INT(index), "reason", reason->message);
    char *line = alloc_format("sample %llu is recorded as an error after several tries: %s",
        (unsigned long long)index, reason->message);
    store_log_append(cluster->store, job_id, "warn", line);
    free(line);
    cluster->appends++;
    store_results_append(cluster->store, job_id, &result, 1, on_recorded, given_up);
}

/* ---- jobs ---- */

static void on_job_started(void *context, const char *job_id)
{
    struct cluster *cluster = context;
    log_info("job started", "job", job_id);
    store_job_start(cluster->store, job_id, NULL, NULL);
    store_log_append(cluster->store, job_id, "info", "the first samples were leased");
    tell_job(cluster, job_id);
}

struct ending {
    struct cluster *cluster;
    char job_id[STORE_ID_BYTES];
};

static void on_ended(
    void *context, const struct store_job *job, const struct store_job *next, const struct error *err)
{
    struct ending *ending = context;
    if (err && err->code != ERROR_CANCELLED &&
        err->code != ERROR_NOT_FOUND) /* not found: deleted meanwhile */
        log_error_value(LOG_LEVEL_ERROR, "a job's end cannot be written", err);
    if (job) {
        log_info("job ended", "job", job->id, "status", store_job_status_name(job->status), "message",
            job->message ? job->message : "");
        char *line = alloc_format("%s%s%s", store_job_status_name(job->status), job->message ? ": " : "",
            job->message ? job->message : "");
        store_log_append(
            ending->cluster->store, job->id, job->status == STORE_JOB_SUCCEEDED ? "info" : "error", line);
        free(line);
    }
    if (!err)
        tell_job(ending->cluster, ending->job_id);
    if (next && !ending->cluster->closing) { /* else the next coordinator finds it unfinished */
        log_info("job follows", "job", next->id, "kind", store_job_kind_name(next->kind), "workflow",
            next->workflow_id ? next->workflow_id : "-");
        job_schedule(ending->cluster, next);
    }
    job_forget(
        ending->cluster, ending->job_id); /* not in the decision: who waits for it may call the scheduler */
    ending->cluster->appends--;
    free(ending);
}

static void on_job_finished(
    void *context, const char *job_id, enum scheduler_outcome outcome, const struct error *reason)
{
    static const enum store_job_status statuses[] = {
        [SCHEDULER_SUCCEEDED] = STORE_JOB_SUCCEEDED,
        [SCHEDULER_FAILED] = STORE_JOB_FAILED,
        [SCHEDULER_STOPPED] = STORE_JOB_STOPPED,
    };
    struct cluster *cluster = context;
    struct ending *ending = alloc_zero(1, sizeof *ending);
    ending->cluster = cluster;
    snprintf(ending->job_id, sizeof ending->job_id, "%s", job_id);
    cluster->appends++;
    store_job_finish(cluster->store, job_id, statuses[outcome], reason, on_ended, ending);
}

static void on_wake(void *context);

void decisions_fill(struct scheduler_decisions *decisions, struct cluster *cluster)
{
    *decisions = (struct scheduler_decisions){
        .context = cluster,
        .wake = on_wake,
        .assign = on_assign,
        .revoke = on_revoke,
        .give_up = on_give_up,
        .job_started = on_job_started,
        .job_finished = on_job_finished,
    };
}

static void on_run(uv_timer_t *timer)
{
    struct cluster *cluster = timer->data;
    if (!cluster->closing)
        scheduler_run(cluster->scheduler, now_ms(cluster));
}

static void on_wake(void *context)
{
    struct cluster *cluster = context;
    if (!cluster->closing)
        uv_timer_start(cluster->run, on_run, 0, 0);
}
