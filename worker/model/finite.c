/* Finds NaN and infinite weights. A value is neither exactly when its exponent bits are not all ones, so no
 * arithmetic is needed; block formats can only be infinite or NaN through their half-precision scales. */
#include <string.h>

#include "worker/model/weights.h"

enum { F16_EXPONENT = 0x7c00, BF16_EXPONENT = 0x7f80 };
static const uint32_t f32_exponent = 0x7f800000;

/* Where the half-precision scales of a block lie. */
static const struct {
    enum dtype dtype;
    int scale_count;
    size_t scale_offsets[2];
} blocks[] = {
    {DTYPE_Q4_0, 1, {0}},
    {DTYPE_Q5_0, 1, {0}},
    {DTYPE_Q8_0, 1, {0}},
    {DTYPE_Q4_K, 2, {0, 2}},
    {DTYPE_Q5_K, 2, {0, 2}},
    {DTYPE_Q6_K, 1, {208}},
};

/* Each returns the index of the first bad element (or block), `count` when there is none. */
static size_t scan_f32(const uint32_t *bits, size_t count)
{
    size_t i = 0;
    while (i < count && (bits[i] & f32_exponent) != f32_exponent)
        i++;
    return i;
}

static size_t scan_16(const uint16_t *bits, size_t count, uint16_t exponent)
{
    size_t i = 0;
    while (i < count && (bits[i] & exponent) != exponent)
        i++;
    return i;
}

static size_t scan_blocks(const uint8_t *data, size_t count, size_t block_bytes, size_t scale_offset)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t scale;
        memcpy(&scale, data + i * block_bytes + scale_offset, sizeof scale);
        if ((scale & F16_EXPONENT) == F16_EXPONENT)
            return i;
    }
    return count;
}

static bool report(const struct tensor_view *tensor, const char *unit, size_t index, struct error *err)
{
    return error_set(err, ERROR_INVALID, "tensor %s (%s) is NaN or infinite at %s %zu", tensor->name,
        dtype_name(tensor->dtype), unit, index);
}

static bool check_blocks(const struct tensor_view *tensor, struct error *err)
{
    size_t block_bytes = dtype_bytes(tensor->dtype, dtype_block_elements(tensor->dtype));
    size_t count = tensor->bytes / block_bytes;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        for (int s = 0; blocks[i].dtype == tensor->dtype && s < blocks[i].scale_count; s++) {
            size_t bad = scan_blocks(tensor->data, count, block_bytes, blocks[i].scale_offsets[s]);
            if (bad < count)
                return report(tensor, "block", bad, err);
        }
    }
    return true;
}

bool weights_check_finite(const struct weights *weights, struct error *err)
{
    for (size_t i = 0; i < weights->tensor_count; i++) {
        const struct tensor_view *tensor = &weights->tensors[i];
        size_t count = tensor->bytes / dtype_bytes(tensor->dtype, dtype_block_elements(tensor->dtype));
        size_t bad = count;
        switch (tensor->dtype) {
        case DTYPE_F32: bad = scan_f32(tensor->data, count); break;
        case DTYPE_F16: bad = scan_16(tensor->data, count, F16_EXPONENT); break;
        case DTYPE_BF16: bad = scan_16(tensor->data, count, BF16_EXPONENT); break;
        case DTYPE_I8:
        case DTYPE_I32:
        case DTYPE_I64: break;
        default:
            if (!check_blocks(tensor, err))
                return false;
        }
        if (bad < count)
            return report(tensor, "element", bad, err);
    }
    return true;
}
