/* The interpreter's state, and what its files share. One per rendering; never shared between threads. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_RUN_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_RUN_H

#include "worker/model/tokenizer/jinja/syntax.h"

/* A template is untrusted: what one rendering may take. */
enum {
    RUN_STEPS_MAX = 5000000,
    RUN_DEPTH_MAX = 600,
    RUN_OUTPUT_BYTES_MAX = 16 << 20,
    RUN_MEMORY_BYTES_MAX = 128 << 20,
};

struct frame {
    struct frame *parent;
    struct value_dict variables;
};

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

struct run {
    struct arena *arena;
    struct error *err;
    struct buffer *out;
    struct frame *frame;
    enum flow flow;
    size_t steps;
    int depth;
};

/* The arguments of a call, filter or test. */
struct arguments {
    struct value_list positional;
    struct value_dict named;
};

typedef bool (*run_function)(struct run *r, const struct arguments *arguments, struct value *out);

struct value_callable {
    run_function function; /* a global */
    const char *method;    /* a method of `self`, by name */
    struct value self;
    const struct node *macro; /* a macro and the frame it was written in */
    struct frame *closure;
};

struct value_loop {
    struct value_list *items;
    size_t index;
    int depth;
    struct value changed; /* what changed() saw last; UNDEFINED: nothing yet */
};

bool run_fail(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool run_step(struct run *r); /* counts a step; false past the limit */

bool run_statement(struct run *r, const struct node *node);
bool run_expression(struct run *r, const struct node *node, struct value *out);
/* Runs a body into a string instead of the output. */
bool run_captured(struct run *r, const struct node *body, struct value *out);
bool run_assign(struct run *r, const struct node *target, struct value value);
bool run_push_frame(struct run *r, struct frame *parent);

bool run_attribute(struct run *r, struct value of, const char *name, size_t len, struct value *out);
bool run_index(struct run *r, struct value of, struct value key, struct value *out);
bool run_slice(struct run *r, struct value of, const struct value bounds[3], struct value *out);
bool run_binary(
    struct run *r, const struct value_string *name, struct value a, struct value b, struct value *out);
bool run_compare(struct run *r, const struct value_string *name, struct value a, struct value b, bool *out);
bool run_contains(struct run *r, struct value container, struct value item, bool *out);

bool run_call(struct run *r, struct value callee, const struct arguments *arguments, struct value *out);
bool run_method(
    struct run *r, struct value self, const char *name, const struct arguments *arguments, struct value *out);
bool run_has_method(struct value of, const char *name, size_t len, const char **method);
bool run_filter(struct run *r, const struct value_string *name, struct value input,
    const struct arguments *arguments, struct value *out);
bool run_test(struct run *r, const struct value_string *name, struct value input,
    const struct arguments *arguments, bool *out);
bool run_globals(struct run *r);

/* The items of something that can be looped over, as a list. */
bool run_iterate(struct run *r, struct value of, struct value_list **out);
/* str() of a value as a string value. */
bool run_to_string(struct run *r, struct value v, struct value *out);

/* Argument `index`, or the one named; UNDEFINED when it was not given. */
struct value run_argument(const struct arguments *arguments, size_t index, const char *name);
/* The same as text; `otherwise` when it was not given or is none. */
struct value_string run_argument_text(
    const struct arguments *arguments, size_t index, const char *name, const char *otherwise);
int64_t run_argument_int(
    const struct arguments *arguments, size_t index, const char *name, int64_t otherwise);

static inline bool name_is(const struct value_string *name, const char *text)
{
    size_t i = 0;
    for (; i < name->len && text[i]; i++) {
        if (name->data[i] != text[i])
            return false;
    }
    return i == name->len && !text[i];
}

#endif
