/* Weights and products. */
#include "tests/unit/backend/data.h"

static double activated(enum activation kind, double x)
{
    switch (kind) {
    case ACTIVATION_NONE: return x;
    case ACTIVATION_RELU: return x > 0 ? x : 0;
    case ACTIVATION_GELU: return x / 2 * (1 + erf(x / sqrt(2)));
    case ACTIVATION_GELU_TANH: return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case ACTIVATION_SILU: return x / (1 + exp(-x));
    case ACTIVATION_TANH: return tanh(x);
    case ACTIVATION_QUICK_GELU: return x / (1 + exp(-1.702 * x));
    }
    return x;
}

static double product(const float *x, const float *w, size_t k)
{
    double sum = 0;
    for (size_t i = 0; i < k; i++)
        sum += (double)x[i] * (double)w[i];
    return sum;
}

static void run_linear(
    struct backend *b, const struct weight *weight, const float *x, size_t rows, float **out)
{
    size_t width, k;
    b->ops->weight_shape(weight, &width, &k);
    b->ops->scratch_reset(b);
    struct linear_args args = {.weight = weight, .in = put(b, rows, k, x)};
    args.out = b->ops->scratch(b, rows, width);
    b->ops->linear(b, &args);
    *out = get(b, args.out);
}

static void check_shape(struct backend *b, size_t rows, size_t k, size_t out)
{
    float *x = random_floats(rows * k), *w = random_floats(out * k), *bias = random_floats(out), *y;
    struct weight *weight = load_f32(b, w, out, k, bias);
    run_linear(b, weight, x, rows, &y);
    double tolerance = 4e-6 * sqrt((double)k) + 1e-6;
    for (size_t i = 0; i < rows; i++)
        for (size_t n = 0; n < out; n++)
            expect_near((double)y[i * out + n], product(x + i * k, w + n * k, k) + (double)bias[n], tolerance,
                "linear", i * out + n);
    b->ops->weight_free(b, weight);
    free(x);
    free(w);
    free(bias);
    free(y);
}

static void test_shapes(void **state)
{
    (void)state;
    struct backend *b = open_backend(3);
    random_seed(1);
    static const size_t rows[] = {0, 1, 2, 3, 4, 31, 33, 49, 50}, ks[] = {1, 7, 8, 64, 513, 1032},
                        outs[] = {1, 3, 48, 49, 130};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
            check_shape(b, rows[r], ks[k], outs[(r + k) % 5]);
    check_shape(b, 1025, 520, 50);
    check_shape(b, 400, 24, 333);
    backend_close(b);
}

/* Rows computed apart, in other company and with other numbers of threads are the same bits. */
static void check_rows_alone(
    struct backend *b, const struct weight *weight, const float *x, size_t rows, size_t k)
{
    size_t width, in;
    b->ops->weight_shape(weight, &width, &in);
    float *together, *apart;
    run_linear(b, weight, x, rows, &together);
    for (size_t first = 0, count = 1; first < rows; first += count, count = 1 + (count * 5 + 3) % 57) {
        count = count < rows - first ? count : rows - first;
        run_linear(b, weight, x + first * k, count, &apart);
        expect_same(apart, together + first * width, count * width, "rows of a batch");
        free(apart);
    }
    free(together);
}

static void fill_blocks(uint8_t *data, size_t bytes, enum dtype dtype)
{
    /* random bytes, but scales (float16) small and finite */
    static const struct {
        size_t bytes, scales[2];
    } layout[] = {[DTYPE_Q4_0] = {18, {0, 0}},
        [DTYPE_Q5_0] = {22, {0, 0}},
        [DTYPE_Q8_0] = {34, {0, 0}},
        [DTYPE_Q4_K] = {144, {0, 2}},
        [DTYPE_Q5_K] = {176, {0, 2}},
        [DTYPE_Q6_K] = {210, {208, 208}}};
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)random_bits();
    for (size_t at = 0; at < bytes; at += layout[dtype].bytes)
        for (size_t s = 0; s < 2; s++)
            data[at + layout[dtype].scales[s] + 1] = (uint8_t)(0x14 + (random_bits() & 0x83));
}

