/* Every operation over random shapes, the ugly ones first: the device beside the CPU, which the backends'
 * common tests compare with references in double precision. Lengths of 1, 31, 33 and 1025, odd heads, empty
 * batches, rows that see no key. A failure names the seed; LUMIGRID_TEST_SEED and LUMIGRID_TEST_ROUNDS choose
 * others. */
#include "tests/unit/backend/data.h"

static struct backend *cpu, *device;
static const size_t ugly[] = {1, 31, 33, 1025};

/* One of the ugly sizes that is at most `most`, or any up to it. */
static size_t size_up_to(size_t most)
{
    size_t size = ugly[random_below(sizeof ugly / sizeof *ugly)];
    return size <= most && random_below(2) ? size : 1 + random_below(most);
}

static void expect_alike(struct tensor x, struct tensor y, double tolerance, const char *what, unsigned round)
{
    char text[96];
    float *expected = get(cpu, x), *got = get(device, y);
    snprintf(text, sizeof text, "%s, round %u, %zu x %zu", what, round, x.rows, x.width);
    for (size_t i = 0; i < x.rows * x.width; i++)
        expect_near(got[i], expected[i], tolerance * (1.0 + fabs((double)expected[i])), text, i);
    free(expected);
    free(got);
}

struct pair {
    struct tensor cpu, device;
};

static struct pair put_both(size_t rows, size_t width)
{
    float *values = random_floats(rows * width);
    struct pair pair = {put(cpu, rows, width, values), put(device, rows, width, values)};
    free(values);
    return pair;
}

static struct pair scratch_both(size_t rows, size_t width)
{
    return (struct pair){cpu->ops->scratch(cpu, rows, width), device->ops->scratch(device, rows, width)};
}

static void rest(void)
{
    cpu->ops->scratch_reset(cpu);
    device->ops->scratch_reset(device);
}

static size_t random_rows(void)
{
    return random_below(6) ? size_up_to(40) : 0;
}

static void linear_round(unsigned round)
{
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_I8};
    /* Both sides round weights alike; activations are rounded to 16 bits by a device, to 8 by the CPU for
     * int8. */
    static const double tolerances[] = {2e-5, 4e-3, 3e-2, 1e-1};
    const size_t kind = random_below(4), rows = random_rows(), in = size_up_to(round % 8 ? 90 : 1025);
    const bool gated = random_below(3) == 0, adds = random_below(2);
    const size_t out = size_up_to(70) * (gated ? 2 : 1), width = gated ? out / 2 : out;
    float *values = random_floats(out * in), *bias = random_floats(out);
    for (size_t i = 0; i < out * in; i++)
        values[i] /= sqrtf((float)in);
    struct tensor_view weight_view = view_of(values, DTYPE_F32, out, in),
                       bias_view = view_of(bias, DTYPE_F32, 1, out);
    struct weight_args load = {
        .parts = {&weight_view}, .part_count = 1, .biases = {&bias_view}, .compute = dtypes[kind]};
    struct pair x = put_both(rows, in), residual = put_both(rows, width), y = scratch_both(rows, width);
    struct backend *const backends[] = {cpu, device};
    struct weight *weights[2];
    struct error err = {0};
    for (int i = 0; i < 2; i++) {
        if (!backends[i]->ops->weight_load(backends[i], &load, &weights[i], &err))
            fail_msg("%s", err.message);
        backends[i]->ops->linear(backends[i], &(struct linear_args){.out = i ? y.device : y.cpu,
                                                  .in = i ? x.device : x.cpu,
                                                  .weight = weights[i],
                                                  .gated = gated,
                                                  .activation = gated ? ACTIVATION_SILU : ACTIVATION_GELU,
                                                  .residual = !adds ? NULL
                                                              : i   ? &residual.device
                                                                    : &residual.cpu});
    }
    expect_alike(y.cpu, y.device, tolerances[kind], "linear", round);
    for (int i = 0; i < 2; i++)
        backends[i]->ops->weight_free(backends[i], weights[i]);
    free(values);
    free(bias);
}

