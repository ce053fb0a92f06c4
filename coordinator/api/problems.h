/* What is wrong with a request, in FastAPI's shape: a list of {type, loc, msg, input}. Private to the api
 * room. */
#ifndef LUMIGRID_COORDINATOR_API_PROBLEMS_H
#define LUMIGRID_COORDINATOR_API_PROBLEMS_H

#include <jansson.h>

/* Takes `loc` over; borrows `input` (NULL: null). Long inputs are cut: an answer does not repeat a megabyte.
 */
void problems_add(json_t *problems, json_t *loc, const char *type, const char *msg, json_t *input);

/* The body is no JSON at that byte. */
void problems_add_json_error(json_t *problems, int position, const char *reason);

#endif
