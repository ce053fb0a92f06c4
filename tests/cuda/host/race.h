/* What is known about each byte that the threads of a grid share, to find races. */
#ifndef CUDA_EMULATION_RACE_H
#define CUDA_EMULATION_RACE_H

#include "inside.h"

namespace cuda_emulation
{

/* Of a byte; of a whole aligned word in its first byte, until a part of the word is accessed alone. */
struct byte_state {
    uint32_t write_time, read_time;
    uint16_t writer, reader;
    uint16_t write_clock, read_clock;
};

/* Of a writer, besides its thread. */
enum : uint16_t { RACE_SPLIT = 0x8000, RACE_ATOMIC = 0x4000, RACE_PENDING = 0x2000, RACE_THREAD = 0x3ff };
/* Of a reader: a warp instead of a thread; several warps; other blocks too. */
enum : uint16_t { RACE_ONE_WARP = 0x8000, RACE_MANY_WARPS = 0x4000, RACE_FOREIGN = 0x2000 };

struct race_times {
    uint32_t now, launch_start, block_start;
    bool fenced; /* the block has used __threadfence: it may know what other blocks are done with */
    uint16_t clock[1024];
    uint16_t seen[1024][32];
};
extern race_times race_now;

void race_start_launch();
void race_start_block(unsigned threads);
void race_barrier();
void race_sync_warp(unsigned warp, unsigned mask);

/* What an access found. */
struct race_result {
    const char *words; /* fit between "BYTES of memory" and "thread N"; NULL: no race */
    unsigned thread;
    bool unset; /* a read, and nothing was written in this block before: of shared memory, a mistake */
};
/* Notes an access to bytes [at, at + bytes). Blocks have each their own shared memory, and device memory
 * between them. */
race_result race_access(
    place self, byte_state *states, size_t at, size_t bytes, access kind, bool between_blocks);
void race_mark_pending(place self, byte_state *states, size_t at, size_t bytes, bool pending);

} // namespace cuda_emulation

#endif
