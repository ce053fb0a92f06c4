/* The hand-written matchers equal the expressions they stand for; UTF-8 is read as the standard says; long
 * lines are merged right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "worker/model/tokenizer/bpe.h"
#include "worker/model/tokenizer/known_patterns.h"
#include "worker/model/tokenizer/pattern.h"
#include "worker/model/tokenizer/unicode.h"

enum { TEXTS = 20000, TEXT_CHARACTERS = 24 };

static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

/* What the patterns tell apart, and anything at all. */
static uint32_t draw_character(void)
{
    static const uint32_t telling[] = {' ', ' ', '\n', '\r', '\t', '\'', '\'', 's', 'S', 't', 'r', 'e', 'E',
        'v', 'l', 'L', 'm', 'd', '1', '2', '9', '.', '!', 0x17F, 0x212A, 0xA0, 0x85, 0x2028, 0x3000, 0x200B,
        0x180E, 0x0, 0x301, 0xE9, 0x4E2D, 0x0660, 0xBD, 0x2160, 0x1F44D, 0x1C89, 0x16D70, 0x323AF, 0x378,
        0xFFFD, 0x10FFFF};
    uint32_t kind = draw(10);
    if (kind < 8)
        return telling[draw(sizeof(telling) / sizeof(*telling))];
    return kind == 8 ? draw(0x3000) : draw(0x110000);
}

static void same_splits(const char *expression)
{
    struct pattern *fast = NULL, *plain = NULL;
    struct error err = {0};
    assert_true(pattern_compile(expression, strlen(expression), PATTERN_FASTEST, &fast, &err));
    assert_true(pattern_compile(expression, strlen(expression), PATTERN_PCRE2, &plain, &err));
    assert_non_null(known_pattern_find(expression, strlen(expression)));
    struct pattern_scan a = {.pattern = fast}, b = {.pattern = plain};
    for (int i = 0; i < TEXTS; i++) {
        char text[TEXT_CHARACTERS * 4];
        size_t len = 0, a_begin = 0, a_end = 0, b_begin = 0, b_end = 0;
        bool a_found = true, b_found = true;
        for (uint32_t n = draw(TEXT_CHARACTERS); n > 0; n--)
            len += text_encode(draw_character(), text + len);
        a.text = b.text = text;
        a.len = b.len = len;
        a.at = b.at = 0;
        while (a_found) {
            assert_true(pattern_next(&a, &a_begin, &a_end, &a_found, &err));
            assert_true(pattern_next(&b, &b_begin, &b_end, &b_found, &err));
            assert_int_equal(a_found, b_found);
            if (a_found && (a_begin != b_begin || a_end != b_end)) {
                for (size_t k = 0; k < len; k++)
                    print_error("%02x ", (unsigned char)text[k]);
                print_error("\n");
            }
            assert_int_equal(a_begin, b_begin);
            assert_int_equal(a_end, b_end);
        }
    }
    pattern_scan_free(&a);
    pattern_scan_free(&b);
    pattern_free(fast);
    pattern_free(plain);
}

static void hand_written_matchers_equal_their_expressions(void **state)
{
    (void)state;
    random_state = 1;
    same_splits(known_gpt2);
    same_splits(known_llama3);
    same_splits(known_qwen2);
}

static size_t count_matches(const char *expression, const char *text)
{
    struct pattern *pattern = NULL;
    struct error err = {0};
    size_t begin, end, count = 0;
    bool found = true;
    if (!pattern_compile(expression, strlen(expression), PATTERN_PCRE2, &pattern, &err))
        fail_msg("%s: %s", expression, err.message);
    struct pattern_scan scan = {.pattern = pattern, .text = text, .len = strlen(text)};
    while (found) {
        assert_true(pattern_next(&scan, &begin, &end, &found, &err));
        count += found;
    }
    pattern_scan_free(&scan);
    pattern_free(pattern);
    return count;
}

