/* Attention, with and without a cache. */
#include "tests/unit/backend/data.h"

enum { SEQUENCES_MAX = 6 };

struct attention_case {
    const char *name;
    size_t heads, kv_heads, head_dim, value_dim;
    int32_t window_left, window_right;
    size_t global_keys;
    float soft_cap;
    int relative; /* 0: none, 1: one direction, 2: both */
    bool disentangled;
};

struct batch {
    const struct attention_case *c;
    size_t count, rows;
    size_t lengths[SEQUENCES_MAX], first[SEQUENCES_MAX];
    float *q, *k, *v;
    float *bias; /* [32][heads] */
    float *position_key, *position_query;
};

static const size_t default_lengths[SEQUENCES_MAX] = {1, 31, 0, 70, 16, 133};

static struct batch make_batch(const struct attention_case *c, const size_t *lengths, size_t count)
{
    struct batch batch = {.c = c, .count = count};
    for (size_t i = 0; i < count; i++) {
        batch.lengths[i] = lengths[i];
        batch.first[i] = batch.rows;
        batch.rows += lengths[i];
    }
    batch.q = random_floats(batch.rows * c->heads * c->head_dim);
    batch.k = random_floats(batch.rows * c->kv_heads * c->head_dim);
    batch.v = random_floats(batch.rows * c->kv_heads * c->value_dim);
    batch.bias = random_floats(32 * c->heads);
    batch.position_key = random_floats(16 * c->heads * c->head_dim);
    batch.position_query = random_floats(16 * c->heads * c->head_dim);
    return batch;
}

static void free_batch(struct batch *batch)
{
    free(batch->q);
    free(batch->k);
    free(batch->v);
    free(batch->bias);
    free(batch->position_key);
    free(batch->position_query);
}

/* ---- the reference ---- */

static size_t reference_bucket(int distance, bool both, int buckets, int max_distance)
{
    int base = 0;
    if (both) {
        buckets /= 2;
        base = distance > 0 ? buckets : 0;
        distance = abs(distance);
    } else {
        distance = distance < 0 ? -distance : 0;
    }
    int exact = buckets / 2;
    if (distance < exact)
        return (size_t)(base + distance);
    int large =
        exact +
        (int)(log((double)distance / exact) / log((double)max_distance / exact) * (buckets - exact) + 1e-9);
    return (size_t)(base + (large < buckets ? large : buckets - 1));
}

static size_t reference_position(int distance, int span)
{
    int row = distance + span; /* no buckets in these tests */
    return (size_t)(row < 0 ? 0 : row > 2 * span - 1 ? 2 * span - 1 : row);
}

static double dot(const float *x, const float *y, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)y[i];
    return sum;
}

static double reference_score(const struct batch *batch, size_t s, size_t head, size_t i, size_t j)
{
    const struct attention_case *c = batch->c;
    size_t kv = head / (c->heads / c->kv_heads), first = batch->first[s];
    const float *q = batch->q + ((first + i) * c->heads + head) * c->head_dim;
    const float *k = batch->k + ((first + j) * c->kv_heads + kv) * c->head_dim;
    double score = dot(q, k, c->head_dim);
    if (c->disentangled) {
        size_t row = reference_position((int)i - (int)j, 8) * c->heads + head;
        score += dot(q, batch->position_key + row * c->head_dim, c->head_dim);
        score += dot(k, batch->position_query + row * c->head_dim, c->head_dim);
    }
    score *= 0.3;
    if (c->relative)
        score +=
            (double)
                batch->bias[reference_bucket((int)j - (int)i, c->relative == 2, 32, 128) * c->heads + head];
    return c->soft_cap > 0 ? (double)c->soft_cap * tanh(score / (double)c->soft_cap) : score;
}

static bool reference_sees(const struct attention_case *c, size_t i, size_t j)
{
    long distance = (long)j - (long)i;
    return j < c->global_keys || ((c->window_left < 0 || -distance <= c->window_left) &&
                                     (c->window_right < 0 || distance <= c->window_right));
}

