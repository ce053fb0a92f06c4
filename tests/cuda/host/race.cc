/* Races. Of each byte of shared and of device memory is known who wrote and read it last, and when. Two
 * accesses of which one is a write, by two threads of a block with no barrier (or, in one warp, no
 * __syncwarp) between them, are a race whatever order the fibers happened to run in; so are accesses by two
 * blocks of a grid.
 *
 * Time is counted in two ways. `now` grows at every barrier, so what happened in this block before the last
 * one is settled. In between, each lane has a clock that grows with every __syncwarp, and `seen` holds what a
 * lane knows of another lane's clock. Votes and shuffles order no memory, as CUDA has it. */
#include "race.h"

#include <algorithm>
#include <cstring>

namespace cuda_emulation
{

race_times race_now = {1, 0, 0, false, {}, {}};

namespace
{

/* Whether the running thread knows that thread `other` got past its clock time `clock`. */
bool ordered(place self, unsigned other, uint16_t clock)
{
    return other == self.number ||
           (other / 32 == self.warp && race_now.seen[self.number][other % 32] > clock);
}

bool ordered_readers(place self, const byte_state &s)
{
    if (s.reader & RACE_MANY_WARPS)
        return false;
    if (!(s.reader & RACE_ONE_WARP))
        return ordered(self, s.reader & RACE_THREAD, s.read_clock);
    if ((s.reader & 31U) != self.warp)
        return false;
    for (unsigned lane = 0; lane < 32; lane++)
        if (lane != self.lane && race_now.seen[self.number][lane] <= s.read_clock)
            return false;
    return true;
}

void note_read(place self, byte_state &s)
{
    const bool foreign = s.read_time >= race_now.launch_start &&
                         (s.read_time < race_now.block_start || s.reader & RACE_FOREIGN);
    if (s.read_time != race_now.now) {
        s.reader = (uint16_t)self.number;
        s.read_clock = 0;
    } else if (!(s.reader & RACE_MANY_WARPS) && (s.reader & (RACE_ONE_WARP | RACE_THREAD)) != self.number) {
        const unsigned warp = s.reader & RACE_ONE_WARP ? s.reader & 31U : (s.reader & RACE_THREAD) / 32U;
        s.reader = (uint16_t)(warp == self.warp ? RACE_ONE_WARP | self.warp : (unsigned)RACE_MANY_WARPS);
    }
    if (foreign)
        s.reader |= RACE_FOREIGN;
    s.read_time = race_now.now;
    s.read_clock = std::max(s.read_clock, race_now.clock[self.number]);
}

} // namespace

void race_start_launch()
{
    race_now.launch_start = ++race_now.now;
}

void race_start_block(unsigned threads)
{
    race_now.block_start = ++race_now.now;
    race_now.fenced = false;
    memset(race_now.clock, 0, threads * sizeof *race_now.clock);
    memset(race_now.seen, 0, threads * sizeof *race_now.seen);
}

void race_barrier()
{
    race_now.now++;
}

void race_fence()
{
    race_now.fenced = true;
}

/* All lanes of the mask know what each of them knew, and that it got here. */
void race_sync_warp(unsigned warp, unsigned mask)
{
    uint16_t joint[32] = {}, latest = 0;
    for (uint32_t left = mask; left; left &= left - 1) {
        const unsigned thread = warp * 32 + (unsigned)__builtin_ctz(left);
        for (unsigned i = 0; i < 32; i++)
            joint[i] = std::max(joint[i], race_now.seen[thread][i]);
        latest = std::max(latest, race_now.clock[thread]);
    }
    latest++;
    for (uint32_t left = mask; left; left &= left - 1)
        joint[__builtin_ctz(left)] = latest;
    for (uint32_t left = mask; left; left &= left - 1) {
        const unsigned thread = warp * 32 + (unsigned)__builtin_ctz(left);
        memcpy(race_now.seen[thread], joint, sizeof joint);
        race_now.clock[thread] = latest;
    }
}

namespace
{

/* Reads that change nothing: most of all accesses. */
inline bool is_settled_read(place self, const byte_state &s, bool between_blocks)
{
    const unsigned reader = s.reader & ~(unsigned)RACE_FOREIGN;
    return s.read_time == race_now.now && s.read_clock >= race_now.clock[self.number] &&
           (reader == self.number || reader & RACE_MANY_WARPS || reader == (RACE_ONE_WARP | self.warp)) &&
           s.write_time != race_now.now && !(s.writer & RACE_PENDING) &&
           (s.write_time >= race_now.block_start || (between_blocks && s.write_time < race_now.launch_start));
}

const char *find(place self, byte_state &s, access kind, bool between_blocks, unsigned *other)
{
    *other = s.writer & RACE_THREAD;
    if (s.writer & RACE_PENDING && s.write_time >= race_now.block_start)
        return "that a cp.async is still writing, of";
    const bool both_atomic = kind == access::atomic && s.writer & RACE_ATOMIC;
    if (s.write_time == race_now.now && !both_atomic && !ordered(self, *other, s.write_clock))
        return "written with no barrier between by";
    if (s.write_time >= race_now.launch_start && s.write_time < race_now.block_start && !both_atomic &&
        !race_now.fenced && between_blocks)
        return "written in another block of the grid by";
    if (kind == access::read) {
        note_read(self, s);
        return nullptr;
    }
    *other = s.reader & RACE_ONE_WARP ? (s.reader & 31U) * 32U : s.reader & RACE_THREAD;
    if (s.read_time == race_now.now && (s.reader & ~RACE_FOREIGN) != self.number && !ordered_readers(self, s))
        return s.reader & RACE_MANY_WARPS ? "read with no barrier between by others, perhaps"
                                          : "read with no barrier between by";
    if (s.read_time >= race_now.launch_start &&
        (s.read_time < race_now.block_start || s.reader & RACE_FOREIGN) && !race_now.fenced && between_blocks)
        return "read in another block of the grid by";
    s.write_time = race_now.now;
    s.writer = (uint16_t)((s.writer & RACE_SPLIT) | self.number |
                          (kind == access::atomic ? (unsigned)RACE_ATOMIC : 0U));
    s.write_clock = race_now.clock[self.number];
    return nullptr;
}

/* How many bytes the state at `at` stands for, of `left`; a word of which a part is wanted is split. */
inline size_t step_at(byte_state *states, size_t at, size_t left)
{
    byte_state &word = states[at & ~(size_t)3];
    if (word.writer & RACE_SPLIT)
        return 1;
    if (at % 4 == 0 && left >= 4)
        return 4;
    for (size_t i = 1; i < 4; i++)
        (&word)[i] = word;
    word.writer |= RACE_SPLIT;
    return 1;
}

} // namespace

race_result race_access(
    place self, byte_state *states, size_t at, size_t bytes, access kind, bool between_blocks)
{
    race_result result = {};
    for (size_t i = at, step; i < at + bytes; i += step) {
        step = step_at(states, i, at + bytes - i);
        byte_state &s = states[i];
        if (kind == access::read && is_settled_read(self, s, between_blocks))
            continue;
        if (kind != access::write && s.write_time < race_now.block_start)
            result.unset = true;
        result.words = find(self, s, kind, between_blocks, &result.thread);
        if (result.words)
            break;
    }
    return result;
}

void race_mark_pending(place self, byte_state *states, size_t at, size_t bytes, bool pending)
{
    for (size_t i = at, step; i < at + bytes; i += step) {
        step = step_at(states, i, at + bytes - i);
        byte_state &s = states[i];
        s.write_time = race_now.now;
        s.write_clock = race_now.clock[self.number];
        s.writer =
            (uint16_t)((s.writer & RACE_SPLIT) | self.number | (pending ? (unsigned)RACE_PENDING : 0U));
    }
}

} // namespace cuda_emulation
