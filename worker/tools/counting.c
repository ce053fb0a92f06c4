#include "worker/tools/counting.h"

#include <stdlib.h>
#include <string.h>

struct counting {
    struct backend base;
    struct counts counts;
    uint64_t weight_bytes;
};

struct weight {
    size_t out, in;
    double bytes_each; /* of a value, as stored */
};

struct vector {
    size_t count;
};

struct kv_cache {
    struct kv_cache_args shape;
};

static struct counting *counting_of(struct backend *b)
{
    return (struct counting *)b;
}

static uint64_t floats(size_t rows, size_t width)
{
    return (uint64_t)rows * width * sizeof(float);
}

static uint64_t tensor_bytes(const struct tensor *t)
{
    return t ? floats(t->rows, t->width) : 0;
}

/* ---- memory: any address will do, none is used ---- */

static struct tensor make_tensor(size_t rows, size_t width)
{
    static char nowhere;
    return (struct tensor){.data = &nowhere, .stride = width, .rows = rows, .width = width};
}

static void close_backend(struct backend *b)
{
    free(counting_of(b));
}

static void memory(struct backend *b, struct backend_memory *out)
{
    const uint64_t endless = (uint64_t)1 << 50;
    *out = (struct backend_memory){
        .total_bytes = endless, .free_bytes = endless, .weight_bytes = counting_of(b)->weight_bytes};
}

static const char *describe(struct backend *b)
{
    (void)b;
    return "plan";
}

static bool sync_now(struct backend *b, struct error *err)
{
    (void)b;
    (void)err;
    return true;
}

static struct tensor scratch(struct backend *b, size_t rows, size_t width)
{
    (void)b;
    return make_tensor(rows, width);
}

static void scratch_reset(struct backend *b)
{
    (void)b;
}

static size_t scratch_mark(struct backend *b)
{
    (void)b;
    return 0;
}

static void scratch_release(struct backend *b, size_t mark)
{
    (void)b;
    (void)mark;
}

static bool tensor_create(struct backend *b, size_t rows, size_t width, struct tensor *out, struct error *err)
{
    (void)b;
    (void)err;
    *out = make_tensor(rows, width);
    return true;
}

static void tensor_free(struct backend *b, struct tensor *tensor)
{
    (void)b;
    *tensor = (struct tensor){0};
}

static void upload(struct backend *b, struct tensor to, const float *from)
{
    (void)from;
    counting_of(b)->counts.host_bytes += tensor_bytes(&to);
}

static bool download(struct backend *b, struct tensor from, float *to, struct error *err)
{
    (void)err;
    memset(to, 0, tensor_bytes(&from));
    counting_of(b)->counts.host_bytes += tensor_bytes(&from);
    return true;
}

/* ---- parameters ---- */

static size_t elements(const struct tensor_view *view)
{
    size_t count = 1;
    for (int i = 0; i < view->rank; i++)
        count *= (size_t)view->shape[i];
    return count;
}

/* Bytes of a part as a device stores it; see weight_args. Blocks stay packed whatever the compute dtype. */
static double stored_bytes(const struct tensor_view *view, const struct weight_args *args)
{
    bool plain = view->dtype == DTYPE_F32 || view->dtype == DTYPE_F16 || view->dtype == DTYPE_BF16;
    if (!plain || args->lookup || args->compute == DTYPE_F32)
        return (double)view->bytes;
    return (double)elements(view) * (args->compute == DTYPE_I8 ? 1 : 2);
}

static bool weight_load(
    struct backend *b, const struct weight_args *args, struct weight **out, struct error *err)
{
    struct weight *w = calloc(1, sizeof *w);
    double bytes = 0;
    if (!w)
        return error_set(err, ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < args->part_count; i++) {
        const struct tensor_view *part = args->parts[i];
        w->out += (size_t)part->shape[args->transposed];
        w->in = elements(part) / (size_t)part->shape[args->transposed];
        bytes += stored_bytes(part, args);
    }
    w->bytes_each = bytes / ((double)w->out * (double)w->in);
    counting_of(b)->weight_bytes += (uint64_t)bytes;
    *out = w;
    return true;
}

static void weight_free(struct backend *b, struct weight *weight)
{
    (void)b;
    free(weight);
}

static void weight_shape(const struct weight *weight, size_t *out_width, size_t *in_width)
{
    *out_width = weight->out;
    *in_width = weight->in;
}

