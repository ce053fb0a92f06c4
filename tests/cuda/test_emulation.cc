/* The emulation itself: what is right runs and gives the right numbers, each mistake is reported with its
 * place. */
#include <cmath>
#include <csetjmp>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "emulation.h"
#include "tests/cuda/emulation_kernels.h"

namespace
{

template <class T> struct array {
    T *p = nullptr;
    size_t count;
    explicit array(size_t count) : count(count)
    {
        assert_int_equal(cudaMalloc(reinterpret_cast<void **>(&p), count * sizeof(T)), cudaSuccess);
    }
    explicit array(const std::vector<T> &values) : array(values.size())
    {
        assert_int_equal(
            cudaMemcpy(p, values.data(), count * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
    }
    ~array()
    {
        cudaFree(p);
    }
    std::vector<T> get() const
    {
        std::vector<T> values(count);
        assert_int_equal(
            cudaMemcpy(values.data(), p, count * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
        return values;
    }
};

std::vector<float> ramp(size_t count)
{
    std::vector<float> values(count);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)i;
    return values;
}

/* Waits, and fails unless there was a report with all of these words. */
void expect_report(std::initializer_list<const char *> words)
{
    cudaDeviceSynchronize();
    const char *line = cuda_emulation_take_report();
    if (line == nullptr)
        fail_msg("no report; expected \"%s\"", *words.begin());
    for (const char *word : words)
        if (strstr(line, word) == nullptr)
            fail_msg("\"%s\" is not in the report: %s", word, line);
    assert_null(strchr(line, '\n'));
}

void expect_none()
{
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    const char *line = cuda_emulation_take_report();
    if (line)
        fail_msg("%s", line);
}

void test_reverse(void **)
{
    array<float> in(ramp(96)), out(192);
    reverse_launch(REVERSE_RIGHT, out.p, in.p, 96, nullptr);
    expect_none();
    const std::vector<float> values = out.get();
    for (size_t i = 0; i < 192; i++)
        assert_true(values[i] == (float)(95 - i % 96));
}

void test_missing_barriers(void **)
{
    array<float> in(ramp(96)), out(192);
    reverse_launch(REVERSE_NO_BARRIER, out.p, in.p, 96, nullptr);
    expect_report({"kernel reverse, block (0,0,0), thread (", "shared memory", "emulation_kernels.cu:"});
    reverse_launch(REVERSE_NO_SECOND, out.p, in.p, 96, nullptr);
    expect_report({"race: read of 4 bytes", "written with no barrier between by thread"});
    array<int> numbers(std::vector<int>(64, 3)), sums(10);
    cudaMemset(sums.p, 0, 40);
    sums_launch(SUM_NO_SYNCWARP, sums.p, numbers.p, 2, nullptr);
    expect_report({"kernel sums", "shared memory"});
}

void test_races_in_device_memory(void **)
{
    array<int> out(std::vector<int>(130)), through(128);
    exchange_launch(EXCHANGE_RIGHT, out.p, through.p, nullptr);
    expect_none();
    assert_int_equal(out.get()[64], 63);
    assert_int_equal(out.get()[129], 4);
    exchange_launch(EXCHANGE_NO_BARRIER, out.p, through.p, nullptr);
    expect_report(
        {"race: ", "4 bytes of device memory", "with no barrier between by thread", "kernel exchange"});
    exchange_launch(EXCHANGE_OTHER_BLOCK, out.p, through.p, nullptr);
    expect_report({"race: read of 4 bytes of device memory written in another block", "block (1,0,0)"});
    exchange_launch(EXCHANGE_SAME_PLACE, out.p, through.p, nullptr);
    expect_report(
        {"race: write of 4 bytes of device memory written in another block of the grid by thread 9"});
}

void test_divergence(void **)
{
    array<float> in(ramp(96)), out(192);
    reverse_launch(REVERSE_DIVERGENT, out.p, in.p, 96, nullptr);
    expect_report({"divergent barrier", "kernel reverse"});
    reverse_launch(REVERSE_TWO_BARRIERS, out.p, in.p, 96, nullptr);
    expect_report({"divergent barrier", "kernel reverse"});
    array<int> numbers(std::vector<int>(64, 3)), sums(10);
    cudaMemset(sums.p, 0, 40);
    sums_launch(SUM_DIVERGENT_SHUFFLE, sums.p, numbers.p, 2, nullptr);
    expect_report({"divergent warp", "__shfl_down_sync", "__shfl_xor_sync"});
    sums_launch(SUM_WRONG_MASK, sums.p, numbers.p, 2, nullptr);
    expect_report({"__shfl_xor_sync", "0x0000ffff"});
    sums_launch(SUM_DEAD_LANE, sums.p, numbers.p, 2, nullptr);
    expect_report({"reads lane 31, which takes no part"});
}

void test_bounds(void **)
{
    array<float> in(ramp(96)), out(192);
    reverse_launch(REVERSE_WRITE_BEYOND, out.p, in.p, 96, nullptr);
    expect_report({"out of bounds: write of 4 bytes", "0 bytes past the end of an allocation of 768 bytes",
        "thread (95,0,0)"});
    reverse_launch(REVERSE_READ_BEFORE, out.p, in.p, 96, nullptr);
    expect_report({"out of bounds: read of 4 bytes", "4 bytes before an allocation", "thread (0,0,0)"});
    reverse_launch(REVERSE_SHARED_BEYOND, out.p, in.p, 96, nullptr);
    expect_report({"out of bounds: write of 4 bytes", "shared variable of 384 bytes", "thread (7,0,0)"});
    static float host;
    reverse_launch(REVERSE_HOST_POINTER, &host, in.p, 96, nullptr);
    expect_report({"out of bounds: write of 4 bytes", "not the device's"});
    array<float> few(ramp(8)), five(5);
    vector_launch(VECTOR_LOCAL_INDEX, five.p, few.p, 3, nullptr);
    expect_report({"index past the end of a local array", "kernel vectors"});
    float *freed;
    cudaMalloc(reinterpret_cast<void **>(&freed), 384);
    cudaFree(freed);
    reverse_launch(REVERSE_RIGHT, freed, in.p, 96, nullptr);
    expect_report({"out of bounds: write", "inside freed memory"});
    cudaMemcpy(out.p, in.p, 97 * 4, cudaMemcpyDeviceToDevice);
    expect_report({"out of bounds: copy"});
}

void test_uninitialised(void **)
{
    array<float> in(ramp(96)), out(192);
    reverse_launch(REVERSE_UNSET, out.p, in.p, 96, nullptr);
    expect_report({"uninitialised: read of 4 bytes", "shared memory", "thread (90,0,0)"});
    array<float> raw(96);
    reverse_launch(REVERSE_RIGHT, out.p, raw.p, 96, nullptr);
    expect_report(
        {"uninitialised: read of 4 bytes of device memory, at byte 0 of an allocation of 384 bytes"});
}

void test_vectors(void **)
{
    array<float> in(ramp(8)), out(5);
    vector_launch(VECTOR_RIGHT, out.p, in.p, 3, nullptr);
    expect_none();
    assert_true(out.get()[2] == 2 && out.get()[4] == 6);
    vector_launch(VECTOR_MISALIGNED, out.p, in.p, 3, nullptr);
    expect_report({"misaligned", "kernel vectors"});
}

void test_launch_sizes(void **)
{
    array<int> out(4096);
    number_launch(out.p, dim3(2, 3, 2), dim3(8, 4, 2), 0, nullptr);
    expect_none();
    const std::vector<int> values = out.get();
    for (int i = 0; i < 12 * 64; i++)
        assert_int_equal(values[(size_t)i], i);
    number_launch(out.p, dim3(1), dim3(1025), 0, nullptr);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
    expect_report({"bad launch", "1024 threads", "block (1025,1,1)", "kernel number"});
    number_launch(out.p, dim3(0), dim3(32), 0, nullptr);
    expect_report({"bad launch", "grid (0,1,1)"});
    number_launch(out.p, dim3(1), dim3(0), 0, nullptr);
    expect_report({"bad launch", "block (0,1,1)"});
    number_launch(out.p, dim3(1), dim3(32), 48 * 1024 + 1, nullptr);
    expect_report({"bad launch", "dynamic shared memory"});
    number_launch(out.p, dim3(1), dim3(32), 48 * 1024, nullptr);
    expect_none();
    bounded_launch(out.p, 64, nullptr);
    expect_none();
    bounded_launch(out.p, 65, nullptr);
    expect_report({"bad launch", "__launch_bounds__(64)"});
}

void test_sums(void **)
{
    std::vector<int> numbers(96);
    int expected[3] = {};
    for (int i = 0; i < 96; i++) {
        numbers[(size_t)i] = i * 37 % 251;
        expected[i / 32] += numbers[(size_t)i];
    }
    array<int> in(numbers), out(15);
    cudaMemset(out.p, 0, 60);
    sums_launch(SUM_RIGHT, out.p, in.p, 3, nullptr);
    expect_none();
    for (size_t i = 0; i < 15; i++)
        assert_int_equal(out.get()[i], expected[i / 5]);
}

void test_copy_async(void **)
{
    array<float> in(ramp(128)), out(128);
    copy_async_launch(COPY_RIGHT, out.p, in.p, nullptr);
    expect_none();
    for (size_t i = 0; i < 128; i++)
        assert_true(out.get()[i] == (float)i + 1);
    copy_async_launch(COPY_NO_WAIT, out.p, in.p, nullptr);
    expect_report({"cp.async", "still writing"});
    copy_async_launch(COPY_NO_BARRIER, out.p, in.p, nullptr);
    expect_report({"shared memory", "kernel copy_through"});
}

void test_multiply(void **)
{
    for (int bfloat = 0; bfloat < 2; bfloat++) {
        std::vector<unsigned short> a(256), b(128);
        std::vector<float> x(256), y(128);
        for (size_t i = 0; i < 256; i++) {
            x[i] = (float)((int)(i * 29 % 31) - 15) / 4;
            a[i] =
                bfloat ? __bfloat16_as_ushort(__float2bfloat16(x[i])) : __half_as_ushort(__float2half(x[i]));
        }
        for (size_t i = 0; i < 128; i++) {
            y[i] = (float)((int)(i * 17 % 23) - 11) / 2;
            b[i] =
                bfloat ? __bfloat16_as_ushort(__float2bfloat16(y[i])) : __half_as_ushort(__float2half(y[i]));
        }
        array<unsigned short> left(a), right(b);
        array<float> out(128);
        multiply_launch(out.p, left.p, right.p, bfloat, nullptr);
        expect_none();
        std::vector<float> d = out.get();
        for (size_t i = 0; i < 16; i++)
            for (size_t j = 0; j < 8; j++) {
                float sum = 1;
                for (size_t k = 0; k < 16; k++)
                    sum += x[i * 16 + k] * y[j * 16 + k];
                assert_true(d[i * 8 + j] == sum);
            }
        if (bfloat)
            continue;
        multiply_transposed_launch(out.p, left.p, right.p, nullptr);
        expect_none();
        d = out.get();
        for (size_t i = 0; i < 16; i++)
            for (size_t j = 0; j < 8; j++) {
                float sum = 1;
                for (size_t k = 0; k < 16; k++)
                    sum += x[i * 16 + k] * y[k * 8 + j];
                assert_true(d[i * 8 + j] == sum);
            }
    }
}

/* Every half goes to float and back unchanged, and a value between two goes to the nearer, or the even one.
 */
void test_half(void **)
{
    for (unsigned bits = 0; bits < 0x7c00; bits++) {
        const float value = cuda_emulation_half_value((unsigned short)bits);
        assert_int_equal(cuda_emulation_half_bits(value), bits);
        assert_int_equal(cuda_emulation_half_bits(-value), bits | 0x8000);
        const float next = bits == 0x7bff ? 65536.0F : cuda_emulation_half_value((unsigned short)(bits + 1));
        const float middle = value + (next - value) / 2;
        assert_int_equal(cuda_emulation_half_bits(middle), bits % 2 ? bits + 1 : bits);
        assert_int_equal(cuda_emulation_half_bits(nextafterf(middle, 0)), bits);
        assert_int_equal(cuda_emulation_half_bits(nextafterf(middle, 1e9F)), bits + 1);
    }
    assert_int_equal(cuda_emulation_half_bits(INFINITY), 0x7c00);
    assert_true(std::isnan(cuda_emulation_half_value(cuda_emulation_half_bits(NAN))));
    assert_int_equal(cuda_emulation_bfloat_bits(1.0F), 0x3f80);
    assert_int_equal(cuda_emulation_bfloat_bits(__uint_as_float(0x3f808000)), 0x3f80);
    assert_int_equal(cuda_emulation_bfloat_bits(__uint_as_float(0x3f818000)), 0x3f82);
}

/* Nothing runs before somebody waits; pinned memory is read when the copy runs, pageable memory at the call.
 */
void test_streams(void **)
{
    cudaStream_t first, second;
    cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
    int *pinned;
    cudaMallocHost(reinterpret_cast<void **>(&pinned), 2 * sizeof(int));
    array<int> values(1), others(std::vector<int>(1, 5));
    int pageable = 10;
    cudaMemcpyAsync(values.p, &pageable, 4, cudaMemcpyHostToDevice, first);
    pageable = 0;
    add_launch(values.p, 1, 7, first);
    pinned[0] = 1;
    cudaMemcpyAsync(pinned, values.p, 4, cudaMemcpyDeviceToHost, first);
    assert_int_equal(pinned[0], 1);
    cudaEvent_t event;
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    cudaEventRecord(event, first);
    assert_int_equal(cudaEventQuery(event), cudaErrorNotReady);
    cudaStreamWaitEvent(second, event);
    cudaMemcpyAsync(others.p, pinned, 4, cudaMemcpyHostToDevice, second);
    cudaMemcpyAsync(pinned + 1, others.p, 4, cudaMemcpyDeviceToHost, second);
    cudaStreamSynchronize(second);
    assert_int_equal(pinned[0], 17);
    assert_int_equal(pinned[1], 17);
    assert_int_equal(cudaEventQuery(event), cudaSuccess);
    cudaEventDestroy(event);
    cudaFreeHost(pinned);
    cudaStreamDestroy(first);
    cudaStreamDestroy(second);
    expect_none();
}

void test_graphs(void **)
{
    cudaStream_t stream, side;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking);
    array<int> values(std::vector<int>(100, 1));
    cudaEvent_t fork, join;
    cudaEventCreate(&fork);
    cudaEventCreate(&join);
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    assert_int_equal(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    add_launch(values.p, 100, 1, stream);
    cudaEventRecord(fork, stream);
    cudaStreamWaitEvent(side, fork);
    add_launch(values.p, 50, 10, side);
    cudaEventRecord(join, side);
    cudaStreamWaitEvent(stream, join);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    cudaStreamSynchronize(stream);
    assert_int_equal(values.get()[0], 1); /* captured, not run */
    for (int i = 0; i < 3; i++)
        cudaGraphLaunch(exec, stream);
    cudaStreamSynchronize(stream);
    assert_int_equal(values.get()[0], 34);
    assert_int_equal(values.get()[99], 4);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    /* What may not happen during capture ends it. */
    cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    assert_int_equal(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
    cudaEventDestroy(fork);
    cudaEventDestroy(join);
    cudaStreamDestroy(stream);
    cudaStreamDestroy(side);
    expect_none();
}

void test_failures(void **)
{
    struct cuda_emulation_device device = cuda_emulation_get_device(), small = device;
    small.memory_bytes = 1 << 20;
    cuda_emulation_set_device(small);
    void *p = nullptr;
    assert_int_equal(cudaMalloc(&p, 2 << 20), cudaErrorMemoryAllocation);
    assert_null(p);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    cuda_emulation_set_device(device);
    cuda_emulation_fail_after(1, cudaErrorECCUncorrectable);
    assert_int_equal(cudaMalloc(&p, 16), cudaSuccess);
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorECCUncorrectable);
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorECCUncorrectable);
    cudaDeviceReset();
    assert_int_equal(cudaDeviceSynchronize(), cudaSuccess);
    cudaFree(p);
}

} // namespace

int main()
{
    cuda_emulation_record(true);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reverse),
        cmocka_unit_test(test_missing_barriers),
        cmocka_unit_test(test_races_in_device_memory),
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_uninitialised),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_launch_sizes),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_copy_async),
        cmocka_unit_test(test_multiply),
        cmocka_unit_test(test_half),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_graphs),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests_name("cuda emulation", tests, NULL, NULL);
}