static struct weight *load_as(struct backend *b, const struct tensor_view *view, enum dtype compute)
{
    struct weight_args args = {.parts = {view}, .part_count = 1, .compute = compute};
    struct weight *weight = NULL;
    struct error err = {0};
    if (!b->ops->weight_load(b, &args, &weight, &err))
        fail_msg("%s", err.message);
    return weight;
}

static void test_batch_independence(void **state)
{
    (void)state;
    struct backend *b = open_backend(3);
    random_seed(2);
    enum { ROWS = 450, OUT = 77 };
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_I8, DTYPE_Q4_0, DTYPE_Q5_0,
        DTYPE_Q8_0, DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K};
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        size_t k = dtypes[d] >= DTYPE_Q4_0 ? 768 : 531;
        float *x = random_floats(ROWS * k), *w = random_floats(OUT * k);
        struct tensor_view view = view_of(w, DTYPE_F32, OUT, k);
        if (dtypes[d] >= DTYPE_Q4_0) {
            view = view_of(w, dtypes[d], OUT, k);
            fill_blocks((uint8_t *)w, view.bytes, dtypes[d]);
        }
        struct weight *weight = load_as(b, &view, dtypes[d] >= DTYPE_Q4_0 ? DTYPE_F32 : dtypes[d]);
        check_rows_alone(b, weight, x, ROWS, k);
        b->ops->weight_free(b, weight);
        free(x);
        free(w);
    }
    backend_close(b);
}

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    random_seed(3);
    enum { ROWS = 60, K = 600, OUT = 300 };
    float *x = random_floats(ROWS * K), *w = random_floats(OUT * K), *first = NULL;
    for (int threads = 1; threads <= 5; threads += 2) {
        struct backend *b = open_backend(threads);
        struct weight *weight = load_f32(b, w, OUT, K, NULL);
        float *y;
        run_linear(b, weight, x, ROWS, &y);
        if (first)
            expect_same(y, first, ROWS * OUT, "threads");
        else
            first = y;
        if (y != first)
            free(y);
        b->ops->weight_free(b, weight);
        backend_close(b);
    }
    free(first);
    free(x);
    free(w);
}

static void test_activations_and_residual(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(4);
    enum { ROWS = 5, K = 12, OUT = 100 };
    float *x = random_floats(ROWS * K), *w = random_floats(OUT * K), *residual = random_floats(ROWS * OUT);
    struct weight *weight = load_f32(b, w, OUT, K, NULL);
    for (enum activation kind = ACTIVATION_NONE; kind <= ACTIVATION_QUICK_GELU; kind++) {
        b->ops->scratch_reset(b);
        struct tensor out = put(b, ROWS, OUT, residual);
        struct linear_args args = {
            .out = out, .in = put(b, ROWS, K, x), .weight = weight, .activation = kind, .residual = &out};
        b->ops->linear(b, &args);
        float *y = get(b, out);
        for (size_t i = 0; i < ROWS * OUT; i++)
            expect_near((double)y[i],
                activated(kind, product(x + i / OUT * K, w + i % OUT * K, K)) + (double)residual[i], 2e-5,
                "activation", i);
        free(y);
    }
    b->ops->weight_free(b, weight);
    backend_close(b);
    free(x);
    free(w);
    free(residual);
}

