/* Embedding, norms, rotation, moving and adding. */
#include "tests/unit/backend/data.h"

static void test_embed(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(20);
    enum { WIDTH = 37, WORDS = 11, POSITIONS = 5, ROWS = 40 };
    float *words = random_floats(WORDS * WIDTH), *positions = random_floats(POSITIONS * WIDTH);
    struct embed_args args = {.out = b->ops->scratch(b, ROWS, WIDTH), .term_count = 2};
    int32_t ids[ROWS], places[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        ids[i] = (int32_t)random_below(WORDS);
        places[i] = (int32_t)random_below(POSITIONS);
    }
    struct weight *word_table = load_f32(b, words, WORDS, WIDTH, NULL);
    struct weight *position_table = load_f32(b, positions, POSITIONS, WIDTH, NULL);
    args.terms[0].table = word_table;
    args.terms[0].ids = ids;
    args.terms[0].scale = 3.0F;
    args.terms[1].table = position_table;
    args.terms[1].ids = places;
    args.terms[1].scale = 1.0F;
    b->ops->embed(b, &args);
    float *y = get(b, args.out);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        double word = (double)words[(size_t)ids[i / WIDTH] * WIDTH + i % WIDTH];
        double place = (double)positions[(size_t)places[i / WIDTH] * WIDTH + i % WIDTH];
        expect_near((double)y[i], 3 * word + place, 1e-6, "embed", i);
    }
    args.out.rows = 0;
    b->ops->embed(b, &args);
    b->ops->weight_free(b, word_table);
    b->ops->weight_free(b, position_table);
    backend_close(b);
    free(words);
    free(positions);
    free(y);
}

/* An int8 weight serves as a table, too: a tied head. */
static void test_embed_int8(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    random_seed(21);
    enum { WIDTH = 20, WORDS = 6 };
    float *words = random_floats(WORDS * WIDTH);
    struct tensor_view view = view_of(words, DTYPE_F32, WORDS, WIDTH);
    struct weight_args load = {.parts = {&view}, .part_count = 1, .compute = DTYPE_I8};
    for (int lookup = 0; lookup < 2; lookup++) {
        load.lookup = lookup;
        struct weight *table;
        assert_true(b->ops->weight_load(b, &load, &table, NULL));
        const int32_t ids[2] = {5, 0};
        struct embed_args args = {.out = b->ops->scratch(b, 2, WIDTH), .term_count = 1};
        args.terms[0].table = table;
        args.terms[0].ids = ids;
        args.terms[0].scale = 1.0F;
        b->ops->embed(b, &args);
        float *y = get(b, args.out);
        for (size_t i = 0; i < 2 * WIDTH; i++)
            expect_near((double)y[i], (double)words[(size_t)ids[i / WIDTH] * WIDTH + i % WIDTH],
                lookup ? 0 : 3.5 / 126, "int8 row", i);
        free(y);
        b->ops->weight_free(b, table);
    }
    backend_close(b);
    free(words);
}

struct norm_case {
    size_t rows, width, group;
    enum norm_kind kind;
    bool residual, sum, after, weight, bias;
};

static void reference_norm(const struct norm_case *c, const float *x, const float *weight, const float *bias,
    size_t count, double *out)
{
    double mean = 0, variance = 0;
    for (size_t i = 0; i < count && c->kind == NORM_LAYER; i++)
        mean += (double)x[i] / (double)count;
    for (size_t i = 0; i < count; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)count;
    for (size_t i = 0; i < count; i++)
        out[i] = ((double)x[i] - mean) / sqrt(variance + 1e-5) * (weight ? (double)weight[i] : 1) +
                 (bias ? (double)bias[i] : 0);
}