static bool vector_load(
    struct backend *b, const struct tensor_view *view, float offset, struct vector **out, struct error *err)
{
    (void)offset;
    struct vector *v = calloc(1, sizeof *v);
    if (!v)
        return error_set(err, ERROR_MEMORY, "out of memory");
    v->count = elements(view);
    counting_of(b)->weight_bytes += floats(1, v->count);
    *out = v;
    return true;
}

static void vector_free(struct backend *b, struct vector *vector)
{
    (void)b;
    free(vector);
}

/* ---- keys and values ---- */

static bool kv_cache_create(
    struct backend *b, const struct kv_cache_args *args, struct kv_cache **out, struct error *err)
{
    (void)b;
    struct kv_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return error_set(err, ERROR_MEMORY, "out of memory");
    cache->shape = *args;
    *out = cache;
    return true;
}

static void kv_cache_free(struct backend *b, struct kv_cache *cache)
{
    (void)b;
    free(cache);
}

static void kv_append(struct backend *b, struct kv_cache *cache, size_t layer, struct tensor k,
    struct tensor v, const struct kv_append_sequence *sequences, size_t count)
{
    (void)cache;
    (void)layer;
    struct counts *c = &counting_of(b)->counts;
    size_t rows = 0;
    for (size_t i = 0; i < count; i++)
        rows += sequences[i].rows;
    c->operations++;
    c->activation_bytes += floats(rows, k.width + v.width);
    c->cache_bytes += floats(rows, k.width + v.width);
    c->host_bytes += rows * 2 * sizeof(int32_t);
}

static void kv_copy(
    struct backend *b, struct kv_cache *cache, const int32_t *from, const int32_t *to, size_t count)
{
    (void)from;
    (void)to;
    struct counts *c = &counting_of(b)->counts;
    const struct kv_cache_args *shape = &cache->shape;
    c->operations++;
    c->cache_bytes += 2 * floats(count * KV_PAGE_TOKENS * shape->layers,
                              shape->kv_heads * (shape->head_dim + shape->value_dim));
    c->host_bytes += count * 2 * sizeof(int32_t);
}

/* ---- operations ---- */

static void embed(struct backend *b, const struct embed_args *args)
{
    struct counts *c = &counting_of(b)->counts;
    c->operations++;
    c->activation_bytes += tensor_bytes(&args->out);
    for (size_t i = 0; i < args->term_count; i++) {
        const struct weight *table = args->terms[i].table;
        c->weight_bytes += (uint64_t)((double)args->out.rows * (double)args->out.width * table->bytes_each);
        c->host_bytes += args->out.rows * sizeof(int32_t);
    }
}

static void linear(struct backend *b, const struct linear_args *args)
{
    struct counts *c = &counting_of(b)->counts;
    const struct weight *w = args->weight;
    assert(args->in.width == w->in && args->out.width == w->out / (args->gated ? 2 : 1));
    c->operations++;
    c->products++;
    c->product_flops += 2 * (uint64_t)args->in.rows * w->out * w->in;
    c->weight_bytes += (uint64_t)((double)w->out * (double)w->in * w->bytes_each);
    c->activation_bytes += tensor_bytes(&args->in) + tensor_bytes(&args->out) + tensor_bytes(args->residual);
}

static void norm(struct backend *b, const struct norm_args *args)
{
    struct counts *c = &counting_of(b)->counts;
    c->operations++;
    c->weight_bytes +=
        floats(1, (args->weight ? args->weight->count : 0) + (args->bias ? args->bias->count : 0));
    c->activation_bytes += tensor_bytes(&args->in) + tensor_bytes(&args->out) + tensor_bytes(args->residual) +
                           tensor_bytes(args->sum) + tensor_bytes(args->after);
}

static void rope(struct backend *b, const struct rope_args *args)
{
    struct counts *c = &counting_of(b)->counts;
    c->operations++;
    c->activation_bytes += 2 * floats(args->x.rows, args->x.width / args->head_dim * 2 * args->pairs);
    c->host_bytes += args->x.rows * sizeof(int32_t);
}

/* Keys that the query at `position` sees. */
static uint64_t keys_seen(const struct attention_args *args, int64_t position, int64_t keys)
{
    int64_t first = args->window_left < 0 ? 0 : position - args->window_left;
    int64_t end = args->window_right < 0 ? keys : position + args->window_right + 1;
    first = first < 0 ? 0 : first;
    end = end > keys ? keys : end;
    int64_t window = end > first ? end - first : 0, global = (int64_t)args->global_keys;
    global = global > keys ? keys : global;
    return (uint64_t)(window + (first < global ? first : global));
}