/* (gate, up) as two parts, or as one tensor; mapped sub-blocks of different dtypes too. */
static void test_gated(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(5);
    enum { K = 40, HALF = 75 };
    static const size_t row_counts[] = {1, 7, 60};
    float *w = random_floats(2 * HALF * K), *bias = random_floats(2 * HALF);
    struct tensor_view gate = view_of(w, DTYPE_F32, HALF, K), up = view_of(w + HALF * K, DTYPE_F32, HALF, K);
    struct tensor_view up_bias = view_of(bias + HALF, DTYPE_F32, 1, HALF);
    for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++)
        for (int parts = 1; parts <= 2; parts++) {
            size_t rows = row_counts[i];
            float *x = random_floats(rows * K);
            struct tensor_view whole = view_of(w, DTYPE_F32, 2 * HALF, K);
            struct weight_args load = {.parts = {parts == 1 ? &whole : &gate, &up}, .compute = DTYPE_F32};
            load.part_count = (size_t)parts;
            load.biases[1] = parts == 2 ? &up_bias : NULL;
            struct weight *weight;
            assert_true(b->ops->weight_load(b, &load, &weight, NULL));
            b->ops->scratch_reset(b);
            struct linear_args args = {.out = b->ops->scratch(b, rows, HALF),
                .in = put(b, rows, K, x),
                .weight = weight,
                .activation = ACTIVATION_SILU,
                .gated = true};
            b->ops->linear(b, &args);
            float *y = get(b, args.out);
            for (size_t r = 0; r < rows; r++)
                for (size_t n = 0; n < HALF; n++) {
                    double g = product(x + r * K, w + n * K, K),
                           u = product(x + r * K, w + (HALF + n) * K, K);
                    u += parts == 2 ? (double)bias[HALF + n] : 0;
                    expect_near((double)y[r * HALF + n], activated(ACTIVATION_SILU, g) * u, 2e-4, "gated", n);
                }
            b->ops->weight_free(b, weight);
            free(y);
            free(x);
        }
    backend_close(b);
    free(w);
    free(bias);
}

/* Three parts with biases for some of them, into a view of a wider tensor. */
static void test_fused_parts(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(6);
    enum { K = 33, ROWS = 55, Q = 50, KV = 10, OUT = Q + 2 * KV };
    float *w = random_floats(OUT * K), *bias = random_floats(OUT), *x = random_floats(ROWS * K);
    struct tensor_view q = view_of(w, DTYPE_F32, Q, K), k = view_of(w + Q * K, DTYPE_F32, KV, K),
                       v = view_of(w + (Q + KV) * K, DTYPE_F32, KV, K);
    struct tensor_view q_bias = view_of(bias, DTYPE_F32, 1, Q),
                       v_bias = view_of(bias + Q + KV, DTYPE_F32, 1, KV);
    struct weight_args load = {
        .parts = {&q, &k, &v}, .part_count = 3, .biases = {&q_bias, NULL, &v_bias}, .compute = DTYPE_F32};
    struct weight *weight;
    assert_true(b->ops->weight_load(b, &load, &weight, NULL));
    memset(bias + Q, 0, KV * sizeof *bias);
    struct tensor wide = b->ops->scratch(b, ROWS, OUT + 9);
    struct linear_args args = {
        .out = tensor_columns(wide, 4, OUT), .in = put(b, ROWS, K, x), .weight = weight};
    b->ops->linear(b, &args);
    float *y = get(b, args.out), *middle = get(b, tensor_columns(args.out, Q, KV));
    for (size_t i = 0; i < ROWS * OUT; i++)
        expect_near((double)y[i], product(x + i / OUT * K, w + i % OUT * K, K) + (double)bias[i % OUT], 5e-5,
            "fused", i);
    for (size_t i = 0; i < ROWS * KV; i++)
        assert_true(middle[i] == y[i / KV * OUT + Q + i % KV]);
    b->ops->weight_free(b, weight);
    backend_close(b);
    free(w);
    free(bias);
    free(x);
    free(y);
    free(middle);
}

static float half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31, mantissa = bits & 0x3FF;
    double value = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    if (exponent == 31)
        value = mantissa ? NAN : INFINITY;
    return (float)(bits & 0x8000 ? -value : value);
}

