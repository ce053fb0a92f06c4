/* The entry that libFuzzer and replay.c call: one input, any bytes. Returns 0; must not crash, hang or leak.
 */
#ifndef LUMIGRID_TESTS_FUZZ_FUZZ_H
#define LUMIGRID_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
