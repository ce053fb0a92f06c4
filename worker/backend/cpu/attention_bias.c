/* Biases by distance: T5's table, and DeBERTa's products with position vectors. */
#include <string.h>

#include "worker/backend/arguments.h"
#include "worker/backend/cpu/cpu.h"

enum { BLOCK_KEYS = ATTENTION_BLOCK_PAGES * KV_PAGE_TOKENS };

/* ---- T5 ---- */

bool attention_bias_prepare(
    struct cpu_backend *cpu, const struct attention_args *args, struct attention_bias *out)
{
    *out = (struct attention_bias){0};
    if (!args->relative_bias)
        return true;
    const struct weight *table = args->relative_bias;
    assert(table->in == args->heads && table->out >= 2 && args->relative_max_distance > 1);
    size_t queries = 1, keys = 0;
    for (size_t i = 0; i < args->sequence_count; i++) {
        const struct attention_sequence *s = &args->sequences[i];
        size_t end = (size_t)s->q_position + s->q_rows;
        queries = end > queries ? end : queries;
        keys = s->k_rows > keys ? s->k_rows : keys;
    }
    out->zero = queries - 1;
    out->span = queries - 1 + round_up(keys + 1, BLOCK_KEYS);
    float *bias = arena_alloc(cpu, args->heads * out->span, sizeof(float));
    float *row = arena_alloc(cpu, round_up(table->in, LANES), sizeof(float));
    if (cpu->failed)
        return false;
    int32_t last = -1;
    for (size_t i = 0; i < out->span; i++) {
        int32_t bucket = attention_relative_bucket((int32_t)i - (int32_t)out->zero,
            args->relative_bidirectional, (int32_t)table->out, args->relative_max_distance);
        if (bucket != last)
            weight_row(cpu, table, (size_t)bucket, row);
        last = bucket;
        for (size_t h = 0; h < args->heads; h++)
            bias[h * out->span + i] = row[h];
    }
    out->by_distance = bias;
    return true;
}

/* ---- DeBERTa ---- */

struct disentangled_job {
    struct cpu_backend *cpu;
    const struct attention_args *args;
    const struct attention_sequence *sequence;
    const int32_t *index; /* position row for i - j, entry i - j + k_rows - 1 */
    float *scratch;       /* a thread's */
    size_t scratch_floats;
    size_t keys_rounded;
    size_t value_stride, head_floats;
};

static float dot(const float *x, const float *y, size_t count)
{
    float lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += x[i + l] * y[i + l];
    for (size_t l = 0; i < count; i++, l++)
        lanes[l] += x[i] * y[i];
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

/* out[row][p] = x[row] . position[p], for the part of one head. */
static void position_products(struct tensor x, size_t first, size_t rows, struct tensor position, size_t head,
    size_t head_dim, float *out)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t p = 0; p < position.rows; p++)
            out[r * position.rows + p] = dot(tensor_row(x, first + r) + head * head_dim,
                tensor_row(position, p) + head * head_dim, head_dim);
}

/* One head of one sequence. */
static void disentangled_head(void *context, size_t head, size_t thread)
{
    const struct disentangled_job *job = context;
    const struct attention_args *args = job->args;
    const struct attention_sequence *s = job->sequence;
    size_t keys = s->k_rows, positions = 2 * (size_t)args->position_span;
    float *pages = job->scratch + thread * job->scratch_floats;
    float *key_products = pages + (job->keys_rounded / KV_PAGE_TOKENS) * job->head_floats;
    float *query_products = key_products + keys * positions;
    float *bias = query_products + positions;
    struct attend_tile tile = {
        .rows = 1,
        .pages = pages,
        .page_stride = job->head_floats,
        .keys = keys,
        .head_dim = args->head_dim,
        .value_dim = args->value_dim,
        .value_stride = job->value_stride,
        .scale = args->scale,
        .window_left = -1,
        .window_right = -1,
        .accumulator = bias + job->keys_rounded,
    };
    for (size_t first = 0; first < keys; first += KV_PAGE_TOKENS)
        page_write(pages + first / KV_PAGE_TOKENS * job->head_floats, 0,
            keys - first < KV_PAGE_TOKENS ? keys - first : KV_PAGE_TOKENS,
            tensor_row(args->k, s->k_row + first) + head * args->head_dim, args->k.stride, args->head_dim,
            tensor_row(args->v, s->k_row + first) + head * args->value_dim, args->v.stride, args->value_dim,
            job->value_stride);
    if (args->position_query.data)
        position_products(args->k, s->k_row, keys, args->position_query, head, args->head_dim, key_products);
    memset(bias, 0, job->keys_rounded * sizeof(float));
    for (size_t i = 0; i < s->q_rows; i++) {
        if (args->position_key.data)
            position_products(
                args->q, s->q_row + i, 1, args->position_key, head, args->head_dim, query_products);
        for (size_t j = 0; j < keys; j++) {
            size_t row = (size_t)job->index[i + keys - 1 - j];
            float term = args->position_key.data ? query_products[row] : 0.0F;
            term += args->position_query.data ? key_products[j * positions + row] : 0.0F;
            bias[j] = args->scale * term;
        }
        tile.q[0] = tensor_row(args->q, s->q_row + i) + head * args->head_dim;
        tile.out[0] = tensor_row(args->out, s->q_row + i) + head * args->value_dim;
        tile.bias[0] = bias;
        job->cpu->kernels->attend(&tile);
    }
}

static bool index_positions(struct disentangled_job *job)
{
    const struct attention_args *args = job->args;
    size_t keys = job->sequence->k_rows, count = keys + job->sequence->q_rows;
    int32_t *index = arena_alloc(job->cpu, count, sizeof *index), span = args->position_span;
    if (!index)
        return false;
    for (size_t i = 0; i < count; i++) {
        int32_t distance = (int32_t)i - (int32_t)keys + 1;
        int32_t row =
            attention_disentangled_bucket(distance, args->position_buckets, args->position_max) + span;
        index[i] = row < 0 ? 0 : row > 2 * span - 1 ? 2 * span - 1 : row;
    }
    job->index = index;
    return true;
}

void attention_disentangled(struct cpu_backend *cpu, const struct attention_args *args)
{
    size_t positions = 2 * (size_t)args->position_span;
    assert(!args->cache && args->heads == args->kv_heads && args->position_span > 0);
    assert(!args->position_key.data || args->position_key.rows == positions);
    assert(!args->position_query.data || args->position_query.rows == positions);
    for (size_t i = 0; i < args->sequence_count; i++) {
        struct disentangled_job job = {.cpu = cpu, .args = args, .sequence = &args->sequences[i]};
        size_t keys = job.sequence->k_rows, mark = arena_mark(cpu);
        if (keys == 0 || job.sequence->q_rows == 0)
            continue;
        job.keys_rounded = round_up(keys, BLOCK_KEYS);
        job.value_stride = round_up(args->value_dim, 16);
        job.head_floats = (args->head_dim + job.value_stride) * KV_PAGE_TOKENS;
        job.scratch_floats = job.keys_rounded / KV_PAGE_TOKENS * job.head_floats + (keys + 1) * positions +
                             job.keys_rounded + job.value_stride;
        job.scratch =
            arena_alloc(cpu, (size_t)threads_count(cpu->threads) * job.scratch_floats, sizeof(float));
        if (job.scratch && index_positions(&job))
            cpu_run(cpu, args->heads, (double)keys * (double)keys * (double)args->q.width, disentangled_head,
                &job);
        arena_release(cpu, mark);
    }
}