static void attention(struct backend *b, const struct attention_args *args)
{
    struct counts *c = &counting_of(b)->counts;
    uint64_t pairs = 0, keys = 0, pages = 0;
    for (size_t i = 0; i < args->sequence_count; i++) {
        const struct attention_sequence *s = &args->sequences[i];
        for (size_t q = 0; q < s->q_rows; q++)
            pairs += keys_seen(args, (int64_t)s->q_position + (int64_t)q, (int64_t)s->k_rows);
        keys += s->k_rows;
        pages += args->cache ? (s->k_rows + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS : 0;
    }
    c->operations++;
    c->attention_flops += 2 * pairs * args->heads * (args->head_dim + args->value_dim);
    c->cache_bytes += floats(keys, args->kv_heads * (args->head_dim + args->value_dim));
    c->activation_bytes += tensor_bytes(&args->q) + tensor_bytes(&args->out);
    c->host_bytes += pages * sizeof(int32_t);
}

static void move(struct backend *b, size_t rows, size_t width)
{
    struct counts *c = &counting_of(b)->counts;
    c->operations++;
    c->activation_bytes += 2 * floats(rows, width);
    c->host_bytes += rows * sizeof(int32_t);
}

static void gather(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows)
{
    (void)in;
    (void)rows;
    move(b, out.rows, out.width);
}

static void scatter(struct backend *b, struct tensor out, struct tensor in, const int32_t *rows)
{
    (void)out;
    (void)rows;
    move(b, in.rows, in.width);
}

static void add(struct backend *b, struct tensor out, struct tensor x, struct tensor y)
{
    struct counts *c = &counting_of(b)->counts;
    c->operations++;
    c->activation_bytes += tensor_bytes(&out) + tensor_bytes(&x) + tensor_bytes(&y);
}

static void scale(struct backend *b, struct tensor x, float factor, float soft_cap)
{
    (void)factor;
    (void)soft_cap;
    struct counts *c = &counting_of(b)->counts;
    c->operations++;
    c->activation_bytes += 2 * tensor_bytes(&x);
}

static bool choose(struct backend *b, const struct select_args *args, struct error *err)
{
    enum { FIRST_ID = 100 };
    (void)err;
    struct counts *c = &counting_of(b)->counts;
    size_t vocabulary = args->logits.width, first = vocabulary > FIRST_ID + args->top ? FIRST_ID : 0;
    for (size_t row = 0; row < args->logits.rows; row++)
        for (size_t i = 0; i < args->top; i++) {
            args->ids[row * args->top + i] = (int32_t)((first + i) % vocabulary);
            args->scores[row * args->top + i] = -1.0F - (float)i;
        }
    c->operations++;
    c->activation_bytes += tensor_bytes(&args->logits);
    c->host_bytes += args->edit_count * sizeof *args->edits +
                     args->logits.rows * args->top * (sizeof *args->ids + sizeof *args->scores);
    return true;
}

static const struct backend_ops ops = {
    .name = "plan",
    .close = close_backend,
    .memory = memory,
    .describe = describe,
    .sync = sync_now,
    .scratch = scratch,
    .scratch_reset = scratch_reset,
    .scratch_mark = scratch_mark,
    .scratch_release = scratch_release,
    .tensor_create = tensor_create,
    .tensor_free = tensor_free,
    .upload = upload,
    .download = download,
    .weight_load = weight_load,
    .weight_free = weight_free,
    .weight_shape = weight_shape,
    .vector_load = vector_load,
    .vector_free = vector_free,
    .kv_cache_create = kv_cache_create,
    .kv_cache_free = kv_cache_free,
    .kv_append = kv_append,
    .kv_copy = kv_copy,
    .embed = embed,
    .linear = linear,
    .norm = norm,
    .rope = rope,
    .attention = attention,
    .gather = gather,
    .scatter = scatter,
    .add = add,
    .scale = scale,
    .select = choose,
};

bool counting_open(struct backend **out, struct error *err)
{
    struct counting *counting = calloc(1, sizeof *counting);
    if (!counting)
        return error_set(err, ERROR_MEMORY, "out of memory");
    counting->base.ops = &ops;
    *out = &counting->base;
    return true;
}

struct counts counting_now(const struct backend *backend)
{
    assert(backend->ops == &ops);
    return ((const struct counting *)backend)->counts;
}
