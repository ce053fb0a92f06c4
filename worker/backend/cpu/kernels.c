#include "worker/backend/cpu/kernels.h"

#include <stdlib.h>
#include <string.h>

struct build {
    const struct kernels *kernels;
    bool runs; /* on this machine */
};

const struct kernels *kernels_pick(void)
{
    const struct build builds[] = {
#ifdef __x86_64__
        {&kernels_avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")},
        /* every processor with AVX2 converts float16, too; not every compiler can ask for that */
        {&kernels_avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
#endif
        {&kernels_generic, true},
    };
    const char *wanted = getenv("LUMIGRID_CPU_KERNELS");
    const struct kernels *best = NULL;
    for (size_t i = 0; i < sizeof builds / sizeof *builds; i++) {
        if (!builds[i].runs)
            continue;
        if (wanted && strcmp(wanted, builds[i].kernels->name) == 0)
            return builds[i].kernels;
        best = best ? best : builds[i].kernels;
    }
    return best;
}
