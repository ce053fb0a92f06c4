/* Attention: sequences are cut into pieces for the kernels, biases by distance are prepared. */
#include "worker/backend/arguments.h"
#include "worker/backend/cuda/device.h"

/* Blocks a multiprocessor should have before a block takes more than one split of the keys. */
enum { BLOCKS_EACH = 2 };

struct job {
    struct cuda_backend *cuda;
    const struct attention_args *args;
    size_t group; /* query heads to a key head */
    size_t keys;  /* of the longest sequence */
    struct attention_kernel kernel;
};

/* ---- what the kernel reads: sequences, their pages, pieces ---- */

static const void *send_sequences(struct job *job)
{
    const struct attention_args *args = job->args;
    size_t bytes = args->sequence_count * sizeof(struct sequence);
    struct sequence *out = staging_take(job->cuda, bytes);
    if (!out)
        return NULL;
    size_t page = 0;
    for (size_t i = 0; i < args->sequence_count; i++) {
        const struct attention_sequence *s = &args->sequences[i];
        out[i] = (struct sequence){.q_row = (int)s->q_row,
            .q_rows = (int)s->q_rows,
            .q_position = s->q_position,
            .k_row = (int)s->k_row,
            .k_rows = (int)s->k_rows,
            .page = (int)page};
        page += args->cache ? pages_of(s->k_rows) : 0;
        job->keys = s->k_rows > job->keys ? s->k_rows : job->keys;
    }
    return staging_send(job->cuda, out, bytes);
}

static const int32_t *send_pages(struct job *job)
{
    const struct attention_args *args = job->args;
    size_t count = 0;
    for (size_t i = 0; i < args->sequence_count; i++)
        count += pages_of(args->sequences[i].k_rows);
    int32_t *out = staging_take(job->cuda, count * sizeof *out);
    if (!out)
        return NULL;
    size_t at = 0;
    for (size_t i = 0; i < args->sequence_count; i++)
        for (size_t p = 0; p < pages_of(args->sequences[i].k_rows); p++)
            out[at++] = args->sequences[i].pages[p];
    return staging_send(job->cuda, out, count * sizeof *out);
}

/* Small pieces when no sequence fills more: a decoder's step. A result does not depend on it. */
static const void *send_pieces(struct job *job)
{
    const struct attention_args *args = job->args;
    struct attention_kernel *k = &job->kernel;
    size_t most = 0, count = 0, at = 0;
    for (size_t i = 0; i < args->sequence_count; i++) {
        size_t rows = args->sequences[i].q_rows * job->group;
        most = rows > most ? rows : most;
    }
    k->piece_rows = most > FEW_PIECE_ROWS ? MANY_PIECE_ROWS : FEW_PIECE_ROWS;
    size_t rows = (size_t)k->piece_rows;
    for (size_t i = 0; i < args->sequence_count; i++)
        count += (args->sequences[i].q_rows * job->group + rows - 1) / rows;
    struct piece *out = staging_take(job->cuda, count * sizeof *out);
    if (!out)
        return NULL;
    for (size_t i = 0; i < args->sequence_count; i++)
        for (size_t first = 0; first < args->sequences[i].q_rows * job->group; first += rows)
            out[at++] = (struct piece){.sequence = (int)i, .first = (int)first};
    k->piece_count = (int)count;
    return staging_send(job->cuda, out, count * sizeof *out);
}

static bool send_work(struct job *job)
{
    struct attention_kernel *k = &job->kernel;
    const struct attention_args *args = job->args;
    k->sequences = send_sequences(job);
    k->pieces = send_pieces(job);
    if (args->cache) {
        k->page_ids = send_pages(job);
        k->pages = args->cache->pages;
        k->layer = (int)args->layer;
    } else {
        k->k = tensor_at(args->k);
        k->k_stride = args->k.stride;
        k->v = tensor_at(args->v);
        k->v_stride = args->v.stride;
    }
    return !job->cuda->failed && k->piece_count > 0;
}

/* ---- splits ---- */

static bool plan_splits(struct job *job)
{
    struct attention_kernel *k = &job->kernel;
    const struct attention_args *args = job->args;
    size_t splits = (job->keys + SPLIT_KEYS - 1) / SPLIT_KEYS;
    size_t blocks = (size_t)k->piece_count * args->kv_heads;
    k->splits = 1;
    if (splits <= 1 || blocks >= (size_t)job->cuda->multiprocessors * BLOCKS_EACH)
        return true;
    size_t rows = args->q.rows * args->heads;
    k->splits = (int)splits;
    k->part_rows = (int)rows;
    k->parts = scratch_take(job->cuda, splits * rows, args->value_dim * sizeof(float));
    k->part_sums = scratch_take(job->cuda, splits * rows, 2 * sizeof(float));
    return !job->cuda->failed;
}