/* Row `i` of sequence `s`, head `head`, over keys 0..keys. */
static void reference_row(
    const struct batch *batch, size_t s, size_t head, size_t i, size_t keys, double *out)
{
    const struct attention_case *c = batch->c;
    size_t kv = head / (c->heads / c->kv_heads);
    double sum = 0;
    memset(out, 0, c->value_dim * sizeof *out);
    for (size_t j = 0; j < keys; j++) {
        if (!reference_sees(c, i, j))
            continue;
        double weight = exp(reference_score(batch, s, head, i, j));
        sum += weight;
        for (size_t d = 0; d < c->value_dim; d++)
            out[d] +=
                weight * (double)batch->v[((batch->first[s] + j) * c->kv_heads + kv) * c->value_dim + d];
    }
    for (size_t d = 0; d < c->value_dim; d++)
        out[d] = sum > 0 ? out[d] / sum : 0;
}

static void check_batch(const struct batch *batch, const float *y)
{
    const struct attention_case *c = batch->c;
    double expected[256];
    for (size_t s = 0; s < batch->count; s++)
        for (size_t i = 0; i < batch->lengths[s]; i++)
            for (size_t h = 0; h < c->heads; h++) {
                reference_row(batch, s, h, i, batch->lengths[s], expected);
                size_t at = ((batch->first[s] + i) * c->heads + h) * c->value_dim;
                for (size_t d = 0; d < c->value_dim; d++)
                    expect_near((double)y[at + d], expected[d], 1e-5, c->name, at + d);
            }
}

/* ---- the backend ---- */

static struct attention_args arguments(struct backend *b, const struct batch *batch, struct weight *bias)
{
    const struct attention_case *c = batch->c;
    struct attention_args args = {
        .q = put(b, batch->rows, c->heads * c->head_dim, batch->q),
        .k = put(b, batch->rows, c->kv_heads * c->head_dim, batch->k),
        .v = put(b, batch->rows, c->kv_heads * c->value_dim, batch->v),
        .out = b->ops->scratch(b, batch->rows, c->heads * c->value_dim),
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .value_dim = c->value_dim,
        .scale = 0.3F,
        .soft_cap = c->soft_cap,
        .window_left = c->window_left,
        .window_right = c->window_right,
        .global_keys = c->global_keys,
        .relative_bias = c->relative ? bias : NULL,
        .relative_max_distance = 128,
        .relative_bidirectional = c->relative == 2,
    };
    if (c->disentangled) {
        args.position_key = put(b, 16, c->heads * c->head_dim, batch->position_key);
        args.position_query = put(b, 16, c->heads * c->head_dim, batch->position_query);
        args.position_span = 8;
    }
    return args;
}

static float *run_plain(struct backend *b, const struct batch *batch, struct weight *bias)
{
    struct attention_sequence sequences[SEQUENCES_MAX];
    b->ops->scratch_reset(b);
    struct attention_args args = arguments(b, batch, bias);
    for (size_t s = 0; s < batch->count; s++)
        sequences[s] = (struct attention_sequence){.q_row = batch->first[s],
            .q_rows = batch->lengths[s],
            .k_row = batch->first[s],
            .k_rows = batch->lengths[s]};
    args.sequences = sequences;
    args.sequence_count = batch->count;
    b->ops->attention(b, &args);
    return get(b, args.out);
}

/* The same, appended to a cache and attended chunk by chunk, pages scattered. Sees only what came before, so
 * only for causal cases. */
static float *run_cached(struct backend *b, const struct batch *batch, struct weight *bias, size_t chunk)
{
    const struct attention_case *c = batch->c;
    struct kv_cache *cache;
    struct kv_cache_args shape = {.layers = 2,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .value_dim = c->value_dim,
        .pages = 64};
    assert_true(b->ops->kv_cache_create(b, &shape, &cache, NULL));
    int32_t pages[SEQUENCES_MAX][10];
    for (int32_t s = 0, next = 0; s < SEQUENCES_MAX; s++)
        for (int32_t p = 0; p < 10; p++, next++)
            pages[s][p] = (next * 37 + 5) % 64;
    b->ops->scratch_reset(b);
    struct attention_args args = arguments(b, batch, bias);
    args.cache = cache;
    args.layer = 1;
    for (size_t start = 0; start < 160; start += chunk) {
        struct attention_sequence sequences[SEQUENCES_MAX];
        struct kv_append_sequence appended[SEQUENCES_MAX];
        size_t count = 0;
        for (size_t s = 0; s < batch->count; s++) {
            if (start >= batch->lengths[s])
                continue;
            size_t rows = batch->lengths[s] - start < chunk ? batch->lengths[s] - start : chunk;
            appended[count] = (struct kv_append_sequence){
                .row = batch->first[s] + start, .rows = rows, .position = (int32_t)start, .pages = pages[s]};
            sequences[count++] = (struct attention_sequence){.q_row = batch->first[s] + start,
                .q_rows = rows,
                .q_position = (int32_t)start,
                .k_rows = start + rows,
                .pages = pages[s]};
        }
        b->ops->kv_append(b, cache, 1, args.k, args.v, appended, count);
        args.sequences = sequences;
        args.sequence_count = count;
        b->ops->attention(b, &args);
    }
    float *out = get(b, args.out);
    b->ops->kv_cache_free(b, cache);
    return out;
}

