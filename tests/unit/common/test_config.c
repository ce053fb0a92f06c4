/* Options: which source wins, what is refused, and that the refusal says what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/config.h"

static const struct config_option TABLE[] = {{"port", "N", "8000", "where", false, false},
    {"name", "TEXT", NULL, "what", false, false}, {"model", "REF", NULL, "which", true, false},
    {"loud", NULL, NULL, "whether", false, false}, {"size", "SIZE", "1MiB", "how much", false, false}, {0}};

static bool parse(struct config **out, struct error *err, int argc, const char *const *argv)
{
    return config_parse(TABLE, "test", argc, (char **)argv, out, err);
}

#define PARSE(out, err, ...)                                                                                 \
    parse(out, err, (int)(sizeof((const char *[]){"test", __VA_ARGS__}) / sizeof(char *)),                   \
        (const char *[]){"test", __VA_ARGS__})

static void forget_environment(void)
{
    unsetenv("LUMIGRID_PORT");
    unsetenv("LUMIGRID_MODEL");
    unsetenv("LUMIGRID_CONFIG");
}

static void a_flag_wins_over_environment_over_file_over_default(void **state)
{
    (void)state;
    char path[] = "/tmp/lumigrid-config-XXXXXX";
    struct config *config;
    struct error err;
    int64_t port;
    FILE *file = fdopen(mkstemp(path), "w");
    fputs("# for everyone\nport = 1\nunknown-here = 5\n[other]\nname = theirs\n[test]\nname = ours\n", file);
    fclose(file);
    forget_environment();

    assert_true(PARSE(&config, &err, "--loud"));
    assert_string_equal(config_text(config, "port"), "8000");
    assert_false(config_given(config, "port"));
    assert_true(config_switch(config, "loud"));
    config_free(config);

    assert_true(PARSE(&config, &err, "--config", path));
    assert_string_equal(config_text(config, "port"), "1");
    assert_string_equal(config_text(config, "name"), "ours");
    config_free(config);

    setenv("LUMIGRID_PORT", "2", 1);
    assert_true(PARSE(&config, &err, "--config", path));
    assert_string_equal(config_text(config, "port"), "2");
    config_free(config);

    setenv("LUMIGRID_PORT", "", 1); /* as containers pass what is not set */
    assert_true(PARSE(&config, &err, "--config", path));
    assert_string_equal(config_text(config, "port"), "1");
    config_free(config);

    assert_true(PARSE(&config, &err, "--port=3", "--config", path));
    assert_true(config_integer(config, "port", 1, 65535, &port, &err));
    assert_int_equal(port, 3);
    config_free(config);
    forget_environment();
    unlink(path);
}

static void repeatable_options_and_arguments_keep_their_order(void **state)
{
    (void)state;
    struct config *config;
    struct error err;
    forget_environment();
    assert_true(PARSE(&config, &err, "first", "--model", "a", "--model=b", "--", "--second"));
    assert_int_equal(config_count(config, "model"), 2);
    assert_string_equal(config_text_at(config, "model", 1), "b");
    assert_int_equal(config_argument_count(config), 2);
    assert_string_equal(config_argument(config, 1), "--second");
    assert_null(config_argument(config, 2));
    config_free(config);
    setenv("LUMIGRID_MODEL", "x,y,z", 1);
    assert_true(PARSE(&config, &err, "first"));
    assert_int_equal(config_count(config, "model"), 3);
    assert_string_equal(config_text_at(config, "model", 2), "z");
    config_free(config);
    forget_environment();
}

static void assert_refused(const char *words, int argc, const char *const *argv)
{
    struct config *config = NULL;
    struct error err = {0};
    assert_false(parse(&config, &err, argc, argv));
    assert_int_equal(err.code, ERROR_INVALID);
    assert_non_null(strstr(err.message, words));
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    forget_environment();
    assert_refused("unknown option --nonsense", 2, (const char *[]){"test", "--nonsense"});
    assert_refused("--port needs a value", 2, (const char *[]){"test", "--port"});
    assert_refused("--port is given twice", 3, (const char *[]){"test", "--port=1", "--port=2"});
    assert_refused("--loud takes no value", 2, (const char *[]){"test", "--loud=yes"});
    assert_refused("unknown option -x", 2, (const char *[]){"test", "-x"});
}

static void numbers_and_sizes_are_checked(void **state)
{
    (void)state;
    struct config *config;
    struct error err;
    int64_t port;
    uint64_t bytes;
    forget_environment();
    static const struct {
        const char *text;
        bool ok;
        uint64_t bytes;
    } sizes[] = {{"--size=50MB", true, 50000000}, {"--size=4GiB", true, 4294967296},
        {"--size=1.5kB", true, 1500}, {"--size=7", true, 7}, {"--size=-1", false, 0},
        {"--size=9 apples", false, 0}, {"--size=1e30GB", false, 0}, {"--size=", false, 0}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_true(PARSE(&config, &err, sizes[i].text));
        assert_int_equal(config_bytes(config, "size", &bytes, &err), sizes[i].ok);
        if (sizes[i].ok)
            assert_int_equal(bytes, sizes[i].bytes);
        config_free(config);
    }
    static const char *const ports[] = {
        "--port=0", "--port=65536", "--port=80x", "--port=", "--port=99999999999999999999"};
    for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
        assert_true(PARSE(&config, &err, ports[i]));
        assert_false(config_integer(config, "port", 1, 65535, &port, &err));
        assert_non_null(strstr(err.message, "--port takes a whole number from 1 to 65535"));
        config_free(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flag_wins_over_environment_over_file_over_default),
        cmocka_unit_test(repeatable_options_and_arguments_keep_their_order),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(numbers_and_sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
