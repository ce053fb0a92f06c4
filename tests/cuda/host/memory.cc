/* Device memory: one reserved range, in which no address is used twice while there is room, every allocation
 * ends before a gap, and the state of each byte is known. Pinned host memory is remembered. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>

#include "memory.h"

namespace cuda_emulation
{

char *device_base;
uint8_t *device_state;
byte_state *device_races;

namespace
{

enum : size_t { ALIGNMENT = 256, GAP_BYTES = 256, PAGE_BYTES = 4096, POISONED_MAX_BYTES = (size_t)64 << 20 };

struct allocation {
    size_t bytes;
    int device;
};
std::map<size_t, allocation> allocations; /* by offset */
std::map<size_t, size_t> freed;           /* offset and bytes of what was freed, for reports */
std::map<const char *, size_t> pinned;
size_t next_offset = ALIGNMENT;
size_t used[EMULATED_DEVICES_MAX];

void *reserve(size_t bytes)
{
    void *p =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        perror("cuda emulation: device memory");
        abort();
    }
    return p;
}

/* The pages that lie wholly in a range, to the system: they read as zeros from here on. */
void give_back(void *p, size_t bytes)
{
    const size_t start = ((size_t)p + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    const size_t end = ((size_t)p + bytes) / PAGE_BYTES * PAGE_BYTES;
    if (end > start)
        madvise(reinterpret_cast<void *>(start), end - start, MADV_DONTNEED);
}

__attribute__((constructor)) void reserve_device()
{
    device_base = static_cast<char *>(reserve(DEVICE_RANGE_BYTES));
    device_state = static_cast<uint8_t *>(reserve(DEVICE_RANGE_BYTES));
    device_races = static_cast<byte_state *>(reserve(DEVICE_RANGE_BYTES * sizeof(byte_state)));
}

} // namespace

void *device_allocate(int device, size_t bytes)
{
    const size_t total = cuda_emulation_get_device().memory_bytes;
    if (bytes == 0 || bytes > total || used[device] > total - bytes)
        return nullptr;
    if (next_offset + bytes + GAP_BYTES > DEVICE_RANGE_BYTES) {
        fprintf(stderr,
            "cuda emulation: the range of device addresses is used up; make DEVICE_RANGE_BYTES larger\n");
        abort();
    }
    const size_t offset = next_offset;
    next_offset = (offset + bytes + GAP_BYTES + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    allocations[offset] = {bytes, device};
    used[device] += bytes;
    memset(device_state + offset, STATE_RAW, bytes);
    if (bytes <= POISONED_MAX_BYTES)
        memset(device_base + offset, 0xff, bytes); /* NaN in every format */
    return device_base + offset;
}

bool device_free(void *p)
{
    auto found = allocations.find((size_t)(static_cast<char *>(p) - device_base));
    if (found == allocations.end())
        return false;
    const auto [offset, a] = *found;
    used[a.device] -= a.bytes;
    memset(device_state + offset, STATE_NONE, a.bytes <= 2 * PAGE_BYTES ? a.bytes : PAGE_BYTES);
    if (a.bytes >
        2 * PAGE_BYTES) { /* the whole pages become zeros, which is STATE_NONE, by being given back */
        memset(device_state + offset + a.bytes - PAGE_BYTES, STATE_NONE, PAGE_BYTES);
        give_back(device_state + offset, a.bytes);
    }
    give_back(device_base + offset, a.bytes);
    give_back(device_races + offset, a.bytes * sizeof(byte_state));
    freed[offset] = a.bytes;
    allocations.erase(found);
    return true;
}

size_t device_used(int device)
{
    return used[device];
}

int device_of(const void *p)
{
    auto next = allocations.upper_bound((size_t)(static_cast<const char *>(p) - device_base));
    return next == allocations.begin() ? -1 : std::prev(next)->second.device;
}

void pinned_add(const void *p, size_t bytes)
{
    pinned[static_cast<const char *>(p)] = bytes;
}

bool pinned_remove(const void *p)
{
    return pinned.erase(static_cast<const char *>(p)) != 0;
}

bool is_pinned(const void *p)
{
    const char *at = static_cast<const char *>(p);
    auto next = pinned.upper_bound(at);
    return next != pinned.begin() && at < std::prev(next)->first + std::prev(next)->second;
}

void device_describe(const void *p, char *out, size_t bytes)
{
    const size_t offset = (size_t)(static_cast<const char *>(p) - device_base);
    auto next_freed = freed.upper_bound(offset);
    if (next_freed != freed.begin() &&
        offset < std::prev(next_freed)->first + std::prev(next_freed)->second) {
        snprintf(out, bytes, "inside freed memory of %zu bytes", std::prev(next_freed)->second);
        return;
    }
    const auto next = allocations.upper_bound(offset);
    const bool after = next != allocations.begin(), before = next != allocations.end();
    const size_t past = after ? offset - std::prev(next)->first : SIZE_MAX;
    const size_t size = after ? std::prev(next)->second.bytes : 0,
                 ahead = before ? next->first - offset : SIZE_MAX;
    if (past < size)
        snprintf(out, bytes, "at byte %zu of an allocation of %zu bytes", past, size);
    else if (before && (!after || ahead < past - size))
        snprintf(out, bytes, "%zu bytes before an allocation of %zu bytes", ahead, next->second.bytes);
    else if (after)
        snprintf(out, bytes, "%zu bytes past the end of an allocation of %zu bytes", past - size, size);
    else
        snprintf(out, bytes, "where nothing is allocated");
}

const char *device_fault(const void *p, size_t bytes, access kind)
{
    uint8_t *state = device_state + (static_cast<const char *>(p) - device_base);
    uint32_t four;
    memcpy(&four, state, sizeof four);
    if (bytes == 4 && four == 0x01010101 * STATE_SET)
        return nullptr;
    bool raw = false;
    for (size_t i = 0; i < bytes; i++) {
        if (state[i] == STATE_NONE)
            return "out of bounds";
        raw = raw || state[i] == STATE_RAW;
    }
    if (kind == access::write)
        memset(state, STATE_SET, bytes);
    else if (raw)
        return "uninitialised";
    return nullptr;
}

} // namespace cuda_emulation
