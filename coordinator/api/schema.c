/* The subset of JSON Schema that schemas.json uses for bodies: $ref, type (one or a list), enum, properties,
 * required, items, anyOf, if/then/else where `if` is {"required": [...]}, default, minimum, maximum,
 * minLength, maxLength, minItems, maxItems, and format "uuid". Other keywords only describe. */
#include "coordinator/api/schema.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "coordinator/api/embedded.h"
#include "coordinator/api/problems.h"
#include "coordinator/api/request.h"

static const char REF_PREFIX[] = "#/components/schemas/";

struct schemas {
    json_t *all;
};

struct check {
    const struct schemas *schemas;
    json_t *loc; /* the path to the value at hand */
    json_t *problems;
};

struct schemas *schemas_open(struct error *err)
{
    struct schemas *schemas = alloc_zero(1, sizeof(*schemas));
    json_error_t where;
    schemas->all = json_loadb((const char *)embedded_schemas_json, embedded_schemas_json_size, 0, &where);
    if (!schemas->all) {
        error_set(err, ERROR_INTERNAL, "schemas.json:%d: %s", where.line, where.text);
        free(schemas);
        return NULL;
    }
    return schemas;
}

void schemas_close(struct schemas *schemas)
{
    if (!schemas)
        return;
    json_decref(schemas->all);
    free(schemas);
}

json_t *schemas_all(const struct schemas *schemas)
{
    return schemas->all;
}

static void complain(struct check *check, const char *type, const char *msg, json_t *input)
{
    problems_add(check->problems, json_deep_copy(check->loc), type, msg, input);
}

static json_t *resolve(const struct schemas *schemas, json_t *schema)
{
    for (json_t *ref; (ref = json_object_get(schema, "$ref"));) {
        const char *name = json_string_value(ref);
        schema = name && strncmp(name, REF_PREFIX, sizeof(REF_PREFIX) - 1) == 0
                     ? json_object_get(schemas->all, name + sizeof(REF_PREFIX) - 1)
                     : NULL;
        if (!schema)
            abort(); /* schemas.json refers to what it does not define; a unit test resolves every name */
    }
    return schema;
}

static bool is_of_type(const json_t *value, const char *type)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return strcmp(type, "object") == 0;
    case JSON_ARRAY: return strcmp(type, "array") == 0;
    case JSON_STRING: return strcmp(type, "string") == 0;
    case JSON_INTEGER: return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    case JSON_REAL: return strcmp(type, "number") == 0;
    case JSON_TRUE:
    case JSON_FALSE: return strcmp(type, "boolean") == 0;
    case JSON_NULL: return strcmp(type, "null") == 0;
    }
    return false;
}

static const struct {
    const char *type, *problem, *msg;
} TYPE_PROBLEMS[] = {
    {"string", "string_type", "Input should be a valid string"},
    {"integer", "int_type", "Input should be a valid integer"},
    {"number", "float_type", "Input should be a valid number"},
    {"boolean", "bool_type", "Input should be a valid boolean"},
    {"array", "list_type", "Input should be a valid list"},
    {"object", "model_attributes_type",
        "Input should be a valid dictionary or object to extract fields from"},
    {"null", "none_required", "Input should be None"},
};

static bool check_type(struct check *check, json_t *type, json_t *value)
{
    const char *first =
        json_is_array(type) ? json_string_value(json_array_get(type, 0)) : json_string_value(type);
    size_t i;
    json_t *one;
    if (json_is_string(type) && is_of_type(value, first))
        return true;
    json_array_foreach(type, i, one) if (is_of_type(value, json_string_value(one))) return true;
    for (i = 0; i < sizeof(TYPE_PROBLEMS) / sizeof(TYPE_PROBLEMS[0]); i++)
        if (strcmp(TYPE_PROBLEMS[i].type, first) == 0)
            complain(check, TYPE_PROBLEMS[i].problem, TYPE_PROBLEMS[i].msg, value);
    return false;
}