static const struct attention_case cases[] = {
    {"encoder", 2, 2, 64, 64, -1, -1, 0, 0, 0, false},
    {"causal", 2, 2, 64, 64, -1, 0, 0, 0, 0, false},
    {"grouped causal", 6, 2, 32, 32, -1, 0, 0, 0, 0, false},
    {"one key head", 7, 1, 16, 16, -1, 0, 0, 0, 0, false},
    {"odd head", 3, 3, 33, 33, -1, 0, 0, 0, 0, false},
    {"tiny head", 2, 1, 1, 3, -1, 0, 0, 0, 0, false},
    {"large head", 2, 1, 256, 256, -1, 0, 0, 0, 0, false},
    {"wider values", 2, 2, 24, 80, -1, -1, 0, 0, 0, false},
    {"causal window", 4, 2, 16, 16, 19, 0, 0, 0, 0, false},
    {"capped causal window", 2, 1, 40, 40, 5, 0, 0, 4, 0, false},
    {"local and global", 2, 2, 16, 16, 8, 8, 1, 0, 0, false},
    {"local and many global", 2, 2, 16, 16, 3, 3, 20, 0, 0, false},
    {"nothing but itself", 2, 2, 8, 8, 0, 0, 0, 0, 0, false},
    {"t5 encoder", 3, 3, 24, 24, -1, -1, 0, 0, 2, false},
    {"t5 decoder", 3, 3, 24, 24, -1, 0, 0, 0, 1, false},
    {"disentangled", 2, 2, 20, 20, -1, -1, 0, 0, 0, true},
};

static void test_masks_and_shapes(void **state)
{
    (void)state;
    struct backend *b = open_backend(3);
    random_seed(40);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct batch batch = make_batch(&cases[i], default_lengths, SEQUENCES_MAX);
        struct weight *bias = load_f32(b, batch.bias, 32, cases[i].heads, NULL);
        float *y = run_plain(b, &batch, bias);
        check_batch(&batch, y);
        free(y);
        b->ops->weight_free(b, bias);
        free_batch(&batch);
    }
    backend_close(b);
}

/* Each sequence alone gives the bits it gives in the batch. */
static void test_batch_independence(void **state)
{
    (void)state;
    struct backend *b = open_backend(3);
    random_seed(41);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct attention_case *c = &cases[i];
        struct batch batch = make_batch(c, default_lengths, SEQUENCES_MAX);
        struct weight *bias = load_f32(b, batch.bias, 32, c->heads, NULL);
        float *together = run_plain(b, &batch, bias);
        for (size_t s = 0; s < batch.count; s++) {
            struct batch alone = batch;
            alone.count = 1;
            alone.rows = alone.lengths[0] = batch.lengths[s];
            alone.first[0] = 0;
            alone.q += batch.first[s] * c->heads * c->head_dim;
            alone.k += batch.first[s] * c->kv_heads * c->head_dim;
            alone.v += batch.first[s] * c->kv_heads * c->value_dim;
            float *y = run_plain(b, &alone, bias);
            size_t width = c->heads * c->value_dim;
            expect_same(y, together + batch.first[s] * width, alone.rows * width, c->name);
            free(y);
        }
        free(together);
        b->ops->weight_free(b, bias);
        free_batch(&batch);
    }
    backend_close(b);
}