/* The formats' documentation in its plainest form. */
static double block_value(enum dtype dtype, const uint8_t *row, size_t i)
{
    const uint8_t *p;
    size_t j = i % 32, sub = i % 256 / 32;
    switch (dtype) {
    case DTYPE_Q8_0:
        p = row + i / 32 * 34;
        return (double)half_value((uint16_t)(p[0] | p[1] << 8)) * (int8_t)p[2 + j];
    case DTYPE_Q4_0:
        p = row + i / 32 * 18;
        return (double)half_value((uint16_t)(p[0] | p[1] << 8)) *
               ((j < 16 ? p[2 + j] & 15 : p[2 + j - 16] >> 4) - 8);
    case DTYPE_Q5_0:
        p = row + i / 32 * 22;
        return (double)half_value((uint16_t)(p[0] | p[1] << 8)) *
               ((j < 16 ? p[6 + j] & 15 : p[6 + j - 16] >> 4) + (p[2 + j / 8] >> j % 8 & 1) * 16 - 16);
    case DTYPE_Q4_K:
    case DTYPE_Q5_K: {
        p = row + i / 256 * (dtype == DTYPE_Q4_K ? 144 : 176);
        const uint8_t *s = p + 4, *low = p + (dtype == DTYPE_Q4_K ? 16 : 48) + sub / 2 * 32 + j;
        int scale = sub < 4 ? s[sub] & 63 : (s[sub + 4] & 15) | s[sub - 4] >> 6 << 4;
        int minimum = sub < 4 ? s[sub + 4] & 63 : s[sub + 4] >> 4 | s[sub] >> 6 << 4;
        int q = sub % 2 ? *low >> 4 : *low & 15;
        if (dtype == DTYPE_Q5_K)
            q += (p[16 + j] >> sub & 1) * 16;
        return (double)half_value((uint16_t)(p[0] | p[1] << 8)) * scale * q -
               (double)half_value((uint16_t)(p[2] | p[3] << 8)) * minimum;
    }
    default: {
        p = row + i / 256 * 210;
        size_t half = i % 256 / 128, quarter = i % 128 / 32;
        int low = p[half * 64 + quarter % 2 * 32 + j];
        int q = (quarter < 2 ? low & 15 : low >> 4) | (p[128 + half * 32 + j] >> 2 * quarter & 3) << 4;
        return (double)half_value((uint16_t)(p[208] | p[209] << 8)) *
               (int8_t)p[192 + half * 8 + quarter * 2 + j / 16] * (q - 32);
    }
    }
}

static void test_block_formats(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(7);
    enum { K = 768, OUT = 50 };
    for (enum dtype dtype = DTYPE_Q4_0; dtype <= DTYPE_Q6_K; dtype++) {
        struct tensor_view view = view_of(NULL, dtype, OUT, K);
        uint8_t *data = malloc(view.bytes);
        assert_non_null(data);
        fill_blocks(data, view.bytes, dtype);
        view.data = data;
        struct weight *weight = load_as(b, &view, DTYPE_I8); /* blocks are never requantised */
        int32_t ids[OUT];
        for (int32_t i = 0; i < OUT; i++)
            ids[i] = OUT - 1 - i;
        b->ops->scratch_reset(b);
        struct embed_args embed = {.out = b->ops->scratch(b, OUT, K), .term_count = 1};
        embed.terms[0].table = weight;
        embed.terms[0].ids = ids;
        embed.terms[0].scale = 1.0F;
        b->ops->embed(b, &embed);
        float *rows = get(b, embed.out);
        size_t row_bytes = view.bytes / OUT;
        for (size_t i = 0; i < OUT * K; i++) {
            double expected = block_value(dtype, data + (OUT - 1 - i / K) * row_bytes, i % K);
            expect_near((double)rows[i], expected, 1e-6 + 2e-6 * fabs(expected), "decoded block", i);
        }
        /* activations have 15 bits and a sign, of 512 values' largest: an error of 3e-5 standard deviations
         */
        float *x = random_floats(60 * K), *y;
        for (size_t count = 1; count <= 60; count += 59) {
            run_linear(b, weight, x, count, &y);
            for (size_t i = 0; i < count * OUT; i++) {
                const float *w = rows + (OUT - 1 - i % OUT) * K;
                double size = sqrt(product(w, w, K));
                expect_near((double)y[i], product(x + i / OUT * K, w, K), 1.5e-4 * size, "block product", i);
            }
            free(y);
        }
        b->ops->weight_free(b, weight);
        free(rows);
        free(x);
        free(data);
    }
    backend_close(b);
}

