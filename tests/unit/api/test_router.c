#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/api/request.h"
#include "coordinator/api/route.h"

static const struct route TABLE[] = {
    {.method = "GET", .path = "/"},
    {.method = "GET", .path = "/things"},
    {.method = "POST", .path = "/things"},
    {.method = "GET", .path = "/things/{thing_id}"},
    {.method = "GET", .path = "/things/all"},
    {.method = "DELETE", .path = "/things/{thing_id}/parts/{part_name}"},
};

static struct route_match found(const char *method, const char *path)
{
    struct route_match match;
    route_find(TABLE, sizeof(TABLE) / sizeof(TABLE[0]), method, path, &match);
    return match;
}

static void a_trailing_slash_makes_no_difference(void **state)
{
    (void)state;
    assert_ptr_equal(found("GET", "/things").route, &TABLE[1]);
    assert_ptr_equal(found("GET", "/things/").route, &TABLE[1]);
    assert_ptr_equal(found("GET", "/").route, &TABLE[0]);
    assert_ptr_equal(found("GET", "/things/abc/").route, &TABLE[3]);
}

static void a_literal_wins_over_a_parameter(void **state)
{
    (void)state;
    assert_ptr_equal(found("GET", "/things/all").route, &TABLE[4]);
    assert_ptr_equal(found("GET", "/things/al").route, &TABLE[3]);
}

static void parameters_are_handed_over_in_order(void **state)
{
    (void)state;
    struct route_match match = found("DELETE", "/things/a b/parts/c%d");
    char name[32];
    assert_ptr_equal(match.route, &TABLE[5]);
    assert_int_equal(match.parameter_count, 2);
    assert_string_equal(match.parameters[0], "a b");
    assert_string_equal(match.parameters[1], "c%d");
    assert_true(route_parameter_name(match.route, 1, name, sizeof(name)));
    assert_string_equal(name, "part_name");
    assert_false(route_parameter_name(match.route, 2, name, sizeof(name)));
}

static void an_unknown_path_is_told_from_a_wrong_method(void **state)
{
    (void)state;
    struct route_match match = found("PUT", "/things");
    assert_null(match.route);
    assert_true(match.path_known);
    assert_string_equal(match.allow, "GET, HEAD, POST, OPTIONS");
    match = found("GET", "/nothing");
    assert_null(match.route);
    assert_false(match.path_known);
}

static void head_is_answered_by_get(void **state)
{
    (void)state;
    assert_ptr_equal(found("HEAD", "/things").route, &TABLE[1]);
    assert_null(found("HEAD", "/things/x/parts/y").route);
}

static void hostile_paths_find_nothing(void **state)
{
    (void)state;
    char deep[600] = "", long_name[400] = "/things/";
    for (size_t i = 0; i < 200; i++)
        deep[i] = i % 2 ? 'a' : '/';
    memset(long_name + 8, 'x', 300);
    const char *paths[] = {
        deep, long_name, "", "things", "//things", "/things//", "/things/{thing_id}/parts", "/../things"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        assert_null(found("GET", paths[i]).route);
}

static void every_route_of_the_api_finds_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        struct route_match match;
        route_find(ROUTES, ROUTE_COUNT, ROUTES[i].method, ROUTES[i].path, &match);
        assert_ptr_equal(match.route, &ROUTES[i]);
    }
}

static void uuids_are_read_in_any_case_and_nothing_else_is(void **state)
{
    (void)state;
    char id[37];
    assert_true(request_parse_uuid("DAABB39B-8B0E-4A92-A1B5-29C2D3D2E1A4", id));
    assert_string_equal(id, "daabb39b-8b0e-4a92-a1b5-29c2d3d2e1a4");
    assert_true(request_parse_uuid("daabb39b8b0e4a92a1b529c2d3d2e1a4", id));
    assert_string_equal(id, "daabb39b-8b0e-4a92-a1b5-29c2d3d2e1a4");
    const char *wrong[] = {"", "1", "daabb39b-8b0e-4a92-a1b5-29c2d3d2e1a",
        "daabb39b-8b0e-4a92-a1b5-29c2d3d2e1ag", "daabb39b08b0e04a920a1b5029c2d3d2e1a4",
        "daabb39b-8b0e-4a92-a1b5-29c2d3d2e1a4'", "-aabb39b-8b0e-4a92-a1b5-29c2d3d2e1a4"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(request_parse_uuid(wrong[i], id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trailing_slash_makes_no_difference),
        cmocka_unit_test(a_literal_wins_over_a_parameter),
        cmocka_unit_test(parameters_are_handed_over_in_order),
        cmocka_unit_test(an_unknown_path_is_told_from_a_wrong_method),
        cmocka_unit_test(head_is_answered_by_get),
        cmocka_unit_test(hostile_paths_find_nothing),
        cmocka_unit_test(every_route_of_the_api_finds_itself),
        cmocka_unit_test(uuids_are_read_in_any_case_and_nothing_else_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