static bool check_enum(struct check *check, json_t *allowed, json_t *value)
{
    size_t i, count = json_array_size(allowed), used = 0;
    json_t *one;
    char msg[1024];
    json_array_foreach(allowed, i, one) if (json_equal(one, value)) return true;
    used += (size_t)snprintf(msg, sizeof(msg), "Input should be ");
    while (count > 0 && json_is_null(json_array_get(allowed, count - 1)))
        count--;
    for (i = 0; i < count; i++) {
        one = json_array_get(allowed, i);
        const char *join = i == 0 ? "" : i + 1 == count ? " or " : ", ";
        int n = snprintf(msg + used, sizeof(msg) - used, "%s'%s'", join, json_string_value(one));
        if (n < 0 || used + (size_t)n >= sizeof(msg))
            break;
        used += (size_t)n;
    }
    complain(check, "enum", msg, value);
    return false;
}

static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static void check_string(struct check *check, json_t *schema, json_t *value)
{
    const char *text = json_string_value(value);
    json_t *min = json_object_get(schema, "minLength"), *max = json_object_get(schema, "maxLength");
    const char *format = json_string_value(json_object_get(schema, "format"));
    char msg[96], uuid[37];
    if (min && characters(text) < (size_t)json_integer_value(min)) {
        snprintf(msg, sizeof(msg), "String should have at least %lld character%s", json_integer_value(min),
            json_integer_value(min) == 1 ? "" : "s");
        complain(check, "string_too_short", msg, value);
    } else if (max && characters(text) > (size_t)json_integer_value(max)) {
        snprintf(msg, sizeof(msg), "String should have at most %lld characters", json_integer_value(max));
        complain(check, "string_too_long", msg, value);
    } else if (format && strcmp(format, "uuid") == 0) {
        if (request_parse_uuid(text, uuid))
            json_string_set(value, uuid);
        else
            complain(check, "uuid_parsing", "Input should be a valid UUID", value);
    }
}

static void check_number(struct check *check, json_t *schema, json_t *value)
{
    json_t *min = json_object_get(schema, "minimum"), *max = json_object_get(schema, "maximum");
    char msg[96];
    if (min && json_number_value(value) < json_number_value(min)) {
        snprintf(msg, sizeof(msg), "Input should be greater than or equal to %g", json_number_value(min));
        complain(check, "greater_than_equal", msg, value);
    } else if (max && json_number_value(value) > json_number_value(max)) {
        snprintf(msg, sizeof(msg), "Input should be less than or equal to %g", json_number_value(max));
        complain(check, "less_than_equal", msg, value);
    }
}

static void check_value(struct check *check, json_t *schema, json_t *value);

static void check_items(struct check *check, json_t *schema, json_t *value)
{
    json_t *items = json_object_get(schema, "items"), *one;
    json_t *min = json_object_get(schema, "minItems"), *max = json_object_get(schema, "maxItems");
    size_t i, count = json_array_size(value);
    char msg[96];
    if (min && count < (size_t)json_integer_value(min)) {
        snprintf(msg, sizeof(msg), "List should have at least %lld item%s after validation, not %zu",
            json_integer_value(min), json_integer_value(min) == 1 ? "" : "s", count);
        complain(check, "too_short", msg, value);
    }
    if (max && count > (size_t)json_integer_value(max)) {
        snprintf(msg, sizeof(msg), "List should have at most %lld items after validation, not %zu",
            json_integer_value(max), count);
        complain(check, "too_long", msg, value);
        return;
    }
    if (!items)
        return;
    json_array_foreach(value, i, one)
    {
        json_array_append_new(check->loc, json_integer((json_int_t)i));
        check_value(check, items, one);
        json_array_remove(check->loc, json_array_size(check->loc) - 1);
    }
}

/* 5.0 is an integer to JSON Schema, and a real to the parser. */
static json_t *as_integer(
    const struct schemas *schemas, json_t *schema, json_t *parent, const char *key, json_t *value)
{
    json_t *type = json_object_get(resolve(schemas, schema), "type");
    const char *name =
        json_is_array(type) ? json_string_value(json_array_get(type, 0)) : json_string_value(type);
    double number = json_real_value(value);
    if (!json_is_real(value) || !name || strcmp(name, "integer") != 0 || number != floor(number) ||
        fabs(number) > 9007199254740992.0)
        return value;
    json_object_set_new(parent, key, json_integer((json_int_t)number));
    return json_object_get(parent, key);
}