static void test_sixteen_bits(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(8);
    enum { K = 21, OUT = 9, ROWS = 3 };
    uint16_t halves[OUT * K], bf16[OUT * K];
    float w[2][OUT * K], *x = random_floats(ROWS * K), *y;
    for (size_t i = 0; i < OUT * K; i++) {
        halves[i] = (uint16_t)(random_bits() & 0xBFFF); /* subnormal to 2 */
        bf16[i] = (uint16_t)((random_bits() & 0x807F) | 0x3F80);
        w[0][i] = half_value(halves[i]);
        uint32_t bits = (uint32_t)bf16[i] << 16;
        memcpy(&w[1][i], &bits, sizeof bits);
    }
    for (int kind = 0; kind < 2; kind++) {
        struct tensor_view view = view_of(kind ? bf16 : halves, kind ? DTYPE_BF16 : DTYPE_F16, OUT, K);
        struct weight *weight = load_as(b, &view, DTYPE_F32);
        struct backend_memory memory;
        b->ops->memory(b, &memory);
        run_linear(b, weight, x, ROWS, &y);
        for (size_t i = 0; i < ROWS * OUT; i++)
            expect_near((double)y[i], product(x + i / OUT * K, w[kind] + i % OUT * K, K), 1e-4, "16 bits", i);
        b->ops->weight_free(b, weight);
        free(y);
        /* float32 values that 16 bits hold exactly survive rounding to them */
        view = view_of(w[kind], DTYPE_F32, OUT, K);
        weight = load_as(b, &view, kind ? DTYPE_BF16 : DTYPE_F16);
        run_linear(b, weight, x, ROWS, &y);
        for (size_t i = 0; i < ROWS * OUT; i++)
            expect_near((double)y[i], product(x + i / OUT * K, w[kind] + i % OUT * K, K),
                strcmp(b->ops->name, "cpu") == 0 ? 1e-4
                : kind                           ? 5e-2
                                                 : 5e-3,
                "rounded", i);
        b->ops->weight_free(b, weight);
        free(y);
    }
    free(x);
    backend_close(b);
}

/* What products in 16 bits may differ by; rows of large values do not overflow. */
static void test_products_in_sixteen_bits(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(12);
    static const struct {
        size_t rows, k, out;
    } shapes[] = {{1, 1, 1}, {3, 33, 70}, {16, 520, 33}, {17, 129, 65}, {130, 72, 129}, {257, 264, 131}};
    static const double steps[] = {[DTYPE_F16] = 0x1p-11, [DTYPE_BF16] = 0x1p-8};
    for (enum dtype dtype = DTYPE_F16; dtype <= DTYPE_BF16; dtype++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            size_t rows = shapes[i].rows, k = shapes[i].k, out = shapes[i].out;
            float *x = random_floats(rows * k), *w = random_floats(out * k), *y;
            for (size_t n = 0; n < k; n++)
                x[n] *= 1e6F;
            struct tensor_view view = view_of(w, DTYPE_F32, out, k);
            struct weight *weight = load_as(b, &view, dtype);
            run_linear(b, weight, x, rows, &y);
            for (size_t n = 0; n < rows * out; n++)
                expect_near((double)y[n], product(x + n / out * k, w + n % out * k, k),
                    5 * steps[dtype] * sqrt((double)k) * (n < out ? 1e6 : 1), "16-bit product", n);
            b->ops->weight_free(b, weight);
            free(x);
            free(w);
            free(y);
        }
    backend_close(b);
}

static void test_rounding_to_half(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    static const struct {
        float from, to;
    } cases[] = {{1.0F + 0x1p-11F, 1.0F}, {1.0F + 3 * 0x1p-11F, 1.0F + 0x1p-9F}, {65519.0F, 65504.0F},
        {65520.0F, INFINITY}, {-1e9F, -INFINITY}, {0x1p-24F, 0x1p-24F}, {0x1p-25F, 0.0F},
        {0x1.8p-25F, 0x1p-24F}, {0x1p-14F, 0x1p-14F}, {NAN, NAN}, {0.1F, 0.0999755859375F}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tensor_view view = view_of(&cases[i].from, DTYPE_F32, 1, 1);
        struct weight *weight = load_as(b, &view, DTYPE_F16);
        const float one = 1.0F;
        float *y;
        run_linear(b, weight, &one, 1, &y);
        expect_near((double)*y, (double)cases[i].to, 0, "half", i);
        free(y);
        b->ops->weight_free(b, weight);
    }
    backend_close(b);
}

