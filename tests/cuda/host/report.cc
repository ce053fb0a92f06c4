/* Reports: one line each, with the place in the kernel. */
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <unistd.h>

#include "inside.h"

namespace cuda_emulation
{

namespace
{

bool recording;
std::string recorded, taken;

/* ", at FILE:LINE" of an address in this program, by the compiler's own tool; empty when that is not
 * installed. */
std::string source_line(const void *code)
{
    Dl_info info;
    if (code == nullptr || !dladdr(code, &info) || info.dli_fname == nullptr)
        return "";
    char command[1024], line[512] = "";
    snprintf(command, sizeof command, "addr2line -e '%s' 0x%zx 2>/dev/null",
        ::access(info.dli_fname, R_OK) == 0 ? info.dli_fname : "/proc/self/exe",
        (size_t)(static_cast<const char *>(code) - static_cast<const char *>(info.dli_fbase)) - 1);
    FILE *tool = popen(command, "r");
    if (tool == nullptr)
        return "";
    if (fgets(line, sizeof line, tool) == nullptr)
        line[0] = '\0';
    pclose(tool);
    line[strcspn(line, "\n")] = '\0';
    char *slash = strrchr(line, '/');
    return line[0] == '\0' || line[0] == '?' ? "" : std::string(", at ") + (slash ? slash + 1 : line);
}

void report_line(const void *code, const char *format, va_list arguments)
{
    char what[512], place[512];
    vsnprintf(what, sizeof what, format, arguments);
    where(place, sizeof place);
    const std::string line = std::string("cuda emulation: ") + what + place + source_line(code);
    if (!recording) {
        fflush(stdout);
        fprintf(stderr, "%s\n", line.c_str());
        _exit(134);
    }
    if (recorded.empty())
        recorded = line;
}

/* What the hooks do not see: a trap of the compiler's own checks, or a call into the C library with a bad
 * pointer. */
void on_signal(int number, siginfo_t *info, void *)
{
    if (!in_kernel()) {
        signal(number, SIG_DFL);
        return;
    }
    if (number == SIGILL)
        report_thread(info->si_addr, "misaligned access, or an index past the end of a local array");
    report_thread(
        nullptr, "out of bounds: access of address %p (or the stack of a thread is used up)", info->si_addr);
}

constexpr int caught[] = {SIGILL, SIGSEGV, SIGBUS};
struct sigaction others[3];

} // namespace

void report(const void *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_line(code, format, arguments);
    va_end(arguments);
}

void report_thread(const void *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_line(code, format, arguments);
    va_end(arguments);
    abandon_block();
}

void catch_signals()
{
    static char stack[64 * 1024];
    stack_t alternative = {};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    sigaltstack(&alternative, nullptr);
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
        action.sa_flags = SA_SIGINFO | SA_NODEFER | (caught[i] == SIGILL ? 0 : SA_ONSTACK);
        sigaction(caught[i], &action, &others[i]);
    }
}

void release_signals()
{
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        sigaction(caught[i], &others[i], nullptr);
}

} // namespace cuda_emulation

extern "C" void cuda_emulation_record(bool record)
{
    cuda_emulation::recording = record;
}

extern "C" const char *cuda_emulation_take_report(void)
{
    using namespace cuda_emulation;
    taken.swap(recorded);
    recorded.clear();
    forget_error();
    return taken.empty() ? nullptr : taken.c_str();
}