/* ---- biases by distance ---- */

/* The table row of every distance key - query that occurs. */
static bool send_buckets(struct job *job)
{
    const struct attention_args *args = job->args;
    size_t queries = 1;
    for (size_t i = 0; i < args->sequence_count; i++) {
        size_t end = (size_t)args->sequences[i].q_position + args->sequences[i].q_rows;
        queries = end > queries ? end : queries;
    }
    size_t count = queries + job->keys;
    int32_t *out = staging_take(job->cuda, count * sizeof *out), span = args->position_span;
    if (!out)
        return false;
    for (size_t i = 0; i < count; i++) {
        int32_t distance = (int32_t)i - (int32_t)(queries - 1);
        if (args->relative_bias) {
            out[i] = attention_relative_bucket(distance, args->relative_bidirectional,
                (int32_t)args->relative_bias->out, args->relative_max_distance);
            continue;
        }
        int32_t row =
            attention_disentangled_bucket(-distance, args->position_buckets, args->position_max) + span;
        out[i] = row < 0 ? 0 : row > 2 * span - 1 ? 2 * span - 1 : row;
    }
    job->kernel.bucket_zero = (int)(queries - 1);
    job->kernel.buckets = staging_send(job->cuda, out, count * sizeof *out);
    return job->kernel.buckets != NULL;
}

static const float *position_terms(struct job *job, struct tensor x, struct tensor position)
{
    const struct attention_args *args = job->args;
    if (!position.data)
        return NULL;
    assert(position.rows == 2 * (size_t)args->position_span);
    struct position_kernel k = {
        .out = scratch_take(job->cuda, x.rows * args->heads, position.rows * sizeof(float)),
        .x = tensor_at(x),
        .x_stride = x.stride,
        .position = tensor_at(position),
        .position_stride = position.stride,
        .rows = (int)x.rows,
        .positions = (int)position.rows,
        .heads = (int)args->heads,
        .head_dim = (int)args->head_dim};
    if (k.out)
        cuda_check(job->cuda, position_launch(&k, job->cuda->stream), "position terms");
    job->kernel.positions = k.positions;
    return k.out;
}

static bool prepare_bias(struct job *job)
{
    const struct attention_args *args = job->args;
    bool disentangled = args->position_key.data || args->position_query.data;
    if (args->relative_bias) {
        assert(args->relative_bias->in == args->heads && args->relative_bias->out >= 2 &&
               args->relative_max_distance > 1);
        job->kernel.bias = cuda_table_rows(job->cuda, args->relative_bias, args->relative_bias->out).data;
    } else if (disentangled) {
        assert(!args->cache && args->heads == args->kv_heads && args->position_span > 0);
        job->kernel.by_query = position_terms(job, args->q, args->position_key);
        job->kernel.by_key = position_terms(job, args->k, args->position_query);
    } else {
        return true;
    }
    return send_buckets(job) && !job->cuda->failed;
}

void cuda_attention(struct backend *b, const struct attention_args *args)
{
    struct cuda_backend *cuda = cuda_of(b);
    attention_args_check(args, args->cache ? &args->cache->shape : NULL);
    if (cuda->failed)
        return;
    if (args->head_dim > HEAD_DIM_MAX || args->value_dim > HEAD_DIM_MAX) {
        cuda_fail(cuda, ERROR_UNSUPPORTED, "cuda: attention heads of %zu; up to %d are supported",
            args->head_dim, (int)HEAD_DIM_MAX);
        return;
    }
    size_t mark = scratch_mark(cuda);
    struct job job = {.cuda = cuda, .args = args, .group = args->heads / args->kv_heads};
    job.kernel = (struct attention_kernel){
        .out = tensor_at(args->out),
        .out_stride = args->out.stride,
        .q = tensor_at(args->q),
        .q_stride = args->q.stride,
        .heads = (int)args->heads,
        .kv_heads = (int)args->kv_heads,
        .head_dim = (int)args->head_dim,
        .value_dim = (int)args->value_dim,
        .scale = args->scale,
        .soft_cap = args->soft_cap,
        .window_left = args->window_left,
        .window_right = args->window_right,
        .global_keys = (int)args->global_keys,
    };
    if (send_work(&job) && prepare_bias(&job) && plan_splits(&job) &&
        cuda_check(cuda, attention_exact_launch(&job.kernel, cuda->stream), "attention") &&
        job.kernel.splits > 1)
        cuda_check(cuda, attention_join_launch(&job.kernel, cuda->stream), "joining attention");
    scratch_release(cuda, mark);
}
