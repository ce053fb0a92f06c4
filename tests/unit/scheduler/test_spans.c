#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "coordinator/scheduler/spans.h"

static void test_neighbours_join_when_alike(void **state)
{
    (void)state;
    struct spans spans = {0};
    spans_add(&spans, 0, 10, (struct retry){0});
    spans_add(&spans, 20, 10, (struct retry){0});
    assert_int_equal(spans.count, 2);
    spans_add(&spans, 10, 10, (struct retry){0});
    assert_int_equal(spans.count, 1);
    assert_int_equal(spans.items[0].count, 30);
    spans_add(&spans, 30, 5, (struct retry){.limit = 2});
    assert_int_equal(spans.count, 2);
    assert_int_equal(spans.total, 35);
    spans_free(&spans);
}

static void test_cut_at_each_end_and_inside(void **state)
{
    (void)state;
    struct spans spans = {0};
    spans_add(&spans, 100, 10, (struct retry){.alone = 1});
    spans_cut(&spans, 0, 100, 2);
    spans_cut(&spans, 0, 108, 2);
    spans_cut(&spans, 0, 104, 1);
    assert_int_equal(spans.count, 2);
    assert_int_equal(spans.items[0].first, 102);
    assert_int_equal(spans.items[0].count, 2);
    assert_int_equal(spans.items[1].first, 105);
    assert_int_equal(spans.items[1].count, 3);
    assert_int_equal(spans.items[1].retry.alone, 1);
    spans_cut(&spans, 1, 105, 3);
    assert_int_equal(spans.count, 1);
    assert_int_equal(spans.total, 2);
    spans_free(&spans);
}

static void test_take_one(void **state)
{
    (void)state;
    struct spans spans = {0};
    spans_add(&spans, 5, 3, (struct retry){0});
    assert_false(spans_take(&spans, 4));
    assert_true(spans_take(&spans, 6));
    assert_false(spans_take(&spans, 6));
    assert_true(spans_take(&spans, 5));
    assert_true(spans_take(&spans, 7));
    assert_false(spans_take(&spans, 8));
    assert_int_equal(spans.total, 0);
    assert_int_equal(spans.count, 0);
    spans_free(&spans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_neighbours_join_when_alike),
        cmocka_unit_test(test_cut_at_each_end_and_inside),
        cmocka_unit_test(test_take_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
