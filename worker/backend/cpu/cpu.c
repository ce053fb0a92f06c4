/* The CPU backend: opening, memory, and its table. */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/backend/cpu/cpu.h"
#include "worker/backend/cpu/open.h"

/* Below so many multiply-adds (or as many simple steps), waking other threads costs more than it saves. */
static const double parallel_work = 60e3;

void cpu_fail(struct cpu_backend *cpu, enum error_code code, const char *format, ...)
{
    if (cpu->failed)
        return;
    char message[sizeof cpu->failure.message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments); /* NOLINT(clang-analyzer-valist.Uninitialized) */
    va_end(arguments);
    error_set(&cpu->failure, code, "%s", message);
    cpu->failed = true;
}

void cpu_run(struct cpu_backend *cpu, size_t total, double work,
    void (*run)(void *context, size_t index, size_t thread), void *context)
{
    if (cpu->failed)
        return;
    if (work >= parallel_work)
        threads_run(cpu->threads, total, run, context);
    else
        for (size_t i = 0; i < total; i++)
            run(context, i, 0);
}

static bool cpu_sync(struct backend *b, struct error *err)
{
    struct cpu_backend *cpu = cpu_of(b);
    if (cpu->failed && err)
        *err = cpu->failure;
    return !cpu->failed;
}

static struct tensor cpu_scratch(struct backend *b, size_t rows, size_t width)
{
    struct tensor t = {.stride = round_up(width, 16), .rows = rows, .width = width};
    if (t.stride >= width)
        t.data = arena_alloc(cpu_of(b), rows, t.stride * sizeof(float));
    return t;
}

static void cpu_scratch_reset(struct backend *b)
{
    struct cpu_backend *cpu = cpu_of(b);
    arena_reset(&cpu->arena);
    cpu->failed = false;
    cpu->failure = (struct error){0};
}

static size_t cpu_scratch_mark(struct backend *b)
{
    return arena_mark(cpu_of(b));
}

static void cpu_scratch_release(struct backend *b, size_t mark)
{
    arena_release(cpu_of(b), mark);
}

static size_t tensor_bytes(const struct tensor *t)
{
    return t->rows * t->stride * sizeof(float);
}

static bool cpu_tensor_create(
    struct backend *b, size_t rows, size_t width, struct tensor *out, struct error *err)
{
    struct tensor t = {.stride = width, .rows = rows, .width = width};
    size_t bytes;
    if (__builtin_mul_overflow(rows, width, &bytes) || bytes > SIZE_MAX / sizeof(float))
        return error_set(err, ERROR_TOO_LARGE, "a tensor of %zu x %zu is too large", rows, width);
    t.data = calloc(rows * width + 1, sizeof(float));
    if (!t.data)
        return error_set(err, ERROR_MEMORY, "no memory for a tensor of %zu x %zu", rows, width);
    cpu_of(b)->tensor_bytes += tensor_bytes(&t);
    *out = t;
    return true;
}

static void cpu_tensor_free(struct backend *b, struct tensor *tensor)
{
    if (tensor->data)
        cpu_of(b)->tensor_bytes -= tensor_bytes(tensor);
    free(tensor->data);
    *tensor = (struct tensor){0};
}

static void cpu_upload(struct backend *b, struct tensor to, const float *from)
{
    if (cpu_of(b)->failed)
        return;
    for (size_t r = 0; r < to.rows; r++)
        memcpy(tensor_row(to, r), from + r * to.width, to.width * sizeof(float));
}

static bool cpu_download(struct backend *b, struct tensor from, float *to, struct error *err)
{
    if (!cpu_sync(b, err))
        return false;
    for (size_t r = 0; r < from.rows; r++)
        memcpy(to + r * from.width, tensor_row(from, r), from.width * sizeof(float));
    return true;
}

/* "MemAvailable:  123 kB" of /proc/meminfo, in bytes; 0 when it does not say. */
static uint64_t available_bytes(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file)
        return 0;
    char line[128];
    unsigned long long kib = 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "MemAvailable:", 13) == 0) {
            kib = strtoull(line + 13, NULL, 10);
            break;
        }
    fclose(file);
    return kib * 1024;
}