static void test_int8(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(9);
    enum { OUT = 60 };
    static const size_t ks[] = {5, 16, 1100, 9000}, row_counts[] = {1, 5, 60};
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        size_t k = ks[i], rows = row_counts[i % 3];
        float *x = random_floats(rows * k), *w = random_floats(OUT * k), *y;
        memset(x, 0, (rows > 1 ? k : 0) * sizeof *x); /* a row of zeros */
        memset(w, 0, k * sizeof *w);
        struct tensor_view view = view_of(w, DTYPE_F32, OUT, k);
        struct weight *weight = load_as(b, &view, DTYPE_I8);
        run_linear(b, weight, x, rows, &y);
        /* rounding: half a step of largest / 63 (weights) and largest / 127 (activations, of 512 values),
         * over k values; largest < 3.8 */
        double step = 3.8 * sqrt(1.0 / (63 * 63) + 1.0 / (127 * 127));
        double tolerance = 4.5 * (step / sqrt(12)) * sqrt((double)k) + 1e-6;
        for (size_t n = 0; n < rows * OUT; n++)
            expect_near((double)y[n], product(x + n / OUT * k, w + n % OUT * k, k), tolerance, "int8", n);
        free(y);
        b->ops->weight_free(b, weight);
        free(x);
        free(w);
    }
    backend_close(b);
}

static void test_transposed(void **state)
{
    (void)state;
    struct backend *b = open_backend(2);
    random_seed(10);
    enum { K = 19, OUT = 21, ROWS = 4 };
    float *w = random_floats(OUT * K), *turned = random_floats(OUT * K), *x = random_floats(ROWS * K), *y;
    for (size_t n = 0; n < OUT; n++)
        for (size_t k = 0; k < K; k++)
            turned[k * OUT + n] = w[n * K + k];
    struct tensor_view view = view_of(turned, DTYPE_F32, K, OUT);
    struct weight_args load = {.parts = {&view}, .part_count = 1, .compute = DTYPE_F32, .transposed = true};
    struct weight *weight, *plain = load_f32(b, w, OUT, K, NULL);
    assert_true(b->ops->weight_load(b, &load, &weight, NULL));
    float *expected;
    run_linear(b, weight, x, ROWS, &y);
    run_linear(b, plain, x, ROWS, &expected);
    expect_same(y, expected, ROWS * OUT, "transposed");
    b->ops->weight_free(b, weight);
    b->ops->weight_free(b, plain);
    backend_close(b);
    free(w);
    free(turned);
    free(x);
    free(y);
    free(expected);
}

/* The CPU maps what it computes with as it stands; a GPU holds a copy. */
static void test_memory_of_weights(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    float *w = random_floats(64 * 64);
    struct backend_memory memory;
    struct weight *weight = load_f32(b, w, 64, 64, NULL);
    b->ops->memory(b, &memory);
    const uint64_t held = memory.weight_bytes;
    assert_int_equal(held, strcmp(b->ops->name, "cpu") == 0 ? 0 : 64 * 64 * sizeof(float));
    struct tensor_view view = view_of(w, DTYPE_F32, 64, 64);
    struct weight *small = load_as(b, &view, DTYPE_I8);
    b->ops->memory(b, &memory);
    assert_true(memory.weight_bytes >= held + 64 * 64 && memory.weight_bytes < held + 64 * 64 * 2);
    b->ops->weight_free(b, small);
    b->ops->memory(b, &memory);
    assert_int_equal(memory.weight_bytes, held);
    b->ops->weight_free(b, weight);
    backend_close(b);
    free(w);
}

static void expect_refused(struct backend *b, struct weight_args args, enum error_code code, const char *part)
{
    struct error err = {0};
    struct weight *weight = NULL;
    assert_false(b->ops->weight_load(b, &args, &weight, &err));
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.message, part));
}

