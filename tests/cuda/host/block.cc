/* Blocks: a fiber a thread, barriers, the collectives of warps. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#include "race.h"

namespace cuda_emulation
{

const place *running_place;

namespace
{

enum : unsigned { THREADS_MAX = 1024, WARP = 32, WARPS_MAX = THREADS_MAX / WARP };
enum : size_t { STACK_BYTES = 256 * 1024, PAGE_BYTES = 4096 };

typedef void (*complete_function)(unsigned warp, uint32_t mask, void *const payloads[WARP]);

enum class wait { none, warp, barrier, ended };

struct fiber {
    void *stack;
    uint3 index;
    unsigned number;
    place at;
    wait waiting;
    const char *file;
    int line;
    barrier_kind barrier;
    int predicate;
    unsigned mask;
    uint64_t operation; /* what the lane came to; equal for all that may meet */
    void *payload;
    complete_function complete;
};

struct warp_state {
    uint32_t present, ready;
};

struct block_state {
    const grid_launch *launch;
    uint3 index;
    unsigned threads, warps, at_barrier, ended;
    int barrier_result;
    bool failed;
    fiber *current;
    void *scheduler_stack;
    fiber fibers[THREADS_MAX];
    warp_state warp[WARPS_MAX];
} block;

char *stacks;

extern "C" void cuda_emulation_switch(void **save, void *load);
/* Saves what the System V ABI keeps over calls; the rest the compiler has saved already. */
asm(R"(
    .text
    .globl cuda_emulation_switch
    .hidden cuda_emulation_switch
    .type cuda_emulation_switch, @function
cuda_emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size cuda_emulation_switch, .-cuda_emulation_switch
)");

void suspend()
{
    fiber *self = block.current;
    cuda_emulation_switch(&self->stack, block.scheduler_stack);
}

void leave_warp(fiber &self);

void fiber_main()
{
    const launch_info &info = block.launch->info;
    info.run(info.kernel, block.launch->arguments);
    fiber &self = *block.current;
    self.waiting = wait::ended;
    block.ended++;
    leave_warp(self);
    suspend();
    abort();
}

