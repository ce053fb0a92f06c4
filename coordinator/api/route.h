/* One table of routes is the single source for routing, validation, authorisation and /openapi.json. */
#ifndef LUMIGRID_COORDINATOR_API_ROUTE_H
#define LUMIGRID_COORDINATOR_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;

enum { ROUTE_PARAMETERS_MAX = 2, ROUTE_PARAMETER_BYTES_MAX = 128, ROUTE_SEGMENTS_MAX = 10 };

/* What a path parameter that is no UUID looks like: a name. */
#define ROUTE_NAME_PATTERN "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$"

enum route_role {
    ROLE_NOBODY,
    ROLE_VIEWER,
    ROLE_USER,
    ROLE_ADMIN
}; /* the least that may call; NOBODY: everyone */
enum route_body { BODY_NONE, BODY_JSON, BODY_DATASET /* multipart, streamed */ };
enum route_value { VALUE_INTEGER, VALUE_TEXT, VALUE_BOOLEAN };

struct route_query {
    const char *name;
    enum route_value type;
    bool required;
    int64_t fallback, minimum, maximum; /* of an integer; fallback also of a boolean */
    const char *description;
    const char
        *list; /* of text that may be repeated: the component that describes the list; NULL: one value */
};

struct route_answer {
    unsigned status;
    const char *schema; /* a component of schemas.json; NULL: no body, or one described by `media` */
    const char *media;  /* NULL: application/json */
    const char *description;
};

struct route {
    const char *method;
    const char *path; /* "/api/v1/datasets/{dataset_id}"; a parameter whose name ends in _id is a UUID */
    void (*handle)(struct request *request);
    const char *operation;
    const char *tag;
    const char *summary;
    enum route_role role;
    enum route_body body;
    const char *body_schema;
    const struct route_query *query; /* ends with a NULL name; NULL: none */
    const struct route_answer
        *answers; /* ends with status 0; 401, 403, 413, 422 and 503 are added where they apply */
};

extern const struct route ROUTES[];
extern const size_t ROUTE_COUNT;

struct route_match {
    const struct route *route; /* NULL: none */
    bool path_known;           /* the path exists, with other methods */
    char allow[64];            /* without a route: the methods there are, for Allow */
    size_t parameter_count;
    char parameters[ROUTE_PARAMETERS_MAX][ROUTE_PARAMETER_BYTES_MAX];
};

/* Finds the route for a method and a decoded path, with or without a trailing slash; HEAD is answered by
 * GET's route. A literal segment wins over a parameter, whatever the methods. */
void route_find(
    const struct route *routes, size_t count, const char *method, const char *path, struct route_match *out);

/* The name of the template's n-th parameter, copied into `out`; false: there is none. */
bool route_parameter_name(const struct route *route, size_t n, char *out, size_t out_size);

#endif
