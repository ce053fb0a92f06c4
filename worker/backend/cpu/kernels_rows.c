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
        return 0.5F * x * (1.0F + f8_tanh(0.797884561F * (x + 0.044715F * (x * x * x))));
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

/* Every value of a row shares the rounding of these two sums, and later layers amplify it: so they are taken
 * in double. They are a few per cent of a layer's arithmetic. */
typedef double d4 __attribute__((vector_size(32)));

INLINE d4 d4_load(const float *x)
{
    return __builtin_convertvector(*(const f4_any *)x, d4);
}

INLINE d4 d4_load_part(const float *x, size_t count, double fill)
{
    d4 v = {fill, fill, fill, fill};
    for (size_t i = 0; i < count; i++)
        v[i] = x[i];
    return v;
}

INLINE double d4_sum(d4 v)
{
    return (v[0] + v[1]) + (v[2] + v[3]);
}

INLINE double sum_of(const float *x, size_t count)
{
    d4 sums[2] = {{0}};
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        sums[0] += d4_load(x + i);
        sums[1] += d4_load(x + i + 4);
    }
    for (; i < count; i += 4)
        sums[0] += d4_load_part(x + i, count - i < 4 ? count - i : 4, 0);
    return d4_sum(sums[0] + sums[1]);
}

INLINE double sum_of_squares(const float *x, size_t count, double mean)
{
    d4 sums[2] = {{0}};
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        d4 low = d4_load(x + i) - mean, high = d4_load(x + i + 4) - mean;
        sums[0] += low * low;
        sums[1] += high * high;
    }
    for (; i < count; i += 4) {
        d4 v = d4_load_part(x + i, count - i < 4 ? count - i : 4, mean) - mean;
        sums[0] += v * v;
    }
    return d4_sum(sums[0] + sums[1]);
}

void KERNEL(norm)(enum norm_kind kind, const float *x, const float *weight, const float *bias, float epsilon,
    size_t count, float *out)
{
    double center = kind == NORM_LAYER ? sum_of(x, count) / (double)count : 0;
    float mean = (float)center, variance = (float)(sum_of_squares(x, count, center) / (double)count);
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
