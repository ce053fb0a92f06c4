/* Operations on rows: embedding, norms, rotation, moving, adding. */
#include <math.h>
#include <string.h>

#include "worker/backend/cpu/cpu.h"

enum { ROWS_AT_ONCE = 16 };

/* Calls run for groups of ROWS_AT_ONCE rows. */
static void run_rows(struct cpu_backend *cpu, size_t rows, size_t width,
    void (*run)(void *context, size_t index, size_t thread), void *context)
{
    cpu_run(cpu, (rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE, (double)rows * (double)width, run, context);
}

static size_t rows_end(size_t index, size_t rows)
{
    size_t end = (index + 1) * ROWS_AT_ONCE;
    return end < rows ? end : rows;
}

/* ---- embedding ---- */

struct embed_job {
    const struct cpu_backend *cpu;
    const struct embed_args *args;
    float *rows; /* a thread's: [width, rounded up] */
};

static void embed_rows(void *context, size_t index, size_t thread)
{
    const struct embed_job *job = context;
    const struct embed_args *args = job->args;
    const struct kernels *kernels = job->cpu->kernels;
    size_t width = args->out.width;
    float *row = job->rows + thread * round_up(width, LANES);
    for (size_t r = index * ROWS_AT_ONCE; r < rows_end(index, args->out.rows); r++) {
        float *out = tensor_row(args->out, r);
        for (size_t t = 0; t < args->term_count; t++) {
            weight_row(job->cpu, args->terms[t].table, (size_t)args->terms[t].ids[r], row);
            kernels->scale(row, width, args->terms[t].scale, 0.0F);
            if (t == 0)
                memcpy(out, row, width * sizeof(float));
            else
                kernels->add(out, out, row, width);
        }
    }
}

void cpu_embed(struct backend *b, const struct embed_args *args)
{
    struct cpu_backend *cpu = cpu_of(b);
    assert(args->term_count >= 1 && args->term_count <= 3);
    for (size_t t = 0; t < args->term_count; t++) {
        assert(args->terms[t].table->in == args->out.width);
        for (size_t r = 0; r < args->out.rows; r++)
            assert(args->terms[t].ids[r] >= 0 && (size_t)args->terms[t].ids[r] < args->terms[t].table->out);
    }
    size_t mark = arena_mark(cpu);
    struct embed_job job = {.cpu = cpu, .args = args};
    job.rows = arena_alloc(
        cpu, (size_t)threads_count(cpu->threads) * round_up(args->out.width, LANES), sizeof(float));
    run_rows(cpu, args->out.rows, args->out.width * args->term_count, embed_rows, &job);
    arena_release(cpu, mark);
}

/* ---- norm ---- */

struct norm_job {
    const struct cpu_backend *cpu;
    const struct norm_args *args;
    float *rows; /* a thread's: [width, rounded up] */
};

static void norm_rows(void *context, size_t index, size_t thread)
{
    const struct norm_job *job = context;
    const struct norm_args *args = job->args;
    const struct kernels *kernels = job->cpu->kernels;
    size_t width = args->in.width, group = args->group ? args->group : width;
    const float *weight = args->weight ? args->weight->values : NULL;
    const float *bias = args->bias ? args->bias->values : NULL;
    float *normed = job->rows + thread * round_up(width, LANES);
    for (size_t r = index * ROWS_AT_ONCE; r < rows_end(index, args->in.rows); r++) {
        const float *x = tensor_row(args->in, r);
        float *out = tensor_row(args->out, r);
        if (args->residual) {
            float *sum = args->sum ? tensor_row(*args->sum, r) : normed;
            kernels->add(sum, x, tensor_row(*args->residual, r), width);
            x = sum;
        } else if (args->sum && tensor_row(*args->sum, r) != x) {
            memmove(tensor_row(*args->sum, r), x, width * sizeof(float));
        }
        for (size_t g = 0; g < width; g += group)
            kernels->norm(args->kind, x + g, weight, bias, args->epsilon, group, normed + g);
        if (args->after)
            kernels->add(out, normed, tensor_row(*args->after, r), width);
        else
            memcpy(out, normed, width * sizeof(float));
    }
}

void cpu_norm(struct backend *b, const struct norm_args *args)
{
    struct cpu_backend *cpu = cpu_of(b);
    size_t width = args->in.width, group = args->group ? args->group : width;
    assert(args->out.width == width && args->out.rows == args->in.rows);
    assert(group > 0 && width % group == 0);
    assert(!args->weight || args->weight->count == group);
    assert(!args->bias || args->bias->count == group);
    assert(!args->residual || (args->residual->width == width && args->residual->rows == args->in.rows));
    assert(!args->sum || (args->sum->width == width && args->sum->rows == args->in.rows));
    assert(!args->after || (args->after->width == width && args->after->rows == args->in.rows));
    size_t mark = arena_mark(cpu);
    struct norm_job job = {.cpu = cpu, .args = args};
    job.rows = arena_alloc(cpu, (size_t)threads_count(cpu->threads) * round_up(width, LANES), sizeof(float));
    run_rows(cpu, args->in.rows, 2 * width, norm_rows, &job);
    arena_release(cpu, mark);
}

/* ---- rotation ---- */

struct rope_job {
    const struct rope_args *args;
    float *tables; /* a thread's: cosines, then sines */
};

static void rotate_head(float *x, const float *cosine, const float *sine, const struct rope_args *args)
{
    size_t step = args->interleaved ? 2 : 1, far = args->interleaved ? 1 : args->pairs;
    for (size_t i = 0; i < args->pairs; i++) {
        float low = x[i * step], high = x[i * step + far];
        x[i * step] = low * cosine[i] - high * sine[i];
        x[i * step + far] = high * cosine[i] + low * sine[i];
    }
}

static void rope_rows(void *context, size_t index, size_t thread)
{
    const struct rope_job *job = context;
    const struct rope_args *args = job->args;
    float *cosine = job->tables + thread * 2 * args->pairs, *sine = cosine + args->pairs;
    int32_t last = -1;
    for (size_t r = index * ROWS_AT_ONCE; r < rows_end(index, args->x.rows); r++) {
        int32_t position = args->positions[r];
        for (size_t i = 0; position != last && i < args->pairs; i++) {
            float angle = (float)position * args->inverse_frequency[i];
            cosine[i] = cosf(angle) * args->scale;
            sine[i] = sinf(angle) * args->scale;
        }
        last = position;
        float *x = tensor_row(args->x, r);
        for (size_t h = 0; h < args->x.width; h += args->head_dim)
            rotate_head(x + h, cosine, sine, args);
    }
}

void cpu_rope(struct backend *b, const struct rope_args *args)
{
    struct cpu_backend *cpu = cpu_of(b);
    assert(args->head_dim > 0 && args->x.width % args->head_dim == 0 && 2 * args->pairs <= args->head_dim);
    size_t mark = arena_mark(cpu);
    struct rope_job job = {.args = args};
    job.tables = arena_alloc(cpu, (size_t)threads_count(cpu->threads) * 2 * args->pairs, sizeof(float));
    run_rows(cpu, args->x.rows, args->x.width, rope_rows, &job);
    arena_release(cpu, mark);
}

/* ---- moving and adding ---- */

void cpu_gather(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows)
{
    assert(out.width == in.width);
    if (cpu_of(b)->failed)
        return;
    for (size_t r = 0; r < out.rows; r++) {
        assert(rows[r] >= 0 && (size_t)rows[r] < in.rows);
        memcpy(tensor_row(out, r), tensor_row(in, (size_t)rows[r]), in.width * sizeof(float));
    }
}

void cpu_scatter(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows)
{
    assert(out.width == in.width);
    if (cpu_of(b)->failed)
        return;
    for (size_t r = 0; r < in.rows; r++) {
        assert(rows[r] >= 0 && (size_t)rows[r] < out.rows);
        memcpy(tensor_row(out, (size_t)rows[r]), tensor_row(in, r), in.width * sizeof(float));
    }
}

struct add_job {
    const struct cpu_backend *cpu;
    struct tensor out, x, y;
};

static void add_rows(void *context, size_t index, size_t thread)
{
    (void)thread;
    const struct add_job *job = context;
    for (size_t r = index * ROWS_AT_ONCE; r < rows_end(index, job->out.rows); r++)
        job->cpu->kernels->add(
            tensor_row(job->out, r), tensor_row(job->x, r), tensor_row(job->y, r), job->out.width);
}

void cpu_add(struct backend *b, struct tensor out, struct tensor x, struct tensor y)
{
    assert(out.rows == x.rows && out.rows == y.rows && out.width == x.width && out.width == y.width);
    struct add_job job = {.cpu = cpu_of(b), .out = out, .x = x, .y = y};
    run_rows(cpu_of(b), out.rows, out.width, add_rows, &job);
}

struct scale_job {
    const struct cpu_backend *cpu;
    struct tensor x;
    float scale, soft_cap;
};

static void scale_rows(void *context, size_t index, size_t thread)
{
    (void)thread;
    const struct scale_job *job = context;
    for (size_t r = index * ROWS_AT_ONCE; r < rows_end(index, job->x.rows); r++)
        job->cpu->kernels->scale(tensor_row(job->x, r), job->x.width, job->scale, job->soft_cap);
}

void cpu_scale(struct backend *b, struct tensor x, float scale, float soft_cap)
{
    struct scale_job job = {.cpu = cpu_of(b), .x = x, .scale = scale, .soft_cap = soft_cap};
    run_rows(cpu_of(b), x.rows, x.width, scale_rows, &job);
}