static bool is_required(json_t *required, const char *key)
{
    size_t i;
    json_t *name;
    json_array_foreach(required, i, name) if (strcmp(json_string_value(name), key) == 0) return true;
    return false;
}

static void check_properties(struct check *check, json_t *schema, json_t *value)
{
    json_t *required = json_object_get(schema, "required"), *property;
    const char *key;
    json_object_foreach(json_object_get(schema, "properties"), key, property)
    {
        json_t *member = json_object_get(value, key);
        json_t *fallback = json_object_get(resolve(check->schemas, property), "default");
        json_array_append_new(check->loc, json_string(key));
        if (member)
            check_value(check, property, as_integer(check->schemas, property, value, key, member));
        else if (is_required(required, key))
            complain(check, "missing", "Field required", value);
        else if (fallback)
            json_object_set_new(value, key, json_deep_copy(fallback));
        json_array_remove(check->loc, json_array_size(check->loc) - 1);
    }
}

static bool condition_holds(json_t *condition, json_t *value)
{
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(condition, "required"), i, name)
    {
        json_t *member = json_object_get(value, json_string_value(name));
        if (!member || json_is_null(member))
            return false;
    }
    return true;
}

/* How far a value is from a choice: what is wrong, other than missing. A choice's fixed field ("task") thus
 * decides which choice was meant. */
static size_t distance(json_t *problems)
{
    size_t i, count = 0;
    json_t *problem;
    json_array_foreach(problems, i, problem) count +=
        strcmp(json_string_value(json_object_get(problem, "type")), "missing") != 0;
    return count;
}

static void check_any_of(struct check *check, json_t *choices, json_t *value)
{
    json_t *nearest = NULL, *choice;
    size_t i;
    json_array_foreach(choices, i, choice)
    {
        struct check attempt = {check->schemas, check->loc, json_array()};
        check_value(&attempt, choice, value);
        if (json_array_size(attempt.problems) == 0 || !nearest ||
            distance(attempt.problems) < distance(nearest)) {
            json_decref(nearest);
            nearest = json_incref(attempt.problems);
        }
        json_decref(attempt.problems);
        if (json_array_size(nearest) == 0)
            break;
    }
    json_array_extend(check->problems, nearest);
    json_decref(nearest);
}

static void check_value(struct check *check, json_t *schema, json_t *value)
{
    schema = resolve(check->schemas, schema);
    json_t *type = json_object_get(schema, "type"), *allowed = json_object_get(schema, "enum");
    json_t *choices = json_object_get(schema, "anyOf"), *condition = json_object_get(schema, "if");
    if (choices) {
        check_any_of(check, choices, value);
        return;
    }
    if (type && !check_type(check, type, value))
        return;
    if (json_is_null(value))
        return;
    if (allowed && !check_enum(check, allowed, value))
        return;
    if (condition) {
        check_value(
            check, json_object_get(schema, condition_holds(condition, value) ? "then" : "else"), value);
        return;
    }
    if (json_is_string(value))
        check_string(check, schema, value);
    else if (json_is_number(value))
        check_number(check, schema, value);
    else if (json_is_array(value))
        check_items(check, schema, value);
    else if (json_is_object(value))
        check_properties(check, schema, value);
}

bool schema_validate(const struct schemas *schemas, const char *name, json_t *value, json_t *problems)
{
    size_t before = json_array_size(problems);
    json_t *schema = json_object_get(schemas->all, name);
    if (!schema)
        abort(); /* a route names a schema that does not exist; a unit test looks up each */
    struct check check = {schemas, json_pack("[s]", "body"), problems};
    check_value(&check, schema, value);
    json_decref(check.loc);
    return json_array_size(problems) == before;
}
