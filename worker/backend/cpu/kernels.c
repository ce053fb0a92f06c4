#include "worker/backend/cpu/kernels.h"

#include <stdlib.h>
#include <string.h>

const struct kernels *kernels_pick(void)
{
    const char *wanted = getenv("LUMIGRID_CPU_KERNELS");
    if (wanted && strcmp(wanted, kernels_generic.name) == 0)
        return &kernels_generic;
#ifdef __x86_64__
    /* every processor with AVX2 converts float16, too; not every compiler can ask for that */
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &kernels_avx2;
#endif
    return &kernels_generic;
}
