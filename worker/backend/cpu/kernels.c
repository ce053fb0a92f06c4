#include "worker/backend/cpu/kernels.h"

const struct kernels *kernels_pick(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        return &kernels_avx2;
#endif
    return &kernels_generic;
}
