#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/api/multipart.h"

/* What a handler saw, as one text: [name|filename]content; */
struct seen {
    char text[65536];
    size_t used;
};

static void note(struct seen *seen, const char *bytes, size_t size)
{
    assert_true(seen->used + size < sizeof(seen->text));
    memcpy(seen->text + seen->used, bytes, size);
    seen->used += size;
    seen->text[seen->used] = '\0';
}

static bool on_begin(void *context, const char *name, const char *filename, struct error *err)
{
    char line[1024];
    (void)err;
    int n = snprintf(line, sizeof(line), "[%s|%s]", name, filename ? filename : "-");
    note(context, line, (size_t)n);
    return true;
}

static bool on_data(void *context, const char *bytes, size_t size, struct error *err)
{
    (void)err;
    note(context, bytes, size);
    return true;
}

static bool on_end(void *context, struct error *err)
{
    (void)err;
    note(context, ";", 1);
    return true;
}

static bool parse(
    const char *type, const char *body, size_t size, size_t step, struct seen *seen, struct error *err)
{
    struct multipart_handler handler = {seen, on_begin, on_data, on_end};
    seen->used = 0;
    seen->text[0] = '\0';
    struct multipart *m = multipart_open(type, &handler, err);
    if (!m)
        return false;
    bool ok = true;
    for (size_t at = 0; ok && at < size; at += step)
        ok = multipart_feed(m, body + at, size - at < step ? size - at : step, err);
    ok = ok && multipart_finish(m, err);
    multipart_close(m);
    return ok;
}

static const char TYPE[] = "multipart/form-data; boundary=XX";

static void parts_are_the_same_however_the_body_is_cut(void **state)
{
    (void)state;
    static const char body[] =
        "preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"dataset\"; filename=\"a b.csv\"\r\n"
        "Content-Type: text/csv\r\n\r\nline\r\n--X\r\n\r\r\n-- XX\r\n--XX  \r\n"
        "content-disposition:form-data;name=format\r\n\r\njob\r\n--XX--\r\nepilogue";
    struct seen *seen = malloc(sizeof(*seen));
    for (size_t step = 1; step <= sizeof(body); step++) {
        struct error err = {0};
        if (!parse(TYPE, body, sizeof(body) - 1, step, seen, &err))
            fail_msg("step %zu: %s", step, err.message);
        assert_string_equal(seen->text, "[dataset|a b.csv]line\r\n--X\r\n\r\r\n-- XX;[format|-]job;");
    }
    free(seen);
}

static void a_boundary_that_repeats_itself_is_found(void **state)
{
    (void)state;
    static const char body[] = "--\r\n--\r\nContent-Disposition: form-data; "
                               "name=\"a\"\r\n\r\n\r\n--\r\n-\r\n----aa--a\r\n--aa-\r\n--aa--";
    static const char good[] =
        "--aa\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--a\r\n\r\n--a-\r\n--aa--";
    struct seen *seen = malloc(sizeof(*seen));
    struct error err;
    assert_true(parse("multipart/form-data; boundary=\"aa\"", good, sizeof(good) - 1, 1, seen, &err));
    assert_string_equal(seen->text, "[a|-]\r\n--a\r\n\r\n--a-;");
    assert_false(parse("multipart/form-data; boundary=\"aa\"", body, sizeof(body) - 1, 3, seen, &err));
    free(seen);
}

static void filenames_lead_nowhere(void **state)
{
    (void)state;
    static const struct {
        const char *header, *seen;
    } cases[] = {
        {"name=\"f\"; filename=\"../../etc/passwd\"", "[f|passwd];"},
        {"name=\"f\"; filename=\"C:\\\\dir\\\\x.csv\"", "[f|x.csv];"},
        {"name=\"f\"; filename=\"say \\\"hi\\\".csv\"", "[f|say \"hi\".csv];"},
        {"name=\"f\"; filename*=UTF-8''%e2%82%ac%20x.csv", "[f|\xE2\x82\xAC x.csv];"},
        {"name=\"f\"; filename=\"plain\"; filename*=utf-8'en'better.csv", "[f|better.csv];"},
        {"name=\"f\"; filename*=UTF-8''..%2f..%2fx", "[f|x];"},
        {"name=\"f\"; filename*=UTF-8''a%00b", "[f|a%00b];"},
        {"name=\"f\"; filename=\"\"", "[f|];"},
    };
    struct seen *seen = malloc(sizeof(*seen));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char body[512];
        struct error err;
        int n = snprintf(body, sizeof(body), "--XX\r\nContent-Disposition: form-data; %s\r\n\r\n\r\n--XX--",
            cases[i].header);
        assert_true(parse(TYPE, body, (size_t)n, 7, seen, &err));
        assert_string_equal(seen->text, cases[i].seen);
    }
    free(seen);
}

