/* Tests that any backend must pass: every operation against a plain reference in double precision, over odd
 * shapes; and that a row's result never depends on what else is in the batch, bit for bit. */
#include "tests/unit/backend/data.h"

static void test_open_unknown(void **state)
{
    (void)state;
    struct backend *b = NULL;
    struct error err = {0};
    assert_false(backend_open("abacus", NULL, &b, &err));
    assert_int_equal(err.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "abacus"));
    assert_null(b);
    struct backend_options options = {.threads = -1};
    assert_false(backend_open("cpu", &options, &b, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    backend_close(NULL);
}

static void test_describe(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    assert_true(strlen(b->ops->describe(b)) > 0);
    struct backend_memory memory;
    b->ops->memory(b, &memory);
    assert_true(memory.total_bytes > 0 && memory.free_bytes > 0 && memory.free_bytes <= memory.total_bytes);
    assert_int_equal(memory.weight_bytes, 0);
    backend_close(b);
}

/* A failed operation is told at the next waiting call, and the backend works again after a reset. */
static void test_failure_stays_until_reset(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    struct error err = {0};
    struct tensor huge = b->ops->scratch(b, (size_t)1 << 40, (size_t)1 << 20);
    assert_null(huge.data);
    struct tensor small = b->ops->scratch(b, 2, 3);
    assert_null(small.data);
    b->ops->add(b, small, small, small);
    float out[6];
    assert_false(b->ops->sync(b, &err));
    assert_int_equal(err.code, ERROR_MEMORY);
    assert_false(b->ops->download(b, small, out, &err));
    b->ops->scratch_reset(b);
    assert_true(b->ops->sync(b, &err));
    const float values[6] = {1, 2, 3, 4, 5, 6};
    float *back = get(b, put(b, 2, 3, values));
    expect_same(back, values, 6, "after a reset");
    free(back);
    backend_close(b);
}

static void test_scratch_release(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    const float values[6] = {1, 2, 3, 4, 5, 6}, others[6] = {7, 8, 9, 10, 11, 12};
    struct tensor kept = put(b, 2, 3, values);
    size_t mark = b->ops->scratch_mark(b);
    struct tensor first = put(b, 2, 3, others);
    b->ops->scratch_release(b, mark);
    struct tensor second = put(b, 2, 3, others);
    assert_ptr_equal(first.data, second.data);
    float *back = get(b, kept);
    expect_same(back, values, 6, "allocated before the mark");
    free(back);
    backend_close(b);
}

static void test_tensor_create(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    struct tensor t;
    struct error err = {0};
    assert_true(b->ops->tensor_create(b, 3, 5, &t, &err));
    float *zeros = get(b, t);
    for (size_t i = 0; i < 15; i++)
        assert_true(zeros[i] == 0.0F);
    free(zeros);
    const float one = 1.0F;
    b->ops->upload(b, tensor_columns(tensor_rows(t, 1, 1), 2, 1), &one);
    float *values = get(b, t);
    for (size_t i = 0; i < 15; i++)
        assert_true(values[i] == (i == 7 ? 1.0F : 0.0F));
    free(values);
    b->ops->tensor_free(b, &t);
    assert_null(t.data);
    assert_false(b->ops->tensor_create(b, SIZE_MAX / 2, 4, &t, &err));
    backend_close(b);
}

int main(void)
{
    const struct CMUnitTest general[] = {
        cmocka_unit_test(test_open_unknown),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_failure_stays_until_reset),
        cmocka_unit_test(test_scratch_release),
        cmocka_unit_test(test_tensor_create),
    };
    int failed = cmocka_run_group_tests_name("backend", general, NULL, NULL);
    failed += _cmocka_run_group_tests("linear", linear_tests, linear_test_count, NULL, NULL);
    failed += _cmocka_run_group_tests("rows", rows_tests, rows_test_count, NULL, NULL);
    failed += _cmocka_run_group_tests("attention", attention_tests, attention_test_count, NULL, NULL);
    failed += _cmocka_run_group_tests("select", select_tests, select_test_count, NULL, NULL);
    return failed;
}
