/* Chat templates render as transformers renders them (tests/golden/tokenizer/chat.json), and hostile ones
 * end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "worker/model/tokenizer/chat.h"
#include "worker/model/tokenizer/implementation.h"

#define GOLDEN TEST_SOURCE_DIR "/tests/golden/tokenizer"
enum { MESSAGES_MAX = 16 };

static char *render(const char *source, size_t len, const json_t *messages, bool prompt, struct error *err)
{
    char *special[SPECIAL_COUNT] = {
        [SPECIAL_BOS] = "<s>", [SPECIAL_EOS] = "</s>", [SPECIAL_UNK] = "<unk>", [SPECIAL_PAD] = "<pad>"};
    struct chat_message list[MESSAGES_MAX];
    struct chat_template *chat = NULL;
    size_t i;
    json_t *message;
    json_array_foreach((json_t *)messages, i, message)
    {
        assert_true(i < MESSAGES_MAX);
        list[i].role = json_string_value(json_object_get(message, "role"));
        list[i].content = json_string_value(json_object_get(message, "content"));
    }
    if (!chat_template_open(source, len, &chat, err))
        return NULL;
    char *text = chat_template_render(chat, special, list, json_array_size(messages), prompt, err);
    chat_template_free(chat);
    return text;
}

static char *read_template(const char *name, size_t *len)
{
    char path[512];
    snprintf(path, sizeof(path), GOLDEN "/chat/%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = malloc(1 << 16);
    assert_non_null(text);
    *len = fread(text, 1, 1 << 16, file);
    fclose(file);
    return text;
}

static void renders_as_the_reference(void **state)
{
    (void)state;
    json_t *golden = json_load_file(GOLDEN "/chat.json", 0, NULL), *item;
    assert_non_null(golden);
    size_t i, refused = 0;
    json_array_foreach(json_object_get(golden, "cases"), i, item)
    {
        struct error err = {0};
        size_t len;
        const char *name = json_string_value(json_object_get(item, "template"));
        const char *expected = json_string_value(json_object_get(item, "text"));
        const char *reason = json_string_value(json_object_get(item, "error"));
        char *source = read_template(name, &len);
        char *text = render(source, len, json_object_get(item, "messages"),
            json_is_true(json_object_get(item, "prompt")), &err);
        if (expected && (!text || strcmp(text, expected) != 0))
            print_error("%s, case %zu: %s\n", name, i, text ? text : err.message);
        if (expected) {
            assert_non_null(text);
            assert_string_equal(text, expected);
        } else {
            assert_null(text);
            assert_int_equal(err.code, ERROR_INVALID);
            assert_string_equal(err.message, reason);
            refused++;
        }
        free(text);
        free(source);
    }
    assert_true(i >= 100 && refused > 0);
    json_decref(golden);
}

static void refuses(const char *source, enum error_code code)
{
    struct error err = {0};
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "x");
    char *text = render(source, strlen(source), messages, true, &err);
    if (text)
        print_error("rendered: %.60s\n", source);
    assert_null(text);
    assert_int_equal(err.code, code);
    assert_true(err.message[0] != '\0');
    json_decref(messages);
}

static void ends_what_would_not_end(void **state)
{
    (void)state;
    refuses(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", ERROR_TOO_LARGE);
    refuses("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", ERROR_TOO_LARGE);
    refuses("{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
            "endfor %}",
        ERROR_TOO_LARGE);
    refuses("{{ 'x' * 99999999999 }}", ERROR_INVALID);
    refuses("{{ range(100000000) }}", ERROR_INVALID);
    refuses("{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}", ERROR_TOO_LARGE);
}

static void refuses_bad_templates(void **state)
{
    (void)state;
    static const char *const bad[] = {"{{", "{%", "{#", "{{ }}", "{% if %}", "{% if x %}", "{% endif %}",
        "{{ 'x }}", "{{ x | }}", "{{ x | nothing }}", "{{ x is }}", "{% for x %}{% endfor %}", "{% raw %}",
        "{{ [1, 2 }}", "{{ {1} }}", "{{ 1 +* 2 }}", "{{ missing.attribute }}", "{{ missing() }}",
        "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ 9223372036854775807 + 1 }}", "{{ 99999999999999999999 }}",
        "{{ messages.append(1) }}", "{% include 'x' %}", "{{ messages[0].content + 1 }}", "{{ none < 1 }}",
        "{{ '\\u00zz' }}", "{% set 1 = 2 %}", "{{ x[] }}", "{% set messages[0] = 1 %}",
        "{% set messages.x = 1 %}", "{{ f(a=1, 2 }}", "{% call 1 %}{% endcall %}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        refuses(bad[i], ERROR_INVALID);
    char deep[20001];
    memset(deep, '(', sizeof(deep) - 1);
    deep[0] = deep[1] = '{';
    deep[sizeof(deep) - 1] = '\0';
    refuses(deep, ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_as_the_reference),
        cmocka_unit_test(ends_what_would_not_end),
        cmocka_unit_test(refuses_bad_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