static void test_bad_weights(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    float w[64 * 4] = {0};
    struct tensor_view good = view_of(w, DTYPE_F32, 4, 8), narrow = view_of(w, DTYPE_F32, 4, 7);
    struct tensor_view flat = good, torn = good, integers = good, empty = good, ragged = good;
    flat.rank = 1;
    torn.bytes -= 4;
    integers.dtype = DTYPE_I64;
    empty.shape[0] = 0;
    ragged.dtype = DTYPE_Q8_0; /* a row of 8 is not whole blocks */
    struct weight_args args = {.parts = {&flat}, .part_count = 1, .compute = DTYPE_F32};
    expect_refused(b, args, ERROR_INVALID, "not a matrix");
    args.parts[0] = &empty;
    expect_refused(b, args, ERROR_INVALID, "not a matrix");
    args.parts[0] = &torn;
    expect_refused(b, args, ERROR_INVALID, "size does not match");
    args.parts[0] = &integers;
    expect_refused(b, args, ERROR_UNSUPPORTED, "data type");
    args.parts[0] = &ragged;
    expect_refused(b, args, ERROR_UNSUPPORTED, "data type");
    args.parts[0] = &good;
    args.biases[0] = &narrow;
    expect_refused(b, args, ERROR_INVALID, "28 values");
    args.biases[0] = &integers;
    expect_refused(b, args, ERROR_UNSUPPORTED, "vector");
    args = (struct weight_args){.parts = {&good, &narrow}, .part_count = 2, .compute = DTYPE_F32};
    expect_refused(b, args, ERROR_INVALID, "7 wide");
    args = (struct weight_args){.parts = {&good}, .part_count = 1, .compute = DTYPE_Q4_K};
    expect_refused(b, args, ERROR_UNSUPPORTED, "compute");
    struct vector *vector = NULL;
    struct error err = {0};
    assert_false(b->ops->vector_load(b, &integers, 0, &vector, &err));
    assert_false(b->ops->vector_load(b, &empty, 0, &vector, &err));
    b->ops->weight_free(b, NULL);
    b->ops->vector_free(b, NULL);
    backend_close(b);
}

/* NaN and infinity stay in their own row. */
static void check_nan_stays(enum dtype dtype)
{
    struct backend *b = open_backend(2);
    random_seed(11);
    enum { ROWS = 53, K = 256, OUT = 70 };
    float *w = random_floats(OUT * K), *x = random_floats(ROWS * K), *clean, *y;
    struct tensor_view view = view_of(w, dtype, OUT, K);
    if (dtype >= DTYPE_Q4_0)
        fill_blocks((uint8_t *)w, view.bytes, dtype);
    struct weight *weight = load_as(b, &view, DTYPE_F32);
    run_linear(b, weight, x, ROWS, &clean);
    x[7 * K + 3] = NAN;
    x[20 * K + 99] = INFINITY;
    run_linear(b, weight, x, ROWS, &y);
    for (size_t r = 0; r < ROWS; r++)
        if (r == 7 || r == 20)
            assert_true(!isfinite(y[r * OUT]) && !isfinite(y[r * OUT + OUT - 1]));
        else
            expect_same(y + r * OUT, clean + r * OUT, OUT, "beside NaN");
    b->ops->weight_free(b, weight);
    backend_close(b);
    free(w);
    free(x);
    free(y);
    free(clean);
}

static void test_nan_stays_in_its_row(void **state)
{
    (void)state;
    check_nan_stays(DTYPE_F32);
    check_nan_stays(DTYPE_Q8_0);
    check_nan_stays(DTYPE_Q5_K);
}

const struct CMUnitTest linear_tests[] = {
    cmocka_unit_test(test_shapes),
    cmocka_unit_test(test_batch_independence),
    cmocka_unit_test(test_threads_do_not_matter),
    cmocka_unit_test(test_activations_and_residual),
    cmocka_unit_test(test_gated),
    cmocka_unit_test(test_fused_parts),
    cmocka_unit_test(test_block_formats),
    cmocka_unit_test(test_sixteen_bits),
    cmocka_unit_test(test_products_in_sixteen_bits),
    cmocka_unit_test(test_rounding_to_half),
    cmocka_unit_test(test_int8),
    cmocka_unit_test(test_transposed),
    cmocka_unit_test(test_memory_of_weights),
    cmocka_unit_test(test_bad_weights),
    cmocka_unit_test(test_nan_stays_in_its_row),
};
const size_t linear_test_count = sizeof linear_tests / sizeof *linear_tests;
