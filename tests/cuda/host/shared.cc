/* Shared memory of the running block: what is dynamic, which variables there are, and the state of each byte.
 */
#include <algorithm>
#include <cstring>

#include "race.h"

namespace cuda_emulation
{

namespace
{

enum : size_t { ARENA_BYTES = 512 * 1024 };
enum { VARIABLES_MAX = 64 };

struct variable {
    const char *start;
    size_t bytes, at;
};

struct {
    alignas(1024) char memory[ARENA_BYTES]; /* the dynamic part */
    byte_state state[ARENA_BYTES];          /* of the dynamic part, then of each variable */
    variable variables[VARIABLES_MAX];
    size_t variable_count, dynamic_bytes, static_bytes;
} shared;

const char *name_of(access kind)
{
    return kind == access::read ? "read" : kind == access::write ? "write" : "atomic";
}

} // namespace

void *dynamic_shared()
{
    return shared.memory;
}

/* The variable that an address lies in, or in the gap behind. */
static const variable *variable_at(const void *p)
{
    for (size_t i = 0; i < shared.variable_count; i++)
        if ((size_t)(static_cast<const char *>(p) - shared.variables[i].start) <
            shared.variables[i].bytes + SHARED_GAP_BYTES)
            return &shared.variables[i];
    return nullptr;
}

bool is_shared(const void *p)
{
    return (size_t)(static_cast<const char *>(p) - shared.memory) < ARENA_BYTES || variable_at(p);
}

void shared_start_launch(size_t dynamic_bytes)
{
    shared.variable_count = 0;
    shared.static_bytes = 0;
    shared.dynamic_bytes = dynamic_bytes;
    memset(shared.memory, 0xff, dynamic_bytes);
}

void use_shared(void *start, size_t bytes)
{
    for (size_t i = 0; i < shared.variable_count; i++)
        if (shared.variables[i].start == start)
            return;
    const size_t before = shared.static_bytes;
    shared.static_bytes += (bytes + 3) / 4 * 4;
    if (shared.static_bytes > SHARED_STATIC_LIMIT || shared.variable_count == VARIABLES_MAX ||
        shared.static_bytes + shared.dynamic_bytes >
            std::max(shared_optin_bytes(), (size_t)SHARED_STATIC_LIMIT))
        report_thread(nullptr,
            "bad launch: %zu bytes of static and %zu of dynamic shared memory are over the limit",
            shared.static_bytes, shared.dynamic_bytes);
    memset(start, 0xff, bytes);
    shared.variables[shared.variable_count++] = {
        static_cast<char *>(start), bytes, (shared.dynamic_bytes + 3) / 4 * 4 + before};
}

/* Where the state of a range is; a report when it is not all in one variable. */
static size_t state_of(const void *p, size_t bytes, const char *what, const void *code)
{
    const size_t at = (size_t)(static_cast<const char *>(p) - shared.memory);
    if (at < ARENA_BYTES) {
        if (at + bytes > shared.dynamic_bytes)
            report_thread(code,
                "out of bounds: %s of %zu bytes at offset %zu of %zu bytes of dynamic shared memory", what,
                bytes, at, shared.dynamic_bytes);
        return at;
    }
    const variable *v = variable_at(p);
    const size_t offset = (size_t)(static_cast<const char *>(p) - v->start);
    if (offset + bytes > v->bytes)
        report_thread(code, "out of bounds: %s of %zu bytes at offset %zu of a shared variable of %zu bytes",
            what, bytes, offset, v->bytes);
    return v->at + offset;
}

void shared_access(const void *p, size_t bytes, access kind, const void *code)
{
    const size_t at = state_of(p, bytes, name_of(kind), code);
    const race_result result = race_access(running(), shared.state, at, bytes, kind, false);
    if (result.unset)
        report_thread(code,
            "uninitialised: %s of %zu bytes at offset %zu of shared memory that nothing wrote", name_of(kind),
            bytes, at);
    if (result.words)
        report_thread(code, "race: %s of %zu bytes at offset %zu of shared memory %s thread %u",
            name_of(kind), bytes, at, result.words, result.thread);
}

/* A cp.async into these bytes begins (they may be neither read nor written until it ends) or ends. */
void shared_pending(void *p, size_t bytes, bool pending, const void *code)
{
    const size_t at = state_of(p, bytes, "cp.async", code);
    if (pending)
        shared_access(p, bytes, access::write, code);
    race_mark_pending(running(), shared.state, at, bytes, pending);
}

} // namespace cuda_emulation
