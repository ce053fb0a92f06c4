/* What the CUDA backend does when the device refuses: every call to the runtime fails in its turn, once as an
 * allocation does that finds no memory, once as a device that is lost. Runs on the emulation only. */
#include <dlfcn.h>

#include "emulation.h"
#include "tests/unit/backend/data.h"

/* The emulation is inside the module, so its door is looked up there. */
static struct {
    void (*fail_after)(long calls, int error);
    struct cuda_emulation_device (*get_device)(void);
    void (*set_device)(struct cuda_emulation_device device);
    const char *(*take_report)(void);
} emulation;

static int open_emulation(void **state)
{
    (void)state;
    void *module = dlopen(getenv("LUMIGRID_CUDA_MODULE"), RTLD_NOW | RTLD_LOCAL);
    if (!module)
        return -1;
    *(void **)&emulation.fail_after = dlsym(module, "cuda_emulation_fail_after");
    *(void **)&emulation.get_device = dlsym(module, "cuda_emulation_get_device");
    *(void **)&emulation.set_device = dlsym(module, "cuda_emulation_set_device");
    *(void **)&emulation.take_report = dlsym(module, "cuda_emulation_take_report");
    return emulation.fail_after && emulation.get_device && emulation.set_device && emulation.take_report ? 0
                                                                                                         : -1;
}

/* A weight, a product, attention over a cache, and the result on the host. False, and the error, when any of
 * it failed. */
static bool work(struct backend *b, float out[12], struct error *err)
{
    static float values[16];
    for (size_t i = 0; i < 16; i++)
        values[i] = (float)i / 8 - 1;
    const int32_t page = 0;
    const struct kv_append_sequence append = {.rows = 3, .pages = &page};
    const struct attention_sequence sequence = {.q_rows = 3, .k_rows = 3, .pages = &page};
    struct tensor_view view = view_of(values, DTYPE_F32, 4, 4);
    struct weight_args load = {.parts = {&view}, .part_count = 1, .compute = DTYPE_F16};
    struct kv_cache_args shape = {.layers = 1, .kv_heads = 1, .head_dim = 4, .value_dim = 4, .pages = 2};
    struct weight *weight = NULL;
    struct kv_cache *cache = NULL;
    bool fine =
        b->ops->weight_load(b, &load, &weight, err) && b->ops->kv_cache_create(b, &shape, &cache, err);
    if (fine) {
        struct tensor x = b->ops->scratch(b, 3, 4), y = b->ops->scratch(b, 3, 4);
        b->ops->upload(b, x, values);
        b->ops->linear(b, &(struct linear_args){.out = y, .in = x, .weight = weight});
        b->ops->kv_append(b, cache, 0, x, y, &append, 1);
        b->ops->attention(b, &(struct attention_args){.out = x,
                                 .q = y,
                                 .cache = cache,
                                 .sequences = &sequence,
                                 .sequence_count = 1,
                                 .heads = 1,
                                 .kv_heads = 1,
                                 .head_dim = 4,
                                 .value_dim = 4,
                                 .scale = 1,
                                 .window_left = -1,
                                 .window_right = 0});
        fine = b->ops->download(b, x, out, err);
    }
    b->ops->kv_cache_free(b, cache);
    b->ops->weight_free(b, weight);
    return fine;
}

/* Makes the n-th call fail for n = 0, 1, …, until the work needs fewer calls than that. The result is right,
 * or there is an error that says something; the next try on the same backend works when the device is not
 * lost. */
static void fail_each_call(int error, bool lost)
{
    enum { CALLS_MAX = 500 };
    float expected[12], got[12];
    long n = 0;
    bool reached = true;
    for (; reached && n < CALLS_MAX; n++) {
        struct backend *b = open_backend(1);
        struct error err = {0};
        b->ops->scratch_reset(b);
        emulation.fail_after(n, error);
        bool fine = work(b, got, &err);
        emulation.fail_after(-1, 0);
        reached = !fine;
        if (!fine)
            assert_true(err.code != ERROR_NONE && strlen(err.message) > 10);
        if (lost)
            emulation.take_report(); /* forgets the error, as a new process would */
        b->ops->scratch_reset(b);
        struct error again = {0};
        if (!lost && !work(b, expected, &again))
            fail_msg("after call %ld failed (%s): %s", n, err.message, again.message);
        if (fine && !lost)
            expect_same(got, expected, 12, "beside a failure");
        backend_close(b);
    }
    assert_true(n > 10 && n < CALLS_MAX); /* it did reach the end, and there was something to fail */
}

static void test_no_memory(void **state)
{
    (void)state;
    fail_each_call(2 /* cudaErrorMemoryAllocation */, false);
}

static void test_lost_device(void **state)
{
    (void)state;
    fail_each_call(214 /* cudaErrorECCUncorrectable */, true);
}

static void test_lost_device_says_so(void **state)
{
    (void)state;
    struct backend *b = open_backend(1);
    struct error err = {0};
    float out[12];
    emulation.fail_after(12, 214);
    assert_false(work(b, out, &err));
    assert_non_null(strstr(err.message, "ECC"));
    b->ops->scratch_reset(b);
    assert_false(work(b, out, &err)); /* a lost device stays lost */
    backend_close(b);
    emulation.fail_after(-1, 0);
    assert_null(emulation.take_report());
}

static void test_little_memory(void **state)
{
    (void)state;
    struct cuda_emulation_device whole = emulation.get_device(), small = whole;
    struct backend *b = open_backend(1);
    struct error err = {0};
    float out[12];
    small.memory_bytes = (size_t)48 << 20;
    emulation.set_device(small);
    struct tensor t = b->ops->scratch(b, 4096, 4096);
    assert_null(t.data);
    assert_false(b->ops->sync(b, &err));
    assert_int_equal(err.code, ERROR_MEMORY);
    b->ops->scratch_reset(b);
    if (!work(b, out, &err))
        fail_msg("%s", err.message);
    emulation.set_device(whole);
    backend_close(b);
}

static void test_no_device(void **state)
{
    (void)state;
    struct cuda_emulation_device one = emulation.get_device(), none = one;
    struct backend *b = NULL;
    struct error err = {0};
    assert_int_equal(backend_cuda_count(&err), 1);
    assert_false(backend_open("cuda:1", NULL, &b, &err));
    assert_null(b);
    none.count = 0;
    emulation.set_device(none);
    assert_int_equal(backend_cuda_count(&err), 0);
    assert_false(backend_open("cuda:0", NULL, &b, &err));
    assert_true(strlen(err.message) > 10);
    emulation.set_device(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_lost_device),
        cmocka_unit_test(test_lost_device_says_so),
        cmocka_unit_test(test_little_memory),
        cmocka_unit_test(test_no_device),
    };
    return cmocka_run_group_tests_name("faults of a device", tests, open_emulation, NULL);
}
