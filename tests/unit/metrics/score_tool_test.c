/* The score tool: order, ids, samples without values, and wrong input. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/metrics/score_tool.h"

struct files {
    char dir[64];
    char input[80], output[80], errors[80];
};

static int open_folder(void **state)
{
    struct files *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    strcpy(f->dir, "/tmp/lumigrid-score-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    (void)snprintf(f->input, sizeof f->input, "%s/in.jsonl", f->dir);
    (void)snprintf(f->output, sizeof f->output, "%s/out.jsonl", f->dir);
    (void)snprintf(f->errors, sizeof f->errors, "%s/errors", f->dir);
    *state = f;
    return 0;
}

static int remove_folder(void **state)
{
    struct files *f = *state;
    unlink(f->input);
    unlink(f->output);
    unlink(f->errors);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void write_input(const struct files *f, const char *text, size_t len)
{
    FILE *file = fopen(f->input, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static char *read_text(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[len] = '\0';
    return text;
}

/* Runs the tool with its stderr in f->errors. */
static int run(const struct files *f, const char *metrics, const char *threads)
{
    char *argv[] = {"score", "--metrics", (char *)metrics, "--input", (char *)f->input, "--output",
        (char *)f->output, "--threads", (char *)threads, NULL};
    (void)fflush(stderr);
    int saved = dup(2);
    FILE *errors = fopen(f->errors, "wb");
    assert_non_null(errors);
    dup2(fileno(errors), 2);
    int status = score_tool_run(9, argv, NULL);
    (void)fflush(stderr);
    dup2(saved, 2);
    close(saved);
    (void)fclose(errors);
    return status;
}

static int run_text(const struct files *f, const char *metrics, const char *text)
{
    write_input(f, text, strlen(text));
    return run(f, metrics, "2");
}

static void lines_keep_their_order(void **state)
{
    const struct files *f = *state;
    enum { LINES = 5000 };
    FILE *file = fopen(f->input, "wb");
    assert_non_null(file);
    for (int i = 0; i < LINES; i++)
        assert_true(fprintf(file, "{\"id\":%d,\"prediction\":\"a b c %d\",\"reference\":\"a c %d\"}\n", i, i,
                        i % 7) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(run(f, "rouge", "8"), 0);
    file = fopen(f->output, "rb");
    assert_non_null(file);
    char line[512];
    for (int i = 0; i < LINES; i++) {
        assert_non_null(fgets(line, sizeof line, file));
        json_t *value = json_loads(line, 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(value, "id")), i);
        assert_true(json_is_real(json_object_get(value, "rougeLsum")));
        json_decref(value);
    }
    assert_null(fgets(line, sizeof line, file));
    (void)fclose(file);
}

static void ids_and_escapes_are_kept(void **state)
{
    const struct files *f = *state;
    static const char text[] = "{\"id\":\"\\u00e9\\n\\\"x\\\"\",\"prediction\":\"\\ud83d\\ude00 "
                               "\\u0041\",\"reference\":\"\xf0\x9f\x98\x80 A\"}\n"
                               "\n"
                               "{\"id\": 7, \"prediction\": \"a\\u0000b\", \"reference\": \"a\\u0000b\", "
                               "\"other\": [1, {\"x\": null}]}";
    assert_int_equal(run_text(f, "exact_match", text), 0);
    assert_string_equal(read_text(f->output),
        "{\"id\":\"\\u00e9\\n\\\"x\\\"\",\"exact_match\":1}\n{\"id\":7,\"exact_match\":1}\n");
}

static void samples_without_value_say_why(void **state)
{
    const struct files *f = *state;
    assert_int_equal(run_text(f, "bleu,ter,chrf",
                         "{\"id\":1,\"prediction\":\"\",\"reference\":\"a\"}\n"
                         "{\"id\":2,\"prediction\":\"a\",\"reference\":null}\n"),
        0);
    char *text = read_text(f->output);
    assert_non_null(strstr(text, "{\"id\":1,\"ter\":100,\"chrf\":0,\"error\":\"bleu: "));
    assert_non_null(strstr(text, "{\"id\":2,\"error\":\"bleu: the sample has no reference text; ter: "));
}

static void wrong_lines_are_named(void **state)
{
    const struct files *f = *state;
    static const struct {
        const char *line, *says;
    } wrong[] = {
        {"{\"id\":1,\"prediction\":\"a\"", "in.jsonl:2: "},
        {"[1]", "not a JSON object"},
        {"{\"prediction\":\"a\"}", "\"id\" is missing"},
        {"{\"id\":1.5,\"prediction\":\"a\"}", "neither a string nor an integer"},
        {"{\"id\":1,\"prediction\":3}", "\"prediction\" is not a string"},
        {"{\"id\":1}", "\"prediction\" is missing"},
        {"{\"id\":1,\"prediction\":\"\\ud800\"}", "column"},
        {"{\"id\":1,\"prediction\":\"\xff\"}", "0xff"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "{\"id\":0,\"prediction\":\"a\"}\n%s\n", wrong[i].line);
        assert_int_equal(run_text(f, "length", text), 1);
        const char *message = read_text(f->errors);
        if (!strstr(message, wrong[i].says) || !strstr(message, "in.jsonl:2: ") ||
            strchr(message, '\n') != message + strlen(message) - 1)
            fail_msg("%s: %s", wrong[i].line, message);
    }
}

static void wrong_usage_is_told_apart(void **state)
{
    const struct files *f = *state;
    assert_int_equal(run_text(f, "rogue", ""), 2);
    assert_non_null(strstr(read_text(f->errors), "'rogue'"));
    write_input(f, "", 0);
    assert_int_equal(run(f, "rouge", "0"), 2);
    assert_int_equal(run(f, "rouge", "many"), 2);
    assert_int_equal(run(f, "rouge", "1"), 0);
    unlink(f->input);
    assert_int_equal(run(f, "rouge", "1"), 1);
    assert_non_null(strstr(read_text(f->errors), "cannot open"));
    write_input(f, "", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_keep_their_order, open_folder, remove_folder),
        cmocka_unit_test_setup_teardown(ids_and_escapes_are_kept, open_folder, remove_folder),
        cmocka_unit_test_setup_teardown(samples_without_value_say_why, open_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wrong_lines_are_named, open_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wrong_usage_is_told_apart, open_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("score tool", tests, NULL, NULL);
}