/* Prompts in chunks of any length, or token by token, give the bits of the whole prompt at once. */
static void test_cache_equals_plain(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(42);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct attention_case *c = &cases[i];
        if (c->window_right != 0 || c->disentangled)
            continue;
        struct batch batch = make_batch(c, default_lengths, SEQUENCES_MAX);
        struct weight *bias = load_f32(b, batch.bias, 32, c->heads, NULL);
        float *plain = run_plain(b, &batch, bias);
        static const size_t chunks[] = {1, 7, 16, 160};
        for (size_t k = 0; k < sizeof chunks / sizeof *chunks; k++) {
            float *y = run_cached(b, &batch, bias, chunks[k]);
            expect_same(y, plain, batch.rows * c->heads * c->value_dim, c->name);
            free(y);
        }
        free(plain);
        b->ops->weight_free(b, bias);
        free_batch(&batch);
    }
    backend_close(b);
}

/* Rows of several beams over one sequence of an encoder's keys. */
static void test_cross_attention(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(43);
    const struct attention_case c = {"cross", 2, 2, 24, 24, -1, -1, 0, 0, 0, false};
    enum { KEYS = 77, BEAMS = 4, WIDTH = 48 };
    float *q = random_floats((BEAMS + 1) * WIDTH), *k = random_floats(KEYS * WIDTH),
          *v = random_floats(KEYS * WIDTH);
    struct kv_cache *cache;
    struct kv_cache_args shape = {.layers = 1, .kv_heads = 2, .head_dim = 24, .value_dim = 24, .pages = 5};
    assert_true(b->ops->kv_cache_create(b, &shape, &cache, NULL));
    const int32_t pages[5] = {4, 1, 0, 3, 2};
    struct kv_append_sequence appended = {.rows = KEYS, .pages = pages};
    b->ops->kv_append(b, cache, 0, put(b, KEYS, WIDTH, k), put(b, KEYS, WIDTH, v), &appended, 1);
    /* the second sequence has no keys at all */
    const struct attention_sequence sequences[2] = {
        {.q_row = 0, .q_rows = BEAMS, .k_rows = KEYS, .pages = pages},
        {.q_row = BEAMS, .q_rows = 1, .k_rows = 0, .pages = pages}};
    struct attention_args args = {.q = put(b, BEAMS + 1, WIDTH, q),
        .out = b->ops->scratch(b, BEAMS + 1, WIDTH),
        .cache = cache,
        .sequences = sequences,
        .sequence_count = 2,
        .heads = 2,
        .kv_heads = 2,
        .head_dim = 24,
        .value_dim = 24,
        .scale = 0.3F,
        .window_left = -1,
        .window_right = -1};
    b->ops->attention(b, &args);
    float *y = get(b, args.out);
    const struct batch batch = {.c = &c, .count = 1, .q = q, .k = k, .v = v};
    double expected[24];
    for (size_t i = 0; i < BEAMS; i++)
        for (size_t h = 0; h < 2; h++) {
            reference_row(&batch, 0, h, i, KEYS, expected);
            for (size_t d = 0; d < 24; d++)
                expect_near((double)y[i * WIDTH + h * 24 + d], expected[d], 1e-5, "cross", d);
        }
    for (size_t i = 0; i < WIDTH; i++)
        assert_true(y[BEAMS * WIDTH + i] == 0.0F);
    b->ops->kv_cache_free(b, cache);
    backend_close(b);
    free(q);
    free(k);
    free(v);
    free(y);
}

