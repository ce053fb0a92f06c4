/* Attention: sequences are cut into pieces of a key head and some rows of queries; a piece goes through its
 * keys tile by tile. Without a cache, keys and values are first laid out as pages in scratch. */
#include <string.h>

#include "worker/backend/arguments.h"
#include "worker/backend/cpu/cpu.h"

enum { PIECE_ROWS = 8 * ATTENTION_TILE_ROWS };

struct piece {
    uint32_t sequence, head;
    size_t first; /* row: query row * group + query head of the group */
};

struct attention_job {
    struct cpu_backend *cpu;
    const struct attention_args *args;
    size_t group; /* query heads to a key head */
    size_t value_stride, head_floats;
    struct attention_bias bias;
    const float **pages; /* without a cache: a sequence's first page of its first key head */
    struct piece *pieces;
    float *accumulators; /* a thread's */
};

static size_t page_count(const struct attention_sequence *sequence)
{
    return (sequence->k_rows + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}

/* ---- pages without a cache ---- */

static void lay_out_head(void *context, size_t index, size_t thread)
{
    (void)thread;
    const struct attention_job *job = context;
    const struct attention_args *args = job->args;
    const struct attention_sequence *sequence = &args->sequences[index / args->kv_heads];
    size_t head = index % args->kv_heads, pages = page_count(sequence);
    float *page = (float *)job->pages[index / args->kv_heads] + head * pages * job->head_floats;
    for (size_t p = 0; p < pages; p++, page += job->head_floats) {
        size_t first = p * KV_PAGE_TOKENS, rows = sequence->k_rows - first;
        rows = rows < KV_PAGE_TOKENS ? rows : KV_PAGE_TOKENS;
        page_write(page, 0, rows, tensor_row(args->k, sequence->k_row + first) + head * args->head_dim,
            args->k.stride, args->head_dim,
            tensor_row(args->v, sequence->k_row + first) + head * args->value_dim, args->v.stride,
            args->value_dim, job->value_stride);
    }
}

static bool lay_out_pages(struct attention_job *job)
{
    const struct attention_args *args = job->args;
    job->pages = arena_alloc(job->cpu, args->sequence_count, sizeof *job->pages);
    size_t pages = 0;
    for (size_t i = 0; i < args->sequence_count; i++)
        pages += page_count(&args->sequences[i]);
    float *memory = arena_alloc(job->cpu, pages * args->kv_heads * job->head_floats, sizeof(float));
    if (job->cpu->failed)
        return false;
    for (size_t i = 0; i < args->sequence_count; i++) {
        job->pages[i] = memory;
        memory += page_count(&args->sequences[i]) * args->kv_heads * job->head_floats;
    }
    cpu_run(job->cpu, args->sequence_count * args->kv_heads,
        (double)pages * KV_PAGE_TOKENS * (double)(args->k.width + args->v.width), lay_out_head, job);
    return true;
}

/* ---- pieces ---- */

static void point_at_keys(
    const struct attention_job *job, const struct piece *piece, struct attend_tile *tile)
{
    const struct attention_args *args = job->args;
    const struct attention_sequence *sequence = &args->sequences[piece->sequence];
    if (args->cache) {
        tile->pages =
            args->cache->data + args->layer * args->cache->layer_floats + piece->head * job->head_floats;
        tile->page_stride = args->kv_heads * job->head_floats;
        tile->page_ids = sequence->pages;
    } else {
        tile->pages = job->pages[piece->sequence] + piece->head * page_count(sequence) * job->head_floats;
        tile->page_stride = job->head_floats;
    }
}

static void run_piece(void *context, size_t index, size_t thread)
{
    const struct attention_job *job = context;
    const struct attention_args *args = job->args;
    const struct piece *piece = &job->pieces[index];
    const struct attention_sequence *sequence = &args->sequences[piece->sequence];
    struct attend_tile tile = {
        .keys = sequence->k_rows,
        .head_dim = args->head_dim,
        .value_dim = args->value_dim,
        .value_stride = job->value_stride,
        .scale = args->scale,
        .soft_cap = args->soft_cap,
        .window_left = args->window_left,
        .window_right = args->window_right,
        .global_keys = args->global_keys,
        .accumulator = job->accumulators + thread * ATTENTION_TILE_ROWS * job->value_stride,
    };
    point_at_keys(job, piece, &tile);
    size_t rows = sequence->q_rows * job->group, end = piece->first + PIECE_ROWS;
    end = end < rows ? end : rows;
    for (size_t first = piece->first; first < end; first += tile.rows) {
        tile.rows = end - first < ATTENTION_TILE_ROWS ? end - first : ATTENTION_TILE_ROWS;
        for (size_t r = 0; r < tile.rows; r++) {
            size_t row = (first + r) / job->group;
            size_t head = piece->head * job->group + (first + r) % job->group;
            tile.q[r] = tensor_row(args->q, sequence->q_row + row) + head * args->head_dim;
            tile.out[r] = tensor_row(args->out, sequence->q_row + row) + head * args->value_dim;
            tile.position[r] = sequence->q_position + (int32_t)row;
            if (job->bias.by_distance)
                tile.bias[r] =
                    job->bias.by_distance + head * job->bias.span + job->bias.zero - (size_t)tile.position[r];
        }
        job->cpu->kernels->attend(&tile);
    }
}

static size_t pieces_of(const struct attention_job *job, const struct attention_sequence *sequence)
{
    return (sequence->q_rows * job->group + PIECE_ROWS - 1) / PIECE_ROWS;
}

/* Long sequences first would be better still for balance; callers' order is near enough. */
static size_t cut(struct attention_job *job)
{
    const struct attention_args *args = job->args;
    size_t total = 0, count = 0;
    for (size_t i = 0; i < args->sequence_count; i++)
        total += pieces_of(job, &args->sequences[i]) * args->kv_heads;
    job->pieces = arena_alloc(job->cpu, total, sizeof *job->pieces);
    if (!job->pieces)
        return 0;
    for (size_t i = 0; i < args->sequence_count; i++)
        for (size_t head = 0; head < args->kv_heads; head++)
            for (size_t p = 0; p < pieces_of(job, &args->sequences[i]); p++)
                job->pieces[count++] = (struct piece){
                    .sequence = (uint32_t)i,
                    .head = (uint32_t)head,
                    .first = p * PIECE_ROWS,
                };
    return count;
}

void cpu_attention(struct backend *b, const struct attention_args *args)
{
    struct cpu_backend *cpu = cpu_of(b);
    attention_args_check(args, args->cache ? &args->cache->shape : NULL);
    if (cpu->failed)
        return;
    size_t mark = arena_mark(cpu);
    if (args->position_key.data || args->position_query.data) {
        attention_disentangled(cpu, args);
        arena_release(cpu, mark);
        return;
    }
    struct attention_job job = {
        .cpu = cpu,
        .args = args,
        .group = args->heads / args->kv_heads,
        .value_stride = round_up(args->value_dim, 16),
    };
    job.head_floats = (args->head_dim + job.value_stride) * KV_PAGE_TOKENS;
    job.accumulators = arena_alloc(
        cpu, (size_t)threads_count(cpu->threads) * ATTENTION_TILE_ROWS * job.value_stride, sizeof(float));
    double work = 0;
    for (size_t i = 0; i < args->sequence_count; i++)
        work += (double)args->sequences[i].q_rows * (double)args->sequences[i].k_rows;
    work *= (double)args->heads * (double)(args->head_dim + args->value_dim);
    size_t pieces = cut(&job);
    if (!cpu->failed && attention_bias_prepare(cpu, args, &job.bias) && (args->cache || lay_out_pages(&job)))
        cpu_run(cpu, pieces, work, run_piece, &job);
    arena_release(cpu, mark);
}
