/* Pages: sharing, copying before writing, promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/engine/pages.h"

static void test_a_shared_page_is_copied_before_it_is_written(void **state)
{
    (void)state;
    struct page_pool pool;
    struct page_table a, b;
    struct page_copy copy;
    struct error err = {0};
    assert_true(page_pool_open(&pool, 8, &err));
    assert_true(page_table_open(&a, 4, &err) && page_table_open(&b, 4, &err));
    assert_false(page_table_prepare(&pool, &a, 0, 20, &copy)); /* two pages, the second partly filled */
    assert_int_equal(a.count, 2);
    page_table_share(&pool, &b, &a, 2);
    assert_int_equal(pool.free_count, 6);
    assert_true(page_table_prepare(&pool, &b, 20, 1, &copy));
    assert_int_equal(copy.from, a.pages[1]);
    assert_int_equal(copy.to, b.pages[1]);
    assert_int_equal(b.pages[0], a.pages[0]);
    assert_false(page_table_prepare(&pool, &a, 20, 1, &copy)); /* it has the page for itself now */
    assert_false(page_table_prepare(&pool, &b, 32, 1, &copy)); /* a new page is nobody else's */
    assert_int_equal(b.count, 3);
    page_table_close(&pool, &a);
    page_table_close(&pool, &b);
    assert_int_equal(pool.free_count, 8);
    page_pool_close(&pool);
}

static void test_promises_never_exceed_the_pool(void **state)
{
    (void)state;
    struct page_pool pool;
    struct error err = {0};
    assert_true(page_pool_open(&pool, 8, &err));
    assert_true(page_pool_promise(&pool, 5));
    assert_false(page_pool_promise(&pool, 4));
    assert_true(page_pool_promise(&pool, 3));
    assert_false(page_pool_promise(&pool, SIZE_MAX));
    page_pool_release_promise(&pool, 5);
    assert_true(page_pool_promise(&pool, 5));
    page_pool_close(&pool);
}

static void test_pages_cover_tokens(void **state)
{
    (void)state;
    assert_int_equal(pages_for(0), 0);
    assert_int_equal(pages_for(1), 1);
    assert_int_equal(pages_for(16), 1);
    assert_int_equal(pages_for(17), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_shared_page_is_copied_before_it_is_written),
        cmocka_unit_test(test_promises_never_exceed_the_pool),
        cmocka_unit_test(test_pages_cover_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