static void check_norm(struct backend *b, const struct norm_case *c)
{
    size_t count = c->rows * c->width, group = c->group ? c->group : c->width;
    float *x = random_floats(count), *residual = random_floats(count), *after = random_floats(count);
    float *values = random_floats(group), *shifts = random_floats(group);
    struct tensor_view weight_view = view_of(values, DTYPE_F32, 1, group);
    struct tensor_view bias_view = view_of(shifts, DTYPE_F32, 1, group);
    struct vector *weight, *bias;
    assert_true(b->ops->vector_load(b, &weight_view, 1.0F, &weight, NULL));
    assert_true(b->ops->vector_load(b, &bias_view, 0.0F, &bias, NULL));
    for (size_t i = 0; i < group; i++)
        values[i] += 1.0F;
    b->ops->scratch_reset(b);
    struct tensor in = put(b, c->rows, c->width, x), added = put(b, c->rows, c->width, residual);
    struct tensor later = put(b, c->rows, c->width, after), sum = b->ops->scratch(b, c->rows, c->width);
    struct norm_args args = {
        .out = in, /* over its own input */
        .in = in,
        .residual = c->residual ? &added : NULL,
        .sum = c->sum ? &sum : NULL,
        .after = c->after ? &later : NULL,
        .weight = c->weight ? weight : NULL,
        .bias = c->bias ? bias : NULL,
        .kind = c->kind,
        .epsilon = 1e-5F,
        .group = c->group,
    };
    b->ops->norm(b, &args);
    float *y = get(b, in), *kept = get(b, sum);
    double *expected = malloc((group + 1) * sizeof *expected);
    assert_non_null(expected);
    for (size_t i = 0; c->residual && i < count; i++)
        x[i] += residual[i];
    for (size_t g = 0; g < count; g += group) {
        reference_norm(c, x + g, c->weight ? values : NULL, c->bias ? shifts : NULL, group, expected);
        for (size_t i = 0; i < group; i++)
            expect_near(
                (double)y[g + i], expected[i] + (c->after ? (double)after[g + i] : 0), 2e-5, "norm", g + i);
    }
    if (c->sum)
        expect_same(kept, x, count, "sum");
    b->ops->vector_free(b, weight);
    b->ops->vector_free(b, bias);
    free(expected);
    free(x);
    free(residual);
    free(after);
    free(values);
    free(shifts);
    free(y);
    free(kept);
}

