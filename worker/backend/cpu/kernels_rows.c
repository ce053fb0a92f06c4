/* Element-wise functions, norms and reductions over rows. */
#include <math.h>

#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/vector.h"

void KERNEL(activate)(enum activation kind, float *x, size_t count);
void KERNEL(multiply)(float *x, const float *y, size_t count);
void KERNEL(add)(float *out, const float *x, const float *y, size_t count);
void KERNEL(scale)(float *x, size_t count, float scale, float soft_cap);
void KERNEL(norm)(enum norm_kind kind, const float *x, const float *weight, const float *bias, float epsilon,
    size_t count, float *out);
float KERNEL(maximum)(const float *x, size_t count);
float KERNEL(log_sum_exp)(const float *x, size_t count, float maximum);

INLINE f8 activated(enum activation kind, f8 x)
{
    switch (kind) {
    case ACTIVATION_NONE: return x;
    case ACTIVATION_RELU: return f8_choose(x < 0.0F, f8_set(0.0F), x); /* NaN stays */
    case ACTIVATION_GELU: return 0.5F * x * (1.0F + f8_erf(x * 0.707106781F));
    case ACTIVATION_GELU_TANH:
        /* (1 + tanh u) / 2 = sigmoid 2u */
        return x * f8_sigmoid(2.0F * (0.797884561F * (x + 0.044715F * (x * x * x))));
    case ACTIVATION_SILU: return x * f8_sigmoid(x);
    case ACTIVATION_TANH: return f8_tanh(x);
    case ACTIVATION_QUICK_GELU: return x * f8_sigmoid(1.702F * x);
    }
    return x;
}

INLINE void activate_all(enum activation kind, float *x, size_t count)
{
    for (; count >= 8; count -= 8, x += 8)
        f8_store(x, activated(kind, f8_load(x)));
    if (count > 0)
        f8_store_part(x, count, activated(kind, f8_load_part(x, count, 0.0F)));
}

void KERNEL(activate)(enum activation kind, float *x, size_t count)
{
    switch (kind) {
    case ACTIVATION_NONE: break;
    case ACTIVATION_RELU: activate_all(ACTIVATION_RELU, x, count); break;
    case ACTIVATION_GELU: activate_all(ACTIVATION_GELU, x, count); break;
    case ACTIVATION_GELU_TANH: activate_all(ACTIVATION_GELU_TANH, x, count); break;
    case ACTIVATION_SILU: activate_all(ACTIVATION_SILU, x, count); break;
    case ACTIVATION_TANH: activate_all(ACTIVATION_TANH, x, count); break;
    case ACTIVATION_QUICK_GELU: activate_all(ACTIVATION_QUICK_GELU, x, count); break;
    }
}

void KERNEL(multiply)(float *x, const float *y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] *= y[i];
}

void KERNEL(add)(float *out, const float *x, const float *y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = x[i] + y[i];
}

void KERNEL(scale)(float *x, size_t count, float scale, float soft_cap)
{
    if (scale != 1.0F)
        for (size_t i = 0; i < count; i++)
            x[i] *= scale;
    if (soft_cap <= 0.0F)
        return;
    for (; count >= 8; count -= 8, x += 8)
        f8_store(x, soft_cap * f8_tanh(f8_load(x) / soft_cap));
    if (count > 0)
        f8_store_part(x, count, soft_cap * f8_tanh(f8_load_part(x, count, 0.0F) / soft_cap));
}

/* 32 lanes, joined one after the other: short sums, and the order in which PyTorch adds up a row. */
INLINE float sum_of_lanes(const f8 *sums)
{
    f8 lanes = ((sums[0] + sums[1]) + sums[2]) + sums[3];
    float sum = 0.0F;
    for (size_t i = 0; i < 8; i++)
        sum += lanes[i];
    return sum;
}

INLINE float sum_of(const float *x, size_t count)
{
    f8 sums[4] = {{0}};
    size_t i = 0;
    for (; i + 32 <= count; i += 32)
        for (size_t j = 0; j < 4; j++)
            sums[j] += f8_load(x + i + 8 * j);
    for (; i + 8 <= count; i += 8)
        sums[0] += f8_load(x + i);
    if (i < count)
        sums[1] += f8_load_part(x + i, count - i, 0.0F);
    return sum_of_lanes(sums);
}

INLINE float sum_of_squares(const float *x, size_t count, float mean)
{
    f8 sums[4] = {{0}};
    size_t i = 0;
    for (; i + 32 <= count; i += 32)
        for (size_t j = 0; j < 4; j++) {
            f8 v = f8_load(x + i + 8 * j) - mean;
            sums[j] += f8_rounded(v * v);
        }
    for (; i + 8 <= count; i += 8) {
        f8 v = f8_load(x + i) - mean;
        sums[0] += f8_rounded(v * v);
    }
    if (i < count) {
        f8 v = f8_load_part(x + i, count - i, mean) - mean;
        sums[1] += f8_rounded(v * v);
    }
    return sum_of_lanes(sums);
}

void KERNEL(norm)(enum norm_kind kind, const float *x, const float *weight, const float *bias, float epsilon,
    size_t count, float *out)
{
    float mean = kind == NORM_LAYER ? sum_of(x, count) / (float)count : 0.0F;
    float variance = sum_of_squares(x, count, mean) / (float)count;
    float inverse = 1.0F / sqrtf(variance + epsilon);
    if (weight && bias)
        for (size_t i = 0; i < count; i++)
            out[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
    else if (weight)
        for (size_t i = 0; i < count; i++)
            out[i] = (x[i] - mean) * inverse * weight[i];
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (x[i] - mean) * inverse + (bias ? bias[i] : 0.0F);
}

float KERNEL(maximum)(const float *x, size_t count)
{
    f8 best = f8_set(-__builtin_inff());
    for (; count >= 8; count -= 8, x += 8)
        best = f8_max(f8_load(x), best);
    if (count > 0)
        best = f8_max(f8_load_part(x, count, -__builtin_inff()), best);
    return f8_max_lane(best);
}

/* log(sum of e^(x - maximum)) + maximum; scores that are NaN count as minus infinity. */
float KERNEL(log_sum_exp)(const float *x, size_t count, float maximum)
{
    const f8 lowest = f8_set(-__builtin_inff());
    f8 sum = {0}, more = {0};
    for (; count >= 16; count -= 16, x += 16) {
        sum += f8_exp(f8_max(f8_load(x), lowest) - maximum);
        more += f8_exp(f8_max(f8_load(x + 8), lowest) - maximum);
    }
    for (; count > 0; x += 8) {
        size_t part = count < 8 ? count : 8;
        sum += f8_exp(f8_max(f8_load_part(x, part, -__builtin_inff()), lowest) - maximum);
        count -= part;
    }
    return logf(f8_sum(sum + more)) + maximum;
}
