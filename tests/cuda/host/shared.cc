/* Shared memory of the running block, with what is known about each byte: who wrote and read it last, and
 * whether a barrier lies between. Two accesses of which one is a write, by two threads with no barrier (or,
 * in one warp, no
 * __syncwarp) between them, are a race whatever order the fibers happened to run in.
 *
 * Time is counted in two ways. `now` grows at every barrier, so what happened before the last one is settled.
 * In between, each lane has a clock that grows with every __syncwarp, and `seen` holds what a lane knows of
 * another lane's clock. Votes and shuffles order no memory, as CUDA has it. */
#include <algorithm>
#include <cstring>

#include "inside.h"

namespace cuda_emulation
{

namespace
{

enum : uint16_t { MANY_WARPS = 0xffff, ONE_WARP = 0x8000, ATOMIC = 0x4000, PENDING = 0x2000, THREAD = 0x3ff };
enum : size_t { ARENA_BYTES = 512 * 1024 };
enum { VARIABLES_MAX = 64 };

struct byte_state {
    uint32_t write_time, read_time;
    uint16_t writer, reader;
    uint16_t write_clock, read_clock;
};

struct variable {
    const char *start;
    size_t bytes, at;
};

struct {
    alignas(1024) char memory[ARENA_BYTES]; /* the dynamic part */
    byte_state state[ARENA_BYTES];          /* of the dynamic part, then of each variable */
    variable variables[VARIABLES_MAX];
    size_t variable_count, dynamic_bytes, static_bytes;
    uint32_t now, block_start;
    uint16_t clock[1024];
    uint16_t seen[1024][32];
} shared;

/* Whether the running thread knows that thread `other` got past its clock time `clock`. */
bool ordered(place self, unsigned other, uint16_t clock)
{
    return other == self.number || (other / 32 == self.warp && shared.seen[self.number][other % 32] > clock);
}

bool ordered_readers(place self, const byte_state &s)
{
    if (s.reader == MANY_WARPS)
        return false;
    if (!(s.reader & ONE_WARP))
        return ordered(self, s.reader & THREAD, s.read_clock);
    if ((s.reader & 31U) != self.warp)
        return false;
    for (unsigned lane = 0; lane < 32; lane++)
        if (lane != self.lane && shared.seen[self.number][lane] <= s.read_clock)
            return false;
    return true;
}

void note_read(place self, byte_state &s)
{
    if (s.read_time != shared.now) {
        s.read_time = shared.now;
        s.reader = (uint16_t)self.number;
        s.read_clock = shared.clock[self.number];
        return;
    }
    if (s.reader == MANY_WARPS || s.reader == self.number)
        ;
    else if (s.reader & ONE_WARP)
        s.reader = (s.reader & 31U) == self.warp ? s.reader : (uint16_t)MANY_WARPS;
    else
        s.reader =
            (s.reader & THREAD) / 32U == self.warp ? (uint16_t)(ONE_WARP | self.warp) : (uint16_t)MANY_WARPS;
    s.read_clock = std::max(s.read_clock, shared.clock[self.number]);
}

const char *name_of(access kind)
{
    return kind == access::read ? "read" : kind == access::write ? "write" : "atomic";
}

void check_byte(size_t at, size_t bytes, place self, access kind, const void *code)
{
    byte_state &s = shared.state[at];
    const bool written_now = s.write_time == shared.now;
    if (s.writer & PENDING && s.write_time >= shared.block_start)
        report_thread(code,
            "race: %s of %zu bytes of shared memory that a cp.async of thread %u is still writing",
            name_of(kind), bytes, s.writer & THREAD);
    if (kind != access::write && s.write_time < shared.block_start)
        report_thread(code,
            "uninitialised: %s of %zu bytes at offset %zu of shared memory that nothing wrote", name_of(kind),
            bytes, at);
    if (written_now && !(kind == access::atomic && s.writer & ATOMIC) &&
        !ordered(self, s.writer & THREAD, s.write_clock))
        report_thread(code,
            "race: %s of %zu bytes at offset %zu of shared memory written by thread %u with no barrier "
            "between",
            name_of(kind), bytes, at, s.writer & THREAD);
    if (kind != access::read && s.read_time == shared.now && s.reader != self.number &&
        !ordered_readers(self, s))
        report_thread(code,
            "race: %s of %zu bytes at offset %zu of shared memory read by thread %u%s with no barrier "
            "between",
            name_of(kind), bytes, at, s.reader & ONE_WARP ? (s.reader & 31U) * 32U : s.reader & THREAD,
            s.reader & ONE_WARP ? " or others" : "");
    if (kind == access::read) {
        note_read(self, s);
        return;
    }
    s.write_time = shared.now;
    s.writer = (uint16_t)(self.number | (kind == access::atomic ? (unsigned)ATOMIC : 0U));
    s.write_clock = shared.clock[self.number];
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
    shared.static_bytes += bytes;
    if (shared.static_bytes > SHARED_STATIC_LIMIT || shared.variable_count == VARIABLES_MAX ||
        shared.static_bytes + shared.dynamic_bytes >
            std::max(shared_optin_bytes(), (size_t)SHARED_STATIC_LIMIT))
        report_thread(nullptr,
            "bad launch: %zu bytes of static and %zu of dynamic shared memory are over the limit",
            shared.static_bytes, shared.dynamic_bytes);
    memset(start, 0xff, bytes);
    shared.variables[shared.variable_count++] = {
        static_cast<char *>(start), bytes, shared.dynamic_bytes + before};
}

void shared_start_block()
{
    shared.block_start = ++shared.now;
    memset(shared.clock, 0, sizeof shared.clock);
    memset(shared.seen, 0, sizeof shared.seen);
}

void shared_barrier()
{
    shared.now++;
}

/* All lanes of the mask know what each of them knew, and that it got here. */
void shared_sync_warp(unsigned warp, unsigned mask)
{
    uint16_t joint[32] = {}, latest = 0;
    for (uint32_t left = mask; left; left &= left - 1) {
        const unsigned thread = warp * 32 + (unsigned)__builtin_ctz(left);
        for (unsigned i = 0; i < 32; i++)
            joint[i] = std::max(joint[i], shared.seen[thread][i]);
        latest = std::max(latest, shared.clock[thread]);
    }
    latest++;
    for (uint32_t left = mask; left; left &= left - 1)
        joint[__builtin_ctz(left)] = latest;
    for (uint32_t left = mask; left; left &= left - 1) {
        const unsigned thread = warp * 32 + (unsigned)__builtin_ctz(left);
        memcpy(shared.seen[thread], joint, sizeof joint);
        shared.clock[thread] = latest;
    }
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
    const place self = running();
    for (size_t i = at; i < at + bytes; i++)
        check_byte(i, bytes, self, kind, code);
}

/* A cp.async into these bytes begins (they may be neither read nor written until it ends) or ends. */
void shared_pending(void *p, size_t bytes, bool pending, const void *code)
{
    const size_t at = state_of(p, bytes, "cp.async", code);
    if (pending)
        shared_access(p, bytes, access::write, code);
    const place self = running();
    for (size_t i = at; i < at + bytes; i++) {
        shared.state[i].write_time = shared.now;
        shared.state[i].write_clock = shared.clock[self.number];
        shared.state[i].writer = (uint16_t)(self.number | (pending ? (unsigned)PENDING : 0U));
    }
}

} // namespace cuda_emulation