static void norm_round(unsigned round)
{
    const size_t group = size_up_to(round % 8 ? 70 : 1025),
                 groups = random_below(3) ? 1 : 1 + random_below(5);
    const size_t rows = random_rows(), width = group * groups;
    const enum norm_kind kind = random_below(2) ? NORM_LAYER : NORM_RMS;
    struct pair x = put_both(rows, width), residual = put_both(rows, width), sum = scratch_both(rows, width),
                y = scratch_both(rows, width);
    const bool adds = random_below(2);
    struct norm_args args = {.kind = kind, .epsilon = 1e-5F, .group = groups > 1 ? group : 0};
    args.out = y.cpu, args.in = x.cpu;
    args.residual = adds ? &residual.cpu : NULL, args.sum = adds ? &sum.cpu : NULL;
    cpu->ops->norm(cpu, &args);
    args.out = y.device, args.in = x.device;
    args.residual = adds ? &residual.device : NULL, args.sum = adds ? &sum.device : NULL;
    device->ops->norm(device, &args);
    /* A group of one or two is normed to about plus or minus one whatever it was, and so is its rounding. */
    expect_alike(y.cpu, y.device, group < 3 ? 1e-2 : 2e-4, "norm", round);
    if (adds)
        expect_alike(sum.cpu, sum.device, 1e-6, "norm's sum", round);
}

static void rows_round(unsigned round)
{
    const size_t pairs = size_up_to(33), head_dim = 2 * pairs + random_below(4), heads = 1 + random_below(5);
    const size_t rows = 1 + random_below(40), width = heads * head_dim;
    struct pair x = put_both(rows, width), y = put_both(rows, width), z = scratch_both(rows, width);
    int32_t positions[40], from[40];
    float frequencies[33];
    for (size_t i = 0; i < rows; i++) {
        positions[i] = (int32_t)random_below(2000);
        from[i] = (int32_t)random_below(rows);
    }
    for (size_t i = 0; i < pairs; i++)
        frequencies[i] = powf(10000.0F, -(float)i / (float)pairs);
    struct rope_args rope = {.positions = positions,
        .inverse_frequency = frequencies,
        .pairs = pairs,
        .head_dim = head_dim,
        .scale = 1.0F,
        .interleaved = random_below(2)};
    struct backend *const backends[] = {cpu, device};
    for (int i = 0; i < 2; i++) {
        struct backend *b = backends[i];
        struct tensor a = i ? x.device : x.cpu, c = i ? y.device : y.cpu, out = i ? z.device : z.cpu;
        rope.x = a;
        b->ops->rope(b, &rope);
        b->ops->add(b, a, a, c);
        b->ops->scale(b, a, 1.5F, round % 2 ? 2.0F : 0.0F);
        b->ops->gather(b, out, a, from);
    }
    expect_alike(z.cpu, z.device, 1e-3, "rope, add, scale, gather", round);
}

enum { SEQUENCES_MAX = 5 };

static void attention_round(unsigned round)
{
    const size_t group = 1 + random_below(4), kv_heads = 1 + random_below(3), heads = group * kv_heads;
    const size_t head_dim = size_up_to(70), value_dim = random_below(2) ? head_dim : size_up_to(40);
    struct attention_sequence sequences[SEQUENCES_MAX];
    const size_t count = 1 + random_below(SEQUENCES_MAX);
    size_t q_rows = 0, k_rows = 0;
    for (size_t i = 0; i < count; i++) {
        /* Long keys with few queries, or both short; some sequences are empty, some queries see nothing. */
        const size_t keys = random_below(8) ? size_up_to(round % 8 ? 70 : 1025) : 0;
        const size_t queries = random_below(8) ? 1 + random_below(keys < 40 ? 40 : 6) : 0;
        const int32_t position = (int32_t)(keys > queries ? keys - queries : random_below(5));
        sequences[i] = (struct attention_sequence){
            .q_row = q_rows, .q_rows = queries, .q_position = position, .k_row = k_rows, .k_rows = keys};
        q_rows += queries;
        k_rows += keys;
    }
    struct attention_args args = {.sequences = sequences,
        .sequence_count = count,
        .heads = heads,
        .kv_heads = kv_heads,
        .head_dim = head_dim,
        .value_dim = value_dim,
        .scale = 1.0F / sqrtf((float)head_dim),
        .soft_cap = random_below(3) ? 0.0F : 3.0F,
        .window_left = random_below(2) ? -1 : (int32_t)random_below(50),
        .window_right = random_below(2) ? -1 : (int32_t)random_below(20),
        .global_keys = random_below(3) ? 0 : random_below(10)};
    struct pair q = put_both(q_rows, heads * head_dim), k = put_both(k_rows, kv_heads * head_dim),
                v = put_both(k_rows, kv_heads * value_dim), out = scratch_both(q_rows, heads * value_dim);
    args.q = q.cpu, args.k = k.cpu, args.v = v.cpu, args.out = out.cpu;
    cpu->ops->attention(cpu, &args);
    args.q = q.device, args.k = k.device, args.v = v.device, args.out = out.device;
    device->ops->attention(device, &args);
    expect_alike(out.cpu, out.device, 1e-4, "attention", round);
}

