#include "tests/unit/backend/data.h"

static uint64_t state = 1;

struct backend *open_backend(int threads)
{
    const char *device = getenv("LUMIGRID_TEST_DEVICE");
    struct backend *b = NULL;
    struct error err = {0};
    struct backend_options options = {.threads = threads};
    if (!backend_open(device ? device : "cpu", &options, &b, &err))
        fail_msg("%s", err.message);
    return b;
}

void random_seed(uint64_t seed)
{
    state = seed * 0x9E3779B97F4A7C15U + 1;
}

uint32_t random_bits(void)
{
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(state >> 32);
}

size_t random_below(size_t bound)
{
    return random_bits() % bound;
}

float random_float(void)
{
    float sum = 0.0F;
    for (int i = 0; i < 4; i++)
        sum += (float)(random_bits() >> 8) / 16777216.0F - 0.5F;
    return sum * 1.7F;
}

float *random_floats(size_t count)
{
    float *values = malloc((count ? count : 1) * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = random_float();
    return values;
}

struct tensor_view view_of(const void *data, enum dtype dtype, size_t rows, size_t width)
{
    static const size_t values[] = {[DTYPE_F32] = 1,
        [DTYPE_F16] = 1,
        [DTYPE_BF16] = 1,
        [DTYPE_Q4_0] = 32,
        [DTYPE_Q5_0] = 32,
        [DTYPE_Q8_0] = 32,
        [DTYPE_Q4_K] = 256,
        [DTYPE_Q5_K] = 256,
        [DTYPE_Q6_K] = 256};
    static const size_t bytes[] = {[DTYPE_F32] = 4,
        [DTYPE_F16] = 2,
        [DTYPE_BF16] = 2,
        [DTYPE_Q4_0] = 18,
        [DTYPE_Q5_0] = 22,
        [DTYPE_Q8_0] = 34,
        [DTYPE_Q4_K] = 144,
        [DTYPE_Q5_K] = 176,
        [DTYPE_Q6_K] = 210};
    return (struct tensor_view){
        .name = "test",
        .dtype = dtype,
        .rank = 2,
        .shape = {(int64_t)rows, (int64_t)width},
        .data = data,
        .bytes = rows * (width / values[dtype]) * bytes[dtype],
    };
}

struct tensor put(struct backend *b, size_t rows, size_t width, const float *values)
{
    struct tensor t = b->ops->scratch(b, rows, width);
    b->ops->upload(b, t, values);
    return t;
}

float *get(struct backend *b, struct tensor t)
{
    struct error err = {0};
    float *values = malloc((t.rows * t.width + 1) * sizeof *values);
    assert_non_null(values);
    if (!b->ops->download(b, t, values, &err))
        fail_msg("%s", err.message);
    return values;
}

struct weight *load_f32(struct backend *b, const float *values, size_t out, size_t in, const float *bias)
{
    struct tensor_view weight_view = view_of(values, DTYPE_F32, out, in);
    struct tensor_view bias_view = view_of(bias, DTYPE_F32, 1, out);
    struct weight_args args = {.parts = {&weight_view}, .part_count = 1, .compute = DTYPE_F32};
    args.biases[0] = bias ? &bias_view : NULL;
    struct weight *weight = NULL;
    struct error err = {0};
    if (!b->ops->weight_load(b, &args, &weight, &err))
        fail_msg("%s", err.message);
    return weight;
}

void expect_near(double value, double expected, double tolerance, const char *what, size_t index)
{
    if (isnan(expected) ? isnan(value) : value == expected || fabs(value - expected) <= tolerance)
        return;
    fail_msg("%s [%zu]: %.9g, not %.9g (+- %.3g)", what, index, value, expected, tolerance);
}

void expect_same(const float *x, const float *y, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(&x[i], &y[i], sizeof *x) != 0)
            fail_msg("%s [%zu]: %.9g and %.9g", what, i, (double)x[i], (double)y[i]);
}
