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

namespace
{

/* Of a writer, besides its thread. */
enum : uint16_t { ATOMIC = 0x4000, PENDING = 0x2000 };
/* Of a reader: a warp instead of a thread; all bits of the number: several warps; other blocks too. */
enum : uint16_t { ONE_WARP = 0x8000, MANY_WARPS = 0x4000, FOREIGN = 0x2000 };
enum : uint16_t { THREAD = 0x3ff };

struct {
    uint32_t now = 1, launch_start, block_start;
    bool fenced; /* the block has used __threadfence: it may know what other blocks are done with */
    uint16_t clock[1024];
    uint16_t seen[1024][32];
} times;

/* Whether the running thread knows that thread `other` got past its clock time `clock`. */
bool ordered(place self, unsigned other, uint16_t clock)
{
    return other == self.number || (other / 32 == self.warp && times.seen[self.number][other % 32] > clock);
}

bool ordered_readers(place self, const byte_state &s)
{
    if (s.reader & MANY_WARPS)
        return false;
    if (!(s.reader & ONE_WARP))
        return ordered(self, s.reader & THREAD, s.read_clock);
    if ((s.reader & 31U) != self.warp)
        return false;
    for (unsigned lane = 0; lane < 32; lane++)
        if (lane != self.lane && times.seen[self.number][lane] <= s.read_clock)
            return false;
    return true;
}

void note_read(place self, byte_state &s)
{
    const bool foreign =
        s.read_time >= times.launch_start && (s.read_time < times.block_start || s.reader & FOREIGN);
    if (s.read_time != times.now) {
        s.reader = (uint16_t)self.number;
        s.read_clock = 0;
    } else if (!(s.reader & MANY_WARPS) && (s.reader & (ONE_WARP | THREAD)) != self.number) {
        const unsigned warp = s.reader & ONE_WARP ? s.reader & 31U : (s.reader & THREAD) / 32U;
        s.reader = (uint16_t)(warp == self.warp ? ONE_WARP | self.warp : (unsigned)MANY_WARPS);
    }
    if (foreign)
        s.reader |= FOREIGN;
    s.read_time = times.now;
    s.read_clock = std::max(s.read_clock, times.clock[self.number]);
}

} // namespace

void race_start_launch()
{
    times.launch_start = ++times.now;
}

void race_start_block()
{
    times.block_start = ++times.now;
    times.fenced = false;
    memset(times.clock, 0, sizeof times.clock);
    memset(times.seen, 0, sizeof times.seen);
}

void race_barrier()
{
    times.now++;
}

void race_fence()
{
    times.fenced = true;
}

/* All lanes of the mask know what each of them knew, and that it got here. */
void race_sync_warp(unsigned warp, unsigned mask)
{
    uint16_t joint[32] = {}, latest = 0;
    for (uint32_t left = mask; left; left &= left - 1) {
        const unsigned thread = warp * 32 + (unsigned)__builtin_ctz(left);
        for (unsigned i = 0; i < 32; i++)
            joint[i] = std::max(joint[i], times.seen[thread][i]);
        latest = std::max(latest, times.clock[thread]);
    }
    latest++;
    for (uint32_t left = mask; left; left &= left - 1)
        joint[__builtin_ctz(left)] = latest;
    for (uint32_t left = mask; left; left &= left - 1) {
        const unsigned thread = warp * 32 + (unsigned)__builtin_ctz(left);
        memcpy(times.seen[thread], joint, sizeof joint);
        times.clock[thread] = latest;
    }
}

bool race_written_in_block(const byte_state &s)
{
    return s.write_time >= times.block_start;
}

const char *race_find(place self, byte_state &s, access kind, bool between_blocks, unsigned *other)
{
    *other = s.writer & THREAD;
    if (s.writer & PENDING && s.write_time >= times.block_start)
        return "that a cp.async is still writing, of";
    const bool both_atomic = kind == access::atomic && s.writer & ATOMIC;
    if (s.write_time == times.now && !both_atomic && !ordered(self, *other, s.write_clock))
        return "written with no barrier between by";
    if (s.write_time >= times.launch_start && s.write_time < times.block_start && !both_atomic &&
        !times.fenced && between_blocks)
        return "written in another block of the grid by";
    if (kind == access::read) {
        note_read(self, s);
        return nullptr;
    }
    *other = s.reader & ONE_WARP ? (s.reader & 31U) * 32U : s.reader & THREAD;
    if (s.read_time == times.now && (s.reader & ~FOREIGN) != self.number && !ordered_readers(self, s))
        return s.reader & MANY_WARPS ? "read with no barrier between by others, perhaps"
                                     : "read with no barrier between by";
    if (s.read_time >= times.launch_start && (s.read_time < times.block_start || s.reader & FOREIGN) &&
        !times.fenced && between_blocks)
        return "read in another block of the grid by";
    s.write_time = times.now;
    s.writer = (uint16_t)(self.number | (kind == access::atomic ? (unsigned)ATOMIC : 0U));
    s.write_clock = times.clock[self.number];
    return nullptr;
}

void race_mark_pending(place self, byte_state &s, bool pending)
{
    s.write_time = times.now;
    s.write_clock = times.clock[self.number];
    s.writer = (uint16_t)(self.number | (pending ? (unsigned)PENDING : 0U));
}

} // namespace cuda_emulation