static void hostile_bodies_end_in_one_clear_error(void **state)
{
    (void)state;
    static const char *bodies[] = {
        "",
        "no boundary at all",
        "--XX",
        "--XX\r\n",
        "--XXjunk\r\n\r\n",
        "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nunfinished",
        "--XX\r\n\r\nno name\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--",
    };
    struct seen *seen = malloc(sizeof(*seen));
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct error err = {0};
        assert_false(parse(TYPE, bodies[i], strlen(bodies[i]), 5, seen, &err));
        assert_int_equal(err.code, ERROR_INVALID);
        assert_true(err.message[0] != '\0');
    }
    free(seen);
}

static void headers_and_parts_without_end_are_refused(void **state)
{
    (void)state;
    struct seen *seen = malloc(sizeof(*seen));
    char *body = malloc(300000);
    struct error err;
    size_t n = (size_t)sprintf(body, "--XX\r\nX-Long: ");
    memset(body + n, 'a', 200000);
    assert_false(parse(TYPE, body, n + 200000, 1000, seen, &err));
    n = 0;
    for (int i = 0; i < 100; i++)
        n += (size_t)sprintf(
            body + n, "%s--XX\r\nContent-Disposition: form-data; name=\"n%d\"\r\n\r\n", i ? "\r\n" : "", i);
    n += (size_t)sprintf(body + n, "\r\n--XX--");
    assert_false(parse(TYPE, body, n, 1000, seen, &err));
    free(body);
    free(seen);
}

static void zero_bytes_pass_in_content_and_not_in_headers(void **state)
{
    (void)state;
    static const char good[] = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\0002\r\n--XX--";
    static const char bad[] = "--XX\r\nContent-Disposition: form-data; na\0me=\"a\"\r\n\r\n1\r\n--XX--";
    struct seen *seen = malloc(sizeof(*seen));
    struct error err;
    assert_true(parse(TYPE, good, sizeof(good) - 1, 4, seen, &err));
    assert_memory_equal(seen->text, "[a|-]1\0002;", 9);
    assert_false(parse(TYPE, bad, sizeof(bad) - 1, 4, seen, &err));
    free(seen);
}

static void content_types_without_a_usable_boundary_are_refused(void **state)
{
    (void)state;
    static const char *types[] = {"", "application/json", "multipart/form-data",
        "multipart/form-data; boundary=", "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=a\x01b"};
    struct multipart_handler handler = {NULL, on_begin, on_data, on_end};
    struct error err;
    char too_long[128] = "multipart/form-data; boundary=";
    memset(too_long + 30, 'x', 71);
    assert_null(multipart_open(too_long, &handler, &err));
    assert_null(multipart_open(NULL, &handler, &err));
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        err.message[0] = '\0';
        assert_null(multipart_open(types[i], &handler, &err));
        assert_true(err.message[0] != '\0');
    }
    struct multipart *m =
        multipart_open("Multipart/Form-Data; charset=utf-8; Boundary=\"a b?\"", &handler, &err);
    assert_non_null(m);
    multipart_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_the_same_however_the_body_is_cut),
        cmocka_unit_test(a_boundary_that_repeats_itself_is_found),
        cmocka_unit_test(filenames_lead_nowhere),
        cmocka_unit_test(hostile_bodies_end_in_one_clear_error),
        cmocka_unit_test(headers_and_parts_without_end_are_refused),
        cmocka_unit_test(zero_bytes_pass_in_content_and_not_in_headers),
        cmocka_unit_test(content_types_without_a_usable_boundary_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