static void cpu_memory(struct backend *b, struct backend_memory *out)
{
    const struct cpu_backend *cpu = cpu_of(b);
    *out = (struct backend_memory){
        .total_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
        .free_bytes = available_bytes(),
        .weight_bytes = cpu->weight_bytes,
        .cache_bytes = cpu->cache_bytes + cpu->tensor_bytes,
        .scratch_bytes = cpu->arena.touched_bytes > cpu->arena.step_bytes ? cpu->arena.touched_bytes
                                                                          : cpu->arena.step_bytes,
    };
}

static const char *cpu_describe(struct backend *b)
{
    return cpu_of(b)->description;
}

static void cpu_close(struct backend *b)
{
    struct cpu_backend *cpu = cpu_of(b);
    if (cpu->chunks)
        for (int i = 0; i < threads_count(cpu->threads); i++)
            free(cpu->chunks[i]);
    free(cpu->chunks);
    threads_close(cpu->threads);
    arena_close(&cpu->arena);
    free(cpu);
}

static const struct backend_ops cpu_ops = {
    .name = "cpu",
    .close = cpu_close,
    .memory = cpu_memory,
    .describe = cpu_describe,
    .sync = cpu_sync,
    .scratch = cpu_scratch,
    .scratch_reset = cpu_scratch_reset,
    .scratch_mark = cpu_scratch_mark,
    .scratch_release = cpu_scratch_release,
    .tensor_create = cpu_tensor_create,
    .tensor_free = cpu_tensor_free,
    .upload = cpu_upload,
    .download = cpu_download,
    .weight_load = cpu_weight_load,
    .weight_free = cpu_weight_free,
    .weight_shape = cpu_weight_shape,
    .vector_load = cpu_vector_load,
    .vector_free = cpu_vector_free,
    .kv_cache_create = cpu_kv_cache_create,
    .kv_cache_free = cpu_kv_cache_free,
    .kv_append = cpu_kv_append,
    .kv_copy = cpu_kv_copy,
    .embed = cpu_embed,
    .linear = cpu_linear,
    .norm = cpu_norm,
    .rope = cpu_rope,
    .attention = cpu_attention,
    .gather = cpu_gather,
    .scatter = cpu_scatter,
    .add = cpu_add,
    .scale = cpu_scale,
    .select = cpu_select,
};

/* The processor's name from /proc/cpuinfo. */
static void read_processor_name(char *out, size_t size)
{
    snprintf(out, size, "cpu");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file)
        return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(out, size, "%s", colon[1] == ' ' ? colon + 2 : colon + 1);
        break;
    }
    fclose(file);
}

/* Cores this process may run on. */
static int usable_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    return 1;
}

static bool open_chunks(struct cpu_backend *cpu, struct error *err)
{
    size_t floats = (size_t)CHUNK_ROWS * 2 * CHUNK_OUTPUTS + (size_t)CHUNK_OUTPUTS * GEMM_K_BLOCK;
    int count = threads_count(cpu->threads);
    cpu->chunks = calloc((size_t)count, sizeof *cpu->chunks);
    for (int i = 0; cpu->chunks && i < count; i++) {
        cpu->chunks[i] = aligned_alloc(64, floats * sizeof(float));
        if (!cpu->chunks[i])
            return error_set(err, ERROR_MEMORY, "no memory for %d threads' scratch", count);
    }
    return cpu->chunks ? true : error_set(err, ERROR_MEMORY, "no memory for %d threads' scratch", count);
}

bool cpu_open(const struct backend_options *options, struct backend **out, struct error *err)
{
    int count = options && options->threads > 0 ? options->threads : usable_cores();
    struct cpu_backend *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return error_set(err, ERROR_MEMORY, "no memory for a backend");
    cpu->base.ops = &cpu_ops;
    cpu->kernels = kernels_pick();
    if (!threads_open(count, &cpu->threads, err) || !arena_open(&cpu->arena, err) || !open_chunks(cpu, err)) {
        cpu_close(&cpu->base);
        return false;
    }
    char processor[96];
    read_processor_name(processor, sizeof processor);
    snprintf(cpu->description, sizeof cpu->description, "%s, %s, %d thread%s", processor, cpu->kernels->name,
        count, count == 1 ? "" : "s");
    *out = &cpu->base;
    return true;
}
