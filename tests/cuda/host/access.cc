/* Every load and store of kernel code. The compiler calls these functions before each of them: kernels are
 * compiled with -fsanitize=thread, whose run time this replaces. Host code in the same files calls them too.
 */
#include <cstring>
#include <link.h>
#include <vector>

#include "memory.h"

namespace cuda_emulation
{

namespace
{

struct range {
    const char *start;
    size_t bytes;
};

/* Constants of the program: what the compiler puts there is constant memory on a device. */
bool is_constant(const void *p)
{
    static std::vector<range> images;
    if (images.empty())
        dl_iterate_phdr(
            [](struct dl_phdr_info *info, size_t, void *) {
                for (int i = 0; i < info->dlpi_phnum; i++)
                    if (info->dlpi_phdr[i].p_type == PT_LOAD && !(info->dlpi_phdr[i].p_flags & PF_W))
                        images.push_back(
                            {reinterpret_cast<const char *>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
                                info->dlpi_phdr[i].p_memsz});
                return 0;
            },
            nullptr);
    for (const range &image : images)
        if ((size_t)(static_cast<const char *>(p) - image.start) < image.bytes)
            return true;
    return false;
}

const char *name_of(access kind)
{
    return kind == access::read ? "read" : kind == access::write ? "write" : "atomic";
}

void device_access(const void *p, size_t bytes, access kind, const void *code)
{
    if (!in_kernel()) {
        report(code, "host code makes a %s of %zu bytes of device memory", name_of(kind), bytes);
        return;
    }
    char place_text[128];
    const char *fault = device_fault(p, bytes, kind);
    if (fault) {
        device_describe(p, place_text, sizeof place_text);
        report_thread(
            code, "%s: %s of %zu bytes of device memory, %s", fault, name_of(kind), bytes, place_text);
    }
    const race_result result = race_access(
        running(), device_races, (size_t)(static_cast<const char *>(p) - device_base), bytes, kind, true);
    if (result.words) {
        device_describe(p, place_text, sizeof place_text);
        report_thread(code, "race: %s of %zu bytes of device memory %s thread %u, %s", name_of(kind), bytes,
            result.words, result.thread, place_text);
    }
}

} // namespace

void check_access(const void *p, size_t bytes, access kind, const void *code)
{
    if (is_device(p)) {
        device_access(p, bytes, kind, code);
        return;
    }
    if (!in_kernel())
        return;
    if (is_own(p))
        return;
    if (is_shared(p)) {
        shared_access(p, bytes, kind, code);
        return;
    }
    if (!is_pinned(p) && !(kind == access::read && is_constant(p)))
        report_thread(
            code, "out of bounds: %s of %zu bytes at %p, which is not the device's", name_of(kind), bytes, p);
}

} // namespace cuda_emulation

using cuda_emulation::access;
using cuda_emulation::check_access;

#define HERE __builtin_return_address(0)
#define ACCESS(bytes)                                                                                        \
    extern "C" void __tsan_read##bytes(void *p)                                                              \
    {                                                                                                        \
        check_access(p, bytes, access::read, HERE);                                                          \
    }                                                                                                        \
    extern "C" void __tsan_write##bytes(void *p)                                                             \
    {                                                                                                        \
        check_access(p, bytes, access::write, HERE);                                                         \
    }                                                                                                        \
    extern "C" void __tsan_unaligned_read##bytes(void *p)                                                    \
    {                                                                                                        \
        check_access(p, bytes, access::read, HERE);                                                          \
    }                                                                                                        \
    extern "C" void __tsan_unaligned_write##bytes(void *p)                                                   \
    {                                                                                                        \
        check_access(p, bytes, access::write, HERE);                                                         \
    }

ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

extern "C" void __tsan_init()
{
}
extern "C" void __tsan_func_entry(void *)
{
}
extern "C" void __tsan_func_exit()
{
}
extern "C" void __tsan_read_range(void *p, size_t bytes)
{
    check_access(p, bytes, access::read, HERE);
}
extern "C" void __tsan_write_range(void *p, size_t bytes)
{
    check_access(p, bytes, access::write, HERE);
}
extern "C" void __tsan_vptr_update(void **, void *)
{
}
extern "C" void __tsan_vptr_read(void **)
{
}
extern "C" void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
    check_access(from, bytes, access::read, HERE);
    check_access(to, bytes, access::write, HERE);
    return memcpy(to, from, bytes);
}
extern "C" void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
    check_access(from, bytes, access::read, HERE);
    check_access(to, bytes, access::write, HERE);
    return memmove(to, from, bytes);
}
extern "C" void *__tsan_memset(void *to, int value, size_t bytes)
{
    check_access(to, bytes, access::write, HERE);
    return memset(to, value, bytes);
}

#define ATOMIC_CHANGE(bits, type, name)                                                                      \
    extern "C" type __tsan_atomic##bits##_##name(volatile type *p, type value, int)                          \
    {                                                                                                        \
        check_access(const_cast<type *>(p), sizeof *p, access::atomic, HERE);                                \
        return __atomic_##name(p, value, __ATOMIC_SEQ_CST);                                                  \
    }
#define ATOMICS(bits, type)                                                                                  \
    ATOMIC_CHANGE(bits, type, fetch_add)                                                                     \
    ATOMIC_CHANGE(bits, type, fetch_sub)                                                                     \
    ATOMIC_CHANGE(bits, type, fetch_and)                                                                     \
    ATOMIC_CHANGE(bits, type, fetch_or)                                                                      \
    ATOMIC_CHANGE(bits, type, fetch_xor)                                                                     \
    extern "C" type __tsan_atomic##bits##_exchange(volatile type *p, type value, int)                        \
    {                                                                                                        \
        check_access(const_cast<type *>(p), sizeof *p, access::atomic, HERE);                                \
        return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                                              \
    }                                                                                                        \
    extern "C" type __tsan_atomic##bits##_load(const volatile type *p, int)                                  \
    {                                                                                                        \
        check_access(const_cast<type *>(p), sizeof *p, access::atomic, HERE);                                \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                         \
    }                                                                                                        \
    extern "C" void __tsan_atomic##bits##_store(volatile type *p, type value, int)                           \
    {                                                                                                        \
        check_access(const_cast<type *>(p), sizeof *p, access::write, HERE);                                 \
        __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                        \
    }                                                                                                        \
    extern "C" int __tsan_atomic##bits##_compare_exchange_strong(                                            \
        volatile type *p, type *expected, type value, int, int)                                              \
    {                                                                                                        \
        check_access(const_cast<type *>(p), sizeof *p, access::atomic, HERE);                                \
        return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);   \
    }                                                                                                        \
    extern "C" int __tsan_atomic##bits##_compare_exchange_weak(                                              \
        volatile type *p, type *expected, type value, int, int)                                              \
    {                                                                                                        \
        check_access(const_cast<type *>(p), sizeof *p, access::atomic, HERE);                                \
        return __atomic_compare_exchange_n(p, expected, value, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);    \
    }                                                                                                        \
    extern "C" type __tsan_atomic##bits##_compare_exchange_val(                                              \
        volatile type *p, type expected, type value, int, int)                                               \
    {                                                                                                        \
        check_access(const_cast<type *>(p), sizeof *p, access::atomic, HERE);                                \
        __atomic_compare_exchange_n(p, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);         \
        return expected;                                                                                     \
    }

ATOMICS(8, unsigned char)
ATOMICS(16, unsigned short)
ATOMICS(32, unsigned int)
ATOMICS(64, unsigned long)
extern "C" void __tsan_atomic_thread_fence(int)
{
}
