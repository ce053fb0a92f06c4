#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/api/openapi.h"
#include "coordinator/api/problems.h"
#include "coordinator/api/route.h"
#include "coordinator/api/schema.h"

static struct schemas *schemas;

static int open_schemas(void **state)
{
    (void)state;
    struct error err;
    schemas = schemas_open(&err);
    return schemas ? 0 : -1;
}

static int close_schemas(void **state)
{
    (void)state;
    schemas_close(schemas);
    return 0;
}

/* The problems as one text: "type loc.loc: msg; …". */
static char *problems_of(const char *schema, const char *body)
{
    static char text[4096];
    json_t *value = json_loads(body, JSON_DECODE_ANY, NULL), *problems = json_array(), *problem, *part;
    size_t i, k, used = 0;
    assert_non_null(value);
    bool ok = schema_validate(schemas, schema, value, problems);
    assert_int_equal(ok, json_array_size(problems) == 0);
    text[0] = '\0';
    json_array_foreach(problems, i, problem)
    {
        used += (size_t)sprintf(
            text + used, "%s%s ", i ? "; " : "", json_string_value(json_object_get(problem, "type")));
        json_array_foreach(json_object_get(problem, "loc"), k, part) used +=
            json_is_string(part) ? (size_t)sprintf(text + used, "%s%s", k ? "." : "", json_string_value(part))
                                 : (size_t)sprintf(text + used, ".%d", (int)json_integer_value(part));
        assert_true(json_is_string(json_object_get(problem, "msg")));
        assert_non_null(json_object_get(problem, "input"));
    }
    json_decref(problems);
    json_decref(value);
    return text;
}

static void every_bad_field_is_named(void **state)
{
    (void)state;
    assert_string_equal(
        problems_of("ModelExperimentSubmission", "{\"name\":7,\"max_samples\":\"x\",\"model\":\"\"}"),
        "string_type body.name; missing body.dataset; int_type body.max_samples; string_too_short "
        "body.model");
    assert_string_equal(problems_of("ModelExperimentSubmission", "[]"), "model_attributes_type body");
    assert_string_equal(problems_of("ModelExperimentSubmission", "null"), "model_attributes_type body");
    assert_string_equal(problems_of("TokenRequest", "{\"name\":\"n\",\"role\":\"king\",\"expires_in_s\":0}"),
        "enum body.role; greater_than_equal body.expires_in_s");
}

static void a_good_body_passes_and_gets_its_defaults(void **state)
{
    (void)state;
    json_t *problems = json_array();
    json_t *body = json_loads("{\"name\":\"n\",\"model\":\"sim://"
                              "\",\"dataset\":\"DAABB39B8B0E4A92A1B529C2D3D2E1A4\",\"description\":null,"
                              "\"max_samples\":5.0,\"extra\":1}",
        0, NULL);
    assert_true(schema_validate(schemas, "ExperimentSubmission", body, problems));
    assert_string_equal(
        json_string_value(json_object_get(body, "dataset")), "daabb39b-8b0e-4a92-a1b5-29c2d3d2e1a4");
    assert_int_equal(json_integer_value(json_object_get(body, "max_samples")), 5);
    json_object_del(body, "max_samples");
    assert_true(schema_validate(schemas, "ExperimentSubmission", body, problems));
    assert_int_equal(json_integer_value(json_object_get(body, "max_samples")), -1);
    json_decref(body);
    json_decref(problems);
}

static void the_presence_of_a_model_decides_which_api_is_meant(void **state)
{
    (void)state;
    const char *plain = "{\"name\":\"n\",\"dataset\":\"daabb39b-8b0e-4a92-a1b5-29c2d3d2e1a4\",\"task_"
                        "definition\":{\"task\":\"translation\"}}";
    assert_string_equal(problems_of("ExperimentSubmission", plain),
        "missing body.task_definition.source_language; missing body.task_definition.target_language");
    assert_string_equal(problems_of("ExperimentSubmission", "{\"name\":\"n\",\"dataset\":\"x\",\"model\":5}"),
        "uuid_parsing body.dataset; string_type body.model");
}

static void places_inside_lists_are_named(void **state)
{
    (void)state;
    assert_string_equal(
        problems_of("ModelExperimentSubmission", "{\"name\":\"n\",\"model\":\"m\",\"dataset\":\"daabb39b-"
                                                 "8b0e-4a92-a1b5-29c2d3d2e1a4\",\"metrics\":[\"rouge\",1]}"),
        "string_type body.metrics.1");
}

static void an_answer_does_not_repeat_a_long_input(void **state)
{
    (void)state;
    char *body = malloc(100100), *long_text = malloc(100001);
    memset(long_text, 'a', 100000);
    long_text[100000] = '\0';
    sprintf(body, "{\"name\":\"%s\",\"role\":\"user\"}", long_text);
    json_t *value = json_loads(body, 0, NULL), *problems = json_array();
    assert_false(schema_validate(schemas, "TokenRequest", value, problems));
    assert_true(json_dumpb(problems, NULL, 0, 0) < 2000);
    json_decref(value);
    json_decref(problems);
    free(body);
    free(long_text);
}

static void assert_defined(const char *schema)
{
    if (schema && !json_object_get(schemas_all(schemas), schema))
        fail_msg("a route names the schema %s, which is not in schemas.json", schema);
}

static void assert_references_resolve(const json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    const char *ref = json_string_value(json_object_get(value, "$ref"));
    if (ref)
        assert_defined(strrchr(ref, '/') + 1);
    json_object_foreach((json_t *)value, key, member) assert_references_resolve(member);
    json_array_foreach(value, i, member) assert_references_resolve(member);
}

static void every_schema_that_is_named_exists(void **state)
{
    (void)state;
    assert_references_resolve(schemas_all(schemas));
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        assert_defined(ROUTES[i].body_schema);
        assert_true(ROUTES[i].handle || ROUTES[i].body == BODY_DATASET);
        for (const struct route_answer *a = ROUTES[i].answers; a->status; a++)
            assert_defined(a->schema);
    }
}

static void operations_are_named_once_and_all_described(void **state)
{
    (void)state;
    struct error err;
    char *text = openapi_text(schemas, &err);
    assert_non_null(text);
    json_t *document = json_loads(text, 0, NULL), *paths = json_object_get(document, "paths"), *item;
    const char *path;
    size_t operations = 0;
    assert_string_equal(json_string_value(json_object_get(document, "openapi")), "3.1.0");
    json_object_foreach(paths, path, item) operations += json_object_size(item);
    assert_int_equal(operations, ROUTE_COUNT);
    for (size_t i = 0; i < ROUTE_COUNT; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(ROUTES[i].operation, ROUTES[k].operation);
    json_decref(document);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_field_is_named),
        cmocka_unit_test(a_good_body_passes_and_gets_its_defaults),
        cmocka_unit_test(the_presence_of_a_model_decides_which_api_is_meant),
        cmocka_unit_test(places_inside_lists_are_named),
        cmocka_unit_test(an_answer_does_not_repeat_a_long_input),
        cmocka_unit_test(every_schema_that_is_named_exists),
        cmocka_unit_test(operations_are_named_once_and_all_described),
    };
    return cmocka_run_group_tests(tests, open_schemas, close_schemas);
}