/* A copied page is the same, in every layer, and its own from then on. */
static void test_copy_on_write(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    random_seed(44);
    enum { KEYS = 10, WIDTH = 16 };
    float *q = random_floats(WIDTH), *k = random_floats(2 * KEYS * WIDTH),
          *v = random_floats(2 * KEYS * WIDTH);
    struct kv_cache *cache;
    struct kv_cache_args shape = {
        .layers = 3, .kv_heads = 1, .head_dim = WIDTH, .value_dim = WIDTH, .pages = 2};
    assert_true(b->ops->kv_cache_create(b, &shape, &cache, NULL));
    const int32_t original = 0, copy = 1;
    struct kv_append_sequence appended = {.rows = KEYS, .pages = &original};
    struct tensor keys = put(b, 2 * KEYS, WIDTH, k), values = put(b, 2 * KEYS, WIDTH, v);
    for (size_t layer = 0; layer < 3; layer++)
        b->ops->kv_append(b, cache, layer, keys, values, &appended, 1);
    b->ops->kv_copy(b, cache, &original, &copy, 1);
    float *y[3];
    for (int turn = 0; turn < 3; turn++) {
        const struct attention_sequence sequence = {
            .q_rows = 1, .q_position = KEYS - 1, .k_rows = KEYS, .pages = turn == 1 ? &original : &copy};
        struct attention_args args = {.q = put(b, 1, WIDTH, q),
            .out = b->ops->scratch(b, 1, WIDTH),
            .cache = cache,
            .layer = 2,
            .sequences = &sequence,
            .sequence_count = 1,
            .heads = 1,
            .kv_heads = 1,
            .head_dim = WIDTH,
            .value_dim = WIDTH,
            .scale = 1,
            .window_left = -1};
        b->ops->attention(b, &args);
        y[turn] = get(b, args.out);
        appended.row = KEYS;
        if (turn == 1) /* writing the original leaves the copy alone */
            b->ops->kv_append(b, cache, 2, keys, values, &appended, 1);
    }
    expect_same(y[0], y[1], WIDTH, "copy");
    expect_same(y[0], y[2], WIDTH, "copy after a write to the original");
    struct backend_memory memory;
    b->ops->memory(b, &memory);
    assert_true(memory.cache_bytes >= (size_t)3 * 2 * 16 * 2 * WIDTH * sizeof(float));
    b->ops->kv_cache_free(b, cache);
    b->ops->kv_cache_free(b, NULL);
    for (int turn = 0; turn < 3; turn++)
        free(y[turn]);
    backend_close(b);
    free(q);
    free(k);
    free(v);
}

static void test_nan_stays_in_its_sample(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(45);
    const struct attention_case *c = &cases[0];
    struct batch batch = make_batch(c, default_lengths, SEQUENCES_MAX);
    float *clean = run_plain(b, &batch, NULL);
    size_t width = c->heads * c->head_dim;
    batch.k[batch.first[3] * width + 5] = NAN;
    batch.v[(batch.first[4] + 2) * width] = NAN;
    float *y = run_plain(b, &batch, NULL);
    assert_true(isnan(y[batch.first[3] * width]) && isnan(y[batch.first[4] * width]));
    for (size_t s = 0; s < batch.count; s++)
        if (s != 3 && s != 4)
            expect_same(y + batch.first[s] * width, clean + batch.first[s] * width, batch.lengths[s] * width,
                "beside NaN");
    free(y);
    free(clean);
    free_batch(&batch);
    backend_close(b);
}

/* Scores of any size: no overflow, and far smaller ones count as nothing. */
static void test_large_scores(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    enum { KEYS = 100 };
    float k[KEYS], v[KEYS];
    for (size_t i = 0; i < KEYS; i++) {
        k[i] = i == 70 ? 30000.0F : -30000.0F + (float)i;
        v[i] = (float)i;
    }
    const float q = 100.0F;
    const struct attention_sequence sequence = {.q_rows = 1, .k_rows = KEYS};
    struct attention_args args = {.q = put(b, 1, 1, &q),
        .k = put(b, KEYS, 1, k),
        .v = put(b, KEYS, 1, v),
        .out = b->ops->scratch(b, 1, 1),
        .sequences = &sequence,
        .sequence_count = 1,
        .heads = 1,
        .kv_heads = 1,
        .head_dim = 1,
        .value_dim = 1,
        .scale = 1,
        .window_left = -1,
        .window_right = -1};
    b->ops->attention(b, &args);
    float *y = get(b, args.out);
    assert_true(*y == 70.0F);
    free(y);
    backend_close(b);
}

const struct CMUnitTest attention_tests[] = {
    cmocka_unit_test(test_masks_and_shapes),
    cmocka_unit_test(test_batch_independence),
    cmocka_unit_test(test_cache_equals_plain),
    cmocka_unit_test(test_cross_attention),
    cmocka_unit_test(test_copy_on_write),
    cmocka_unit_test(test_nan_stays_in_its_sample),
    cmocka_unit_test(test_large_scores),
};
const size_t attention_test_count = sizeof attention_tests / sizeof *attention_tests;