static void test_norm(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(22);
    static const struct norm_case cases[] = {
        {3, 64, 0, NORM_LAYER, false, false, false, true, true},
        {33, 100, 0, NORM_LAYER, true, true, false, true, true},
        {1, 1, 0, NORM_LAYER, false, false, false, true, false},
        {5, 7, 0, NORM_RMS, true, false, false, true, false},
        {31, 1023, 0, NORM_RMS, true, true, true, true, false},
        {9, 96, 24, NORM_RMS, false, false, false, true, false},
        {9, 96, 12, NORM_LAYER, false, true, false, false, false},
        {0, 16, 0, NORM_RMS, false, false, false, true, false},
        {2, 40, 0, NORM_LAYER, false, false, true, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_norm(b, &cases[i]);
    backend_close(b);
}

/* Pre-norm layers keep the stream where it is: sum over in's own memory. */
static void test_norm_keeps_sum_in_place(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    const float x[4] = {1, 2, 3, 4}, y[4] = {1, 1, 1, 1};
    struct tensor stream = put(b, 1, 4, x), added = put(b, 1, 4, y), out = b->ops->scratch(b, 1, 4);
    struct norm_args args = {
        .out = out, .in = added, .residual = &stream, .sum = &stream, .kind = NORM_RMS, .epsilon = 0};
    b->ops->norm(b, &args);
    float *sum = get(b, stream), *normed = get(b, out);
    for (size_t i = 0; i < 4; i++) {
        assert_true(sum[i] == x[i] + 1);
        expect_near((double)normed[i], (double)sum[i] / sqrt(54.0 / 4), 1e-6, "normed", i);
    }
    free(sum);
    free(normed);
    backend_close(b);
}

static void check_rope(struct backend *b, size_t heads, size_t head_dim, size_t pairs, bool interleaved)
{
    enum { ROWS = 19 };
    size_t width = heads * head_dim;
    float *x = random_floats(ROWS * (width + 3));
    float frequency[64];
    int32_t positions[ROWS];
    for (size_t i = 0; i < pairs; i++)
        frequency[i] = (float)pow(10000, -(double)i / (double)pairs);
    for (size_t i = 0; i < ROWS; i++)
        positions[i] = (int32_t)random_below(3000);
    b->ops->scratch_reset(b);
    struct tensor wide = put(b, ROWS, width + 3, x);
    struct rope_args args = {.x = tensor_columns(wide, 2, width),
        .positions = positions,
        .inverse_frequency = frequency,
        .pairs = pairs,
        .head_dim = head_dim,
        .scale = 1.25F,
        .interleaved = interleaved};
    b->ops->rope(b, &args);
    float *y = get(b, wide);
    for (size_t r = 0; r < ROWS; r++) {
        const float *from = x + r * (width + 3), *to = y + r * (width + 3);
        assert_true(from[0] == to[0] && from[1] == to[1] && from[width + 2] == to[width + 2]);
        for (size_t h = 0; h < heads; h++)
            for (size_t c = 0; c < head_dim; c++) {
                size_t at = 2 + h * head_dim + c, pair = interleaved ? c / 2 : c % pairs;
                bool high = interleaved ? c % 2 : c >= pairs;
                size_t other = interleaved ? at ^ 1 : high ? at - pairs : at + pairs;
                if (interleaved)
                    other = high ? at - 1 : at + 1;
                double expected = (double)from[at];
                if (c < 2 * pairs) {
                    /* the angle is rounded to float32, as in the reference */
                    double angle = (double)((float)positions[r] * frequency[pair]);
                    double turned = (double)from[other] * sin(angle);
                    expected = 1.25 * (expected * cos(angle) + (high ? turned : -turned));
                }
                expect_near((double)to[at], expected, 2e-6 + 1e-6 * fabs(expected), "rope", at);
            }
    }
    free(x);
    free(y);
}

static void test_rope(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(23);
    check_rope(b, 4, 64, 32, false);
    check_rope(b, 3, 20, 10, true);
    check_rope(b, 2, 80, 10, false);
    check_rope(b, 5, 7, 3, true);
    check_rope(b, 1, 2, 1, false);
    backend_close(b);
}

static void test_gather_and_scatter(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    random_seed(24);
    enum { ROWS = 9, WIDTH = 5 };
    float *x = random_floats(ROWS * WIDTH);
    struct tensor in = put(b, ROWS, WIDTH, x), few = b->ops->scratch(b, 3, WIDTH);
    const int32_t rows[3] = {8, 0, 4};
    b->ops->gather(b, few, in, rows);
    float *y = get(b, few);
    for (size_t i = 0; i < 3; i++)
        expect_same(y + i * WIDTH, x + (size_t)rows[i] * WIDTH, WIDTH, "gather");
    free(y);
    const int32_t targets[3] = {1, 2, 3};
    b->ops->scatter(b, in, few, targets);
    y = get(b, in);
    expect_same(y, x, WIDTH, "untouched");
    expect_same(y + WIDTH, x + 8 * WIDTH, WIDTH, "scattered");
    expect_same(y + 3 * WIDTH, x + 4 * WIDTH, WIDTH, "scattered");
    free(y);
    free(x);
    backend_close(b);
}

static void test_add_and_scale(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(25);
    enum { ROWS = 35, WIDTH = 29 };
    float *x = random_floats(ROWS * WIDTH), *y = random_floats(ROWS * WIDTH);
    struct tensor first = put(b, ROWS, WIDTH, x), second = put(b, ROWS, WIDTH, y);
    b->ops->add(b, first, first, second);
    float *sum = get(b, first);
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        assert_true(sum[i] == x[i] + y[i]);
    b->ops->scale(b, first, 7.0F, 3.0F);
    float *capped = get(b, first);
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        expect_near((double)capped[i], 3 * tanh(7 * (double)sum[i] / 3), 2e-6, "capped", i);
    b->ops->scale(b, second, 0.5F, 0.0F);
    float *half = get(b, second);
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        assert_true(half[i] == 0.5F * y[i]);
    free(sum);
    free(capped);
    free(half);
    free(x);
    free(y);
    backend_close(b);
}

const struct CMUnitTest rows_tests[] = {
    cmocka_unit_test(test_embed),
    cmocka_unit_test(test_embed_int8),
    cmocka_unit_test(test_norm),
    cmocka_unit_test(test_norm_keeps_sum_in_place),
    cmocka_unit_test(test_rope),
    cmocka_unit_test(test_gather_and_scatter),
    cmocka_unit_test(test_add_and_scale),
};
const size_t rows_test_count = sizeof rows_tests / sizeof *rows_tests;
