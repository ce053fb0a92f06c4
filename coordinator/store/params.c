#include "coordinator/store/params.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/text.h"

static void add(struct params *params, char *value, size_t size, int format)
{
    assert(params->count < PARAMS_MAX && size <= INT32_MAX);
    params->values[params->count] = value;
    params->lengths[params->count] = (int)size;
    params->formats[params->count++] = format;
}

char *text_clean(const char *text)
{
    size_t size = 0;
    return text ? text_repair(text, strlen(text), &size) : NULL;
}

void params_text(struct params *params, const char *text)
{
    add(params, text_clean(text), 0, 0);
}

void params_int(struct params *params, int64_t value)
{
    add(params, alloc_format("%" PRId64, value), 0, 0);
}

void params_bool(struct params *params, bool value)
{
    add(params, alloc_string(value ? "t" : "f"), 0, 0);
}

void params_bytes(struct params *params, const void *bytes, size_t size)
{
    add(params, bytes ? alloc_copy(bytes, size) : NULL, size, 1);
}

void params_binary(struct params *params, void *owned, size_t size)
{
    add(params, owned, size, 1);
}

void params_text_list(struct params *params, const char *const *texts, size_t count)
{
    struct packet packet = {0};
    array_open(&packet, TYPE_TEXT);
    for (size_t i = 0; i < count; i++) {
        char *clean = text_clean(texts[i]);
        packet_value(&packet, clean, strlen(clean));
        free(clean);
    }
    array_count(&packet, (uint32_t)count);
    params_binary(params, packet.bytes, packet.size);
}

void params_time(struct params *params, int64_t ms)
{
    if (ms)
        params_int(params, ms);
    else
        params_text(params, NULL);
}

void params_free(struct params *params)
{
    for (int i = 0; i < params->count; i++)
        free(params->values[i]);
    params->count = 0;
}

void packet_put(struct packet *packet, const void *bytes, size_t size)
{
    if (packet->capacity - packet->size < size) {
        packet->capacity = packet->capacity * 2 + size + 256;
        packet->bytes = alloc_resize(packet->bytes, packet->capacity, 1);
    }
    if (size)
        memcpy(packet->bytes + packet->size, bytes, size);
    packet->size += size;
}

void packet_u16(struct packet *packet, uint16_t value)
{
    value = htobe16(value);
    packet_put(packet, &value, sizeof value);
}

void packet_u32(struct packet *packet, uint32_t value)
{
    value = htobe32(value);
    packet_put(packet, &value, sizeof value);
}

void packet_u64(struct packet *packet, uint64_t value)
{
    value = htobe64(value);
    packet_put(packet, &value, sizeof value);
}

void packet_f64(struct packet *packet, double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    packet_u64(packet, bits);
}

void packet_value(struct packet *packet, const void *bytes, size_t size)
{
    packet_u32(packet, bytes ? (uint32_t)size : UINT32_MAX);
    if (bytes)
        packet_put(packet, bytes, size);
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool packet_uuid(struct packet *packet, const char *text)
{
    char bytes[16];
    size_t count = 0;
    for (size_t i = 0; i < 36;) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i++] != '-')
                return false;
            continue;
        }
        int high = hex(text[i]), low = high < 0 ? -1 : hex(text[i + 1]);
        if (low < 0)
            return false;
        bytes[count++] = (char)(high << 4 | low);
        i += 2;
    }
    if (text[36])
        return false;
    packet_put(packet, bytes, sizeof bytes);
    return true;
}

void packet_free(struct packet *packet)
{
    free(packet->bytes);
    *packet = (struct packet){0};
}

void array_open(struct packet *packet, uint32_t element_type)
{
    packet_u32(packet, 1); /* dimensions */
    packet_u32(packet, 1); /* may hold NULLs */
    packet_u32(packet, element_type);
    packet_u32(packet, 0); /* count: see array_count */
    packet_u32(packet, 1); /* the first index */
}

void array_count(struct packet *packet, uint32_t count)
{
    count = htobe32(count);
    memcpy(packet->bytes + 12, &count, sizeof count);
}

uint64_t read_u64(const char *bytes)
{
    uint64_t value = 0;
    memcpy(&value, bytes, sizeof value);
    return be64toh(value);
}

uint32_t read_u32(const char *bytes)
{
    uint32_t value = 0;
    memcpy(&value, bytes, sizeof value);
    return be32toh(value);
}

double read_f64(const char *bytes)
{
    uint64_t bits = read_u64(bytes);
    double value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}
