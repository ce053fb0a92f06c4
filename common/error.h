/* Errors as values: what went wrong, and what the reader can do about it.
 *
 * A function that can fail returns false (or NULL) and fills the `struct error` that its caller owns. Errors
 * are passed up unchanged or with context put in front, and logged or answered once, at the top. */
#ifndef LUMIGRID_COMMON_ERROR_H
#define LUMIGRID_COMMON_ERROR_H

#include <stdbool.h>

enum error_code {
    ERROR_NONE = 0,
    ERROR_INVALID,     /* the input is wrong: a bad file, option, field; trying again will not help */
    ERROR_NOT_FOUND,   /* what was named does not exist */
    ERROR_DENIED,      /* not allowed */
    ERROR_TOO_LARGE,   /* over a limit that can be raised */
    ERROR_MEMORY,      /* there is not enough memory now; a smaller request may fit */
    ERROR_UNAVAILABLE, /* a peer, a file system or a service does not answer; try again later */
    ERROR_CONFLICT,    /* the state does not allow it (already exists, already finished) */
    ERROR_UNSUPPORTED, /* understood, and not implemented */
    ERROR_CANCELLED,
    ERROR_INTERNAL, /* a defect of ours */
};

struct error {
    enum error_code code;
    char message[512]; /* one line: what, where, why; UTF-8, never empty when code is set */
    char hint[256];    /* one line: what to do; may be empty */
};

/* Sets code and message (printf style; cut at the buffer's end). Clears the hint. Returns false, so that a
 * caller can write `return error_set(err, ...)`. `err` may be NULL: then only false is returned. */
bool error_set(struct error *err, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds what the reader can do. Returns false. */
bool error_hint(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts context in front of the message: "reading model.safetensors: " + message. Returns false. */
bool error_context(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The compiler cannot see into a variadic function: so it learns that these are false, and that what a
 * failing function did not set is not used. */
#define error_set(...)                                                                                       \
    ({                                                                                                       \
        error_set(__VA_ARGS__);                                                                              \
        false;                                                                                               \
    })
#define error_hint(...)                                                                                      \
    ({                                                                                                       \
        error_hint(__VA_ARGS__);                                                                             \
        false;                                                                                               \
    })
#define error_context(...)                                                                                   \
    ({                                                                                                       \
        error_context(__VA_ARGS__);                                                                          \
        false;                                                                                               \
    })

/* The code's stable lower-case name ("not_found"), for logs and messages on the wire. Never NULL. */
const char *error_code_name(enum error_code code);

#endif
