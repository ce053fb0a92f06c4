/* The compiled WordNet: what it knows, and files that are not one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/metrics/wordnet.h"
#include "worker/metrics/wordnet_format.h"

#define COMPILED TEST_BINARY_DIR "/worker/wordnet.bin"

struct wanted {
    uint32_t word;
    bool seen;
};

static void look(void *context, uint32_t word)
{
    struct wanted *wanted = context;
    wanted->seen |= word == wanted->word;
}

static bool is_synonym(const struct wordnet *w, const char *form, const char *name)
{
    struct wanted wanted = {wordnet_find(w, name, strlen(name)), false};
    if (wanted.word != WORDNET_NONE)
        wordnet_visit_synonyms(w, form, strlen(form), look, &wanted);
    return wanted.seen;
}

static void synonyms_come_from_base_forms(void **state)
{
    (void)state;
    struct wordnet *w = NULL;
    struct error err = {0};
    assert_true(wordnet_open(COMPILED, &w, &err));
    assert_true(is_synonym(w, "car", "automobile"));
    assert_true(is_synonym(w, "cars", "auto"));       /* a rule */
    assert_true(is_synonym(w, "bought", "purchase")); /* an exception */
    assert_true(is_synonym(w, "happiest", "glad"));
    assert_false(is_synonym(w, "car", "boat"));
    assert_int_equal(wordnet_find(w, "qqqq", 4), WORDNET_NONE);
    assert_false(is_synonym(w, "", "car"));
    wordnet_close(w);
}

static size_t read_compiled(char **out)
{
    FILE *file = fopen(COMPILED, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    rewind(file);
    *out = malloc(size);
    assert_non_null(*out);
    assert_int_equal(fread(*out, 1, size, file), size);
    (void)fclose(file);
    return size;
}

/* Writes a changed copy and says whether it opens. */
static bool opens(const char *data, size_t size, struct wordnet **w, struct error *err)
{
    char path[] = "/tmp/lumigrid-wordnet-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
    close(fd);
    bool ok = wordnet_open(path, w, err);
    unlink(path);
    return ok;
}

static void other_files_are_refused(void **state)
{
    (void)state;
    struct wordnet *w = NULL;
    struct error err = {0};
    char *data;
    size_t size = read_compiled(&data);
    assert_false(wordnet_open("/nonexistent/wordnet.bin", &w, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_false(wordnet_open("/tmp", &w, &err));
    assert_false(opens(data, 0, &w, &err));
    assert_false(opens(data, 20, &w, &err));
    assert_false(opens(data, size - 1, &w, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    data[0] = 'X';
    assert_false(opens(data, size, &w, &err));
    free(data);
}

/* Offsets and numbers full of nonsense: answers may be wrong, reads may not leave the file. */
static void damaged_contents_are_survived(void **state)
{
    (void)state;
    static const char *const forms[] = {"car", "bought", "geese", "set", "happiest", "running", "dogs"};
    char *data;
    size_t size = read_compiled(&data);
    uint32_t seed = 7;
    for (size_t at = sizeof(struct wordnet_header); at < size; at += 1 + (seed >> 20) % 16) {
        seed = seed * 1664525u + 1013904223u;
        data[at] = (char)(seed >> 24);
    }
    struct wordnet *w = NULL;
    struct error err = {0};
    assert_true(opens(data, size, &w, &err));
    struct wanted wanted = {WORDNET_NONE, false};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        wordnet_visit_synonyms(w, forms[i], strlen(forms[i]), look, &wanted);
    assert_false(wanted.seen && wordnet_find(w, "car", 3) >= size);
    wordnet_close(w);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synonyms_come_from_base_forms),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(damaged_contents_are_survived),
    };
    return cmocka_run_group_tests_name("wordnet", tests, NULL, NULL);
}
