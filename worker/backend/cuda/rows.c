/* Operations on rows: arguments for rows.cu. */
#include "worker/backend/cuda/device.h"

void cuda_embed(struct backend *b, const struct embed_args *args)
{
    struct cuda_backend *cuda = cuda_of(b);
    struct embed_kernel k = {
        .rows = (int)args->out.rows, .width = (int)args->out.width, .terms = (int)args->term_count};
    assert(args->term_count >= 1 && args->term_count <= 3);
    for (size_t t = 0; t < args->term_count; t++) {
        const struct weight *table = args->terms[t].table;
        assert(table->in == args->out.width);
        for (size_t r = 0; r < args->out.rows; r++)
            assert(args->terms[t].ids[r] >= 0 && (size_t)args->terms[t].ids[r] < table->out);
        for (int i = 0; i < table->segment_count; i++)
            k.term[t].segments[i] = table->segments[i];
        k.term[t].ids = cuda_send(cuda, args->terms[t].ids, args->out.rows, sizeof *args->terms[t].ids);
        k.term[t].scale = args->terms[t].scale;
    }
    if (cuda->failed || k.rows == 0)
        return;
    k.out = tensor_at(args->out);
    k.out_stride = args->out.stride;
    cuda_check(cuda, embed_launch(&k, cuda->stream), "embed");
}

struct tensor cuda_table_rows(struct cuda_backend *cuda, const struct weight *table, size_t count)
{
    struct tensor out = {.stride = table->in, .rows = count, .width = table->in};
    out.data = scratch_take(cuda, count * table->in, sizeof(float));
    int32_t *ids = staging_take(cuda, count * sizeof *ids);
    if (!out.data || !ids)
        return out;
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)i;
    struct embed_kernel k = {
        .out = out.data, .out_stride = out.stride, .rows = (int)count, .width = (int)table->in, .terms = 1};
    for (int i = 0; i < table->segment_count; i++)
        k.term[0].segments[i] = table->segments[i];
    k.term[0].ids = staging_send(cuda, ids, count * sizeof *ids);
    k.term[0].scale = 1.0F;
    if (!cuda->failed)
        cuda_check(cuda, embed_launch(&k, cuda->stream), "reading a table");
    return out;
}

static bool same_shape(const struct tensor *x, const struct tensor *y)
{
    return x->rows == y->rows && x->width == y->width;
}

void cuda_norm(struct backend *b, const struct norm_args *args)
{
    struct cuda_backend *cuda = cuda_of(b);
    size_t group = args->group ? args->group : args->in.width;
    assert(same_shape(&args->out, &args->in) && group > 0 && args->in.width % group == 0);
    assert(!args->weight || args->weight->count == group);
    assert(!args->bias || args->bias->count == group);
    assert(!args->residual || same_shape(args->residual, &args->in));
    assert(!args->sum || same_shape(args->sum, &args->in));
    assert(!args->after || same_shape(args->after, &args->in));
    if (cuda->failed || args->in.rows == 0)
        return;
    struct norm_kernel k = {
        .out = tensor_at(args->out),
        .out_stride = args->out.stride,
        .in = tensor_at(args->in),
        .in_stride = args->in.stride,
        .weight = args->weight ? args->weight->values : NULL,
        .bias = args->bias ? args->bias->values : NULL,
        .rows = (int)args->in.rows,
        .width = (int)args->in.width,
        .group = (int)group,
        .centred = args->kind == NORM_LAYER,
        .epsilon = args->epsilon,
    };
    if (args->residual) {
        k.residual = tensor_at(*args->residual);
        k.residual_stride = args->residual->stride;
    }
    if (args->sum && (args->residual || tensor_at(*args->sum) != k.in)) {
        k.sum = tensor_at(*args->sum);
        k.sum_stride = args->sum->stride;
    }
    if (args->after) {
        k.after = tensor_at(*args->after);
        k.after_stride = args->after->stride;
    }
    cuda_check(cuda, norm_launch(&k, cuda->stream), "norm");
}

void cuda_rope(struct backend *b, const struct rope_args *args)
{
    struct cuda_backend *cuda = cuda_of(b);
    assert(args->head_dim > 0 && args->x.width % args->head_dim == 0 && 2 * args->pairs <= args->head_dim);
    struct rope_kernel k = {
        .positions = cuda_send(cuda, args->positions, args->x.rows, sizeof *args->positions),
        .inverse_frequency =
            cuda_send(cuda, args->inverse_frequency, args->pairs, sizeof *args->inverse_frequency),
        .rows = (int)args->x.rows,
        .heads = (int)(args->x.width / args->head_dim),
        .head_dim = (int)args->head_dim,
        .pairs = (int)args->pairs,
        .scale = args->scale,
        .interleaved = args->interleaved,
    };
    if (cuda->failed || k.rows == 0 || k.pairs == 0)
        return;
    k.x = tensor_at(args->x);
    k.stride = args->x.stride;
    cuda_check(cuda, rope_launch(&k, cuda->stream), "rope");
}

static void move(struct cuda_backend *cuda, struct tensor out, struct tensor in, const int32_t *from,
    const int32_t *to, size_t rows)
{
    const int32_t *sent = cuda_send(cuda, from ? from : to, rows, sizeof *from);
    assert(out.width == in.width);
    if (cuda->failed || rows == 0)
        return;
    struct move_kernel k = {
        .out = tensor_at(out),
        .out_stride = out.stride,
        .in = tensor_at(in),
        .in_stride = in.stride,
        .from = from ? sent : NULL,
        .to = from ? NULL : sent,
        .rows = (int)rows,
        .width = (int)in.width,
    };
    cuda_check(cuda, move_launch(&k, cuda->stream), "moving rows");
}

void cuda_gather(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows)
{
    for (size_t r = 0; r < out.rows; r++)
        assert(rows[r] >= 0 && (size_t)rows[r] < in.rows);
    move(cuda_of(b), out, in, rows, NULL, out.rows);
}

void cuda_scatter(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows)
{
    for (size_t r = 0; r < in.rows; r++)
        assert(rows[r] >= 0 && (size_t)rows[r] < out.rows);
    move(cuda_of(b), out, in, NULL, rows, in.rows);
}

static void add(struct cuda_backend *cuda, struct tensor out, struct tensor x, const struct tensor *y,
    float scale, float soft_cap)
{
    if (cuda->failed || out.rows == 0)
        return;
    struct add_kernel k = {
        .out = tensor_at(out),
        .out_stride = out.stride,
        .x = tensor_at(x),
        .x_stride = x.stride,
        .rows = (int)out.rows,
        .width = (int)out.width,
        .scale = scale,
        .soft_cap = soft_cap,
    };
    if (y) {
        k.y = tensor_at(*y);
        k.y_stride = y->stride;
    }
    cuda_check(cuda, add_launch(&k, cuda->stream), "add");
}

void cuda_add(struct backend *b, struct tensor out, struct tensor x, struct tensor y)
{
    assert(same_shape(&out, &x) && same_shape(&out, &y));
    add(cuda_of(b), out, x, &y, 1.0F, 0.0F);
}

void cuda_scale(struct backend *b, struct tensor x, float scale, float soft_cap)
{
    add(cuda_of(b), x, x, NULL, scale, soft_cap);
}
