/* Choosing tokens: edits, log-softmax, and the best of each row. */
#include <math.h>
#include <string.h>

#include "worker/backend/cpu/cpu.h"

struct select_job {
    const struct cpu_backend *cpu;
    const struct select_args *args;
    const size_t *first_edit; /* [rows + 1] */
};

static void apply_edits(const struct select_job *job, size_t row, float *scores)
{
    size_t vocabulary = job->args->logits.width;
    for (size_t i = job->first_edit[row]; i < job->first_edit[row + 1]; i++) {
        const struct edit *edit = &job->args->edits[i];
        float *score = &scores[edit->id];
        switch (edit->kind) {
        case EDIT_BAN: *score = -INFINITY; break;
        case EDIT_ADD: *score += edit->value; break;
        case EDIT_PENALTY: *score = *score > 0.0F ? *score / edit->value : *score * edit->value; break;
        case EDIT_ONLY:
            for (size_t id = 0; id < vocabulary; id++)
                scores[id] = -INFINITY;
            *score = 0.0F;
            break;
        }
    }
}

static void log_softmax(const struct kernels *kernels, float *scores, size_t count)
{
    float maximum = kernels->maximum(scores, count);
    if (maximum == -INFINITY)
        return; /* everything is banned */
    float sum = kernels->log_sum_exp(scores, count, maximum);
    for (size_t i = 0; i < count; i++)
        scores[i] -= sum;
}

/* Whether x comes before y among the best. */
static bool better(float x, int32_t x_id, float y, int32_t y_id)
{
    return x > y || (x == y && x_id < y_id);
}

/* A heap of the best so far whose root is the worst of them. */
static void sift_down(float *scores, int32_t *ids, size_t count, size_t at)
{
    float score = scores[at];
    int32_t id = ids[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && better(scores[child], ids[child], scores[child + 1], ids[child + 1]))
            child++;
        if (!better(score, id, scores[child], ids[child]))
            break;
        scores[at] = scores[child];
        ids[at] = ids[child];
    }
    scores[at] = score;
    ids[at] = id;
}

static void best_of(const float *scores, size_t count, size_t top, int32_t *best_ids, float *best)
{
    for (size_t i = 0; i < top; i++) {
        best[i] = scores[i] == scores[i] ? scores[i] : -INFINITY;
        best_ids[i] = (int32_t)i;
    }
    for (size_t i = top / 2; i-- > 0;)
        sift_down(best, best_ids, top, i);
    for (size_t i = top; i < count; i++)
        if (scores[i] > best[0]) { /* NaN is not; nor is an equal score, whose id is higher */
            best[0] = scores[i];
            best_ids[0] = (int32_t)i;
            sift_down(best, best_ids, top, 0);
        }
    for (size_t left = top; left > 1;) {
        left--;
        float worst = best[0];
        int32_t worst_id = best_ids[0];
        best[0] = best[left];
        best_ids[0] = best_ids[left];
        best[left] = worst;
        best_ids[left] = worst_id;
        sift_down(best, best_ids, left, 0);
    }
}

static void select_row(void *context, size_t row, size_t thread)
{
    (void)thread;
    const struct select_job *job = context;
    const struct select_args *args = job->args;
    const struct kernels *kernels = job->cpu->kernels;
    size_t vocabulary = args->logits.width;
    float *scores = tensor_row(args->logits, row);
    kernels->scale(scores, vocabulary, 1.0F, args->soft_cap);
    if (!args->edits_after)
        apply_edits(job, row, scores);
    if (!args->raw)
        log_softmax(kernels, scores, vocabulary);
    if (args->edits_after)
        apply_edits(job, row, scores);
    best_of(scores, vocabulary, args->top, args->ids + row * args->top, args->scores + row * args->top);
}

static void find_edits(const struct select_args *args, size_t *first_edit)
{
    size_t edit = 0;
    for (size_t row = 0; row < args->logits.rows; row++) {
        first_edit[row] = edit;
        for (; edit < args->edit_count && (size_t)args->edits[edit].row == row; edit++)
            assert(args->edits[edit].id >= 0 && (size_t)args->edits[edit].id < args->logits.width);
    }
    first_edit[args->logits.rows] = edit;
    assert(edit == args->edit_count); /* in order of row */
}

bool cpu_select(struct backend *b, const struct select_args *args, struct error *err)
{
    struct cpu_backend *cpu = cpu_of(b);
    assert(args->top >= 1 && args->top <= args->logits.width);
    size_t mark = arena_mark(cpu);
    size_t *first_edit = arena_alloc(cpu, args->logits.rows + 1, sizeof *first_edit);
    if (first_edit) {
        find_edits(args, first_edit);
        struct select_job job = {.cpu = cpu, .args = args, .first_edit = first_edit};
        cpu_run(
            cpu, args->logits.rows, (double)args->logits.rows * (double)args->logits.width, select_row, &job);
        arena_release(cpu, mark);
    }
    if (cpu->failed && err)
        *err = cpu->failure;
    return !cpu->failed;
}
