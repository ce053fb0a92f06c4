/* Choosing tokens: edits go to the device, a few ids and scores a row come back. More than TOP_MAX of a row
 * (sampling without top-k) are sorted here. */
#include <stdlib.h>
#include <string.h>

#include "worker/backend/cuda/device.h"

/* [rows + 1] first edits, then [rows] the last EDIT_ONLY of each. */
static const int32_t *send_rows(struct cuda_backend *cuda, const struct select_args *args)
{
    size_t rows = args->logits.rows, bytes = (2 * rows + 1) * sizeof(int32_t), edit = 0;
    int32_t *first = staging_take(cuda, bytes), *only;
    if (!first)
        return NULL;
    only = first + rows + 1;
    for (size_t row = 0; row < rows; row++) {
        first[row] = (int32_t)edit;
        only[row] = -1;
        for (; edit < args->edit_count && (size_t)args->edits[edit].row == row; edit++) {
            assert(args->edits[edit].id >= 0 && (size_t)args->edits[edit].id < args->logits.width);
            if (args->edits[edit].kind == EDIT_ONLY)
                only[row] = (int32_t)edit;
        }
    }
    first[rows] = (int32_t)edit;
    assert(edit == args->edit_count); /* in order of row */
    return staging_send(cuda, first, bytes);
}

static const struct device_edit *send_edits(struct cuda_backend *cuda, const struct select_args *args)
{
    size_t bytes = args->edit_count * sizeof(struct device_edit);
    struct device_edit *out = staging_take(cuda, bytes);
    if (!out)
        return NULL;
    for (size_t i = 0; i < args->edit_count; i++)
        out[i] = (struct device_edit){
            .id = args->edits[i].id, .kind = (int32_t)args->edits[i].kind, .value = args->edits[i].value};
    return staging_send(cuda, out, bytes);
}

struct ranked {
    float score;
    int32_t id;
};

static int by_rank(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

/* Scores of a row are downloaded and sorted. */
static void sort_rows(struct cuda_backend *cuda, const struct select_args *args, struct error *err)
{
    size_t vocabulary = args->logits.width;
    float *scores = malloc(vocabulary * sizeof *scores);
    struct ranked *ranked = malloc(vocabulary * sizeof *ranked);
    if (!scores || !ranked)
        cuda_fail(cuda, ERROR_MEMORY, "no memory to sort %zu scores", vocabulary);
    for (size_t row = 0; ranked && scores && row < args->logits.rows && !cuda->failed; row++) {
        if (!cuda->base.ops->download(&cuda->base, tensor_rows(args->logits, row, 1), scores, err))
            break;
        for (size_t i = 0; i < vocabulary; i++)
            ranked[i] = (struct ranked){scores[i] == scores[i] ? scores[i] : -__builtin_inff(), (int32_t)i};
        qsort(ranked, vocabulary, sizeof *ranked, by_rank);
        for (size_t i = 0; i < args->top; i++) {
            args->ids[row * args->top + i] = ranked[i].id;
            args->scores[row * args->top + i] = ranked[i].score;
        }
    }
    free(scores);
    free(ranked);
}

/* Ids, then scores, of all rows: one copy to pinned memory. */
static void fetch(struct cuda_backend *cuda, const struct select_args *args, const int32_t *from)
{
    size_t count = args->logits.rows * args->top, bytes = 2 * count * sizeof(float);
    char *host = staging_take(cuda, bytes);
    if (!host ||
        !cuda_check(
            cuda, cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, cuda->stream), "fetching ids") ||
        !cuda_check(cuda, cudaStreamSynchronize(cuda->stream), "choosing tokens"))
        return;
    memcpy(args->ids, host, count * sizeof *args->ids);
    memcpy(args->scores, host + count * sizeof *args->ids, count * sizeof *args->scores);
}

bool cuda_select(struct backend *b, const struct select_args *args, struct error *err)
{
    struct cuda_backend *cuda = cuda_of(b);
    size_t rows = args->logits.rows, mark = scratch_mark(cuda), top = args->top <= TOP_MAX ? args->top : 0;
    assert(args->top >= 1 && args->top <= args->logits.width);
    if (!cuda->failed && rows > 0) {
        const int32_t *first_edit = send_rows(cuda, args);
        const struct device_edit *edits = send_edits(cuda, args);
        int32_t *best = scratch_take(cuda, 2 * rows * top, sizeof *best);
        struct select_kernel kernel = {
            .stride = args->logits.stride,
            .rows = (int)rows,
            .vocabulary = (int)args->logits.width,
            .top = (int)top,
            .soft_cap = args->soft_cap,
            .edits = edits,
            .first_edit = first_edit,
            .edits_after = args->edits_after,
            .raw = args->raw,
            .ids = best,
        };
        if (!cuda->failed) {
            kernel.logits = tensor_at(args->logits);
            kernel.only = first_edit + rows + 1;
            kernel.scores = (float *)(best + rows * top);
            cuda_check(cuda, select_launch(&kernel, cuda->stream), "choosing tokens");
        }
        if (!cuda->failed && top > 0)
            fetch(cuda, args, best);
        else if (!cuda->failed)
            sort_rows(cuda, args, err);
        scratch_release(cuda, mark);
    }
    if (cuda->failed && err)
        *err = cuda->failure;
    return !cuda->failed;
}
