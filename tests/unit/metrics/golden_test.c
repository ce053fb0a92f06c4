/* Every text metric against the values of its reference implementation: tests/golden/metrics/make_golden.py.
 */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "worker/metrics/metric.h"

#define GOLDEN TEST_SOURCE_DIR "/tests/golden/metrics/golden.jsonl.gz"
#define LINE_MAX_BYTES (1 << 20)

static json_t *golden; /* array of lines */

static int load(void **state)
{
    (void)state;
    gzFile file = gzopen(GOLDEN, "rb");
    char *line = malloc(LINE_MAX_BYTES);
    golden = json_array();
    if (!file || !line || !golden)
        return -1;
    while (gzgets(file, line, LINE_MAX_BYTES)) {
        json_t *value = json_loads(line, JSON_ALLOW_NUL, NULL);
        if (!value || json_array_append_new(golden, value) != 0)
            return -1;
    }
    free(line);
    gzclose(file);
    return json_array_size(golden) > 0 ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

static void text_of(const json_t *line, const char *name, const char **text, size_t *len)
{
    const json_t *value = json_object_get(line, name);
    assert_true(json_is_string(value));
    *text = json_string_value(value);
    *len = json_string_length(value);
}

/* The golden values have no TER of long texts: the reference takes too long for them. */
static bool has_values(const struct metric *metric, const json_t *line)
{
    return json_object_get(line, metric->keys[0]) != NULL;
}

/* Whether the metric agrees with the line: every value within the bound, or both without a value. */
static bool agrees(const struct metric *metric, const json_t *line, double bound, char *why, size_t size)
{
    struct metric_sample sample = {0};
    double values[8];
    struct error err = {0};
    text_of(line, "prediction", &sample.prediction, &sample.prediction_len);
    text_of(line, "reference", &sample.reference, &sample.reference_len);
    bool scored = metric->score(&sample, values, &err);
    assert_true(scored || err.message[0] != '\0');
    for (size_t k = 0; k < metric->key_count; k++) {
        const json_t *expected = json_object_get(line, metric->keys[k]);
        if (scored == json_is_null(expected) ||
            (scored && !(fabs(values[k] - json_number_value(expected)) <= bound))) {
            (void)snprintf(why, size, "%s is %.17g, expected %.17g (%s)", metric->keys[k],
                scored ? values[k] : -1, json_number_value(expected), scored ? "value" : err.message);
            return false;
        }
    }
    return true;
}

static void check(const char *name, double bound)
{
    const struct metric *metric = metric_find(name);
    assert_non_null(metric);
    size_t wrong = 0;
    size_t checked = 0;
    size_t i;
    json_t *line;
    json_array_foreach(golden, i, line)
    {
        char why[800];
        if (!has_values(metric, line))
            continue;
        checked++;
        if (!agrees(metric, line, bound, why, sizeof why)) {
            print_error("pair %zu: %s\n", i, why);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
    assert_true(checked > 1000);
}

static void rouge(void **state)
{
    (void)state;
    check("rouge", 1e-9);
}

static void meteor(void **state)
{
    (void)state;
    check("meteor", 1e-9);
}

static void bleu(void **state)
{
    (void)state;
    check("bleu", 1e-9);
}

static void chrf(void **state)
{
    (void)state;
    check("chrf", 1e-9);
}

static void ter(void **state)
{
    (void)state;
    check("ter", 1e-9);
}

static void token_length(void **state)
{
    (void)state;
    check("token_length", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rouge),
        cmocka_unit_test(meteor),
        cmocka_unit_test(bleu),
        cmocka_unit_test(chrf),
        cmocka_unit_test(ter),
        cmocka_unit_test(token_length),
    };
    setenv("LUMIGRID_SHARE", TEST_BINARY_DIR "/worker", 1);
    return cmocka_run_group_tests_name("golden values", tests, load, unload);
}