static void ruby_syntax_keeps_its_meaning(void **state)
{
    (void)state;
    assert_int_equal(count_matches("\\p{N}{1,3}+", "1234567"), 1); /* repeats, is not possessive */
    assert_int_equal(count_matches("\\h+", "beef xyz"), 1);        /* hexadecimal digits */
    assert_int_equal(count_matches("(?m:a.b)", "a\nb"), 1);        /* dot matches a line end */
    assert_int_equal(count_matches("^a", "a\na"), 2);              /* at every line */
    assert_int_equal(count_matches("\\p{^L}", "a1"), 1);
    assert_int_equal(count_matches("\\s", "\xE1\xA0\x8E"), 0);      /* U+180E is no space any more */
    assert_int_equal(count_matches("[\\p{L}]", "\xE1\xB2\x89"), 1); /* U+1C89 came with Unicode 16 */
    assert_int_equal(count_matches("[^\\s\\p{L}]+", "\xE1\xB2\x89"), 0);
    assert_int_equal(count_matches("a|b|", "ab"), 3); /* an empty match moves on */
    struct pattern *pattern = NULL;
    struct error err = {0};
    static const char *const bad[] = {"(", "[a", "\\p", "\\p{Nothing}", "a\\", "[a[b]]", "(?<=a+)b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(pattern_compile(bad[i], strlen(bad[i]), PATTERN_FASTEST, &pattern, &err));
}

static void endless_backtracking_is_an_error(void **state)
{
    (void)state;
    static const char expression[] = "(?:a+a+)+[bc]";
    struct pattern *pattern = NULL;
    struct error err = {0};
    char text[5000];
    size_t begin, end;
    bool found;
    memset(text, 'a', sizeof(text));
    assert_true(pattern_compile(expression, sizeof(expression) - 1, PATTERN_FASTEST, &pattern, &err));
    struct pattern_scan scan = {.pattern = pattern, .text = text, .len = sizeof(text)};
    assert_false(pattern_next(&scan, &begin, &end, &found, &err));
    assert_int_equal(err.code, ERROR_TOO_LARGE);
    pattern_scan_free(&scan);
    pattern_free(pattern);
}

static void repairs(const char *bytes, const char *expected)
{
    size_t len;
    char *text = text_repair(bytes, strlen(bytes), &len);
    assert_non_null(text);
    assert_string_equal(text, expected);
    assert_int_equal(len, strlen(expected));
    assert_true(text_valid(text, len));
    free(text);
}

static void ill_formed_bytes_become_replacements(void **state)
{
    (void)state;
    repairs("plain \xC3\xA9 \xF0\x9F\x91\x8D \xEF\xBF\xBD", "plain \xC3\xA9 \xF0\x9F\x91\x8D \xEF\xBF\xBD");
    repairs("a\x80z", "a\xEF\xBF\xBDz");
    repairs("\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD");                 /* overlong */
    repairs("\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* a surrogate */
    repairs("\xF0\x9F\x91", "\xEF\xBF\xBD");                         /* cut: one subpart */
    repairs("\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    repairs("\xE1\x80"
            "a",
        "\xEF\xBF\xBD"
        "a");
}

/* Merging one long word by the heap gives what merging by looking gives: here, halves of halves. */
static void long_words_merge_completely(void **state)
{
    (void)state;
    enum { LEVELS = 12, WORD = 20000 };
    struct vocabulary vocabulary = {0};
    struct error err = {0};
    struct bpe bpe = {.vocabulary = &vocabulary, .unknown = -1};
    struct token_ids ids = {0};
    char *word = malloc(WORD);
    assert_non_null(word);
    memset(word, 'a', WORD);
    for (int level = 0; level <= LEVELS; level++)
        assert_true(vocabulary_add(&vocabulary, word, (size_t)1 << level, level, &err));
    for (int level = 0; level < LEVELS; level++)
        assert_true(bpe_add_merge(&bpe, word, (size_t)1 << level, word, (size_t)1 << level, &err));
    bpe_prepare(&bpe);
    assert_true(bpe_encode(&bpe, word, WORD, &ids, &err));
    /* 20000 = 4 * 4096 + 2048 + 1024 + 512 + 32 */
    static const int32_t expected[] = {12, 12, 12, 12, 11, 10, 9, 5};
    assert_int_equal(ids.count, sizeof(expected) / sizeof(*expected));
    assert_memory_equal(ids.ids, expected, sizeof(expected));
    token_ids_free(&ids);
    bpe_free(&bpe);
    vocabulary_free(&vocabulary);
    free(word);
}

static void normal_forms_are_stable(void **state)
{
    (void)state;
    struct error err = {0};
    unicode_open();
    random_state = 3;
    for (int i = 0; i < 3000; i++) {
        struct buffer text = {0}, once = {0}, twice = {0};
        enum unicode_form form = (enum unicode_form)draw(4);
        for (uint32_t n = draw(60); n > 0; n--)
            assert_true(buffer_append_code_point(&text, draw(3) ? draw(0x1200) : 0x300 + draw(0x70), &err));
        assert_true(unicode_normalize(form, text.data, text.len, &once, NULL, &err));
        assert_true(unicode_normalize(form, once.data, once.len, &twice, NULL, &err));
        assert_int_equal(once.len, twice.len);
        if (once.len)
            assert_memory_equal(once.data, twice.data, once.len);
        buffer_free(&text);
        buffer_free(&once);
        buffer_free(&twice);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hand_written_matchers_equal_their_expressions),
        cmocka_unit_test(ruby_syntax_keeps_its_meaning),
        cmocka_unit_test(endless_backtracking_is_an_error),
        cmocka_unit_test(ill_formed_bytes_become_replacements),
        cmocka_unit_test(long_words_merge_completely),
        cmocka_unit_test(normal_forms_are_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
