/* Python's string operations, shared by methods and filters. */
#ifndef LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_STRING_H
#define LUMIGRID_WORKER_MODEL_TOKENIZER_JINJA_STRING_H

#include "worker/model/tokenizer/jinja/run.h"

enum string_case { CASE_UPPER, CASE_LOWER, CASE_TITLE, CASE_CAPITALIZE };
enum string_kind {
    STRING_DIGITS,
    STRING_LETTERS,
    STRING_LETTERS_DIGITS,
    STRING_SPACES,
    STRING_UPPER,
    STRING_LOWER,
};

/* `characters`: a string of characters to strip, or undefined or none for white space. */
bool string_strip(struct run *r, const struct value_string *s, struct value characters, bool left, bool right,
    struct value *out);
bool string_change_case(struct run *r, const struct value_string *s, enum string_case to, struct value *out);
bool string_split(struct run *r, const struct value_string *s, struct value separator, int64_t most,
    bool from_right, struct value *out);
bool string_split_lines(struct run *r, const struct value_string *s, bool keep_ends, struct value *out);
bool string_replace(struct run *r, const struct value_string *s, struct value_string from,
    struct value_string to, int64_t most, struct value *out);
bool string_is(const struct value_string *s, enum string_kind kind);

#endif
