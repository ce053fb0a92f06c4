/* Edits, log-softmax and the best of each row. */
#include "tests/unit/backend/data.h"

/* Rows of scores through select with `top` = vocabulary: out[row][id] = score; NaN for ids not returned. */
static void select_all(struct backend *b, struct select_args args, const float *logits, size_t rows,
    size_t vocabulary, float *out)
{
    b->ops->scratch_reset(b);
    args.logits = put(b, rows, vocabulary, logits);
    args.top = vocabulary;
    args.ids = malloc((rows * vocabulary + 1) * sizeof *args.ids);
    args.scores = malloc((rows * vocabulary + 1) * sizeof *args.scores);
    assert_non_null(args.ids);
    assert_non_null(args.scores);
    assert_true(b->ops->select(b, &args, NULL));
    for (size_t i = 0; i < rows * vocabulary; i++)
        out[i] = NAN;
    for (size_t i = 0; i < rows * vocabulary; i++) {
        size_t row = i / vocabulary;
        assert_true(args.ids[i] >= 0 && (size_t)args.ids[i] < vocabulary);
        out[row * vocabulary + (size_t)args.ids[i]] = args.scores[i];
        if (i % vocabulary > 0) {
            assert_true(args.scores[i - 1] >= args.scores[i]);
            if (args.scores[i - 1] == args.scores[i])
                assert_true(args.ids[i - 1] < args.ids[i]);
        }
    }
    free(args.ids);
    free(args.scores);
}

static double log_sum(const float *scores, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += exp((double)scores[i]);
    return log(sum);
}

static void test_log_softmax(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(30);
    static const size_t sizes[] = {1, 2, 9, 1000, 20011};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t vocabulary = sizes[s];
        float *x = random_floats(3 * vocabulary), *y = random_floats(3 * vocabulary);
        select_all(b, (struct select_args){0}, x, 3, vocabulary, y);
        for (size_t i = 0; i < 3 * vocabulary; i++) {
            double sum = log_sum(x + i / vocabulary * vocabulary, vocabulary);
            expect_near((double)y[i], (double)x[i] - sum, 3e-6, "log-softmax", i);
        }
        free(x);
        free(y);
    }
    backend_close(b);
}

static void test_edits_before_and_after(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    const float x[8] = {1, -2, 3, 0.5F, 1, -2, 3, 0.5F};
    const struct edit edits[] = {{0, 0, EDIT_PENALTY, 2}, {0, 1, EDIT_PENALTY, 2}, {0, 3, EDIT_BAN, 0},
        {1, 2, EDIT_ADD, -1}, {1, 2, EDIT_ADD, -1}, {1, 0, EDIT_BAN, 0}};
    struct select_args args = {.edits = edits, .edit_count = 6};
    float y[8];
    select_all(b, args, x, 2, 4, y);
    const float edited[2][4] = {{0.5F, -4, 3, -INFINITY}, {-INFINITY, -2, 1, 0.5F}};
    for (size_t i = 0; i < 8; i++)
        expect_near(
            (double)y[i], (double)edited[i / 4][i % 4] - log_sum(edited[i / 4], 4), 1e-6, "before", i);
    args.edits_after = true;
    select_all(b, args, x, 2, 4, y);
    double sum = log_sum(x, 4);
    const double after[2][4] = {
        {2 * (1 - sum), 2 * (-2 - sum), 3 - sum, -INFINITY}, {-INFINITY, -2 - sum, 3 - sum - 2, 0.5 - sum}};
    for (size_t i = 0; i < 8; i++)
        expect_near((double)y[i], after[i / 4][i % 4], 1e-6, "after", i);
    args.raw = true;
    select_all(b, args, x, 2, 4, y);
    for (size_t i = 0; i < 8; i++)
        expect_near((double)y[i], (double)edited[i / 4][i % 4], 0, "raw", i);
    backend_close(b);
}

static void test_forced_and_banned_rows(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    const float x[12] = {1, 2, 3, 4, NAN, 2, -3, 4, 1, 2, 3, 4};
    const struct edit edits[] = {{0, 1, EDIT_ONLY, 0}, {2, 0, EDIT_BAN, 0}, {2, 1, EDIT_BAN, 0},
        {2, 2, EDIT_BAN, 0}, {2, 3, EDIT_BAN, 0}};
    struct select_args args = {.edits = edits, .edit_count = 5};
    float y[12];
    select_all(b, args, x, 3, 4, y);
    const double forced[4] = {-INFINITY, 0, -INFINITY, -INFINITY};
    const float others[3] = {2, -3, 4};
    for (size_t i = 0; i < 4; i++) {
        expect_near((double)y[i], forced[i], 1e-6, "forced", i);
        expect_near((double)y[8 + i], -INFINITY, 0, "all banned", i);
        expect_near((double)y[4 + i], i ? (double)others[i - 1] - log_sum(others, 3) : -INFINITY, 1e-6,
            "NaN is never chosen", i);
    }
    backend_close(b);
}

static void test_top_and_ties(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    const float x[8] = {5, 7, 7, -1, 7, 5, 9, 7};
    int32_t ids[5];
    float scores[5];
    struct select_args args = {
        .logits = put(b, 1, 8, x), .raw = true, .top = 5, .ids = ids, .scores = scores};
    assert_true(b->ops->select(b, &args, NULL));
    const int32_t expected[5] = {6, 1, 2, 4, 7};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(ids[i], expected[i]);
    args.logits = put(b, 1, 8, x);
    args.top = 1;
    args.soft_cap = 2.0F;
    args.edits = &(struct edit){0, 6, EDIT_BAN, 0};
    args.edit_count = 1;
    assert_true(b->ops->select(b, &args, NULL));
    assert_int_equal(ids[0], 1);
    expect_near((double)scores[0], 2 * tanh(3.5), 1e-6, "soft cap", 0);
    args.logits.rows = 0;
    args.edit_count = 0;
    assert_true(b->ops->select(b, &args, NULL));
    backend_close(b);
}

const struct CMUnitTest select_tests[] = {
    cmocka_unit_test(test_log_softmax),
    cmocka_unit_test(test_edits_before_and_after),
    cmocka_unit_test(test_forced_and_banned_rows),
    cmocka_unit_test(test_top_and_ties),
};
const size_t select_test_count = sizeof select_tests / sizeof *select_tests;