static void select_round(unsigned round)
{
    enum { EDITS = 12 };
    const size_t rows = 1 + random_below(5), vocabulary = size_up_to(round % 8 ? 300 : 1025);
    const size_t top = 1 + random_below(vocabulary < 8 ? vocabulary : 8);
    struct pair logits = put_both(rows, vocabulary);
    struct edit edits[EDITS];
    int32_t ids[2][5 * 8];
    float scores[2][5 * 8];
    for (size_t i = 0; i < EDITS; i++)
        edits[i] = (struct edit){.row = (int32_t)(i * rows / EDITS),
            .id = (int32_t)random_below(vocabulary),
            .kind = (enum edit_kind)random_below(random_below(4) ? 3 : 4),
            .value = 1.0F + (float)random_below(3)};
    struct select_args args = {.soft_cap = random_below(2) ? 0.0F : 5.0F,
        .edits = edits,
        .edit_count = EDITS,
        .edits_after = random_below(2),
        .raw = random_below(4) == 0,
        .top = top};
    struct error err = {0};
    struct backend *const backends[] = {cpu, device};
    for (int i = 0; i < 2; i++) {
        args.logits = i ? logits.device : logits.cpu, args.ids = ids[i], args.scores = scores[i];
        if (!backends[i]->ops->select(backends[i], &args, &err))
            fail_msg("%s", err.message);
    }
    for (size_t i = 0; i < rows * top; i++) {
        expect_near(scores[1][i], scores[0][i], 1e-4 * (1.0 + fabs((double)scores[0][i])), "select", i);
        /* Two scores that are all but equal may change places. */
        if (ids[0][i] != ids[1][i] && !(i % top > 0 && fabsf(scores[0][i] - scores[0][i - 1]) < 1e-4F) &&
            !(i % top + 1 < top && fabsf(scores[0][i] - scores[0][i + 1]) < 1e-4F) && i % top + 1 < top)
            fail_msg("select, round %u: id %d instead of %d", round, ids[1][i], ids[0][i]);
    }
}

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void run_rounds(void (*one)(unsigned round))
{
    const unsigned seed = from_environment("LUMIGRID_TEST_SEED", 1),
                   rounds = from_environment("LUMIGRID_TEST_ROUNDS", 24);
    for (unsigned round = 0; round < rounds; round++) {
        random_seed(seed * 1000U + round);
        one(round);
        rest();
    }
}

static void test_linear(void **state)
{
    (void)state;
    run_rounds(linear_round);
}

static void test_norm(void **state)
{
    (void)state;
    run_rounds(norm_round);
}

static void test_rows(void **state)
{
    (void)state;
    run_rounds(rows_round);
}

static void test_attention(void **state)
{
    (void)state;
    run_rounds(attention_round);
}

static void test_select(void **state)
{
    (void)state;
    run_rounds(select_round);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_select),
    };
    struct error err = {0};
    const char *name = getenv("LUMIGRID_TEST_DEVICE");
    if (!backend_open("cpu", &(struct backend_options){.threads = 1}, &cpu, &err) ||
        !backend_open(name ? name : "cuda:0", NULL, &device, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int failed = cmocka_run_group_tests_name("random shapes", tests, NULL, NULL);
    backend_close(device);
    backend_close(cpu);
    return failed;
}