void make_stacks()
{
    stacks = static_cast<char *>(mmap(nullptr, THREADS_MAX * STACK_BYTES, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (stacks == MAP_FAILED) {
        perror("cuda emulation: stacks");
        abort();
    }
    for (unsigned i = 0; i < THREADS_MAX; i++)
        mprotect(stacks + i * STACK_BYTES, PAGE_BYTES, PROT_NONE);
}

void start_fiber(unsigned number, uint3 index)
{
    fiber &f = block.fibers[number];
    /* Stacks start at different cache lines, or their tops would all compete for the same few of the cache.
     */
    char *top = stacks + (number + 1) * STACK_BYTES - 64 - number % 61 * 64;
    void **frame = reinterpret_cast<void **>(top) - 8; /* six registers, where to return to, its caller */
    memset(frame, 0, 8 * sizeof *frame);
    frame[6] = reinterpret_cast<void *>(fiber_main);
    f = fiber{};
    f.stack = frame;
    f.index = index;
    f.number = number;
    f.at = {number, number / WARP, number % WARP};
}

fiber &self_checked(const char *what, const char *file, int line)
{
    if (block.current == nullptr) {
        fprintf(stderr, "cuda emulation: %s outside of a kernel, at %s:%d\n", what, file, line);
        abort();
    }
    return *block.current;
}

/* ---- warps ---- */

const char *kind_name(uint64_t operation)
{
    static const char *const names[] = {"__syncwarp", "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync",
        "__shfl_xor_sync", "__ballot_sync", "__all_sync", "__any_sync", "__match_any_sync",
        "__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync", "__reduce_min_sync",
        "__reduce_max_sync", "__reduce_and_sync", "__reduce_or_sync", "__reduce_xor_sync", "mma.sync",
        "ldmatrix"};
    return operation < sizeof names / sizeof *names ? names[operation] : "a collective";
}

/* The lanes named in a waiting lane's mask that have not ended. */
uint32_t expected(const fiber &f)
{
    return f.mask & block.warp[f.number / WARP].present;
}

/* Whether all lanes that `f` waits for wait for the same; then they may go on. */
bool meeting_complete(const fiber &f, void *payloads[WARP])
{
    const unsigned first = f.number / WARP * WARP;
    for (uint32_t left = expected(f); left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        const fiber &other = block.fibers[first + lane];
        if (other.waiting != wait::warp)
            return false;
        if (other.operation != f.operation || other.mask != f.mask || other.line != f.line ||
            other.file != f.file)
            report_thread(nullptr,
                "divergent warp: lane %u waits in %s (mask 0x%08x) at %s:%d, lane %u in %s (mask 0x%08x) at "
                "%s:%d",
                lane, kind_name(other.operation), other.mask, other.file, other.line, f.number % WARP,
                kind_name(f.operation), f.mask, f.file, f.line);
        payloads[lane] = other.payload;
    }
    return true;
}

void release(const fiber &f)
{
    const unsigned w = f.number / WARP;
    for (uint32_t left = expected(f); left; left &= left - 1) {
        unsigned lane = (unsigned)__builtin_ctz(left);
        block.fibers[w * WARP + lane].waiting = wait::none;
        block.warp[w].ready |= 1U << lane;
    }
}

void meet(
    uint64_t operation, unsigned mask, void *payload, complete_function complete, const char *file, int line)
{
    fiber &self = self_checked(kind_name(operation), file, line);
    const unsigned lane = self.number % WARP, w = self.number / WARP;
    if (!(mask >> lane & 1))
        report_thread(nullptr, "%s by lane %u that its mask 0x%08x does not name, at %s:%d",
            kind_name(operation), lane, mask, file, line);
    self.waiting = wait::warp;
    self.operation = operation;
    self.mask = mask;
    self.payload = payload;
    self.complete = complete;
    self.file = file;
    self.line = line;
    block.warp[w].ready &= ~(1U << lane);
    void *payloads[WARP] = {};
    if (!meeting_complete(self, payloads)) {
        suspend();
        return;
    }
    complete(w, expected(self), payloads);
    release(self);
}

/* A lane has ended: those that waited for it may have all they wait for now. */
void leave_warp(fiber &self)
{
    const unsigned w = self.number / WARP;
    block.warp[w].present &= ~(1U << self.number % WARP);
    block.warp[w].ready &= ~(1U << self.number % WARP);
    for (uint32_t left = block.warp[w].present; left; left &= left - 1) {
        const fiber &other = block.fibers[w * WARP + (unsigned)__builtin_ctz(left)];
        void *payloads[WARP] = {};
        if (other.waiting == wait::warp && other.mask >> self.number % WARP & 1 &&
            meeting_complete(other, payloads)) {
            other.complete(w, expected(other), payloads);
            release(other);
        }
    }
    if (block.at_barrier)
        report_thread(nullptr, "divergent barrier: this thread ends while others wait in __syncthreads");
}

struct warp_payload {
    warp_kind kind;
    uint64_t value, result;
    int argument, width;
    const char *file;
    int line;
};

warp_payload &payload_of(void *payload)
{
    return *static_cast<warp_payload *>(payload);
}

void complete_shuffle(uint32_t mask, void *const payloads[WARP])
{
    for (uint32_t left = mask; left; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        warp_payload &p = payload_of(payloads[lane]);
        const int segment = lane & ~(p.width - 1), last = segment + p.width - 1;
        int source = lane;
        switch (p.kind) {
        case warp_kind::shuffle_index: source = segment + (p.argument & (p.width - 1)); break;
        case warp_kind::shuffle_up: source = lane - p.argument < segment ? lane : lane - p.argument; break;
        case warp_kind::shuffle_down: source = lane + p.argument > last ? lane : lane + p.argument; break;
        default: source = (lane ^ p.argument) > last ? lane : lane ^ p.argument; break;
        }
        if (!(mask >> source & 1))
            report_thread(nullptr, "%s: lane %d reads lane %d, which takes no part (mask 0x%08x), at %s:%d",
                kind_name((uint64_t)p.kind), lane, source, mask, p.file, p.line);
        p.result = payload_of(payloads[source]).value;
    }
}

uint64_t reduce(warp_kind kind, uint64_t x, uint64_t y)
{
    const int32_t sx = (int32_t)x, sy = (int32_t)y;
    const uint32_t ux = (uint32_t)x, uy = (uint32_t)y;
    switch (kind) {
    case warp_kind::add: return (uint32_t)(ux + uy);
    case warp_kind::min_signed: return (uint32_t)(sx < sy ? sx : sy);
    case warp_kind::max_signed: return (uint32_t)(sx > sy ? sx : sy);
    case warp_kind::min_unsigned: return ux < uy ? ux : uy;
    case warp_kind::max_unsigned: return ux > uy ? ux : uy;
    case warp_kind::bit_and: return ux & uy;
    case warp_kind::bit_or: return ux | uy;
    default: return ux ^ uy;
    }
}

void complete_vote(warp_kind kind, uint32_t mask, void *const payloads[WARP])
{
    uint32_t ballot = 0;
    uint64_t reduced = 0;
    bool first = true;
    for (uint32_t left = mask; left; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        const uint64_t value = payload_of(payloads[lane]).value;
        ballot |= (uint32_t)(value != 0) << lane;
        reduced = first ? (uint32_t)value : reduce(kind, reduced, value);
        first = false;
    }
    for (uint32_t left = mask; left; left &= left - 1) {
        warp_payload &p = payload_of(payloads[__builtin_ctz(left)]);
        switch (kind) {
        case warp_kind::ballot: p.result = ballot; break;
        case warp_kind::all: p.result = ballot == mask; break;
        case warp_kind::any: p.result = ballot != 0; break;
        case warp_kind::match_any:
            p.result = 0;
            for (uint32_t others = mask; others; others &= others - 1)
                p.result |= (uint64_t)(payload_of(payloads[__builtin_ctz(others)]).value == p.value)
                            << __builtin_ctz(others);
            break;
        default: p.result = reduced; break;
        }
    }
}

void complete_warp(unsigned w, uint32_t mask, void *const payloads[WARP])
{
    const warp_kind kind = payload_of(payloads[__builtin_ctz(mask)]).kind;
    if (kind == warp_kind::sync)
        race_sync_warp(w, mask);
    else if (kind >= warp_kind::shuffle_index && kind <= warp_kind::shuffle_xor)
        complete_shuffle(mask, payloads);
    else
        complete_vote(kind, mask, payloads);
}

/* ---- the block ---- */

void report_stuck()
{
    const fiber *stuck = nullptr;
    unsigned at_barrier = 0, in_warp = 0;
    for (unsigned i = 0; i < block.threads; i++) {
        const fiber &f = block.fibers[i];
        at_barrier += f.waiting == wait::barrier;
        in_warp += f.waiting == wait::warp;
        if (f.waiting == wait::warp || (!stuck && f.waiting == wait::barrier))
            stuck = &f;
    }
    block.current = const_cast<fiber *>(stuck);
    report(nullptr,
        "divergent barrier: nothing can go on; %u threads wait in __syncthreads, %u in warp collectives, %u "
        "have ended; "
        "this one waits in %s (mask 0x%08x) at %s:%d",
        at_barrier, in_warp, block.ended,
        stuck->waiting == wait::warp ? kind_name(stuck->operation) : "__syncthreads", stuck->mask,
        stuck->file, stuck->line);
    block.failed = true;
}

void run_threads()
{
    while (block.ended < block.threads && !block.failed) {
        bool progress = false;
        for (unsigned w = 0; w < block.warps; w++)
            while (block.warp[w].ready && !block.failed) {
                progress = true;
                block.current = &block.fibers[w * WARP + (unsigned)__builtin_ctz(block.warp[w].ready)];
                running_place = &block.current->at;
                cuda_emulation_switch(&block.scheduler_stack, block.current->stack);
            }
        if (!progress && !block.failed)
            report_stuck();
    }
    block.current = nullptr;
    running_place = nullptr;
}

void run_block(uint3 index)
{
    const dim3 size = block.launch->info.block;
    block.index = index;
    block.threads = size.x * size.y * size.z;
    block.warps = (block.threads + WARP - 1) / WARP;
    block.at_barrier = block.ended = 0;
    unsigned number = 0;
    for (unsigned z = 0; z < size.z; z++)
        for (unsigned y = 0; y < size.y; y++)
            for (unsigned x = 0; x < size.x; x++)
                start_fiber(number++, uint3{x, y, z});
    for (unsigned w = 0; w < block.warps; w++) {
        const unsigned lanes = block.threads - w * WARP;
        block.warp[w].present = block.warp[w].ready = lanes >= WARP ? ~0U : (1U << lanes) - 1;
    }
    race_start_block(block.threads);
    copies_start_block(block.threads);
    run_threads();
}

} // namespace

bool run_grid(const grid_launch &launch)
{
    if (!stacks)
        make_stacks();
    block.launch = &launch;
    block.failed = false;
    race_start_launch();
    shared_start_launch(launch.info.dynamic_bytes);
    catch_signals();
    const dim3 grid = launch.info.grid;
    for (unsigned z = 0; z < grid.z && !block.failed; z++)
        for (unsigned y = 0; y < grid.y && !block.failed; y++)
            for (unsigned x = 0; x < grid.x && !block.failed; x++)
                run_block(uint3{x, y, z});
    release_signals();
    block.launch = nullptr;
    return !block.failed;
}

void where(char *out, size_t bytes)
{
    out[0] = '\0';
    if (!block.launch)
        return;
    int used = snprintf(out, bytes, ": kernel %s, block (%u,%u,%u)", block.launch->info.name, block.index.x,
        block.index.y, block.index.z);
    if (block.current)
        snprintf(out + used, bytes - (size_t)used, ", thread (%u,%u,%u)", block.current->index.x,
            block.current->index.y, block.current->index.z);
}

void abandon_block()
{
    block.failed = true;
    suspend();
    abort();
}

bool is_own(const void *p)
{
    const char *at = static_cast<const char *>(p);
    const size_t stack = (size_t)(at - stacks);
    if (stack < THREADS_MAX * STACK_BYTES)
        return stack / STACK_BYTES == block.current->number;
    return (size_t)(at - static_cast<const char *>(block.launch->arguments)) < block.launch->argument_bytes;
}

uint3 thread_index()
{
    return block.current->index;
}
uint3 block_index()
{
    return block.index;
}
dim3 block_size()
{
    return block.launch->info.block;
}
dim3 grid_size()
{
    return block.launch->info.grid;
}

void launch_bounds(unsigned threads)
{
    if (block.threads > threads)
        report_thread(nullptr, "bad launch: a block of %u threads, over the kernel's __launch_bounds__(%u)",
            block.threads, threads);
}

int barrier(barrier_kind kind, int predicate, const char *file, int line)
{
    fiber &self = self_checked("__syncthreads", file, line);
    self.waiting = wait::barrier;
    self.barrier = kind;
    self.predicate = predicate != 0;
    self.file = file;
    self.line = line;
    block.warp[self.number / WARP].ready &= ~(1U << self.number % WARP);
    if (block.ended)
        report_thread(nullptr,
            "divergent barrier: __syncthreads at %s:%d, but %u threads of the block have ended", file, line,
            block.ended);
    if (++block.at_barrier < block.threads) {
        suspend();
        return block.barrier_result;
    }
    int sum = 0;
    for (unsigned i = 0; i < block.threads; i++) {
        const fiber &f = block.fibers[i];
        if (f.line != line || f.file != file || f.barrier != kind)
            report_thread(nullptr,
                "divergent barrier: thread %u waits in __syncthreads at %s:%d, thread %u at %s:%d", f.number,
                f.file, f.line, self.number, file, line);
        sum += f.predicate;
    }
    block.barrier_result = kind == barrier_kind::count ? sum
                           : kind == barrier_kind::all ? sum == (int)block.threads
                                                       : sum != 0;
    race_barrier();
    block.at_barrier = 0;
    for (unsigned i = 0; i < block.threads; i++)
        block.fibers[i].waiting = wait::none;
    for (unsigned w = 0; w < block.warps; w++)
        block.warp[w].ready = block.warp[w].present;
    return block.barrier_result;
}

uint64_t warp(
    warp_kind kind, unsigned mask, uint64_t value, int argument, int width, const char *file, int line)
{
    warp_payload payload = {kind, value, 0, argument, width, file, line};
    if (width < 1 || width > (int)WARP || (width & (width - 1)))
        report_thread(
            nullptr, "%s with a width of %d, at %s:%d", kind_name((uint64_t)kind), width, file, line);
    meet((uint64_t)kind, mask, &payload, complete_warp, file, line);
    return payload.result;
}

unsigned active_mask()
{
    return block.warp[block.current->number / WARP].present;
}

void warp_instruction(
    unsigned operation, void *payload, complete_function complete, const char *file, int line)
{
    meet(operation, ~0U, payload, complete, file, line);
}

} // namespace cuda_emulation
