#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/report/writer.h"

static char *written(struct writer *w)
{
    static char text[4096];
    size_t n = writer_take(w, text, sizeof(text) - 1);
    text[n] = '\0';
    return text;
}

static void strings_are_escaped_so_that_any_parser_reads_them_back(void **state)
{
    (void)state;
    struct writer w = {0};
    char bytes[256];
    for (int i = 1; i < 128; i++)
        bytes[i - 1] = (char)i;
    writer_string(&w, bytes, 127);
    json_t *value = json_loads(written(&w), JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    assert_int_equal(json_string_length(value), 127);
    assert_memory_equal(json_string_value(value), bytes, 127);
    json_decref(value);
    writer_free(&w);
}

static void what_is_no_utf8_becomes_the_replacement_character(void **state)
{
    (void)state;
    struct writer w = {0};
    writer_string(&w, "a\xFF\xC3\xA9\xED\xA0\x80z", 8);
    assert_string_equal(written(&w), "\"a\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"");
    writer_free(&w);
}

static void a_zero_byte_is_escaped(void **state)
{
    (void)state;
    struct writer w = {0};
    writer_string(&w, "a\0b", 3);
    assert_string_equal(written(&w), "\"a\\u0000b\"");
    writer_free(&w);
}

static void numbers_read_back_as_the_same_double(void **state)
{
    (void)state;
    const double values[] = {
        0.1, 1.0 / 3, 5e-324, 1.7976931348623157e308, -0.0, 123456789012345680.0, 0.30000000000000004};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct writer w = {0};
        writer_number(&w, values[i]);
        const char *text = written(&w);
        assert_true(strtod(text, NULL) == values[i]);
        json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
        assert_true(json_is_real(value));
        json_decref(value);
        writer_free(&w);
    }
}

static void numbers_are_as_short_as_they_can_be(void **state)
{
    (void)state;
    struct writer w = {0};
    writer_number(&w, 0.1);
    writer_text(&w, " ");
    writer_number(&w, 1);
    assert_string_equal(written(&w), "0.1 1.0");
    writer_free(&w);
}

static void what_is_no_number_is_null(void **state)
{
    (void)state;
    struct writer w = {0};
    writer_number(&w, NAN);
    writer_number(&w, INFINITY);
    assert_string_equal(written(&w), "nullnull");
    writer_free(&w);
}

static void taking_in_pieces_gives_everything_in_order(void **state)
{
    (void)state;
    struct writer w = {0};
    char text[64] = "";
    writer_text(&w, "hello ");
    assert_int_equal(writer_take(&w, text, 3), 3);
    writer_text(&w, "world");
    assert_int_equal(writer_take(&w, text + 3, 60), 8);
    assert_int_equal(writer_take(&w, text, 60), 0);
    assert_memory_equal(text, "hello world", 11);
    writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped_so_that_any_parser_reads_them_back),
        cmocka_unit_test(what_is_no_utf8_becomes_the_replacement_character),
        cmocka_unit_test(a_zero_byte_is_escaped),
        cmocka_unit_test(numbers_read_back_as_the_same_double),
        cmocka_unit_test(numbers_are_as_short_as_they_can_be),
        cmocka_unit_test(what_is_no_number_is_null),
        cmocka_unit_test(taking_in_pieces_gives_everything_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
