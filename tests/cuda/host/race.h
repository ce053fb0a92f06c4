/* What is known about each byte that the threads of a grid share, to find races. */
#ifndef CUDA_EMULATION_RACE_H
#define CUDA_EMULATION_RACE_H

#include "inside.h"

namespace cuda_emulation
{

struct byte_state {
    uint32_t write_time, read_time;
    uint16_t writer, reader;
    uint16_t write_clock, read_clock;
};

void race_start_launch();
void race_start_block();
void race_barrier();
void race_sync_warp(unsigned warp, unsigned mask);

bool race_written_in_block(const byte_state &s);
/* Notes an access; words that fit between "BYTES of memory" and "thread N" when it is a race, NULL when it is none.
 * Blocks have each their own shared memory, and device memory between them. */
const char *race_find(place self, byte_state &s, access kind, bool between_blocks, unsigned *other);
void race_mark_pending(place self, byte_state &s, bool pending);

} // namespace cuda_emulation

#endif
