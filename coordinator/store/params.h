/* Parameters of a prepared statement. Each takes the next number ($1, $2, …). */
#ifndef LUMIGRID_COORDINATOR_STORE_PARAMS_H
#define LUMIGRID_COORDINATOR_STORE_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PARAMS_MAX = 24 };

struct params {
    int count;
    char *values[PARAMS_MAX]; /* owned; NULL is SQL's NULL */
    int lengths[PARAMS_MAX];
    int formats[PARAMS_MAX]; /* 0 text, 1 binary */
};

void params_text(struct params *params, const char *text); /* NULL: NULL; what is no UTF-8 is repaired */
void params_int(struct params *params, int64_t value);
void params_bool(struct params *params, bool value);
void params_bytes(struct params *params, const void *bytes, size_t size); /* bytea; bytes NULL: NULL */
void params_binary(struct params *params, void *owned, size_t size);      /* takes `owned` */
void params_text_list(struct params *params, const char *const *texts, size_t count); /* text[] */
/* Milliseconds since 1970 for to_timestamp($n / 1000.0); 0: NULL. */
void params_time(struct params *params, int64_t ms);
void params_free(struct params *params);

/* A copy as well-formed UTF-8 (U+FFFD for what is not); NULL gives NULL. */
char *text_clean(const char *text);

/* ---- binary values: COPY rows and arrays ---- */

struct packet {
    char *bytes;
    size_t size, capacity;
};
void packet_put(struct packet *packet, const void *bytes, size_t size);
void packet_u16(struct packet *packet, uint16_t value); /* big-endian, as Postgres wants it */
void packet_u32(struct packet *packet, uint32_t value);
void packet_u64(struct packet *packet, uint64_t value);
void packet_f64(struct packet *packet, double value);
void packet_value(struct packet *packet, const void *bytes, size_t size); /* length and bytes; NULL: NULL */
bool packet_uuid(struct packet *packet, const char *text);                /* 16 bytes; false: not a UUID */
void packet_free(struct packet *packet);

/* One-dimensional arrays: open with the element's type, put each element as packet_value would (its length
 * first), then set the count. */
enum {
    TYPE_BOOL = 16,
    TYPE_BYTEA = 17,
    TYPE_INT8 = 20,
    TYPE_INT4 = 23,
    TYPE_TEXT = 25,
    TYPE_FLOAT8 = 701,
    TYPE_UUID = 2950
};
void array_open(struct packet *packet, uint32_t element_type);
void array_count(struct packet *packet, uint32_t count);

uint64_t read_u64(const char *bytes);
uint32_t read_u32(const char *bytes);
double read_f64(const char *bytes);

#endif
