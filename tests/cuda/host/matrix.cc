/* Tensor-core instructions, and copies into shared memory that end later. Fragments are laid out as in the
 * PTX manual's chapter on mma.m16n8k16, m16n8k8 and ldmatrix: lane l is in group l / 4 and is number l % 4 in
 * it. */
#include <cstring>
#include <deque>
#include <vector>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "inside.h"

namespace cuda_emulation
{

enum : unsigned { OPERATION_MMA = 17, OPERATION_LOAD = 18 };
void warp_instruction(unsigned operation, void *payload,
    void (*complete)(unsigned, uint32_t, void *const[32]), const char *file, int line);

namespace
{

struct mma_payload {
    matrix_kind kind;
    uint32_t a[4], b[2];
    float c[4];
    int32_t ci[4];
};

/* Element `column` of a 32-byte row piece that is spread over the four lanes of a group: in a k16 fragment,
 * register pair (0, 1) of a lane holds two 16-bit values of the first, then of the second half of the
 * columns. */
double element(matrix_kind kind, uint32_t first, uint32_t second, unsigned column)
{
    if (kind == matrix_kind::tf32)
        return __uint_as_float((column ? second : first) & 0xffffe000); /* ten bits of mantissa */
    const uint32_t pair = column >= 2 ? second : first;
    const uint16_t bits = (uint16_t)(column & 1 ? pair >> 16 : pair);
    return kind == matrix_kind::f16 ? cuda_emulation_half_value(bits) : __uint_as_float((uint32_t)bits << 16);
}

void complete_mma(unsigned, uint32_t, void *const payloads[32])
{
    const matrix_kind kind = static_cast<mma_payload *>(payloads[0])->kind;
    const unsigned per_lane = kind == matrix_kind::tf32 ? 2 : 4, depth = 4 * per_lane;
    static double a[16][16], b[8][16];
    for (unsigned lane = 0; lane < 32; lane++) {
        const mma_payload &p = *static_cast<mma_payload *>(payloads[lane]);
        const unsigned group = lane / 4, in_group = lane % 4;
        for (unsigned j = 0; j < per_lane; j++) {
            const unsigned k =
                kind == matrix_kind::tf32 ? in_group + 4 * j : in_group * 2 + (j & 1) + (j >= 2 ? 8 : 0);
            a[group][k] = element(kind, p.a[0], p.a[2], j);
            a[group + 8][k] = element(kind, p.a[1], p.a[3], j);
            b[group][k] = element(kind, p.b[0], p.b[1], j);
        }
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        mma_payload &p = *static_cast<mma_payload *>(payloads[lane]);
        for (unsigned i = 0; i < 4; i++) {
            const unsigned row = lane / 4 + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + (i & 1);
            double sum = 0; /* products of 11-bit mantissas are exact; a tensor core keeps about as much */
            for (unsigned k = 0; k < depth; k++)
                sum += a[row][k] * b[column][k];
            p.c[i] = (float)(p.c[i] + sum);
        }
    }
}

void complete_mma_integer(unsigned, uint32_t, void *const payloads[32])
{
    static int a[16][32], b[8][32];
    for (unsigned lane = 0; lane < 32; lane++) {
        const mma_payload &p = *static_cast<mma_payload *>(payloads[lane]);
        for (unsigned j = 0; j < 8; j++) {
            const unsigned k = lane % 4 * 4 + (j & 3) + (j >= 4 ? 16 : 0), shift = 8 * (j & 3);
            a[lane / 4][k] = (int8_t)(p.a[j >= 4 ? 2 : 0] >> shift);
            a[lane / 4 + 8][k] = (int8_t)(p.a[j >= 4 ? 3 : 1] >> shift);
            b[lane / 4][k] = (int8_t)(p.b[j >= 4] >> shift);
        }
    }
    for (unsigned lane = 0; lane < 32; lane++) {
        mma_payload &p = *static_cast<mma_payload *>(payloads[lane]);
        for (unsigned i = 0; i < 4; i++)
            for (unsigned k = 0; k < 32; k++)
                p.ci[i] += a[lane / 4 + (i >= 2 ? 8 : 0)][k] * b[lane % 4 * 2 + (i & 1)][k];
    }
}

struct load_payload {
    const void *row;
    int count;
    bool transposed;
    uint32_t result[4];
};

/* Matrix m's rows are at the addresses that lanes 8m to 8m + 7 give. */
void complete_load(unsigned, uint32_t, void *const payloads[32])
{
    for (unsigned lane = 0; lane < 32; lane++) {
        load_payload &p = *static_cast<load_payload *>(payloads[lane]);
        for (int m = 0; m < p.count; m++) {
            uint16_t pair[2];
            for (unsigned i = 0; i < 2; i++) {
                const unsigned along = lane % 4 * 2 + i, row = p.transposed ? along : lane / 4,
                               column = p.transposed ? lane / 4 : along;
                const load_payload &owner = *static_cast<load_payload *>(payloads[(unsigned)m * 8 + row]);
                memcpy(&pair[i], static_cast<const char *>(owner.row) + 2 * column, 2);
            }
            p.result[m] = pair[0] | (uint32_t)pair[1] << 16;
        }
    }
}

struct copy {
    char *shared;
    const char *global;
    unsigned bytes, valid;
};
/* Of each thread of the running block: groups of copies, the last one still open. */
std::vector<std::deque<std::vector<copy>>> copies;

} // namespace

float4 mma(matrix_kind kind, uint4 a, uint2 b, float4 c, const char *file, int line)
{
    mma_payload p = {kind, {a.x, a.y, a.z, a.w}, {b.x, b.y}, {c.x, c.y, c.z, c.w}, {}};
    warp_instruction(OPERATION_MMA, &p, complete_mma, file, line);
    return {p.c[0], p.c[1], p.c[2], p.c[3]};
}

int4 mma_integer(uint4 a, uint2 b, int4 c, const char *file, int line)
{
    mma_payload p = {matrix_kind::s8, {a.x, a.y, a.z, a.w}, {b.x, b.y}, {}, {c.x, c.y, c.z, c.w}};
    warp_instruction(OPERATION_MMA, &p, complete_mma_integer, file, line);
    return {p.ci[0], p.ci[1], p.ci[2], p.ci[3]};
}

uint4 load_matrix(const void *row, int count, bool transposed, const char *file, int line)
{
    load_payload p = {row, count, transposed, {}};
    if ((int)running().lane < 8 * count) {
        if (!is_shared(row) || (size_t)row % 16)
            report_thread(__builtin_return_address(0),
                "misaligned access, or not in shared memory: ldmatrix of a row at %p, at %s:%d", row, file,
                line);
        check_access(row, 16, access::read, __builtin_return_address(0));
    }
    warp_instruction(OPERATION_LOAD, &p, complete_load, file, line);
    return {p.result[0], p.result[1], p.result[2], p.result[3]};
}

void copies_start_block(unsigned threads)
{
    copies.assign(threads, {});
}

void copy_async(void *shared, const void *global, unsigned bytes, unsigned valid, const char *file, int line)
{
    const void *code = __builtin_return_address(0);
    if ((bytes != 4 && bytes != 8 && bytes != 16) || valid > bytes || (size_t)shared % bytes ||
        (size_t)global % bytes || !is_shared(shared))
        report_thread(code, "misaligned access: cp.async of %u bytes from %p to %p, at %s:%d", bytes, global,
            shared, file, line);
    if (valid)
        check_access(global, valid, access::read, code);
    shared_pending(shared, bytes, true, code);
    auto &groups = copies[running().number];
    if (groups.empty())
        groups.emplace_back();
    groups.back().push_back({static_cast<char *>(shared), static_cast<const char *>(global), bytes, valid});
}

void copy_async_commit()
{
    auto &groups = copies[running().number];
    if (groups.empty())
        groups.emplace_back();
    groups.emplace_back();
}

void copy_async_wait(unsigned groups_left)
{
    auto &groups = copies[running().number];
    while (groups.size() > groups_left + 1) {
        for (const copy &c : groups.front()) {
            memcpy(c.shared, c.global, c.valid);
            memset(c.shared + c.valid, 0, c.bytes - c.valid);
            shared_pending(c.shared, c.bytes, false, nullptr);
        }
        groups.pop_front();
    }
}

} // namespace cuda_emulation
